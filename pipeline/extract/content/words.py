"""What a run of text says, as numbers: how likely its first words are content, and whether the page's head says them too.

Words are hashed; nothing here holds a vocabulary. A run's *score* is a logistic regression on its first words, pairs of
words, first word and (if it is short) whole text, with one learned weight for each bucket of hashes: "leave a reply",
"add to cart", "© 2024" weigh against, whatever the elements around them are called. What `<title>`, the description in
`<meta>` and JSON-LD say is remembered as hashed groups of words, and each run is asked which share of its own it finds.

R runs, T tokens, B buckets. Only the first LEAD tokens of a run are looked at: a long run is judged by its size.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from pipeline.extract.flat import FNV_OFFSET, FNV_PRIME, TAGS, Flat

LEAD = 32  # tokens of a run that are looked at
SHORT = 5  # tokens of a run that is also taken as a whole
WORD_BUCKETS = 1 << 15
GROUP_BUCKETS = 1 << 17  # of hashed groups of words in the head
DESCRIPTION, LINKED_DATA, HEAD_TITLE = range(3)
GROUPS = (3, 3, 2)  # words of a group, for each of these
MOST_READ = 50_000  # bytes of each
FOLD = np.uint64(29)
SYMBOL = np.uint64(333)  # sets punctuation apart from letters
PAIR, FIRST = np.uint64(31), np.uint64(17)


class Tokens(NamedTuple):
    """The first words of every run: those of run r are `hash_T[begin_R[r] : begin_R[r + 1]]`."""

    hash_T: np.ndarray  # uint64
    begin_R: np.ndarray  # int32, runs + 1


def tokens_of(flat: Flat) -> Tokens:
    data = np.frombuffer(flat.html, np.uint8)
    return Tokens(*_run_tokens(data, flat.start_N, flat.end_N, flat.run_N, flat.runs))


def buckets_of(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Buckets of each run's words, pairs and so on, one run after the other, and where each run's begin (runs + 1)."""
    return _buckets(*tokens)


def scores_of(tokens: Tokens, word_scores: np.ndarray) -> np.ndarray:
    """float32 (runs,): log-odds of content by a run's words. word_scores: float32 (WORD_BUCKETS,)."""
    return _scores(*_buckets(*tokens), word_scores)


def said_in_head(flat: Flat, tokens: Tokens) -> np.ndarray:
    """float32 (runs, 3): share of a run's groups of words that description, JSON-LD and title hold; −1 without these."""
    html = flat.html
    texts: list[list[bytes]] = [[], [], []]
    tag_N = flat.tag_N
    wanted_N = (tag_N == TAGS["meta"]) | (tag_N == TAGS["script"]) | (tag_N == TAGS["title"])
    for node in np.flatnonzero(wanted_N).tolist():
        tag = html[flat.start_N[node] : flat.inner_N[node]]
        if tag.startswith(b"<meta"):
            if b'description"' in tag and (at := tag.find(b'content="')) >= 0:
                texts[DESCRIPTION].append(tag[at + 9 : tag.find(b'"', at + 9)])
        elif tag.startswith(b"<title"):
            texts[HEAD_TITLE].append(html[flat.inner_N[node] : flat.end_N[node]])
        elif b"ld+json" in tag:
            texts[LINKED_DATA].append(html[flat.inner_N[node] : flat.end_N[node]])
    shares_RC = np.full((flat.runs, len(texts)), -1, np.float32)
    table = np.zeros(GROUP_BUCKETS, np.uint8)
    for column, (parts, size) in enumerate(zip(texts, GROUPS, strict=True)):
        if parts:
            text = b" . ".join(parts)[:MOST_READ].replace(b"\\n", b" ")
            _remember(np.frombuffer(text, np.uint8), size, column, table)
            _recall(*tokens, size, column, table, shares_RC)
    return shares_RC


def copies_key(tokens: Tokens, words_R: np.ndarray) -> np.ndarray:
    """uint64 (runs,): alike for runs that begin alike and are as long."""
    return _copies_key(*tokens, words_R)


