"""Problems that a document has in another form: other LaTeX, other numbers' spelling, sentences swapped, words changed.

Problems and documents are compared by their tokens (`filters.decontamination.tokens`). What is looked for of a problem
are its 4-grams, none of which reaches from one sentence into the next, so that their order does not matter. Where a
window of a document has enough of those that few problems have, everything is compared there: the document has the
problem if within that stretch it has

* half of its 4-grams and two more: all of a problem of 7 tokens, 24 of 44;
* four of five of its words, and four of five of its numbers: a problem with other numbers is another problem, and a
  formula in common without the words around it is none;
* a quarter of the rare 4-grams that no other problem of its file has, if there are any: a preamble is no problem.

Where problems are compared with problems, of which many have one template, that is not enough: `strict` asks for all
numbers and no others, and for all words of a problem without numbers, unless everything is there in its order.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from filters.decontamination.ngrams import (
    Index,
    Origin,
    first_of_equals,
    grams_of,
    in_chunks,
    index_of,
    places_of,
)
from filters.decontamination.tokens import Tokens, find_tokens

GRAM = 4  # tokens
FEWEST = 6  # tokens of a problem; three 4-grams, all of which must be there
COMMON = 8  # a 4-gram of more problems than this does not lead to them
SHARE, BEYOND = 0.5, 2.0  # of a problem's 4-grams, and how many more
COVERED = 0.8  # of the different words, and of the different numbers
SEEDS = 0.3  # of the rare 4-grams, from which a stretch is compared at all
ALONE = 0.25  # of the rare 4-grams that the problem alone has
AROUND = 12  # tokens on either side of the 4-grams found; the words of short sentences may lie there


class Rearranged(NamedTuple):
    """What is known of the problems, besides `seeds`, the index of their rare 4-grams: about 8 bytes for each 4-gram.

    Of hashes the low 32 bits are kept, sorted for each problem; `…_offsets` uint32 say whose they are. `ngrams` int32:
    how many 4-grams a problem has, 0 = not to be found in this way; `tokens` int32: how many tokens, and `sequences`
    uint64: a hash of all of them.
    """

    seeds: Index
    ngrams: np.ndarray
    tokens: np.ndarray
    sequences: np.ndarray
    grams: np.ndarray
    gram_offsets: np.ndarray
    words: np.ndarray
    word_offsets: np.ndarray
    numbers: np.ndarray
    number_offsets: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.seeds.nbytes + sum(array.nbytes for array in self[1:])


class Found(NamedTuple):
    """Of a document: the problem, how many of its 4-grams, the first and last token, and whether it is all in order."""

    problem: int
    ngrams: int
    first: int
    last: int
    in_order: bool


def build_rearranged(problems: list[str], common: int = COMMON, origin: Origin | None = None) -> Rearranged:
    """Everything there is to know of problems. Those of fewer than 6 tokens, of fewer than 3 words, or with no rare
    4-gram are left out."""
    parts: list[list[np.ndarray]] = [[] for _ in range(7)]
    for begin, texts in in_chunks(problems):
        tokens = find_tokens(texts)
        sentences = _sentences(texts.data, tokens.offsets, tokens.starts, tokens.ends)
        grams = grams_of(tokens.hashes, GRAM)
        found = _sets(tokens.offsets, tokens.hashes, tokens.numbers, grams, sentences, begin)
        for part, array in zip(parts, found, strict=True):
            part.append(array)
    hashes, owners, low, words, numbers, counts, sequences = (np.concatenate(part, -1) for part in parts)
    seeds = index_of(
        hashes,
        owners,
        first_of_equals(sequences),
        common,
        np.array([GRAM]),
        keep_boilerplate=False,
        origin=origin,
    )
    return Rearranged(
        seeds,
        *(np.where(seeds.ngrams > 0, counts[0], 0).astype(np.int32), counts[1], sequences),
        *(low, _offsets(counts[0])),
        *(words, _offsets(counts[2])),
        *(numbers, _offsets(counts[3])),
    )


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.append(0, np.cumsum(counts)).astype(np.uint32)


def look_up_rearranged(tokens: Tokens, known: Rearranged, strict: bool = False) -> list[Found | None]:
    """For each text the problem of which it has the largest share, or None.

    strict: for texts that are problems themselves, where another number makes another problem (see above).
    """
    best: list[Found | None] = [None] * (len(tokens.offsets) - 1)
    share = np.zeros(len(best))
    for d, found in look_up_all_rearranged(tokens, known, strict):
        own = found.ngrams / known.ngrams[found.problem]
        if own > share[d]:
            best[d], share[d] = found, own
    return best


def look_up_all_rearranged(
    tokens: Tokens, known: Rearranged, strict: bool = False
) -> list[tuple[int, Found]]:
    """Every problem that a text has, with the text's number. Of problems of the same tokens only the first is there."""
    if not len(known.seeds.hashes):
        return []
    grams = grams_of(tokens.hashes, GRAM)
    places = places_of(grams, known.seeds)
    low = _low(grams)
    del grams
    of_tokens = tokens.offsets, tokens.hashes, tokens.numbers
    seeds = known.seeds
    of_seeds = seeds.offsets, seeds.owners, seeds.alone, seeds.ngrams, seeds.ngrams_alone
    rows = _look_up(*of_tokens, low, places, *of_seeds, *known[1:], strict)
    return [(d, Found(p, found, a, b, bool(in_order))) for d, p, found, a, b, in_order in rows.tolist()]


