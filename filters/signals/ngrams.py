"""Kernels over a text's words: what they are made of, and which of their sequences come again.

Nearly all sequences of words occur once, and to keep each of them in a hash table would be most of the work of all
signals. So places are counted first in a small table that does not tell keys apart: where it counts one, nothing
comes again. Only the places that are left are looked up.
"""

from __future__ import annotations

import numba
import numpy as np

# numba's disk cache looks at one source file only: no kernel calls a kernel of another file. Hot loops run over
# unsigned places: of a signed one numba asks each time whether it counts from the end.

ONE, TOP_BIT = np.uint64(1), np.uint64(1 << 63)
GOLDEN, SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
EIGHT = np.uint64(8)
BEGINNING = np.uint64(15)  # bytes that a sequence of five words or more is told by: five Han characters
FIRST_BYTES = np.array([(1 << (8 * n)) - 1 for n in range(9)], np.uint64)  # of eight, the first n


@numba.njit(cache=True)
def count_words(data, offsets, hashes, starts, ends, lengths, alphabetic, phrases, first, begins, out):
    """Characters, words with a letter, different words, characters of the most frequent pair, stop words, phrases of
    inference, words, stop words in small letters (int64 [texts, 8])."""
    most = _longest(offsets)
    keys, counts = np.empty(_table_size(most), np.uint64), np.empty(_table_size(most), np.int32)
    crowd, again = np.empty(_table_size(4 * most), np.uint8), np.empty(most + 1, np.uint64)
    pairs = np.empty(most + 1, np.uint64)
    for d in range(len(out)):
        a, b = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        count = b - a
        mask, crowd_mask = _cleared(keys, count), _cleared(crowd, 4 * count)
        total, letters, unique, spoken = 0, 0, 0, np.uint64(0)
        for w in range(a, b):
            total += lengths[w]
            letters += alphabetic[w]
            unique += not _seen(keys, mask, hashes[w])
            again[spoken] = w
            spoken += np.uint64(begins[hashes[w] & np.uint64(0xFFF)])
        stop_words, small, inferences = _count_phrases(
            data, hashes, starts, ends, phrases, first, again[:spoken], b
        )
        for i in range(ONE, count):
            pairs[i] = _mixed(hashes[a + i - ONE] * GOLDEN + hashes[a + i]) | TOP_BIT
            _crowd(crowd, crowd_mask, pairs[i])
        left = np.uint64(0)
        for i in range(ONE, count):
            again[left] = i
            left += np.uint64(crowd[pairs[i] & crowd_mask] > 1)
        best, best_characters = 1, 0  # of the most frequent pair; of several the longest
        mask = _cleared(keys, left)
        for i in again[:left]:
            slot = _slot(keys, mask, pairs[i])
            times = counts[slot] + 1 if keys[slot] != 0 else 1
            keys[slot], counts[slot] = pairs[i], times
            if times > 1 and times >= best:
                # one space between the words, none where they touch (scripts without spaces)
                w = a + i
                length = lengths[w - ONE] + lengths[w] + (starts[w] > ends[w - ONE])
                if times > best or times * length > best_characters:
                    best, best_characters = times, times * length
        out[d, 0], out[d, 1], out[d, 2], out[d, 3] = total, letters, unique, best_characters
        out[d, 4], out[d, 5], out[d, 6], out[d, 7] = stop_words, inferences, np.int64(count), small


@numba.njit(cache=True)
def _count_phrases(data, hashes, starts, ends, phrases, first, places, end):
    """Stop words, stop words in small letters and phrases of inference that begin at these words."""
    stop_words = small = inferences = 0
    seen = np.int64(0)  # bits for each stop word that was seen; 16 higher in small letters
    for w in places:
        low = hashes[w] & np.uint64(0xFFF)
        for p in range(first[low], first[low + ONE]):
            if phrases[p, 0] != hashes[w]:
                continue
            if phrases[p, 3] > 0:
                bit = np.int64(1) << np.int64(phrases[p, 3])
                stop_words += seen & bit == 0
                seen |= bit
                bit <<= 16
                if seen & bit == 0 and _in_small_letters(data, starts[w], ends[w]):
                    small += 1
                    seen |= bit
            elif _continues(data, hashes, starts, ends, phrases[p], w, end):
                inferences += 1
    return stop_words, small, inferences


@numba.njit(cache=True)
def _in_small_letters(data, i, end):
    while i < end and 97 <= data[i] <= 122:
        i += 1
    return i == end


