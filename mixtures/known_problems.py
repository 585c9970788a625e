"""Texts that hold a benchmark's problem: a model that has learnt their answers is not tested by it any more.

Used for queries of supervised fine-tuning (`sft`, `answer_tokens`) and for problems of reinforcement learning
(`problems`). A text holds a problem, in this order,

* `words`: if it has enough of its runs of words, all words of a shorter one, or is nothing but that problem, but for
  white space and case: what fewer than 5 words say ("Compute $3+x$") has no run, nor has a question in which nothing
  is distinctive ("Which of the following statements is true?");
* `formulas`: if it has all of it, but for the spelling of formulas and numbers;
* `rearranged`: if it has nearly all of it, whatever the order of its sentences.

The words that this project puts around a problem (`synth.prompts.SOLVE`) are taken off first.

These are the ways of `filters.decontaminate`, the last as it is between problems (`strict`): documents hold a problem now
and then, problems are like each other. With one number changed 825 of 2,250 would be found rearranged, so 39 are.

Measured (`benchmarks/filters_parts/decontamination.py`): of 2,525 test problems, with formulas or numbers spelled
otherwise or sentences swapped, words find 72 to 97 % as queries of SFT (one run of 16) and 82 to 97 % as problems of RL
(a quarter of the runs of 10), all ways at least 99.6 %. Of the 14,947 training problems of GSM8K and MATH the other two
ways find 5 and 4 more, none a copy. Between halves of MATH they find 8 in 8,700 (0.1 %) that words do not: of 31 pairs
looked at 2 are copies, about half ask something else of the same figures, the others have one template.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.decontaminate import Decontaminate, DecontaminateConfig, build_index, look_up, read_problems
from filters.decontamination.benchmarks import without_surrogates
from filters.decontamination.ngrams import Origin, in_chunks, origin_of
from filters.decontamination.rearranged import build_rearranged, look_up_rearranged
from filters.decontamination.short import FIRST, build_short, distinctive, look_up_short
from filters.decontamination.tokens import Tokens, find_tokens
from filters.words import Texts, find_words, texts_of
from synth import prompts

# What stands before and after a problem in a query; the last has no words and fits every query.
AROUND = [
    words.format(problem="\0").split("\0") for words in sorted(prompts.SOLVE.values(), key=len, reverse=True)
]


def digests(benchmarks: list[str]) -> dict[str, str]:
    """sha256 of each file, as a stage's `files` has it."""
    return Decontaminate(DecontaminateConfig(benchmarks=benchmarks)).files()


def folded(query: str) -> str:
    """Two queries are the same if these are."""
    return " ".join(query.casefold().split())


class Held(NamedTuple):
    """The problem that a text holds, how much of it (of its n-grams, 0…1), and the way it is found by."""

    problem: int
    share: float
    way: str  # words, formulas, rearranged


class Matcher:
    """The texts of problems, and which of them other texts hold.

    What `rearranged` and `short` leave out is compared as a whole only ("Compute $\\binom{8}{2}$."): of 7,970 problems of
    MATH, 7 pairs have the same tokens, of which 3 are not the same (one has a minus sign or brackets more).

    ngram: words of a run; None: only texts that are a problem as a whole count, as for tasks that a program draws, which
    differ in their signs and numbers.
    min_share: of a problem's runs, from which a text holds it; 0: one is enough.
    common: a run of more problems than this is a set phrase, no sign of a copy; None: no run is.
    origin: which of the texts are one problem; None: each is one by itself.
    """

    def __init__(
        self,
        problems: list[str],
        ngram: int | None,
        min_share: float = 0.0,
        common: int | None = None,
        origin: Origin | None = None,
    ) -> None:
        problems = [without_surrogates(problem) for problem in problems]
        self.min_share = min_share
        self.in_parts = bool(problems) and ngram is not None
        self.whole: dict[str, int] = {}
        for number, problem in enumerate(problems):
            self.whole.setdefault(folded(problem), number)
        if not problems or ngram is None:
            return
        problems = [problem if distinctive(problem) else "" for problem in problems]
        self.index = build_index(problems, ngram, common or len(problems), origin)
        self.rearranged = build_rearranged(problems, origin=origin)
        self.short = build_short(problems, self.rearranged.ngrams == 0)
        rest = np.flatnonzero((self.rearranged.ngrams == 0) & ~self.short.indexed).tolist()
        self.spelled: dict[bytes, int] = {}  # by the hashes of all tokens
        texts = texts_of(pa.array([problems[number] for number in rest], pa.large_string()))
        for number, tokens in zip(rest, _spelled(find_tokens(texts)), strict=True):
            if len(tokens) >= FIRST * 8:
                self.spelled.setdefault(tokens, number)

    def find(self, texts: list[str]) -> list[Held | None]:
        """For each text the problem that it holds."""
        texts = [unwrapped(without_surrogates(text)) for text in texts]
        whole = [self.whole.get(folded(text)) for text in texts]
        found = [None if number is None else Held(number, 1.0, "words") for number in whole]
        if self.in_parts:
            for begin, chunk in in_chunks(texts):
                for number, held in enumerate(self._in_chunk(chunk), begin):
                    found[number] = found[number] or held
        return found

    def _in_chunk(self, texts: Texts) -> list[Held | None]:
        tokens = find_tokens(texts)
        runs = look_up(find_words(texts), self.index, self.min_share)
        others = look_up_rearranged(tokens, self.rearranged, strict=True)
        short = look_up_short(texts, tokens, self.short)
        found: list[Held | None] = []
        for number, (run, other, spelled) in enumerate(zip(runs, others, _spelled(tokens), strict=True)):
            if run is not None:
                found.append(Held(run[0], run[1] / int(self.index.ngrams[run[0]]), "words"))
            elif other is not None:
                share = other.ngrams / int(self.rearranged.ngrams[other.problem])
                found.append(Held(other.problem, share, "formulas" if other.in_order else "rearranged"))
            else:
                whole = short[number][0][0] if number in short else self.spelled.get(spelled)
                found.append(None if whole is None else Held(whole, 1.0, "formulas"))
        return found


def unwrapped(query: str) -> str:
    """The problem that a query puts in words of this project, or the query if it does not.

    >>> unwrapped("Compute $3+x$ Give the final answer in \\\\boxed{}.")
    'Compute $3+x$'
    """
    query = query.strip()
    before, after = next(w for w in AROUND if query.startswith(w[0]) and query.endswith(w[1]))
    return query.removeprefix(before).removesuffix(after)


def _spelled(tokens: Tokens) -> list[bytes]:
    """The hashes of all tokens of each text."""
    return [tokens.hashes[a:b].tobytes() for a, b in pairwise(tokens.offsets.tolist())]


class KnownProblems:
    """The problems of benchmarks, in files as `decontaminate` reads them, of which a query may hold no run of `ngram`
    words, nor the whole in another form."""

    def __init__(self, benchmarks: list[str], ngram: int) -> None:
        self.problems = [one for path in benchmarks for one in read_problems(path, path)]
        origin = origin_of([p.benchmark for p in self.problems], [p.id for p in self.problems])
        self.matcher = Matcher([problem.text for problem in self.problems], ngram, origin=origin)

    def find(self, queries: list[str]) -> list[str | None]:
        """For each query that holds a problem which, found how, and how much of it: "exam.jsonl: 7, words 0.31"."""
        return [self._said(*held) if held else None for held in self.matcher.find(queries)]

    def _said(self, number: int, share: float, way: str) -> str:
        problem = self.problems[number]
        return f"{problem.benchmark}: {problem.id}, {way} {share:.2f}"
