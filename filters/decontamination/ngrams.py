"""Runs of words: which problems a text has n-grams of, in an index of sorted hashes (GPT-3: Brown et al. 2020).

One common 13-gram proves little ("where m and n are relatively prime positive integers. Find m + n"), so what counts is
the share of one problem's n-grams. N-grams of more than `common` different problems are boilerplate and left out,
unless a problem has no others. Nor is it a match to have only what several problems of one file share, a preamble: of the
n-grams that one problem alone has the share must be as large, or if there are none, half of all must be there.

An n-gram takes about 20 bytes of the index, and 4 while texts are looked up; about 110 while the index is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from filters.words import Texts, Words, find_words, texts_of

SHORTEST = 5  # words; shorter problems are in half the web
PROBLEMS_AT_A_TIME = 4096  # while an index is built: their words are held, the others' n-grams only


class Index(NamedTuple):
    """N-grams of all problems.

    `hashes` uint64, sorted; `buckets` uint32, where the hashes with each leading bits begin; `offsets` uint32 and
    `owners` int32: the problems of each hash; `alone` bool: for each owner, whether no other problem of its file has that
    hash; `ngrams` and `ngrams_alone` int32: how many n-grams each problem has, and how many alone; `lengths` int64: in
    words; `first` int64: for each problem the one whose n-grams stand for it as well. `present` uint8: bits that are set
    for the low bits of every hash, so that most words of most texts ask for one byte in the processor's cache.
    """

    hashes: np.ndarray
    buckets: np.ndarray
    offsets: np.ndarray
    owners: np.ndarray
    alone: np.ndarray
    ngrams: np.ndarray
    ngrams_alone: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    present: np.ndarray

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self)


class Origin(NamedTuple):
    """For each text the number of its problem and of its file, int64. Several texts may be one problem."""

    problems: np.ndarray
    files: np.ndarray


def origin_of(files: list[str], ids: list[str]) -> Origin:
    """Texts of the same file and id are one problem."""
    numbers: dict[tuple[str, ...], int] = {}
    problems = [numbers.setdefault(key, len(numbers)) for key in zip(files, ids, strict=True)]
    of_files = [numbers.setdefault((file,), len(numbers)) for file in files]
    return Origin(np.array(problems, np.int64), np.array(of_files, np.int64))


def build_index(problems: list[str], ngram: int, common: int, origin: Origin | None = None) -> Index:
    """The index of problems. A problem of fewer than `ngram` words is one n-gram; of fewer than 5 none.

    origin: None if each text is a problem of its own, and all are of one file.
    """
    hashes, owners, sequences, lengths = [], [], [], []
    for begin, texts in in_chunks(problems):
        words = find_words(texts)
        counts = np.diff(words.offsets)
        lengths.append(np.where(counts < SHORTEST, 0, np.minimum(counts, ngram)))
        sequences.append(sequences_of(words.hashes, words.offsets))
        hash_, owner = _grams_of_each(words.hashes, words.offsets, lengths[-1], begin)
        hashes.append(hash_)
        owners.append(owner)
    length = np.concatenate(lengths)
    return index_of(
        np.concatenate(hashes),
        np.concatenate(owners),
        first_of_equals(np.concatenate(sequences)),
        common,
        np.unique(length[length > 0]),
        origin=origin,
    )


def in_chunks(problems: list[str]) -> Iterator[tuple[int, Texts]]:
    """The number of the first problem of each chunk, and the chunk's texts; of no problems one empty chunk."""
    for begin in range(0, max(1, len(problems)), PROBLEMS_AT_A_TIME):
        yield begin, texts_of(pa.array(problems[begin : begin + PROBLEMS_AT_A_TIME], pa.large_string()))


def first_of_equals(sequences: np.ndarray) -> np.ndarray:
    """For each problem the first one of the same words, int64."""
    _, first, inverse = np.unique(sequences, return_index=True, return_inverse=True)
    return first[inverse]