@numba.njit(cache=True)
def _continues(data, hashes, starts, ends, phrase, w, last):
    """Whether the other words of a phrase follow word `w` with nothing but white space between them."""
    for k in range(1, 3):
        if phrase[k] == 0:
            return True
        if w + k >= last or hashes[w + k] != phrase[k]:
            return False
        for i in range(ends[w + k - 1], starts[w + k]):
            if data[i] > 32:
                return False
    return True


@numba.njit(cache=True)
def count_grams(data, offsets, starts, ends, lengths, out):
    """Characters of the most frequent 2-, 3- and 4-gram, and of repeated 5- to 10-grams, as they are written.

    int64 [texts, 9]. Of the latter datatrove joins the words, so that "ab c" = "a bc".
    """
    most = _longest(offsets)
    keys, counts = np.empty(_table_size(most), np.uint64), np.empty(_table_size(most), np.int32)
    crowd, again = np.empty(_table_size(4 * most), np.uint8), np.empty(most, np.uint64)
    words, beginnings = np.empty(most, np.uint64), np.empty(most, np.uint64)
    slots, times = np.empty(most, np.uint64), np.empty(most + 1, np.int32)
    places, characters = np.empty(most + 1, np.uint64), np.empty(most + 1, np.int64)
    joined, longer = np.empty(0, np.uint8), np.empty(0, np.uint64)
    for d in range(len(out)):
        first, count = np.uint64(offsets[d]), np.uint64(offsets[d + 1] - offsets[d])
        if count < 2:
            continue
        bytes_ = np.uint64(ends[first + count - ONE] - starts[first])
        if len(joined) < bytes_ + np.uint64(24):  # words are read in eights, beyond the last one too
            joined = np.zeros(2 * bytes_ + np.uint64(24), np.uint8)
        place, length = np.uint64(0), 0
        for w in range(count):
            places[w], characters[w] = place, length
            _append(joined, place, data, np.uint64(starts[first + w]), np.uint64(ends[first + w]))
            place += np.uint64(ends[first + w] - starts[first + w])
            length += lengths[first + w]
        places[count], characters[count] = place, length

        mask = _cleared(crowd, 4 * count)
        for w in range(count):
            words[w] = _hash(joined, places[w], places[w + ONE])
            times[w] = 1
        for w in range(count - ONE):
            slots[w] = _mixed(words[w] * SPREAD + words[w + ONE])
            _crowd(crowd, mask, slots[w])
        left = np.uint64(0)
        for w in range(count - ONE):
            again[left] = w
            left += np.uint64(crowd[slots[w] & mask] > 1)
        for n in range(2, 5):
            if n > 2:
                left = _both_again(again[:left], times, count, np.uint64(n))
            mask = _cleared(keys, left)
            out[d, n - 2] = _top_gram(
                words, characters, count, np.uint64(n), again[:left], keys, counts, mask, slots, times
            )
        if count < 6:
            continue
        mask = _cleared(crowd, 4 * count)
        for w in range(count - np.uint64(4)):
            low = _eight(joined, places[w])
            high = _eight(joined, places[w] + BEGINNING - EIGHT)
            beginnings[w] = _mixed(low * SPREAD + high)
            _crowd(crowd, mask, beginnings[w])
        left = np.uint64(0)
        for w in range(count - np.uint64(4)):
            again[left] = w
            short = places[w + np.uint64(5)] - places[w] < BEGINNING  # its beginning has more words than five
            left += np.uint64(short | (crowd[beginnings[w] & mask] > 1))
        if 6 * left > np.uint64(len(longer)):
            longer = np.empty(12 * left, np.uint64)
        for i in range(left):
            _hash_orders(joined, places, again[i], count, longer[6 * i : 6 * i + 6])
        for n in range(5, 11):
            mask = _cleared(keys, left)
            out[d, n - 2] = _repeated(characters, count, np.uint64(n), again[:left], longer, keys, mask)


@numba.njit(cache=True)
def _both_again(again, times, count, n):
    """The places of n-grams both of whose n-1-grams come again, in `again`; how many. Other `times` become 1."""
    left = np.uint64(0)
    for w in again:
        stays = (times[w] > 1) & (times[w + ONE] > 1) & (w + n <= count)
        times[w] = 1
        again[left] = w
        left += np.uint64(stays)
    return left


