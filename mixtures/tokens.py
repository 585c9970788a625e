"""Documents and verified answers as token ids: what mixtures are drawn from.

Both datasets have one schema: id, group (shares are given by it), weight (how much more often it is drawn than others of
its group) and tokens, which end with the end-of-text token and hold no other token of ours but the chat marks of answers.
"""

from __future__ import annotations

import os
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
from pydantic import Field

from mixtures.chat import Chat, Encoder
from mixtures.known_problems import KnownProblems, digests
from mixtures.tokenizer import open_tokenizer
from pipeline.errors import RequestError
from pipeline.stage import MapStage, Outcome, Reason, StageConfig

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("tokens", pa.list_(pa.int32()), nullable=False),
    ]
)


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
        tokenizer, self.end_of_text = _tokenizer(self)
        self.encoder = Encoder(tokenizer)

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
    """synthetic, answers → tokens, in chat form: those the verifiers passed; the others are dropped with their verdict's
    reason, or as "contaminated" where the query holds a benchmark's problem.

    Group "analysis" for texts about documents, "answers" for answers to queries; all have weight 1.
    """

    name = "answer_tokens"
    output = "answer_tokens"
    input = ("synthetic", "answers")
    more = ("answers",)
    columns = ("verdicts", "answer_verdicts")
    uses = ("tokenizer",)
    reads = ("id", "strategy", "query", "answer")
    libraries = ("tokenizers", "numba", "numpy")
    aligned = False
    rows_per_call = 64
    patience = 10.0
    schema = SCHEMA
    groups: ClassVar[dict[str, str]] = {"analyse": "analysis"}  # of a strategy; all others: "answers"

    class Config(StageConfig):
        benchmarks: list[str] = Field(
            [], description="files of problems whose queries must not occur, as `decontaminate` reads them"
        )
        ngram: int = Field(16, ge=5, description="words in a row that a query may not share with a benchmark")

    def check(self, schema: pa.Schema | None) -> None:
        if schema is not None and not {"verdict_passed", "verdict_reason"} <= set(schema.names):
            raise RequestError("it takes verified answers only: put verify before it (and verify_answers)")

    def files(self) -> dict[str, str]:
        return digests(self.config.benchmarks)

    def prepare(self) -> None:
        self.chat = Chat(*_tokenizer(self))
        self.known = KnownProblems(self.config.benchmarks, self.config.ngram)

    def process(self, batch: pa.Table) -> Outcome:
        self.check(batch.schema)
        kept, dropped = [], []
        rows = batch.to_pylist()
        known = self.known.find([row["query"] or "" for row in rows])
        for row, problem in zip(rows, known, strict=True):
            if not row["verdict_passed"]:
                dropped.append(Reason(row["id"], row["verdict_reason"] or "not_verified"))
            elif not (row["query"] or "").strip() or not (row["answer"] or "").strip():
                dropped.append(Reason(row["id"], "empty"))
            elif problem and row["strategy"] != "analyse":  # of these the query holds a document
                dropped.append(Reason(row["id"], "contaminated", problem))
            else:
                kept.append(row)
        tokens = [
            np.concatenate(
                [self.chat.query(row["query"]), self.chat.answer(row["answer"]), [self.chat.end_of_text]]
            )
            for row in kept
        ]
        groups = pa.array([self.groups.get(row["strategy"], "answers") for row in kept], pa.string())
        return Outcome(_table([row["id"] for row in kept], groups, np.ones(len(kept)), tokens), dropped)


def _tokenizer(stage: MapStage) -> tuple[tokenizers.Tokenizer, int]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a worker has one core; the library would take all
    return open_tokenizer(stage.used("tokenizer"))


def _table(ids: list[str], groups: pa.Array, weights: np.ndarray, tokens: list[np.ndarray]) -> pa.Table:
    offsets = np.append(0, np.cumsum([len(t) for t in tokens], dtype=np.int64)).astype(np.int32)
    values = np.concatenate(tokens).astype(np.int32) if tokens else np.empty(0, np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
    columns = {"id": pa.array(ids, pa.string()), "group": groups, "weight": weights, "tokens": lists}
    return pa.table(columns, schema=SCHEMA)