# --- kernels ------------------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _sentences(data, offsets, starts, ends):
    """For each token the first token after its sentence. One of fewer than 4 tokens belongs to the next, or the last."""
    out = np.empty(len(starts), np.int64)
    for d in range(len(offsets) - 1):
        begin, end = offsets[d], offsets[d + 1]
        for t in range(begin, end):
            stop, space = t + 1 == end, False
            if not stop:
                for byte in data[ends[t] : starts[t + 1]]:
                    stop = stop or byte in (46, 63, 33, 59)  # . ? ! ;
                    space = space or byte <= 32
                stop = stop and space and t + 1 - begin >= 4 and end - (t + 1) >= 4
            if stop:
                out[begin : t + 1] = t + 1
                begin = t + 1
    return out


@numba.njit(cache=True)
def _sets(offsets, hashes, numbers, all_grams, sentences, begin):
    """Of each text the distinct 4-grams within sentences, words and numbers, sorted; how many there are of each."""
    texts = len(offsets) - 1
    grams, owners = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int32)
    low_grams = np.empty(len(hashes), np.uint32)
    words, figures = np.empty(len(hashes), np.uint32), np.empty(len(hashes), np.uint32)
    counts = np.zeros((4, texts), np.int32)  # 4-grams, tokens, words, numbers
    sequences = np.zeros(texts, np.uint64)
    g = w = f = 0
    for d in range(texts):
        a, b = offsets[d], offsets[d + 1]
        sequences[d] = _sequence(hashes[a:b])
        low = _low(hashes[a:b])
        own_words = np.unique(low[~numbers[a:b]])
        if b - a < FEWEST or len(own_words) < 3:
            continue
        kept, n = np.empty(b - a, np.uint64), 0
        for t in range(a, b - GRAM + 1):
            if t + GRAM <= sentences[t]:
                kept[n] = all_grams[t]
                n += 1
        own = np.unique(kept[:n])
        own_numbers = np.unique(low[numbers[a:b]])
        grams[g : g + len(own)], owners[g : g + len(own)] = own, begin + d
        low_grams[g : g + len(own)] = np.sort(_low(own))
        words[w : w + len(own_words)] = own_words
        figures[f : f + len(own_numbers)] = own_numbers
        g, w, f = g + len(own), w + len(own_words), f + len(own_numbers)
        counts[0, d], counts[1, d], counts[2, d], counts[3, d] = (
            len(own), b - a, len(own_words), len(own_numbers)
        )  # fmt: skip
    return (
        grams[:g].copy(), owners[:g].copy(), low_grams[:g].copy(), words[:w].copy(), figures[:f].copy(), counts, sequences
    )  # fmt: skip


@numba.njit(cache=True)
def _low(hashes):
    return (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32)


