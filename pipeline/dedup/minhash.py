"""MinHash over Arrow text: word n-grams, signatures, LSH bands and exact Jaccard, without an object per word.

What a word is, so that two copies of a page agree and a formula is not washed away:

1. the text in Unicode form NFKC, every character in lower case (where that is one character; final ς is σ);
2. letters, digits and numbers next to each other are one word; each character of a script written without spaces
   (Chinese, Japanese, Thai, Lao, Khmer, Myanmar) is a word; each symbol is a word: mathematical, currency and other
   symbols, brackets, and of ASCII also ``! # % & * - / @ \\ ^ _``. So ``\\frac{a}{b}`` and ``x += 1`` survive;
3. marks belong to the word before them; invisible format characters (soft hyphen, joiners) do not exist;
4. everything else (spaces, quotes, full stops, commas, dashes) only separates.

Method: Broder, "On the resemblance and containment of documents" (1997), with 32-bit affine permutations; bands as
in Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets", chapter 3. The kernels are compiled by numba at first
use and cached on disk. Change `ALGORITHM` with anything that changes a hash.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pyarrow as pa

from pipeline.errors import RequestError

ALGORITHM = 1  # of words, hashes and permutations together; stored with what is computed from them
SEED = 20250512

# What a character does to the word being read; EXPANDS: its NFKC is several characters, listed in a second table.
SEPARATOR, WORD, SINGLE, MARK, INVISIBLE, EXPANDS = range(6)
COMBINES = 0x80  # flag beside these: its NFKC depends on what stands before it
ASCII_SYMBOLS = frozenset("!#%&*-/@\\^_")  # beyond those that Unicode itself calls symbols or brackets
UNSPACED = frozenset(  # code points of scripts that put no space between words; besides all of planes 2 and 3
    code
    for first, last in (
        (0x0E00, 0x0EFF),  # Thai, Lao
        (0x1000, 0x109F),  # Myanmar
        (0x1780, 0x17FF),  # Khmer
        (0x3005, 0x3007),  # 々 〆 〇
        (0x3040, 0x312F),  # kana, bopomofo
        (0x31A0, 0x31FF),  # bopomofo and kana extensions
        (0x3400, 0x9FFF),  # Chinese characters (4DC0…4DFF between them are symbols)
        (0xA9E0, 0xA9FF),  # Myanmar extensions
        (0xAA60, 0xAA7F),
        (0xF900, 0xFAFF),  # compatibility ideographs that have no other form
        (0x1AFF0, 0x1B16F),  # kana extensions
    )
    for code in range(first, last + 1)
)
COMPATIBILITY = range(0x2F800, 0x2FA20)  # the only characters above plane 1 that NFKC changes
TABLE_SIZE = 0x2FA20

FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)
GRAM_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd; of the polynomial over the words of one n-gram
ONE, TWO, LOW = np.uint64(1), np.uint64(2), np.uint64(0xFFFFFF)
PIECE = np.uint64(64)  # bytes looked at together
BLOCK = 1024  # n-grams hashed at a time: they stay in the first-level cache for all permutations


def shingle_hashes(
    texts: pa.Array | pa.ChunkedArray, n: int = 5, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The set of word n-grams of every text, or of those at `rows` (ascending), as sorted 64-bit hashes.

    A text of fewer than `n` words has one n-gram, all its words; a text without words, or a null, has none.

    Returns
    -------
    values
        uint64, the sets one after the other, ascending and unique within each.
    row_offsets
        int64 [texts + 1]; the set of text `i` is ``values[row_offsets[i]:row_offsets[i + 1]]``.
    """
    if rows is not None and 4 * len(rows) < len(texts):  # a copy costs less than looking at all
        texts, rows = texts.take(pa.array(rows)), None
    parts, counts = [], [np.zeros(1, np.int64)]
    for data, starts, stops in _documents(texts, rows):
        values, count = _shingle_sets(data, starts, stops, _characters(), n)
        parts.append(values)
        counts.append(count)
    return np.concatenate([np.empty(0, np.uint64), *parts]), np.cumsum(np.concatenate(counts))


