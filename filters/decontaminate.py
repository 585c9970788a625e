"""Which documents contain a benchmark's problem, word for word or in another dress.

A document has a problem if it has, in this order,

* `words`: `min_share` of its runs of 13 words, as in GPT-3 (`filters.decontamination.ngrams`). Words are those of
  `filters.words` over the whole text, formulas and code included: case, accents, punctuation, Markdown and most LaTeX
  commands make no difference;
* `formulas`: all of it, but for the spelling of formulas and numbers (`…tokens`, and `…short` for a few words);
* `rearranged`: nearly all of it within one stretch, whatever the order of its sentences (`…rearranged`).

Why a quarter of the runs: of GSM8K, MATH-500, CodeContests and IFEval (2,521 problems) a verbatim copy always has a
share of 1; with one word in 40 replaced 95 % are still found, with one in 20 87 %, with one in 10 2 %. Of the 7,474
training problems of MATH, 150 share any 13-gram with one of these, mostly set phrases and the code of figures; 59 share
a quarter (of 14 looked at, 13 by the problem's own wording, one by its figure's code). The other two ways find 16 more
(of 8 looked at all are of one template with a problem), and of 50,600 pages of software's documentation none.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from filters.decontamination.benchmarks import Problem, digest_of, named_problems, read_problems
from filters.decontamination.ngrams import SHORTEST, Index, build_index, look_up
from filters.decontamination.rearranged import build_rearranged, look_up_rearranged
from filters.decontamination.short import build_short, look_up_short
from filters.decontamination.tokens import find_tokens
from filters.words import Texts, find_words, texts_of
from pipeline.stage import MapStage, Outcome, StageConfig

__all__ = [
    "Decontaminate",
    "DecontaminateConfig",
    "Index",
    "Problem",
    "build_index",
    "look_up",
    "read_problems",
]

EXCERPT = 300  # characters


class DecontaminateConfig(StageConfig):
    benchmarks: list[str] = Field(
        default=[],
        description="files of problems to look for: JSONL, JSON or Parquet (.gz too) with a field "
        "prompt, problem, question, query or text; packaged sets; or FORMAT=FILE for a published set "
        "in its own format (`gsm8k=…`, `multiple_choice=…`; a folder or CSV too)",
    )
    ngram: int = Field(
        13, ge=SHORTEST, description="words that must agree in a row; shorter problems agree as a whole"
    )
    min_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of a problem's n-grams from which a document counts as contaminated",
    )
    common: int = Field(4, ge=1, description="an n-gram of more problems than this is boilerplate")
    other_forms: bool = Field(
        True,
        description="look as well for problems with formulas and numbers spelled otherwise, sentences in another "
        "order or a few words changed",
    )


class Decontaminate(MapStage):
    """documents → the benchmark problem each contains, null where it contains none.

    `contam_benchmark`, `contam_problem`: the problem with the largest share; `contam_match`: "words", "formulas" or
    "rearranged", the first of these ways by which one is found; `contam_ngrams`: how many of its n-grams (runs of words,
    otherwise of 4 tokens) the document has; `contam_share`: of how many, 0…1; `contam_start`, `contam_end`: the
    characters of the text between which they lie (of runs of words, the first stretch without a gap);
    `contam_excerpt`: how that begins. After `prepare`, `unindexed` counts by benchmark the problems too short to look
    for, and `index_bytes` is the memory that all others take.
    """

    name = "decontaminate"
    output = "decontaminate"
    input = ("documents",)
    reads = ("id", "text")
    libraries = ("numba", "numpy")
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("contam_benchmark", pa.string()),
            pa.field("contam_problem", pa.string()),
            pa.field("contam_match", pa.string()),
            pa.field("contam_ngrams", pa.int32()),
            pa.field("contam_share", pa.float32()),
            pa.field("contam_start", pa.int32()),
            pa.field("contam_end", pa.int32()),
            pa.field("contam_excerpt", pa.string()),
        ]
    )
    Config: ClassVar[type[StageConfig]] = DecontaminateConfig

    def files(self) -> dict[str, str]:
        return {path: digest_of(path) for path in self.config.benchmarks}

    def prepare(self) -> None:
        self.problems = named_problems(self.config.benchmarks)
        texts = [problem.text for problem in self.problems]
        self.index = build_index(texts, self.config.ngram, self.config.common)
        self.index_bytes = self.index.nbytes
        unindexed = self.index.ngrams == 0
        if self.config.other_forms:
            self.rearranged = build_rearranged(texts)
            self.index_bytes += self.rearranged.nbytes
            self.short = build_short(texts, self.rearranged.ngrams == 0)
            unindexed &= (self.rearranged.ngrams == 0) & ~self.short.indexed
        self.unindexed: Counter[str] = Counter()
        for problem, out in zip(self.problems, unindexed.tolist(), strict=True):
            self.unindexed[problem.benchmark] += out

    def process(self, batch: pa.Table) -> Outcome:
        rows: dict[str, list[Any]] = {name: [None] * len(batch) for name in self.schema.names if name != "id"}
        texts = texts_of(batch["text"])

        def note(
            d: int, problem: int, match: str, found: int, ngrams: int, first: int, last: int
        ) -> None:  # bytes first … last of the text
            start = _characters(texts, texts.offsets[d], first)
            span = texts.data[first:last].tobytes().decode("utf-8", "replace")
            rows["contam_benchmark"][d] = self.problems[problem].benchmark
            rows["contam_problem"][d] = self.problems[problem].id
            rows["contam_match"][d] = match
            rows["contam_ngrams"][d] = found
            rows["contam_share"][d] = found / ngrams
            rows["contam_start"][d], rows["contam_end"][d] = start, start + len(span)
            rows["contam_excerpt"][d] = span[:EXCERPT]

        if self.problems:
            words = find_words(texts)
            for d, run in enumerate(look_up(words, self.index, self.config.min_share)):
                if run is not None:
                    problem, found, first, last = run
                    ngrams = int(self.index.ngrams[problem])
                    note(d, problem, "words", found, ngrams, words.starts[first], words.ends[last])
        if self.problems and self.config.other_forms:
            tokens = find_tokens(texts)
            for d, other in enumerate(look_up_rearranged(tokens, self.rearranged)):
                if other is not None and rows["contam_match"][d] is None:
                    match = "formulas" if other.in_order else "rearranged"
                    ngrams = int(self.rearranged.ngrams[other.problem])
                    first, last = tokens.starts[other.first], tokens.ends[other.last]
                    note(d, other.problem, match, other.ngrams, ngrams, first, last)
            for d, (problem, first, last) in look_up_short(texts, tokens, self.short).items():
                if rows["contam_match"][d] is None:
                    note(d, problem, "formulas", 1, 1, tokens.starts[first], tokens.ends[last])
        return Outcome(pa.table({"id": batch["id"], **rows}, schema=self.schema))


def _characters(texts: Texts, first: int, last: int) -> int:
    """How many characters begin between two bytes."""
    return int(np.count_nonzero((texts.data[first:last] & 0xC0) != 0x80))
