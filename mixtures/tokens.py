"""Documents and verified answers as token ids: what mixtures are drawn from.

Both datasets have one schema: id, group (shares are given by it), weight (how much more often it is drawn than others of
its group) and tokens, which end with the end-of-text token and hold no other token of ours but the chat marks of answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers

from mixtures.tokenizer import control_tokens, open_tokenizer
from pipeline.errors import RequestError
from pipeline.stage import MapStage, Outcome, Reason

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("tokens", pa.list_(pa.int32()), nullable=False),
    ]
)
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


class Tokens(MapStage):
    """documents → tokens: those the policy kept, with its group and weight. Texts of blanks only are dropped."""

    name = "tokens"
    output = "tokens"
    input = ("documents",)
    selected_by = "policy"
    uses = ("tokenizer",)
    reads = ("id", "text")
    libraries = ("tokenizers",)
    aligned = False
    rows_per_call = 64
    patience = 10.0
    schema = SCHEMA

    def check(self, schema: pa.Schema | None) -> None:
        if schema is not None and not {"policy_weight", "policy_group"} <= set(schema.names):
            raise RequestError("it needs policy_weight and policy_group: put policy before it")

    def prepare(self) -> None:
        self.encoder, self.end_of_text = _prepare(self)

    def process(self, batch: pa.Table) -> Outcome:
        ids, texts = batch["id"].to_pylist(), batch["text"].to_pylist()
        weights = batch["policy_weight"].cast(pa.float64()).to_numpy()  # null is NaN
        kept, dropped = [], []
        for row, text in enumerate(texts):
            if not text or text.isspace():
                dropped.append(Reason(ids[row], "empty"))
            elif not 0 <= weights[row] < np.inf:
                dropped.append(Reason(ids[row], "no_weight", f"policy_weight is {weights[row]}"))
            else:
                kept.append(row)
        tokens = [np.append(t, self.end_of_text) for t in self.encoder([texts[row] for row in kept])]
        groups = pc.fill_null(batch["policy_group"], "other").take(pa.array(kept, pa.int64()))
        return Outcome(_table([ids[row] for row in kept], groups, weights[kept], tokens), dropped)


class AnswerTokens(MapStage):
    """synthetic → tokens, in chat form: those the verifiers passed; the others are dropped with their verdict's reason.

    Group "analysis" for texts about documents, "answers" for answers to queries; all have weight 1.
    """

    name = "answer_tokens"
    output = "answer_tokens"
    input = ("synthetic",)
    columns = ("verdicts",)
    uses = ("tokenizer",)
    reads = ("id", "strategy", "query", "answer")
    libraries = ("tokenizers",)
    aligned = False
    rows_per_call = 64
    patience = 10.0
    schema = SCHEMA
    groups: ClassVar[dict[str, str]] = {"analyse": "analysis"}  # of a strategy; all others: "answers"

    def check(self, schema: pa.Schema | None) -> None:
        if schema is not None and not {"verdict_passed", "verdict_reason"} <= set(schema.names):
            raise RequestError("it takes verified answers only: put verify before it")

    def prepare(self) -> None:
        self.encoder, self.end_of_text = _prepare(self)
        marks = [self.encoder.tokenizer.token_to_id(mark) for mark in ("<|im_start|>", "<|im_end|>")]
        if None in marks:
            raise RequestError(
                "the tokenizer has no <|im_start|> and <|im_end|>, which answers are written with. Choose a chat "
                "model's tokenizer, or leave answer_tokens out of the recipe"
            )
        (line_end,) = self.encoder(["\n"])
        self.start, end = (np.array([mark], np.int32) for mark in marks)
        self.after_query = np.concatenate([end, line_end, self.start])
        self.after_answer = np.append(end, np.int32(self.end_of_text))

    def process(self, batch: pa.Table) -> Outcome:
        self.check(batch.schema)
        kept, dropped = [], []
        for row in batch.to_pylist():
            if not row["verdict_passed"]:
                dropped.append(Reason(row["id"], row["verdict_reason"] or "not_verified"))
            elif not (row["query"] or "").strip() or not (row["answer"] or "").strip():
                dropped.append(Reason(row["id"], "empty"))
            else:
                kept.append(row)
        # Role and text are encoded together, as a chat template's text would be.
        texts = [text for row in kept for text in (f"user\n{row['query']}", f"assistant\n{row['answer']}")]
        encoded = self.encoder(texts)
        tokens = [
            np.concatenate([self.start, query, self.after_query, answer, self.after_answer])
            for query, answer in zip(encoded[::2], encoded[1::2], strict=True)
        ]
        groups = pa.array([self.groups.get(row["strategy"], "answers") for row in kept], pa.string())
        return Outcome(_table([row["id"] for row in kept], groups, np.ones(len(kept)), tokens), dropped)


def _prepare(stage: MapStage) -> tuple[Encoder, int]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a worker has one core; the library would take all
    tokenizer, end_of_text = open_tokenizer(stage.used("tokenizer"))
    return Encoder(tokenizer), end_of_text


def _table(ids: list[str], groups: pa.Array, weights: np.ndarray, tokens: list[np.ndarray]) -> pa.Table:
    offsets = np.append(0, np.cumsum([len(t) for t in tokens], dtype=np.int64)).astype(np.int32)
    values = np.concatenate(tokens).astype(np.int32) if tokens else np.empty(0, np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
    columns = {"id": pa.array(ids, pa.string()), "group": groups, "weight": weights, "tokens": lists}
    return pa.table(columns, schema=SCHEMA)


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
