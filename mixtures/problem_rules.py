"""Rules over the text of problems: which ask for a proof, which are multiple choice, which are there twice or known.

MiMo-7B's report (arXiv 2505.07608, section 3.1) has a language model decide which problems are proofs or multiple
choice. These rules need none, and give the same answer at every run.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pyarrow as pa

from filters.decontaminate import build_index
from filters.words import find_words, texts_of
from mixtures.known_problems import Held, Matcher

NO_ANSWER = {"", "proof", "see proof", "see solution", "see the solution", "not provided", "n/a", "omitted"}
COMMON = 20  # an n-gram of more problems than this is a set phrase, not a sign of a copy
_PROVE = re.compile(
    r"(?:^|[.;:,!?$)\]]|\\\\|\b(?:and|then|to|please|hence|also))\s*(?:\([a-z0-9]\)\s*)?"
    r"(?:prove|disprove|show\s+that|demonstrate\s+that|verify\s+that|justify)\b",
    re.IGNORECASE | re.MULTILINE,
)
_ASKS = re.compile(
    r"\?|\b(?:find|determine|compute|calculate|evaluate|what|which|how|express|solve|simplify|factor|expand|name|list|"
    r"count|estimate|deduce\s+the|give|write|state|where|who|when|enter)\b",
    re.IGNORECASE,
)
_OPTIONS = (  # three lettered options, each with something to say
    re.compile(r"(?<!\w)\(A\)(.{1,400}?)(?<!\w)\(B\)(.{1,400}?)(?<!\w)\(C\)", re.DOTALL),
    re.compile(r"^\s*A[.):](.{1,400}?)^\s*B[.):](.{1,400}?)^\s*C[.):]", re.DOTALL | re.MULTILINE),
)
_FIGURE = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.DOTALL)  # its program labels points A, B and C
_NOTHING_SAID = re.compile(r"\\[a-zA-Z]+|\b(?:and|or)\b|[^0-9A-Za-z\u0080-\uffff]")


def asks_for_proof(text: str, answer: str | None) -> bool:
    """Whether a problem asks to prove something and has no answer, or asks for nothing else.

    A known answer does not make such a problem one to be checked by its answer: that mostly stands in the statement.

    >>> asks_for_proof("Show that $n^2 + n$ is even.", "2"), asks_for_proof("Prove it. Then find $n$.", "7")
    (True, False)
    """
    if not _PROVE.search(text):
        return False
    return not has_answer(answer) or not _ASKS.search(text)


def has_answer(answer: str | None) -> bool:
    """Whether there is one: some sets write "proof" where there is none."""
    return answer is not None and answer.strip().strip(".").casefold() not in NO_ANSWER


def has_options(text: str) -> bool:
    """Whether a text offers lettered options A, B and C to choose from.

    >>> has_options("Which is prime? (A) 4 (B) 5 (C) 6"), has_options("Circles (A), (B) and (C) touch.")
    (True, False)
    """
    text = _FIGURE.sub(" ", text)
    return any(
        all(_NOTHING_SAID.sub("", option) for option in found.groups())
        for pattern in _OPTIONS
        for found in pattern.finditer(text)
    )


def contaminated(
    texts: list[str], benchmark: list[str], ngram: int | None, min_share: float
) -> list[Held | None]:
    """For each text the benchmark problem that it holds (`mixtures.known_problems`): `min_share` of its n-grams of words,
    or the whole in another form.

    With `ngram` None only texts count that are a problem, but for white space and case.
    """
    return Matcher(benchmark, ngram, min_share, COMMON).find(texts)


def duplicates(texts: list[str], ngram: int | None, min_share: float) -> list[int | None]:
    """For each text the earlier one that it repeats, None for those to be kept.

    A repetition is the same text (but for white space), or has `min_share` of the n-grams of words of the shorter of
    both. Texts of fewer than `ngram` words (None: all) are only compared as a whole: "$3+x$" and "$3-x$" have the same
    words.
    """
    first: dict[str, int] = {}
    found: list[int | None] = [None] * len(texts)
    for n, text in enumerate(texts):
        known = first.setdefault(_spaced(text), n)
        found[n] = known if known != n else None
    if ngram is None:
        return found
    words = find_words(texts_of(pa.array(texts, pa.string())))
    lengths = np.diff(words.offsets)
    rest = [n for n, known in enumerate(found) if known is None and lengths[n] >= ngram]
    if not rest:
        return found
    index = build_index([texts[n] for n in rest], ngram, COMMON)
    grams_of = _grams_by_owner(index.owners, index.offsets, len(rest))
    same_words: dict[bytes, int] = {}  # the index keeps the first of those
    dropped = np.zeros(len(rest), bool)
    for p, n in enumerate(rest):
        spelled = words.hashes[words.offsets[n] : words.offsets[n + 1]].tobytes()
        original = same_words.setdefault(spelled, p)
        if original != p:
            found[n], dropped[p] = found[rest[original]] or rest[original], True
            continue
        owners = [index.owners[index.offsets[g] : index.offsets[g + 1]] for g in grams_of[p]]
        earlier = np.concatenate(owners) if owners else np.empty(0, np.int32)
        earlier = earlier[(earlier < p) & ~dropped[earlier]]
        if len(earlier):
            others, shared = np.unique(earlier, return_counts=True)
            shares = shared / np.minimum(index.ngrams[others], index.ngrams[p])
            best = int(shares.argmax())
            if shares[best] >= min_share:
                found[n], dropped[p] = rest[int(others[best])], True
    return found


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _grams_by_owner(owners: np.ndarray, offsets: np.ndarray, count: int) -> list[np.ndarray]:
    """For each problem the places of its n-grams in the index."""
    grams = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.argsort(owners, kind="stable")
    ends = np.searchsorted(owners[order], np.arange(count + 1))
    return [grams[order[a:b]] for a, b in pairwise(ends)]
