"""Which documents contain a benchmark's problem: exact word n-grams, as in GPT-3 (Brown et al. 2020).

The words of each problem (13 at a time) are looked up in each document. Words are those of `filters.words`
over the whole text, formulas and code included: case, accents, punctuation, Markdown and most LaTeX commands
make no difference.

One common 13-gram proves little ("where m and n are relatively prime positive integers. Find m + n"), so a
document counts as contaminated when it holds `min_share` of one problem's n-grams. N-grams of more than
`common` different problems are boilerplate and left out, unless a problem has no others.

Why a quarter: of GSM8K, MATH-500, CodeContests and IFEval (2,521 problems) a verbatim copy always has a share
of 1; with one word in 40 replaced 95 % are still found, with one in 20 87 %, with one in 10 2 %. Of the 7,474
training problems of MATH, 150 share any 13-gram with one of these, mostly set phrases and the code of
figures; 59 share a quarter (of 14 looked at, 13 by the problem's own wording, one by its figure's code).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import fsspec
import numba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from filters.words import Words, find_words, texts_of
from pipeline.errors import RequestError
from pipeline.models import KNOWN, model_file
from pipeline.stage import MapStage, Outcome, StageConfig

TEXT_FIELDS = (  # the first of these that a row has
    *("prompt", "problem", "question", "Question", "question_content", "query", "text"),
)
ID_FIELDS = (
    "id",
    "task_id",
    "unique_id",
    "problem_id",
    "question_id",
    "key",
)  # without one: the row's number
SHORTEST = 5  # words; shorter problems are in half the web
EXCERPT = 300  # characters


class DecontaminateConfig(StageConfig):
    benchmarks: list[str] = Field(
        default=[],
        description="files of problems to look for: JSONL, JSON or Parquet (.gz too) with a field "
        "prompt, problem, question, query or text; or packaged sets",
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


class Problem(NamedTuple):
    benchmark: str
    id: str
    text: str


class Decontaminate(MapStage):
    """documents → the benchmark problem each contains, null where it contains none.

    `contam_benchmark`, `contam_problem`: the problem with the largest share; `contam_ngrams`: how many of its
    n-grams the document has; `contam_share`: of how many, 0…1; `contam_excerpt`: where they begin in the
    document. After `prepare`, `unindexed` counts by benchmark the problems too short to look for.
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
            pa.field("contam_ngrams", pa.int32()),
            pa.field("contam_share", pa.float32()),
            pa.field("contam_excerpt", pa.string()),
        ]
    )
    Config: ClassVar[type[StageConfig]] = DecontaminateConfig

    def files(self) -> dict[str, str]:
        return {path: hashlib.sha256(_read(path)).hexdigest() for path in self.config.benchmarks}

    def prepare(self) -> None:
        stems = Counter(_stem(path) for path in self.config.benchmarks)
        self.problems: list[Problem] = []
        self.unindexed: Counter[str] = Counter()
        for path in self.config.benchmarks:
            name = _stem(path) if stems[_stem(path)] == 1 else path
            self.problems += read_problems(path, name)
        self.index = build_index([p.text for p in self.problems], self.config.ngram, self.config.common)
        for problem, ngrams in zip(self.problems, self.index.ngrams, strict=True):
            self.unindexed[problem.benchmark] += int(ngrams == 0)

    def process(self, batch: pa.Table) -> Outcome:
        rows: dict[str, list[Any]] = {name: [None] * len(batch) for name in self.schema.names if name != "id"}
        if self.problems:
            texts = texts_of(batch["text"])
            words = find_words(texts)
            for d, match in enumerate(look_up(words, self.index, self.config.min_share)):
                if match is None:
                    continue
                problem, found, first, last = match
                rows["contam_benchmark"][d] = self.problems[problem].benchmark
                rows["contam_problem"][d] = self.problems[problem].id
                rows["contam_ngrams"][d] = found
                rows["contam_share"][d] = found / int(self.index.ngrams[problem])
                excerpt = texts.data[words.starts[first] : words.ends[last]].tobytes()
                rows["contam_excerpt"][d] = excerpt.decode("utf-8", "replace")[:EXCERPT]
        return Outcome(pa.table({"id": batch["id"], **rows}, schema=self.schema))


# --- benchmark files ----------------------------------------------------------------------------------------


