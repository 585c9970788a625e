"""Queries that hold a benchmark's problem: a model that has learnt their answers is not tested by it any more."""

from __future__ import annotations

import pyarrow as pa

from filters.decontaminate import Decontaminate, DecontaminateConfig, build_index, look_up, read_problems
from filters.words import find_words, texts_of
from synth import prompts


def digests(benchmarks: list[str]) -> dict[str, str]:
    """sha256 of each file, as a stage's `files` has it."""
    return Decontaminate(DecontaminateConfig(benchmarks=benchmarks)).files()


def folded(query: str) -> str:
    """Two queries are the same if these are."""
    return " ".join(query.casefold().split())


class KnownProblems:
    """The problems of benchmarks, in files as `decontaminate` reads them.

    A query holds one if they have a run of `ngram` words in common, or all words of a shorter problem. One of fewer
    than 5 words is no run that says anything ("Compute $3+x$"): a query holds it if it is nothing else, or that in the
    words of one of `synth.prompts.SOLVE`.
    """

    def __init__(self, benchmarks: list[str], ngram: int) -> None:
        self.problems = [one for path in benchmarks for one in read_problems(path, path)]
        texts = [problem.text for problem in self.problems]
        self.index = build_index(texts, ngram, common=max(1, len(texts)))
        short = [number for number, ngrams in enumerate(self.index.ngrams) if ngrams == 0]
        self.whole = {
            folded(words.format(problem=texts[number].strip())): number
            for words in prompts.SOLVE.values()
            for number in reversed(short)  # of two that are alike the first
        }

    def find(self, queries: list[str]) -> list[str | None]:
        """For each query the file and id of a problem that it holds."""
        if not self.problems or not queries:
            return [None] * len(queries)
        runs = look_up(find_words(texts_of(pa.array(queries, pa.large_string()))), self.index, 0.0)
        numbers = [
            self.whole.get(folded(query)) if run is None else run[0]
            for query, run in zip(queries, runs, strict=True)
        ]
        return [
            None if number is None else f"{self.problems[number].benchmark}: {self.problems[number].id}"
            for number in numbers
        ]
