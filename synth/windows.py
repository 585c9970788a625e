"""Cutting a text to what a model's context holds, without the model's tokenizer at hand.

Requests must be the same wherever and whenever they are made, so the size in tokens is estimated from the characters
alone: on the safe side for byte-level BPE vocabularies of 49,000 entries and more (SmolLM2's own tokenizer gives more
tokens than this for 1 in 100 pieces of formula-rich English pages).
"""

from __future__ import annotations

import numpy as np

LETTER, SPACE, OTHER, BEYOND_ASCII = 0.3, 0.1, 1.05, 1.8  # tokens a character, by its kind
BREAKS = ("\n\n", "\n", ". ", " ")  # where a text may be cut, best first
GAP = "\n\n[…]\n\n"


def tokens(text: str) -> float:
    """Estimated number of tokens.

    >>> round(tokens("two words"), 1), round(tokens("√2=1.41"), 2)
    (2.5, 8.1)
    """
    return float(_costs(text).sum())


def window(text: str, budget: float) -> str:
    """The text, or where it is longer than `budget` tokens, its head and a piece from its middle.

    Both are cut at the end of a paragraph, line, sentence or word, and `GAP` stands between them.
    """
    if tokens(text) <= budget:
        return text
    upto = np.concatenate([[0.0], _costs(text).cumsum()])  # tokens before each character
    half = max(0.0, (budget - tokens(GAP)) / 2)
    head = _cut(text, 0, int(np.searchsorted(upto, half, "right")) - 1)
    start = max(len(head), len(text) // 2)
    start = next((at + len(b) for b in BREAKS if (at := text.find(b, start, start + 500)) >= 0), start)
    end = int(np.searchsorted(upto, upto[start] + half, "right")) - 1
    return head + GAP + _cut(text, start, end).lstrip("\n")


def _cut(text: str, start: int, end: int) -> str:
    """`text[start:end]`, ended at the best break of its last third."""
    if end >= len(text):
        return text[start:]
    for at in BREAKS:
        if (place := text.rfind(at, end - (end - start) // 3, end)) >= 0:
            return text[start : place + len(at.rstrip())].rstrip()
    return text[start:end]


def _costs(text: str) -> np.ndarray:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    letter = ((codes | 32) >= ord("a")) & ((codes | 32) <= ord("z"))
    kinds = [codes > 127, letter, codes == ord(" ")]
    return np.select(kinds, [BEYOND_ASCII, LETTER, SPACE], OTHER)
