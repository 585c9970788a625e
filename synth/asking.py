"""What requests for generated text have in common: their size beside the context, their seeds, the text that comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from pipeline.client import Answer
from synth.windows import tokens

CHAT_TOKENS = 100  # what a chat template adds to a message, with a system message of its own
TIGHT = 0.9  # share of the context beyond which an estimate of tokens does not say that a request fits


def tight(messages: Sequence[Mapping[str, str]], max_tokens: int, context: int) -> dict[str, int]:
    """What a request says of the context. A refusal is final, so a request that may be refused for its length is
    another one in another context."""
    size = max_tokens + CHAT_TOKENS + sum(tokens(message["content"]) for message in messages)
    return {"context": context} if size > TIGHT * context else {}


def text_of(answer: Answer) -> str:
    """The answer's text; thinking that a server splits off is put back in <think> tags."""
    choice = answer.choices[0]
    thinking = f"<think>\n{choice.reasoning.strip()}\n</think>\n\n" if choice.reasoning else ""
    return thinking + choice.text


def drawn_number(*parts: object) -> int:
    """A number that looks drawn and is always the same for the same parts."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:8], "big")