@numba.njit(cache=True)
def _top_gram(words, characters, count, n, again, keys, counts, mask, slots, times):
    """Characters of all occurrences of the most frequent n-gram; `times` becomes that of n-grams."""
    if count < n:
        return 0
    for w in again:
        key = words[w]
        for k in range(ONE, n):
            key = key * SPREAD + words[w + k]
        key = _mixed(key) | TOP_BIT
        slot = _slot(keys, mask, key)
        counts[slot] = counts[slot] + 1 if keys[slot] != 0 else 1
        keys[slot] = key
        slots[w] = slot
    best, at = 1, np.uint64(0)  # of several, datatrove takes the one that comes first
    for w in again:
        times[w] = counts[slots[w]]
        if times[w] > best:
            best, at = times[w], w
    return best * (characters[at + n] - characters[at] + np.int64(n) - 1)


@numba.njit(cache=True)
def _hash_orders(joined, places, w, count, hashes):
    """Hashes of the 5- to 10-grams at word `w`, as far as there are any, in one walk over the longest."""
    hash_, i = np.uint64(0), places[w]
    for n in range(np.uint64(5), np.uint64(11)):
        if w + n <= count:
            end = places[w + n]
            while i + EIGHT < end:
                hash_ = _with(hash_, _eight(joined, i))
                i += EIGHT
            hashes[n - np.uint64(5)] = _mixed(
                _with(hash_, _eight(joined, i) & FIRST_BYTES[end - i]) + end - i
            )


@numba.njit(cache=True)
def _repeated(characters, count, n, again, hashes, keys, mask):
    """Characters of n-grams that were there before; after one the next begins behind it."""
    repeated, next_ = 0, np.uint64(0)
    for i in range(np.uint64(len(again))):
        w = again[i]
        if w >= next_ and w + n <= count and _seen(keys, mask, hashes[6 * i + n - np.uint64(5)]):
            repeated += characters[w + n] - characters[w]
            next_ = w + n
    return repeated


# --- hashes and tables --------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _eight(data, i):
    """The eight bytes that begin at `i`: one load of the processor."""
    bytes_ = np.uint64(0)
    for k in range(EIGHT):
        bytes_ |= np.uint64(data[i + k]) << (EIGHT * k)
    return bytes_


@numba.njit(cache=True)
def _append(joined, place, data, i, end):
    """Copies the bytes from `i` to `end`, and perhaps some more, to `place`."""
    while i < end:
        if i + EIGHT <= np.uint64(len(data)):
            bytes_ = _eight(data, i)
            for k in range(EIGHT):
                joined[place + k] = np.uint8(bytes_ >> (EIGHT * k))
        else:
            for k in range(np.uint64(len(data)) - i):
                joined[place + k] = data[i + k]
        i += EIGHT
        place += EIGHT


@numba.njit(cache=True)
def _with(hash_, bytes_):
    hash_ = (hash_ ^ bytes_) * SPREAD
    return hash_ ^ (hash_ >> np.uint64(32))


@numba.njit(cache=True)
def _hash(data, i, end):
    """Hash of the bytes from `i` to `end`; the seven after them must be readable."""
    hash_ = end - i
    while i + EIGHT < end:
        hash_ = _with(hash_, _eight(data, i))
        i += EIGHT
    return _with(hash_, _eight(data, i) & FIRST_BYTES[end - i])


@numba.njit(cache=True)
def _mixed(x):
    x = (x ^ (x >> np.uint64(32))) * GOLDEN
    return x ^ (x >> np.uint64(29))


@numba.njit(cache=True)
def _crowd(crowd, mask, key):
    """Counts a key, up to two, with those that fall in the same place."""
    count = crowd[key & mask]
    crowd[key & mask] = count + np.uint8(count < 2)


@numba.njit(cache=True)
def _slot(keys, mask, key):
    """Where `key`, not 0, is or belongs in an open-addressing table of mask + 1 places; 0 is a free one."""
    slot = key & mask
    while (keys[slot] != 0) & (keys[slot] != key):
        slot = (slot + ONE) & mask
    return slot


@numba.njit(cache=True)
def _seen(keys, mask, key):
    """Whether `key` is in the table; it is from now on."""
    key |= TOP_BIT
    slot = _slot(keys, mask, key)
    seen = keys[slot] == key
    keys[slot] = key
    return seen


@numba.njit(cache=True)
def _table_size(most):
    size = 64
    while size < 2 * most:
        size *= 2
    return size


@numba.njit(cache=True)
def _cleared(table, most):
    """The mask of a table for `most` keys, emptied. A small one for a small text: it stays in the cache."""
    size = _table_size(most)
    table[:size] = 0
    return np.uint64(size - 1)


@numba.njit(cache=True)
def _longest(offsets):
    longest = 0
    for d in range(len(offsets) - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    return longest