def index_of(
    hashes: np.ndarray,
    owners: np.ndarray,
    first: np.ndarray,
    common: int,
    lengths: np.ndarray,
    keep_boilerplate: bool = True,
    origin: Origin | None = None,
) -> Index:
    """The index of n-grams and the problems they belong to, each pair once.

    first: for each problem the one whose n-grams stand for it as well: the same problem twice is no boilerplate.
    keep_boilerplate: whether a problem of nothing else keeps all it has, or has none.
    """
    if origin is None:
        origin = Origin(np.arange(len(first)), np.zeros(len(first), np.int64))
    owners_first = first[owners] == owners
    hashes, owners = hashes[owners_first], owners[owners_first]
    problems, files = origin.problems[owners], origin.files[owners]
    order = np.lexsort((problems, files, hashes))
    hashes, owners, problems, files = hashes[order], owners[order], problems[order], files[order]
    new_hash = _is_new(hashes)
    new_file = new_hash | _is_new(files)
    new_problem = new_file | _is_new(problems)
    rare = _counted(new_problem, new_hash) <= common
    alone = _counted(new_problem, new_file) == 1
    has_rare = np.zeros(len(first), np.bool_)
    has_rare[owners[rare]] = True
    kept = rare | ~has_rare[owners] if keep_boilerplate else rare
    hashes, owners, alone = hashes[kept], owners[kept], alone[kept]
    starts = _begins(hashes)
    unique = hashes[starts]
    bits = max(1, len(unique).bit_length() - 1)
    edges = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    present = np.zeros(2 << bits, np.uint8)  # 8 to 16 bits for each hash
    low = unique & np.uint64((16 << bits) - 1)
    bit = np.uint8(1) << (low & np.uint64(7)).astype(np.uint8)
    np.bitwise_or.at(present, (low >> np.uint64(3)).astype(np.int64), bit)
    return Index(
        unique,
        np.append(np.searchsorted(unique, edges), len(unique)).astype(np.uint32),
        np.append(starts, len(hashes)).astype(np.uint32),
        owners,
        alone,
        np.bincount(owners, minlength=len(first))[first].astype(np.int32),
        np.bincount(owners[alone], minlength=len(first))[first].astype(np.int32),
        lengths,
        first,
        present,
    )


def _begins(hashes: np.ndarray) -> np.ndarray:
    """Where each run of equal hashes begins."""
    return np.flatnonzero(_is_new(hashes))


def _is_new(values: np.ndarray) -> np.ndarray:
    """Whether each value differs from the one before."""
    new = np.ones(len(values), np.bool_)
    new[1:] = values[1:] != values[:-1]
    return new


def _counted(marked: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """For each place how many are marked in the run it lies in."""
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.empty(0, np.int64)
    counts = np.add.reduceat(marked.astype(np.int64), starts)
    return np.repeat(counts, np.diff(np.append(starts, len(marked))))


Best = tuple[int, int, int, int]  # problem, n-grams found, first and last word


def look_up(words: Words, index: Index, min_share: float) -> list[Best | None]:
    """For each text the problem it has most of, or None: (problem, n-grams found, first and last word).

    The words are those of the first stretch without a gap. Of equal shares the one with more n-grams wins,
    then the first problem.
    """
    return look_up_all(words, index, min_share)[0]


def look_up_all(words: Words, index: Index, min_share: float) -> tuple[list[Best | None], np.ndarray]:
    """As `look_up`, and all pairs of a text and a problem of which it has enough, int64 [pairs, 2].

    Of problems of the same words only the first is there.
    """
    out = np.full((len(words.offsets) - 1, 4), -1, np.int64)
    pairs = np.empty((0, 2), np.int64)
    if len(index.hashes):
        pairs = _look_up(words.offsets, words.hashes, *index[:8], index.present, min_share, out)
    best = [None if row[0] < 0 else (int(row[0]), int(row[1]), int(row[2]), int(row[3])) for row in out]
    return best, pairs


def places_of(grams: np.ndarray, index: Index) -> np.ndarray:
    """For each hash its place in the index, -1 if it is not there; int64."""
    if not len(index.hashes):
        return np.full(len(grams), -1, np.int64)
    return _places(grams, index.hashes, index.buckets, index.present)


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
def grams_of(hashes, length):
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
def sequences_of(hashes, offsets):
    """One hash for all the words of each text, in their order."""
    out = np.zeros(len(offsets) - 1, np.uint64)
    for d in range(len(out)):
        for w in range(offsets[d], offsets[d + 1]):
            out[d] = out[d] * FACTOR + hashes[w]
        out[d] = _finish(out[d], 0)
    return out


@numba.njit(cache=True)
def _grams_of_each(hashes, offsets, lengths, begin):
    """The distinct n-grams of each text, of `lengths[d]` words (0: none), and the number of the text from `begin` on."""
    grams, owners, n = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int32), 0
    for d in range(len(lengths)):
        if lengths[d] == 0:
            continue
        own = np.sort(grams_of(hashes[offsets[d] : offsets[d + 1]], lengths[d]))
        for g in range(len(own)):
            if g == 0 or own[g] != own[g - 1]:
                grams[n], owners[n] = own[g], begin + d
                n += 1
    return grams[:n].copy(), owners[:n].copy()