def read_problems(path: str, benchmark: str) -> Iterator[Problem]:
    """The problems of one file. `RequestError` when it is missing, empty or a row has no known text field."""
    rows = _rows(path)
    if not rows:
        raise RequestError(
            f"Benchmark {path} has no rows. Give a file with one problem a row, or leave it out."
        )
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(
                f"Benchmark {path}, row {number + 1}: expected an object with fields, found {type(row).__name__}."
            )
        field = next((name for name in TEXT_FIELDS if isinstance(row.get(name), str)), None)
        if field is None:
            raise RequestError(
                f"Benchmark {path}, row {number + 1}: none of the fields {', '.join(TEXT_FIELDS)} is a text "
                f"(found: {', '.join(map(str, row)) or 'nothing'}). Rename the problem's field to one of them."
            )
        id_ = next((row[name] for name in ID_FIELDS if row.get(name) is not None), number)
        yield Problem(benchmark, str(id_), row[field])


def _rows(path: str) -> list[Any]:
    data = _read(path)
    name = path.lower().removesuffix(".gz")
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if name.endswith((".parquet", ".pq")):
            return pq.read_table(pa.BufferReader(data)).to_pylist()
        if name.endswith(".json") and data.lstrip()[:1] == b"[":
            return json.loads(data)
        if name.endswith((".jsonl", ".ndjson", ".json")):
            return [_row(path, *line) for line in enumerate(data.split(b"\n"), 1) if line[1].strip()]
    except RequestError:
        raise
    except (ValueError, EOFError, OSError, zlib.error, pa.ArrowException) as error:
        raise RequestError(f"Benchmark {path} cannot be read: {error}. Is it what its name says?") from error
    raise RequestError(f"Benchmark {path}: expected .jsonl, .json or .parquet (or these with .gz).")


