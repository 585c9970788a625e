"""Which documents contain a benchmark's problem, word for word or in another dress.

A document has a problem if it has, in this order,

* `words`: `min_share` of its runs of 13 words, as in GPT-3 (`filters.decontamination.ngrams`), and of those that no other
  problem of its file has. Words are those of `filters.words` over the whole text, formulas and code included: case,
  accents, punctuation, Markdown and most LaTeX commands make no difference;
* `formulas`: all of it, but for the spelling of formulas and numbers (`…tokens`, and `…short` for a few words);
* `rearranged`: nearly all of it within one stretch, whatever the order of its sentences (`…rearranged`).

Short texts in which nothing is distinctive ("Which of the following statements is true?") are not looked for.

Why a quarter of the runs: of GSM8K, MATH-500, CodeContests and IFEval (2,521 problems) a verbatim copy always has a
share of 1; with one word in 40 replaced 95 % are still found, with one in 20 87 %, with one in 10 2 %. Of the 7,474
training problems of MATH, 150 share any 13-gram with one of these, mostly set phrases and the code of figures; 59 share
a quarter (of 14 looked at, 13 by the problem's own wording, one by its figure's code). The other two ways find 16 more
(of 8 looked at all are of one template with a problem), and of 50,600 pages of software's documentation none.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from filters.decontamination.benchmarks import (
    Problem,
    digest_of,
    fixed_texts,
    named_problems,
    read_problems,
)
from filters.decontamination.ngrams import SHORTEST, Index, build_index, look_up, look_up_all, origin_of
from filters.decontamination.rearranged import Found, build_rearranged, look_up_all_rearranged
from filters.decontamination.short import build_short, distinctive, look_up_short
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
FIXED = 5  # rows that share a text, from which that is worth a remark
PROBLEM = pa.struct([("benchmark", pa.string()), ("problem", pa.string()), ("match", pa.string())])


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
    """documents → the benchmark problems each contains.

    `contam_benchmark`, `contam_problem`: the problem with the largest share, null where there is none; `contam_match`:
    "words", "formulas" or "rearranged", the first of these ways by which one is found; `contam_ngrams`: how many of its
    n-grams (runs of words, otherwise of 4 tokens) the document has; `contam_share`: of how many, 0…1: 0 where there is
    none, null where nothing was looked for, for want of benchmarks or because the stage failed on the document;
    `contam_start`, `contam_end`: the characters of the text between which they lie (of runs of words, the first stretch
    without a gap); `contam_excerpt`: how that begins; `contam_problems`: every problem that the document has, each with
    the first way it is found by, null as `contam_share` is. After `prepare`, `unindexed` counts by benchmark the problems
    that are not looked for, and `index_bytes` is the memory that all others take.
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
            pa.field("contam_problems", pa.list_(PROBLEM)),
        ]
    )
    Config: ClassVar[type[StageConfig]] = DecontaminateConfig

    def files(self) -> dict[str, str]:
        return {path: digest_of(path) for path in self.config.benchmarks}

    def remark(self) -> str:
        """That nothing was looked for, or which texts were not."""
        if not self.config.benchmarks:
            return (
                "WARNING: no benchmark was given, so nothing was looked for and no document is known to be clean. "
                "Give files of problems as `benchmarks`."
            )
        said = []
        for path in self.config.benchmarks:
            for text, rows in fixed_texts(path).items():
                if rows >= FIXED:
                    said.append(
                        f"{path}: {rows:,} problems share {text[:60]!r}, which is not looked for by itself."
                    )
        return "\n  ".join(said)

    def prepare(self) -> None:
        self.problems = named_problems(self.config.benchmarks)
        texts = [problem.text if distinctive(problem.text) else "" for problem in self.problems]
        origin = origin_of([p.benchmark for p in self.problems], [p.id for p in self.problems])
        self.index = build_index(texts, self.config.ngram, self.config.common, origin)
        self.same_words = _equals(self.index.first)
        self.index_bytes = self.index.nbytes
        unindexed = self.index.ngrams == 0
        if self.config.other_forms:
            self.rearranged = build_rearranged(texts, origin=origin)
            self.same_tokens = _equals(self.rearranged.seeds.first)
            self.index_bytes += self.rearranged.nbytes
            self.short = build_short(texts, self.rearranged.ngrams == 0)
            unindexed &= (self.rearranged.ngrams == 0) & ~self.short.indexed
        looked_for: dict[tuple[str, str], bool] = {}
        for problem, out in zip(self.problems, unindexed.tolist(), strict=True):
            key = problem.benchmark, problem.id
            looked_for[key] = looked_for.get(key, False) or not out
        self.unindexed: Counter[str] = Counter()
        for (benchmark, _), found in looked_for.items():
            self.unindexed[benchmark] += not found

    def process(self, batch: pa.Table) -> Outcome:
        rows: dict[str, list[Any]] = {name: [None] * len(batch) for name in self.schema.names if name != "id"}
        texts = texts_of(batch["text"])

        every: list[dict[tuple[str, str], str]] = [{} for _ in range(len(batch))]

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

        def count(d: int, problems: list[int], match: str) -> None:
            for problem in problems:
                every[d].setdefault((self.problems[problem].benchmark, self.problems[problem].id), match)

        if self.problems:
            rows["contam_share"] = [0.0] * len(batch)
            words = find_words(texts)
            runs, pairs = look_up_all(words, self.index, self.config.min_share)
            for d, problem in pairs.tolist():
                count(d, self.same_words[problem], "words")
            for d, run in enumerate(runs):
                if run is not None:
                    problem, found, first, last = run
                    ngrams = int(self.index.ngrams[problem])
                    note(d, problem, "words", found, ngrams, words.starts[first], words.ends[last])
        if self.problems and self.config.other_forms:
            tokens = find_tokens(texts)
            best: dict[int, tuple[float, Found]] = {}
            for d, other in look_up_all_rearranged(tokens, self.rearranged):
                count(d, self.same_tokens[other.problem], _way(other))
                share = other.ngrams / int(self.rearranged.ngrams[other.problem])
                if rows["contam_match"][d] is None and (d not in best or share > best[d][0]):
                    best[d] = share, other
            for d, (_, other) in best.items():
                ngrams = int(self.rearranged.ngrams[other.problem])
                first, last = tokens.starts[other.first], tokens.ends[other.last]
                note(d, other.problem, _way(other), other.ngrams, ngrams, first, last)
            for d, short in look_up_short(texts, tokens, self.short).items():
                count(d, [problem for problem, _, _ in short], "formulas")
                problem, first, last = short[0]
                if rows["contam_match"][d] is None:
                    note(d, problem, "formulas", 1, 1, tokens.starts[first], tokens.ends[last])
        if self.problems:
            rows["contam_problems"] = [
                [
                    {"benchmark": benchmark, "problem": id_, "match": match}
                    for (benchmark, id_), match in one.items()
                ]
                for one in every
            ]
        return Outcome(pa.table({"id": batch["id"], **rows}, schema=self.schema))


def _way(found: Found) -> str:
    return "formulas" if found.in_order else "rearranged"


def _equals(first: np.ndarray) -> dict[int, list[int]]:
    """For each problem that stands for others: itself and these."""
    order = np.argsort(first, kind="stable")
    edges = np.flatnonzero(np.diff(first[order], prepend=-1, append=-1)).tolist()
    return {int(first[order[a]]): order[a:b].tolist() for a, b in pairwise(edges)}


def _characters(texts: Texts, first: int, last: int) -> int:
    """How many characters begin between two bytes."""
    return int(np.count_nonzero((texts.data[first:last] & 0xC0) != 0x80))