@numba.njit(cache=True)
def _find(hash_, hashes, buckets, present, shift, low):
    """Place of a hash in the index, -1 if it is not there."""
    bit = hash_ & low
    if present[bit >> np.uint64(3)] & (np.uint8(1) << np.uint8(bit & np.uint64(7))) == 0:
        return np.int64(-1)
    bucket = hash_ >> shift
    for g in range(np.int64(buckets[bucket]), np.int64(buckets[bucket + np.uint64(1)])):
        if hashes[g] == hash_:
            return g
    return np.int64(-1)


@numba.njit(cache=True)
def _masks(buckets, present):
    """How far a hash is shifted to be a bucket, and the bits of it that are one of `present`."""
    bits = 0
    while (1 << bits) < len(buckets) - 1:
        bits += 1
    return np.uint64(64 - bits), np.uint64(8 * len(present) - 1)


@numba.njit(cache=True)
def _places(grams, hashes, buckets, present):
    shift, low = _masks(buckets, present)
    out = np.empty(len(grams), np.int64)
    for w in range(len(grams)):
        out[w] = _find(grams[w], hashes, buckets, present, shift, low)
    return out


@numba.njit(cache=True)
def _look_up(
    offsets, word_hashes, hashes, buckets, gram_offsets, owners, alone, ngrams, ngrams_alone, lengths, present,
    min_share, out,
):  # fmt: skip
    shift, low = _masks(buckets, present)
    seen = np.zeros(len(hashes), np.int32)  # the last text each n-gram was seen in
    counts, touched = np.zeros(len(ngrams), np.int32), np.empty(len(ngrams), np.int32)
    counts_alone = np.zeros(len(ngrams), np.int32)
    pairs, found = np.empty((1024, 2), np.int64), 0
    for d in range(len(out)):
        n = 0  # of `touched`: the problems seen in this text
        words = word_hashes[offsets[d] : offsets[d + 1]]
        for length in lengths:
            for hash_ in grams_of(words, length):
                g = _find(hash_, hashes, buckets, present, shift, low)
                if g >= 0 and seen[g] != d + 1:
                    seen[g] = d + 1
                    for o in range(gram_offsets[g], gram_offsets[g + 1]):
                        if counts[owners[o]] == 0:
                            touched[n] = owners[o]
                            n += 1
                        counts[owners[o]] += 1
                        counts_alone[owners[o]] += alone[o]
        best, best_share = -1, 0.0
        for p in touched[:n]:
            share = counts[p] / ngrams[p]
            if ngrams_alone[p] == 0:
                enough = share >= max(min_share, 0.5)
            else:
                enough = share >= min_share and counts_alone[p] >= max(1, min_share * ngrams_alone[p])
            if not enough:
                continue
            if found == len(pairs):
                pairs = np.concatenate((pairs, np.empty_like(pairs)))
            pairs[found, 0], pairs[found, 1] = d, p
            found += 1
            better = share > best_share or (
                share == best_share and (counts[p] > counts[best] or (counts[p] == counts[best] and p < best))
            )
            if better:
                best, best_share = p, share
        if best >= 0:
            first, last = _stretch(
                words, best, hashes, buckets, present, shift, low, gram_offsets, owners, lengths
            )
            out[d, 0], out[d, 1] = best, counts[best]
            out[d, 2], out[d, 3] = offsets[d] + first, offsets[d] + last
        for p in touched[:n]:
            counts[p] = counts_alone[p] = 0
    return pairs[:found]


@numba.njit(cache=True)
def _stretch(words, problem, hashes, buckets, present, shift, low, gram_offsets, owners, lengths):
    """First and last word of the first run of n-grams that belong to the problem."""
    for length in lengths:
        first = last = -1
        grams = grams_of(words, length)
        for w in range(len(grams)):
            g = _find(grams[w], hashes, buckets, present, shift, low)
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