def _row(path: str, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise RequestError(
            f"Benchmark {path}, line {number}: expected a JSON object a line, but {error}."
        ) from error


def _read(path: str) -> bytes:
    try:
        with fsspec.open(str(model_file(path)) if path in KNOWN else path, "rb") as file:
            return file.read()
    except (OSError, ValueError, ImportError) as error:
        raise RequestError(
            f"Benchmark {path} cannot be opened ({error}). Check the path in `benchmarks`."
        ) from error


def _stem(path: str) -> str:
    return Path(path.removesuffix(".gz")).stem


# --- index --------------------------------------------------------------------------------------------------


class Index(NamedTuple):
    """N-grams of all problems: about 20 bytes each.

    `hashes` uint64, sorted; `buckets` int64, where the hashes with each leading bits begin; `offsets` int64
    and `owners` int32: the problems of each hash; `ngrams` int32: how many n-grams each problem has;
    `lengths` int64: in words.
    """

    hashes: np.ndarray
    buckets: np.ndarray
    offsets: np.ndarray
    owners: np.ndarray
    ngrams: np.ndarray
    lengths: np.ndarray


def build_index(problems: list[str], ngram: int, common: int) -> Index:
    """The index of problems. A problem of fewer than `ngram` words is one n-gram; of fewer than 5 none."""
    words = find_words(texts_of(pa.array(problems, pa.string())))
    counts = np.diff(words.offsets)
    lengths = np.minimum(counts, ngram)
    hashes, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    seen: dict[bytes, int] = {}  # the same problem twice counts once: it is no boilerplate
    first = np.arange(len(problems))
    for p, (a, b) in enumerate(zip(words.offsets[:-1], words.offsets[1:], strict=True)):
        if lengths[p] < SHORTEST:
            continue
        first[p] = seen.setdefault(words.hashes[a:b].tobytes(), p)
        if first[p] == p:
            grams = np.unique(_ngrams(words.hashes[a:b], lengths[p]))
            hashes.append(grams)
            owners.append(np.full(len(grams), p))
    hash_, owner = np.concatenate(hashes), np.concatenate(owners)
    _, inverse, times = np.unique(hash_, return_inverse=True, return_counts=True)
    rare = times[inverse] <= common
    has_rare = np.bincount(owner[rare], minlength=len(problems)) > 0
    kept = rare | ~has_rare[owner]  # a problem made of boilerplate keeps all it has
    hash_, owner = hash_[kept], owner[kept]
    order = np.lexsort((owner, hash_))
    hash_, owner = hash_[order], owner[order]
    unique, starts = np.unique(hash_, return_index=True)
    bits = max(1, len(unique)).bit_length()
    edges = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    return Index(
        unique,
        np.append(np.searchsorted(unique, edges), len(unique)).astype(np.int64),
        np.append(starts, len(hash_)).astype(np.int64),
        owner.astype(np.int32),
        np.bincount(owner, minlength=len(problems))[first].astype(np.int32),
        np.unique(lengths[lengths >= SHORTEST]).astype(np.int64),
    )


def look_up(words: Words, index: Index, min_share: float) -> list[tuple[int, int, int, int] | None]:
    """For each text the problem it has most of, or None: (problem, n-grams found, first and last word).

    The words are those of the first stretch without a gap. Of equal shares the one with more n-grams wins,
    then the first problem.
    """
    out = np.full((len(words.offsets) - 1, 4), -1, np.int64)
    if len(index.hashes):
        _look_up(words.offsets, words.hashes, *index, min_share, out)
    return [None if row[0] < 0 else (int(row[0]), int(row[1]), int(row[2]), int(row[3])) for row in out]


# --- kernels ------------------------------------------------------------------------------------------------

FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd; n-grams are polynomials in it


@numba.njit(cache=True)
def _finish(hash_, length):
    """Spreads the bits of an n-gram's polynomial (splitmix64's finaliser), differently for each length."""
    hash_ ^= np.uint64(length) * np.uint64(0xD6E8FEB86659FD93)
    hash_ = (hash_ ^ (hash_ >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_ = (hash_ ^ (hash_ >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_ ^ (hash_ >> np.uint64(31))


@numba.njit(cache=True)
def _ngrams(hashes, length):
    """Hashes of all runs of `length` words."""
    out = np.empty(max(0, len(hashes) - length + 1), np.uint64)
    top = np.uint64(1)
    for _ in range(length):
        top *= FACTOR
    rolling = np.uint64(0)
    for w in range(len(hashes)):
        rolling = rolling * FACTOR + hashes[w]
        if w >= length:
            rolling -= top * hashes[w - length]
        if w >= length - 1:
            out[w - length + 1] = _finish(rolling, length)
    return out


@numba.njit(cache=True)
def _find(hash_, hashes, buckets, shift):
    """Place of a hash in the index, -1 if it is not there."""
    bucket = np.int64(hash_ >> shift)
    for g in range(buckets[bucket], buckets[bucket + 1]):
        if hashes[g] == hash_:
            return g
    return -1


@numba.njit(cache=True)
def _look_up(offsets, word_hashes, hashes, buckets, gram_offsets, owners, ngrams, lengths, min_share, out):
    bits = 0
    while (1 << bits) < len(buckets) - 1:
        bits += 1
    shift = np.uint64(64 - bits)
    seen = np.zeros(len(hashes), np.int32)  # the last text each n-gram was seen in
    counts, touched = np.zeros(len(ngrams), np.int32), np.empty(len(ngrams), np.int32)
    for d in range(len(out)):
        n = 0  # of `touched`: the problems seen in this text
        words = word_hashes[offsets[d] : offsets[d + 1]]
        for length in lengths:
            for hash_ in _ngrams(words, length):
                g = _find(hash_, hashes, buckets, shift)
                if g >= 0 and seen[g] != d + 1:
                    seen[g] = d + 1
                    for o in range(gram_offsets[g], gram_offsets[g + 1]):
                        if counts[owners[o]] == 0:
                            touched[n] = owners[o]
                            n += 1
                        counts[owners[o]] += 1
        best, best_share = -1, 0.0
        for p in touched[:n]:
            share = counts[p] / ngrams[p]
            better = share > best_share or (
                share == best_share and (counts[p] > counts[best] or (counts[p] == counts[best] and p < best))
            )
            if share >= min_share and better:
                best, best_share = p, share
        if best >= 0:
            first, last = _stretch(words, best, hashes, buckets, shift, gram_offsets, owners, lengths)
            out[d, 0], out[d, 1] = best, counts[best]
            out[d, 2], out[d, 3] = offsets[d] + first, offsets[d] + last
        for p in touched[:n]:
            counts[p] = 0


@numba.njit(cache=True)
def _stretch(words, problem, hashes, buckets, shift, gram_offsets, owners, lengths):
    """First and last word of the first run of n-grams that belong to the problem."""
    for length in lengths:
        first = last = -1
        grams = _ngrams(words, length)
        for w in range(len(grams)):
            g = _find(grams[w], hashes, buckets, shift)
            mine = False
            if g >= 0:
                for o in range(gram_offsets[g], gram_offsets[g + 1]):
                    mine = mine or owners[o] == problem
            if mine:
                first = w if first < 0 else first
                last = w + length - 1
            elif first >= 0 and w > last:
                break
        if first >= 0:
            return first, last
    return 0, 0