@numba.njit(cache=True, nogil=True)
def _tokens(data, start, end, found, count, most):
    """Hashes of the words and symbols in data[start:end] into `found`, from `count` up to `most`; returns the new count.

    Case is folded in ASCII, a number counts as 0, a character of a script without spaces is a word.
    """
    word, length, at = FNV_OFFSET, 0, start
    while count < most:
        byte = data[at] if at < end else 32
        if 65 <= byte <= 90:
            byte += 32
        wide = (0xE3 <= byte <= 0xE9 or byte == 0xEF) and at + 2 < end
        symbol = byte == 0xE2 or byte == 0xC2
        digit = 48 <= byte <= 57
        if 97 <= byte <= 122 or digit or (byte >= 128 and not wide and not symbol):
            if not digit:
                word = (word ^ np.uint64(byte)) * FNV_PRIME
            elif not (length > 0 and 48 <= data[at - 1] <= 57):
                word = (word ^ np.uint64(48)) * FNV_PRIME
            length += 1
            at += 1
            continue
        if byte == 39 and length > 0:  # don't
            at += 1
            continue
        if length > 0:
            found[count] = word
            count += 1
            word, length = FNV_OFFSET, 0
            continue
        if at >= end:
            break
        if wide or byte == 0xE2:
            apostrophe = at + 2 < end and data[at + 1] == 0x80 and data[at + 2] == 0x99
            if at + 2 < end and not apostrophe:
                value = (np.uint64(byte) << np.uint64(16)) + (np.uint64(data[at + 1]) << np.uint64(8))
                found[count] = (value + np.uint64(data[at + 2]) + SYMBOL) * FNV_PRIME
                count += 1
            at += 3
        elif byte == 0xC2:
            if at + 1 < end and data[at + 1] != 0xA0:
                found[count] = (
                    (np.uint64(byte) << np.uint64(8)) + np.uint64(data[at + 1]) + SYMBOL
                ) * FNV_PRIME
                count += 1
            at += 2
        elif byte == 38:  # an entity: lexbor writes &amp; &lt; &gt; &nbsp;
            if at + 1 < end and data[at + 1] != 110:
                found[count] = (np.uint64(data[at + 1]) << np.uint64(8)) * FNV_PRIME
                count += 1
            stop = at + 1
            while stop < end and stop < at + 6 and data[stop] != 59:
                stop += 1
            at = stop + 1
        else:
            if byte > 32:
                found[count] = (np.uint64(byte) + SYMBOL) * FNV_PRIME
                count += 1
            at += 1
    return count


@numba.njit(cache=True, nogil=True)
def _run_tokens(data, start, end, run_of, runs):
    found = np.empty(runs * LEAD, np.uint64)
    begin = np.zeros(runs + 1, np.int32)
    count, run = 0, -1
    for node in range(len(run_of)):
        if run_of[node] >= 0:
            while run < run_of[node]:
                run += 1
                begin[run] = count
            count = _tokens(data, start[node], end[node], found, count, begin[run] + LEAD)
    begin[runs] = count
    return found[:count], begin


@numba.njit(cache=True, nogil=True, inline="always")
def _bucket(value, buckets):
    return (value ^ (value >> FOLD)) % np.uint64(buckets)


@numba.njit(cache=True, nogil=True)
def _buckets(tokens, begin):
    runs = len(begin) - 1
    found = np.empty(2 * (len(tokens) + runs), np.int32)
    found_at = np.zeros(runs + 1, np.int32)
    count = 0
    for r in range(runs):
        low, high = begin[r], begin[r + 1]
        whole = np.uint64(1)
        for at in range(low, high):
            following = tokens[at + 1] if at + 1 < high else PAIR
            found[count] = _bucket(tokens[at], WORD_BUCKETS)
            found[count + 1] = _bucket((tokens[at] * PAIR + following) * FNV_PRIME, WORD_BUCKETS)
            whole = (whole ^ tokens[at]) * FNV_PRIME
            count += 2
        if high > low:
            found[count] = _bucket((tokens[low] * FIRST) * FNV_PRIME, WORD_BUCKETS)
            count += 1
            if high - low <= SHORT:
                found[count] = _bucket(whole, WORD_BUCKETS)
                count += 1
        found_at[r + 1] = count
    return found[:count], found_at


@numba.njit(cache=True, nogil=True)
def _scores(buckets, begin, word_scores):
    runs = len(begin) - 1
    scores = np.zeros(runs, np.float32)
    for r in range(runs):
        for at in range(begin[r], begin[r + 1]):
            scores[r] += word_scores[buckets[at]]
        scores[r] /= np.sqrt(np.float32(max(begin[r + 1] - begin[r], 1)))
    return scores


@numba.njit(cache=True, nogil=True, inline="always")
def _group(tokens, at, size):
    value = np.uint64(size)
    for place in range(at, at + size):
        value = (value * PAIR + tokens[place]) * FNV_PRIME
    return _bucket(value, GROUP_BUCKETS)


@numba.njit(cache=True, nogil=True)
def _remember(data, size, column, table):
    tokens = np.empty(len(data) + 1, np.uint64)
    count = _tokens(data, 0, len(data), tokens, 0, len(tokens))
    for at in range(count - size + 1):
        table[_group(tokens, at, size)] |= np.uint8(1 << column)


@numba.njit(cache=True, nogil=True)
def _recall(tokens, begin, size, column, table, shares):
    for r in range(len(begin) - 1):
        groups = begin[r + 1] - begin[r] - size + 1
        hits = 0
        for at in range(begin[r], begin[r] + groups):
            hits += (table[_group(tokens, at, size)] >> column) & 1
        shares[r, column] = hits / groups if groups > 0 else 0


@numba.njit(cache=True, nogil=True)
def _copies_key(tokens, begin, words):
    runs = len(begin) - 1
    keys = np.zeros(runs, np.uint64)
    for r in range(runs):
        value = np.uint64(words[r]) + FNV_OFFSET
        for at in range(begin[r], begin[r + 1]):
            value = (value ^ tokens[at]) * FNV_PRIME
        keys[r] = value
    return keys