def signatures(
    texts: pa.Array | pa.ChunkedArray, permutations: int = 112, n: int = 5, seed: int = SEED
) -> np.ndarray:
    """MinHash signatures, uint32 [texts, permutations]. Texts without words (and nulls) are all 0xFFFFFFFF.

    The share of equal entries of two rows estimates the Jaccard similarity of their n-gram sets with standard
    error ``sqrt(J (1 - J) / permutations)``.
    """
    return signed(texts, permutations, n, seed)[0]


def signed(
    texts: pa.Array | pa.ChunkedArray, permutations: int = 112, n: int = 5, seed: int = SEED
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`signatures`, how many words each text has (int32), and a hash of its words in their order (uint64).

    Texts of equal words have equal sets of n-grams: they need no comparison.
    """
    multipliers, addends = _permutations(permutations, seed)
    parts = [(np.empty((0, permutations), np.uint32), np.empty(0, np.int32), np.empty(0, np.uint64))]
    for data, starts, stops in _documents(texts):
        parts.append(_signatures(data, starts, stops, _characters(), n, multipliers, addends))
    lowest, words, sequence = (np.concatenate(part) for part in zip(*parts, strict=True))
    return lowest, words, sequence


def band_keys(signatures: np.ndarray, bands: int = 16, rows: int = 7) -> np.ndarray:
    """One 64-bit key per band of `rows` signature entries, uint64 [texts, bands]; texts that share one are candidates.

    Keys of different bands never meet. Raises `RequestError` when the signature is shorter than ``bands × rows``.
    """
    if signatures.shape[1] < bands * rows:
        raise RequestError(
            f"{bands} bands of {rows} rows need {bands * rows} hashes; the signatures have {signatures.shape[1]}"
        )
    keys = np.broadcast_to(mix(np.arange(1, bands + 1, dtype=np.uint64)), (len(signatures), bands)).copy()
    for row in range(rows):
        keys = mix(keys ^ signatures[:, row : bands * rows : rows].astype(np.uint64)) * GRAM_BASE
    return mix(keys)


def exact_jaccard(
    values: np.ndarray, row_offsets: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Jaccard similarity of the sets `left[i]` and `right[i]` of `shingle_hashes`, float64; 0 for two empty sets."""
    return _jaccard(
        _frozen(values, np.uint64),
        _frozen(row_offsets, np.int64),
        _frozen(left, np.int64),
        _frozen(right, np.int64),
    )


def string_hashes(strings: pa.Array | pa.ChunkedArray, seed: int = 0) -> np.ndarray:
    """A 64-bit hash of each string's bytes as they are, the same on every machine and in every run; one for each seed."""
    parts = [np.empty(0, np.uint64)]
    start = FNV_OFFSET ^ mix(np.array([seed], np.uint64))[0] if seed else FNV_OFFSET
    parts += [_hash_bytes(*_buffers(chunk), start) for chunk in _chunks(strings)]
    return np.concatenate(parts)


def s_curve(bands: int, rows: int, at: Any) -> Any:
    """Chance that two texts of Jaccard similarity `at` share a band.

    >>> float(round(s_curve(16, 7, 0.8), 3))
    0.977
    """
    return 1 - (1 - np.asarray(at, dtype=np.float64) ** rows) ** bands


# Arrow buffers → UTF-8 in NFKC, one byte range per text


def _chunks(strings: pa.Array | pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in strings.chunks if isinstance(strings, pa.ChunkedArray) else [strings]:
        if not (pa.types.is_string(chunk.type) or pa.types.is_large_string(chunk.type)):
            chunk = chunk.cast(pa.large_string())
        yield chunk


def _buffers(strings: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bytes of a string array and where each value starts and stops in them. Nulls are empty."""
    _, offsets, data = strings.buffers()
    width: Any = np.int64 if pa.types.is_large_string(strings.type) else np.int32
    if len(strings) == 0 or offsets is None:
        return _frozen(np.empty(0, np.uint8)), *(_frozen(np.empty(0, np.int64)),) * 2
    at = np.frombuffer(offsets, width)[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    starts, stops = at[:-1] - at[0], at[1:] - at[0]
    if strings.null_count:  # the format allows bytes below a null
        null = strings.is_null().to_numpy(zero_copy_only=False)
        stops[null] = starts[null]
    bytes_ = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    bytes_ = bytes_[at[0] : at[-1]]  # a slice's own: the buffer may be a whole shard's
    return _frozen(bytes_), _frozen(starts), _frozen(stops)


def _frozen(array: np.ndarray, dtype: Any = None) -> np.ndarray:
    """Contiguous and read-only, as Arrow's own buffers are: numba compiles one version for both."""
    array = np.ascontiguousarray(array, dtype).view()
    array.flags.writeable = False
    return array


def _documents(
    texts: pa.Array | pa.ChunkedArray, rows: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Chunk by chunk, bytes with starts and stops, such that reading character by character gives the NFKC.

    Of all texts or of those at `rows`, ascending. The few texts for which that is not so (they hold marks that combine, or broken bytes) are replaced by their NFKC.
    """
    before = 0
    for chunk in _chunks(texts):
        data, starts, stops = _buffers(chunk)
        if rows is not None:
            here = rows[np.searchsorted(rows, before) : np.searchsorted(rows, before + len(chunk))] - before
            starts, stops = _frozen(starts[here]), _frozen(stops[here])
        before += len(chunk)
        try:
            chunk.validate(full=True)
            suspects = np.flatnonzero(_combining(data, starts, stops, _characters()[0]))
        except pa.ArrowInvalid:  # bytes that are not UTF-8, which the kernels could not read
            suspects = np.arange(len(starts))
        extra, at = [], len(data)
        new_starts, new_stops = starts.copy(), stops.copy()
        for row in suspects:
            raw = data[starts[row] : stops[row]].tobytes()
            text = raw.decode("utf-8", "replace")
            if not unicodedata.is_normalized("NFKC", text):
                text = unicodedata.normalize("NFKC", text)
            normal = text.encode()
            if normal != raw:
                extra.append(np.frombuffer(normal, np.uint8))
                new_starts[row], new_stops[row] = at, at + len(normal)
                at += len(normal)
        if extra:
            data, starts, stops = np.concatenate([data, *extra]), new_starts, new_stops
        yield _frozen(data), _frozen(starts), _frozen(stops)


@functools.cache
def _characters() -> tuple[np.ndarray, np.ndarray]:
    """What every character does to a word (high byte) and the lower case of its NFKC (low 3 bytes), and expansions.

    The low bytes of a character that EXPANDS are a place in the second table: a count, then that many entries.
    """
    table = np.arange(TABLE_SIZE, dtype=np.uint32) | np.uint32(SINGLE << 24)
    expansions: list[int] = []
    seconds = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # of Hangul syllables
    normal = {}  # of those whose NFKC is not simply themselves
    for code in (*range(0x20000), *COMPATIBILITY):
        if decomposition := unicodedata.decomposition(chr(code)):
            parts = decomposition.split()
            if len(parts) == 2 and not parts[0].startswith("<"):
                seconds.add(chr(int(parts[1], 16)))
            normal[code] = unicodedata.normalize("NFKC", chr(code))
    for code in (*range(0x20000), *COMPATIBILITY):
        characters = normal.get(code) or chr(code)
        if len(characters) == 1:
            table[code] = _entry(characters)
        else:
            entries = [_entry(character) for character in characters]
            table[code] = EXPANDS << 24 | len(expansions)
            expansions += [len(entries), *entries]
        if any(unicodedata.combining(character) or character in seconds for character in characters):
            table[code] |= np.uint32(COMBINES << 24)
    return _frozen(table), _frozen(np.array(expansions, np.uint32))


def _entry(character: str) -> int:
    """Role and lower case of a character that is its own NFKC."""
    lower = character.lower()
    if character == "ς":
        lower = "σ"  # ΟΔΟΣ in lower case, letter by letter, is οδοσ
    return _role(character) << 24 | ord(lower if len(lower) == 1 else character)


def _role(character: str) -> int:
    code, category = ord(character), unicodedata.category(character)
    if code >= 0x20000:
        return SINGLE
    if category[0] in "LN":
        return SINGLE if code in UNSPACED else WORD
    if category in ("Sm", "Sc", "So", "Ps", "Pe") or character in ASCII_SYMBOLS:
        return SINGLE
    if category == "Cf" or 0xFE00 <= code <= 0xFE0F:  # the latter choose a glyph, not a character
        return INVISIBLE
    return MARK if category[0] == "M" else SEPARATOR


def _permutations(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd multipliers and addends of ``x → a x + b mod 2³²``, from the splitmix64 sequence of `seed`."""
    steps = np.arange(1, 2 * count + 1, dtype=np.uint64) * GRAM_BASE + np.uint64(seed)
    random = (mix(steps) >> np.uint64(32)).astype(np.uint32)
    return random[:count] | np.uint32(1), random[count:]


# Kernels


def mix(x: Any) -> Any:
    """The finaliser of splitmix64: every input bit reaches every output bit. Of a number or an array, uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


_mixed = numba.njit(mix, cache=True, nogil=True)


@numba.njit(cache=True, nogil=True)
def _decode(data, at):
    """The character at byte `at`, uint64, of valid UTF-8 and where the next one starts."""
    first = data[at]
    if first < 0x80:
        return np.uint32(first), at + ONE
    second = np.uint32(data[at + ONE] & 0x3F)
    if first < 0xE0:
        return np.uint32(first & 0x1F) << 6 | second, at + TWO
    third = np.uint32(data[at + TWO] & 0x3F)
    if first < 0xF0:
        return np.uint32(first & 0x0F) << 12 | second << 6 | third, at + TWO + ONE
    fourth = np.uint32(data[at + TWO + ONE] & 0x3F)
    return np.uint32(first & 0x07) << 18 | second << 12 | third << 6 | fourth, at + TWO + TWO


@numba.njit(cache=True, nogil=True)
def _entry_of(code, characters):
    """The table's entry of a character, also of those beyond the table."""
    if code < TABLE_SIZE:
        return characters[code]
    if code < 0x40000:  # Chinese characters
        return np.uint32(SINGLE << 24) | code
    if 0xE0000 <= code < 0xF0000:  # tags and variation selectors
        return np.uint32(INVISIBLE << 24)
    return np.uint32(SEPARATOR << 24)


@numba.njit(cache=True, nogil=True)
def _words(data, start, stop, tables, out):
    """Write the hash of every word of one text to `out`, not mixed yet, and return how many there are.

    ASCII, most of most texts, goes without a branch: what may be a word's end is written always and counted only where
    it is one, for a processor that guesses wrong at every word's end spends more time on that than on the hashes.
    Unsigned places: of a signed one numba asks each time whether it counts from the end.
    """
    characters, expansions = tables
    word, state = FNV_OFFSET, np.uint64(SEPARATOR)  # the word being read; what the last character was
    words, at, stop = np.uint64(0), np.uint64(start), np.uint64(stop)
    expansion, expansion_stop = np.uint64(0), np.uint64(0)
    while at < stop or expansion < expansion_stop:
        while expansion == expansion_stop and at < stop and data[at] < 0x80:
            entry = np.uint64(characters[data[at]])
            at += ONE
            role, folded = entry >> np.uint64(24), entry & LOW
            in_word = np.uint64(role == WORD)
            out[words] = word
            words += np.uint64(state == WORD) & (in_word ^ ONE)
            out[words] = (FNV_OFFSET ^ folded) * FNV_PRIME
            words += np.uint64(role == SINGLE)
            mask = np.uint64(0) - in_word
            word = (((word ^ folded) * FNV_PRIME) & mask) | (FNV_OFFSET & ~mask)
            state = role
        if expansion < expansion_stop:
            entry = np.uint64(expansions[expansion])
            expansion += ONE
        elif at < stop:
            code, at = _decode(data, at)
            entry = np.uint64(_entry_of(code, characters))
        else:
            break
        role, folded = (entry >> np.uint64(24)) & np.uint64(0x7F), entry & LOW
        if role == EXPANDS:
            expansion = folded + ONE
            expansion_stop = expansion + np.uint64(expansions[folded])
        elif role == WORD or (role == MARK and state == WORD):
            word = (word ^ folded) * FNV_PRIME
            state = np.uint64(WORD)
        elif role == MARK and state == SINGLE:
            out[words - ONE] = (out[words - ONE] ^ folded) * FNV_PRIME
        elif role == SINGLE or role == SEPARATOR:  # noqa: SIM109 - compiled
            if state == WORD:
                out[words] = word
                words += ONE
                word = FNV_OFFSET
            if role == SINGLE:
                out[words] = (FNV_OFFSET ^ folded) * FNV_PRIME
                words += ONE
            state = role
    if state == WORD:
        out[words] = word
        words += ONE
    return np.int64(words)


@numba.njit(cache=True, nogil=True)
def _grams(data, start, stop, tables, n, words, out):
    """Write the hash of every n-gram of one text to `out`, repeats included; `words` is space for its words.

    Returns how many n-grams these are, how many words the text has, and a hash of the words in their order. An n-gram's
    hash is a polynomial over those of its words.
    """
    count = _words(data, start, stop, tables, words)
    sequence = np.uint64(count)
    for i in range(count):
        words[i] = _mixed(words[i])
    for i in range(count):
        sequence = sequence * GRAM_BASE + words[i]
    width = min(n, count)
    found = count - width + 1 if count else 0
    for begin in range(0, found, BLOCK):
        size = min(BLOCK, found - begin)
        gram, word = out[begin : begin + size], words[begin:]
        for i in range(size):
            gram[i] = word[i]
        for k in range(1, width):
            for i in range(size):
                gram[i] = gram[i] * GRAM_BASE + word[i + k]
        for i in range(size):
            gram[i] = _mixed(gram[i])
    return found, count, _mixed(sequence)


@numba.njit(cache=True, nogil=True)
def _most_words(starts, stops):
    """No text has more words: the three bytes of ㌖ are キロメートル, and nothing makes more of its bytes."""
    longest = 1
    for i in range(len(starts)):
        longest = max(longest, stops[i] - starts[i])
    return 2 * longest


@numba.njit(cache=True, nogil=True)
def _shingle_sets(data, starts, stops, tables, n):
    """Sorted unique n-gram hashes of every text, one after the other, and how many each has."""
    grams = np.empty(_most_words(starts, stops), np.uint64)
    words = np.empty_like(grams)
    values = np.empty(1024, np.uint64)
    counts = np.zeros(len(starts), np.int64)
    used = 0
    for i in range(len(starts)):
        found, _, _ = _grams(data, starts[i], stops[i], tables, n, words, grams)
        if used + found > len(values):
            larger = np.empty(max(2 * len(values), used + found), np.uint64)
            larger[:used] = values[:used]
            values = larger
        counts[i] = _sorted_set(grams[:found], words, values[used : used + found])
        used += counts[i]
    return values[:used].copy(), counts


@numba.njit(cache=True, nogil=True)
def _sorted_set(hashes, spare, out):
    """Write the different ones to `out`, ascending, and return how many; `hashes` and `spare` are used up.

    Hashes are spread evenly, so that their highest bits nearly sort them: in two rounds of a radix sort, the lower
    digit first, and then by insertion with a few steps.
    """
    count, bits = (
        np.uint64(len(hashes)),
        np.uint64(3),
    )  # of a digit; both together 5 more than count the hashes
    while (np.uint64(4) << (bits + bits)) < np.uint64(128) * count:
        bits += ONE
    size, mask = np.int64(1) << np.int64(bits), (ONE << bits) - ONE
    upper, lower = np.uint64(64) - bits, np.uint64(64) - bits - bits
    places = np.zeros((2, size), np.uint64)
    low, high = places[0], places[1]
    for value in hashes:
        low[(value >> lower) & mask] += ONE
        high[value >> upper] += ONE
    before_low, before_high = np.uint64(0), np.uint64(0)
    for digit in range(size):
        low[digit], before_low = before_low, before_low + low[digit]
        high[digit], before_high = before_high, before_high + high[digit]
    for value in hashes:
        digit = (value >> lower) & mask
        spare[low[digit]] = value
        low[digit] += ONE
    for value in spare[:count]:
        digit = value >> upper
        hashes[high[digit]] = value
        high[digit] += ONE
    for i in range(ONE, count):
        value, at = hashes[i], np.uint64(i)
        while at > 0 and hashes[at - ONE] > value:
            hashes[at] = hashes[at - ONE]
            at -= ONE
        hashes[at] = value
    used = np.uint64(0)
    for i in range(count):
        out[used] = hashes[i]
        used += np.uint64(i + ONE == count or hashes[i] != hashes[i + ONE])  # the last of equal ones
    return np.int64(used)


@numba.njit(cache=True, nogil=True)
def _signatures(data, starts, stops, tables, n, multipliers, addends):
    """Smallest value of every permutation over each text's n-grams. Repeats change nothing, so nothing is sorted.

    Beside it each text's number of words, and the hash of them in their order.
    """
    grams = np.empty(_most_words(starts, stops), np.uint64)
    space = np.empty_like(grams)
    block = np.empty(BLOCK, np.uint32)
    lowest = np.full((len(starts), len(multipliers)), np.uint32(0xFFFFFFFF), np.uint32)
    words, sequence = np.empty(len(starts), np.int32), np.empty(len(starts), np.uint64)
    for i in range(len(starts)):
        found, words[i], sequence[i] = _grams(data, starts[i], stops[i], tables, n, space, grams)
        for begin in range(0, found, BLOCK):
            size = min(BLOCK, found - begin)
            for j in range(size):
                block[j] = np.uint32(grams[begin + j] >> np.uint64(32))
            for p in range(len(multipliers)):
                a, b, low = multipliers[p], addends[p], lowest[i, p]
                for j in range(size):
                    low = min(low, np.uint32(a * block[j] + b))
                lowest[i, p] = low
    return lowest, words, sequence


@numba.njit(cache=True, nogil=True)
def _jaccard(values, row_offsets, left, right):
    similarity = np.zeros(len(left), np.float64)
    for i in range(len(left)):
        a, a_stop = row_offsets[left[i]], row_offsets[left[i] + 1]
        b, b_stop = row_offsets[right[i]], row_offsets[right[i] + 1]
        total, common = a_stop - a + b_stop - b, 0
        while a < a_stop and b < b_stop:
            x, y = values[a], values[b]
            common += x == y
            a += x <= y
            b += y <= x
        if total:
            similarity[i] = common / (total - common)
    return similarity


@numba.njit(cache=True, nogil=True)
def _combining(data, starts, stops, characters):
    """Which texts hold a character that may combine with what stands before it."""
    found = np.zeros(len(starts), np.bool_)
    for i in range(len(starts)):
        at, stop = np.uint64(starts[i]), np.uint64(stops[i])
        while at < stop and not found[i]:
            if at + PIECE <= stop:  # ASCII never combines
                bits = np.uint8(0)
                for j in range(PIECE):
                    bits |= data[at + j]
                if bits < 0x80:
                    at += PIECE
                    continue
            until = min(at + PIECE, stop)
            while at < until:
                code, at = _decode(data, at)
                found[i] |= (_entry_of(code, characters) >> 24) & COMBINES != 0
    return found


@numba.njit(cache=True, nogil=True)
def _hash_bytes(data, starts, stops, start):
    """FNV-1a of the bytes, mixed."""
    hashes = np.empty(len(starts), np.uint64)
    for i in range(len(starts)):
        value = start
        for j in range(starts[i], stops[i]):
            value = (value ^ np.uint64(data[j])) * FNV_PRIME
        hashes[i] = _mixed(value)
    return hashes
