r"""Text as token ids: plain, and in the one chat form of this project. No Dask, no pydantic: training imports it too.

    <|im_start|>user\n{query}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>

(ChatML without a system message, as the model card recommends; `training.export` writes the same as chat template.)
Query and answer are encoded apart, because that is how a model meets them: it is given the query up to "assistant\n"
and goes on from there. Only for an answer that begins with a line break would one encoding of the whole differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import tokenizers

from pipeline.errors import RequestError

CHAT_START, CHAT_END = "<|im_start|>", "<|im_end|>"
LINE_BREAK = re.compile(r"\S\n(?=\S)")
AT_ONCE = 1 << 18  # characters encoded together; the library takes some 300 bytes for each


class Encoder:
    """Encodes batches of texts in bounded memory, as ordinary text whatever stands in them."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.controls = np.array(control_tokens(tokenizer), np.int32)

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        """Of each text its tokens, int32. Raises `ValueError` if a control token came out."""
        tokens: list[list[np.ndarray]] = [[] for _ in texts]
        for pieces in _batches(texts):
            encoded = self.tokenizer.encode_batch_fast(
                [piece for _, piece in pieces], add_special_tokens=False
            )
            for (index, _), encoding in zip(pieces, encoded, strict=True):
                ids = np.array(encoding.ids, np.int32)
                if np.isin(ids, self.controls).any():
                    raise ValueError("the tokenizer made a control token out of plain text")
                tokens[index].append(ids)
        return [np.concatenate(parts) if parts else np.empty(0, np.int32) for parts in tokens]


class Chat:
    """Queries and answers as tokens, and answers back to text.

    Sets the tokenizer to read plain text: no truncation, no padding, names of special tokens are ordinary text, so
    that neither query nor answer can hold a control token. Raises `RequestError` if it has no chat marks.
    """

    stops: tuple[int, ...]  # a generation ends with one of these: <|im_end|>, end of text

    def __init__(self, tokenizer: tokenizers.Tokenizer, end_of_text: int) -> None:
        start, end = (tokenizer.token_to_id(mark) for mark in (CHAT_START, CHAT_END))
        if start is None or end is None:
            raise RequestError(
                f"the tokenizer has no {CHAT_START} and {CHAT_END}, which queries and answers are written with. "
                "Choose a chat model's tokenizer, or leave what works on answers out of the recipe"
            )
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self.tokenizer, self.encoder = tokenizer, Encoder(tokenizer)
        self.end_of_text = end_of_text
        self.stops = (end, end_of_text)
        line_end, assistant = self.encoder(["\n", "assistant\n"])
        self._start, self._end = np.array([start], np.int32), np.array([end], np.int32)
        self._after_query = np.concatenate([self._end, line_end, self._start, assistant])

    def query(self, text: str) -> np.ndarray:
        r"""int32, from <|im_start|> up to and with "assistant\n": what a model is given."""
        (tokens,) = self.encoder([f"user\n{text}"])  # role and text together, as in a chat template's text
        return np.concatenate([self._start, tokens, self._after_query])

    def answer(self, text: str) -> np.ndarray:
        """int32, with <|im_end|>, without end of text: what a model is to say."""
        (tokens,) = self.encoder([text])
        return np.concatenate([tokens, self._end])

    def text(self, tokens: Sequence[int] | np.ndarray) -> str:
        """Of generated tokens; control tokens are left out, bytes that are no UTF-8 become U+FFFD."""
        return self.tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)


def control_tokens(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """Ids of the special tokens: those that no text may be encoded to."""
    return sorted(id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special)


def _batches(texts: list[str]) -> Iterator[list[tuple[int, str]]]:
    """(index of the text, piece of it) in batches of about `AT_ONCE` characters."""
    batch: list[tuple[int, str]] = []
    size = 0
    for index, text in enumerate(texts):
        for piece in _pieces(text):
            batch.append((index, piece))
            size += len(piece)
            if size >= AT_ONCE:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of about `AT_ONCE` characters, cut at single line breaks between what is not blank.

    The word split of GPT-2, Qwen2 and their kin cuts there too, and sees the same on either side, so the tokens are
    those of the whole text. A text without such a place stays in one piece.
    """
    start = 0
    while len(text) - start > 2 * AT_ONCE and (found := LINE_BREAK.search(text, start + AT_ONCE)):
        yield text[start : found.end()]
        start = found.end()
    yield text[start:]