@numba.njit(cache=True)
def _sequence(hashes):
    """One hash for all tokens, in their order."""
    out = np.uint64(len(hashes))
    for hash_ in hashes:
        out = (out ^ (out >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + hash_
    return out


@numba.njit(cache=True)
def _look_up(
    offsets, hashes, is_number, low_grams, places, index_offsets, owners, alone, rare, rare_alone, ngrams, tokens,
    sequences, grams, gram_offsets, words, word_offsets, numbers, number_offsets, strict,
):  # fmt: skip
    """Rows of text, problem, 4-grams found, first and last token, whether all is in order."""
    out, rows = np.empty((1024, 6), np.int64), 0
    counts = np.zeros(len(ngrams), np.int32)
    in_window = np.zeros(len(index_offsets), np.int32)
    for d in range(len(offsets) - 1):
        begin, end = offsets[d], offsets[d + 1]
        hits = 0
        for t in range(begin, end - GRAM + 1):
            if places[t] >= 0:
                for o in range(index_offsets[places[t]], index_offsets[places[t] + 1]):
                    counts[owners[o]] += 1
                    hits += 1
        if hits == 0:
            continue
        # Problem, token and whether no other problem has that 4-gram as one number, of problems that may be here at all.
        pairs, n = np.empty(hits, np.int64), 0
        for t in range(begin, end - GRAM + 1):
            if places[t] >= 0:
                for o in range(index_offsets[places[t]], index_offsets[places[t] + 1]):
                    if counts[owners[o]] >= SEEDS * rare[owners[o]]:
                        pairs[n] = (np.int64(owners[o]) << 32) | ((t - begin) << 1) | alone[o]
                        n += 1
        for t in range(begin, end - GRAM + 1):
            if places[t] >= 0:
                for o in range(index_offsets[places[t]], index_offsets[places[t] + 1]):
                    counts[owners[o]] = 0
        pairs = np.sort(pairs[:n])
        a = 0
        while a < n:
            p = pairs[a] >> 32
            b = a
            while b < n and pairs[b] >> 32 == p:
                b += 1
            positions, is_alone = (pairs[a:b] & 0xFFFFFFFF) >> 1, pairs[a:b] & 1
            a = b
            first, last, seeds = _window(positions, places[begin:], in_window, 2 * tokens[p] + 20)
            if seeds < SEEDS * rare[p]:
                continue
            inside = (positions >= first - AROUND) & (positions <= last + AROUND)
            if (is_alone[inside]).sum() < ALONE * rare_alone[p]:
                continue
            left, right = max(0, first - AROUND), min(end - begin, last + GRAM + AROUND)
            found, first, last = _in_stretch(
                low_grams[begin + left : begin + right - GRAM + 1],
                grams[np.int64(gram_offsets[p]) : np.int64(gram_offsets[p + 1])],
            )
            if found < min(SHARE * ngrams[p] + BEYOND, ngrams[p]):
                continue
            stretch = np.unique(_low(hashes[begin + left : begin + right]))
            own_words = words[np.int64(word_offsets[p]) : np.int64(word_offsets[p + 1])]
            own_numbers = numbers[np.int64(number_offsets[p]) : np.int64(number_offsets[p + 1])]
            if not (_covered(stretch, own_words, COVERED) and _covered(stretch, own_numbers, COVERED)):
                continue
            first, last = begin + left + first, begin + left + last + GRAM - 1
            length, in_order = np.int64(tokens[p]), False
            for t in range(first, begin + right - length + 1):
                if found == ngrams[p] and _sequence(hashes[t : t + length]) == sequences[p]:
                    first, last, in_order = t, t + length - 1, True
                    break
            if strict and not in_order:
                stop = min(last + GRAM, end)  # one that stands for the problem's last may be 3 tokens further
                amid = _low(hashes[first:stop])[is_number[first:stop]]
                wanted = own_numbers if len(own_numbers) else own_words
                if not (_covered(stretch, wanted, 1.0) and _covered(own_numbers, amid, 1.0)):
                    continue
            if rows == len(out):
                out = np.concatenate((out, np.empty_like(out)))
            out[rows, 0], out[rows, 1], out[rows, 2] = d, p, found
            out[rows, 3], out[rows, 4], out[rows, 5] = first, last, in_order
            rows += 1
    return out[:rows]


@numba.njit(cache=True)
def _window(positions, places, in_window, width):
    """First and last position of the window with the most different n-grams, and how many these are."""
    best, best_first, best_last, distinct, left = 0, 0, 0, 0, 0
    for right in range(len(positions)):
        place = places[positions[right]]
        in_window[place] += 1
        distinct += in_window[place] == 1
        while positions[right] - positions[left] > width:
            place = places[positions[left]]
            in_window[place] -= 1
            distinct -= in_window[place] == 0
            left += 1
        if distinct > best:
            best, best_first, best_last = distinct, positions[left], positions[right]
    for position in positions[left:]:
        in_window[places[position]] = 0
    return best_first, best_last, best


@numba.njit(cache=True)
def _in_stretch(stretch, grams):
    """How many of a problem's n-grams a stretch has, and the first and last place of one."""
    seen = np.zeros(len(grams), np.bool_)
    found, first, last = 0, -1, -1
    for t in range(len(stretch)):
        g = np.searchsorted(grams, stretch[t])
        if g < len(grams) and grams[g] == stretch[t]:
            first = t if first < 0 else first
            last = t
            found += not seen[g]
            seen[g] = True
    return found, first, last


@numba.njit(cache=True)
def _covered(stretch, wanted, share):
    """Whether a stretch (its hashes sorted) has that share of the words or numbers that are wanted."""
    found = 0
    for hash_ in wanted:
        place = np.searchsorted(stretch, hash_)
        found += place < len(stretch) and stretch[place] == hash_
    return found >= share * len(wanted)
