"""Student (b): all dimensions from one pass over hashed words and pairs of words. Compiled, for the whole crawl.

A text is first spelled in a normal form (`spelled`): lower case without accents, every digit 0, tokens between spaces.
Tokens are words, commands of LaTeX (`\\frac`), single symbols (`=`, `{`, `⇒`), letters of scripts without spaces, and
two marks for line breaks (↵) and blank lines (¶), because a list or a proof shows in how its lines begin. After each
line comes its shape: how many words it has, how it begins and ends, whether its words are capitalised. Menus, tables of
contents and lists of links are known by their shapes, whatever they are about. Only beginning, middle and end of a long
text are read, so that a book costs no more than a few pages.

Features are the tokens, pairs of neighbours, shapes and pairs of shapes of successive lines, hashed into 2^18 places (half
of them for pairs), with the weight 1 + log(count), scaled to length 1 (Weinberger et al. 2009; Wang & Manning 2012 for
pairs). A linear head for each dimension reads them: an ordinal one has a single direction and thresholds along it, a
nominal one a direction a name. filters.taxonomy.ngram_training learns them.

Legend: F places, C directions of all dimensions together, N rows, T thresholds or names of one dimension.
"""

from __future__ import annotations

import functools
import itertools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from filters.taxonomy.heads import Calibration, probabilities, width
from filters.taxonomy.rubric import Dimension
from filters.words import DIGIT, MARK, SPACE, characters, texts_of
from pipeline.errors import RequestError

FEATURES = "2"  # raise it with anything that changes a feature: a model knows only its own
BUCKETS_BITS = 18  # of F
# What a character does to the token being read.
SEPARATOR, WORD, SINGLE, IGNORED, APOSTROPHE, BREAK, BACKSLASH = range(7)
SHAPES = 0xE000  # of a line, as characters for private use: this one and the 125 after it
TF = (1 + np.log(np.maximum(np.arange(256), 1))).astype(np.float32)  # of a count; larger ones are 255
FILE = "heads.npz"


class Features(NamedTuple):
    """Sparse rows of length 1: `places` int32 and `values` float32 of row i lie at offsets[i] … offsets[i + 1]."""

    offsets: np.ndarray  # int64 [N + 1]
    places: np.ndarray
    values: np.ndarray


class NgramTagger:
    """Taggers of all `dimensions` in one pass."""

    kind = "ngrams"

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        weights_FC: np.ndarray,
        calibration: dict[str, Calibration],
        window: int,
    ) -> None:
        self.dimensions = tuple(dimensions)
        self.weights_FC, self.calibration, self.window = weights_FC, calibration, window

    def predict(self, texts: pa.ChunkedArray) -> dict[str, np.ndarray]:
        """Probabilities of each dimension, float32 [N, T] (filters.taxonomy.heads.probabilities)."""
        column = texts_of(texts)
        score_NC = np.zeros((len(texts), self.weights_FC.shape[1]), np.float32)
        _score(*column, _roles(), self.window, TF, self.weights_FC, score_NC)
        raw = of_dimensions(score_NC, self.dimensions)
        return {d.name: probabilities(raw[d.name], self.calibration[d.name], d) for d in self.dimensions}

    def save(self, folder: Path) -> list[str]:
        """Write the model's files and return their names."""
        arrays = {f"slope_{name}": found.slope_T for name, found in self.calibration.items()}
        arrays |= {f"offset_{name}": found.offset_T for name, found in self.calibration.items()}
        about = {"features": fingerprint(), "window": self.window}
        arrays |= {"weights": self.weights_FC.astype(np.float16), "about": np.array(json.dumps(about))}
        np.savez_compressed(folder / FILE, **arrays)  # type: ignore[arg-type]
        return [FILE]

    @classmethod
    def open(cls, folder: Path | str) -> NgramTagger:
        """The tagger in a model folder. Raises `RequestError` if its features are not ours."""
        described = json.loads((Path(folder) / "tagger.json").read_bytes())
        with np.load(Path(folder) / FILE) as arrays:
            about = json.loads(str(arrays["about"]))
            check_fingerprint(about["features"], folder)
            dimensions = [Dimension.from_dict(found) for found in described["dimensions"]]
            calibration = {
                d.name: Calibration(arrays[f"slope_{d.name}"], arrays[f"offset_{d.name}"]) for d in dimensions
            }
            return cls(dimensions, arrays["weights"].astype(np.float32), calibration, about["window"])


def ngram_features(texts: pa.Array | pa.ChunkedArray, window: int = 4096) -> Features:
    """The features of each text."""
    column = texts_of(texts)
    counts = _count_features(*column, _roles(), window)
    offsets = np.r_[np.int64(0), np.cumsum(counts)]
    places, values = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    _write_features(*column, _roles(), window, TF, offsets, places, values)
    return Features(offsets, places, values)


def spelled(texts: pa.Array | pa.ChunkedArray, window: int = 4096) -> list[str]:
    """The tokens of each text's beginning, middle and end, between spaces; a line's shape is a private character.

    >>> [ascii(found) for found in spelled(pa.array(["Thus $\\\\frac{12}{x^2}$.", "1. Über\\n\\n2. don't"]))]
    ["'thus $ \\\\\\\\frac { 00 } { x ^ 0 } $ . \\\\ue044'", "'0 . uber \\\\ue02b \\\\xb6 0 . dont \\\\ue02a'"]
    """
    data, offsets = texts_of(texts)
    out, _, _ = _workspace(offsets, window)
    found = []
    for start, stop in itertools.pairwise(offsets.tolist()):
        size = _spell_windows(data, start, stop, _roles(), window, out)
        found.append(out[:size].tobytes().decode("utf-8", "replace").rstrip())
    return found


def of_dimensions(score_NC: np.ndarray, dimensions: Sequence[Dimension]) -> dict[str, np.ndarray]:
    """Each dimension's raw scores [N, T]: those of an ordinal one are one direction, the same for each threshold."""
    found, at = {}, 0
    for dimension in dimensions:
        size = 1 if dimension.ordinal else width(dimension)
        part_NT = score_NC[:, at : at + size]
        found[dimension.name] = np.broadcast_to(part_NT, (len(part_NT), width(dimension)))
        at += size
    return found


@functools.cache
def _roles() -> np.ndarray:
    """What every character does (high byte) and the code point it is spelled as (low 3 bytes), uint32."""
    classes, folds = characters()
    roles = np.full(len(classes), SINGLE, np.uint32)
    roles[classes >= DIGIT] = WORD
    roles[(classes == MARK) | (folds == 0)] = IGNORED
    roles[classes == SPACE] = SEPARATOR
    roles[: ord(" ") + 1] = SEPARATOR
    roles[ord("\n")] = BREAK
    roles[ord("\\")] = BACKSLASH
    roles[[ord("'"), ord("’")]] = APOSTROPHE
    spelled_as = np.where(classes == DIGIT, ord("0"), folds).astype(np.uint32)
    return roles << np.uint32(24) | spelled_as


@functools.cache
def fingerprint() -> str:
    """Changes with what a token or a feature is: a model knows only its own."""
    probe = "Proof. Let $x\\in\\mathbb{R}$; then 3.14 ≤ π'²’s ½ — ÀÉß ΟΔΟΣ ⇒ ∑ don't\n\ndef f(x): {\n\treturn 数学 かな ไทย العربية हिन्दी한국"
    features = ngram_features(pa.array([probe]))
    return f"{FEATURES}-{zlib.crc32(features.places.tobytes() + features.values.tobytes()):08x}"


def check_fingerprint(trained_with: str, folder: Path | str) -> None:
    """Raises `RequestError` if a tagger was trained on other tokens than ours."""
    if trained_with != fingerprint():
        raise RequestError(
            f"{folder} was trained on words as another version of reasonmill (or of Python's Unicode tables) cuts them. "
            "Train it again: reasonmill train-tagger."
        )


# --- kernels: places are unsigned, of a signed one numba asks each time whether it counts from the end ----------

ONE, LOW = np.uint64(1), np.uint32(0xFFFFFF)
FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
PAIR = np.uint64(0x9E3779B97F4A7C15)
HALF_BITS = np.uint64(64 - (BUCKETS_BITS - 1))
HALF = np.uint64(1 << (BUCKETS_BITS - 1))


@numba.njit(cache=True, nogil=True)
def _put(out, n, code):
    """Write a character as UTF-8; the place after it is returned."""
    if code < 0x80:
        out[n] = code
        return n + ONE
    if code < 0x800:
        out[n] = 0xC0 | code >> 6
    else:
        if code < 0x10000:
            out[n] = 0xE0 | code >> 12
        else:
            out[n] = 0xF0 | code >> 18
            n += ONE
            out[n] = 0x80 | code >> 12 & 0x3F
        n += ONE
        out[n] = 0x80 | code >> 6 & 0x3F
    n += ONE
    out[n] = 0x80 | code & 0x3F
    return n + ONE


@numba.njit(cache=True, nogil=True)
def _spell(data, start, stop, roles, out, n):
    """Write the tokens of data[start:stop] to `out` from place `n` on, a space after each; the place after is returned."""
    at, stop = np.uint64(start), np.uint64(stop)
    in_word = False  # a token has been begun and has no space yet
    breaks = 0
    words, capitals, first, last = 0, 0, np.uint32(0), np.uint32(0)  # of the line
    while at < stop:
        code = np.uint32(data[at])
        at += ONE
        if code >= 0x80:
            more = np.uint64(1 if code < 0xE0 else 2 if code < 0xF0 else 3)
            code &= np.uint32(0x3F) >> np.uint32(more)
            for _ in range(more):
                if at < stop:
                    code = code << np.uint32(6) | np.uint32(data[at]) & np.uint32(0x3F)
                    at += ONE
        if code < len(roles):
            entry = roles[code]
        elif code < 0x40000:  # rare Han characters
            entry = np.uint32(SINGLE << 24) | code
        else:
            entry = np.uint32(IGNORED << 24)
        role, folded = entry >> np.uint32(24), entry & LOW
        if role != SEPARATOR and role != BREAK:
            first = code if first == 0 else first
            last = code
        if role == WORD:
            if not in_word:
                words += 1
                if (  # Latin, Greek, Cyrillic; other capitals are rare
                    (code >= 0x41 and code <= 0x5A)
                    or (code >= 0xC0 and code <= 0xDE)
                    or (code >= 0x391 and code <= 0x3A9)
                    or (code >= 0x400 and code <= 0x42F)
                ):
                    capitals += 1
            if breaks > 0:
                n = _put_break(out, n, breaks)
                breaks = 0
            n = _put(out, n, folded)
            in_word = True
        elif role == SEPARATOR or role == BREAK:  # noqa: SIM109 - compiled
            if in_word:
                out[n] = 32
                n += ONE
                in_word = False
            if role == BREAK:
                breaks += 1
                if first != 0:
                    n = _put_shape(out, n, words, capitals, first, last)
                    words, capitals, first = 0, 0, np.uint32(0)
        elif role == IGNORED or (role == APOSTROPHE and in_word):
            continue
        else:
            if in_word:
                out[n] = 32
                n += ONE
            if breaks > 0:
                n = _put_break(out, n, breaks)
                breaks = 0
            n = _put(out, n, folded)
            # The letters after a backslash are a command with it, other characters are not.
            in_word = role == BACKSLASH and at < stop and (data[at] | 32) >= 97 and (data[at] | 32) <= 122
            if not in_word:
                out[n] = 32
                n += ONE
    if in_word:
        out[n] = 32
        n += ONE
    if first != 0:
        n = _put_shape(out, n, words, capitals, first, last)
    return n


@numba.njit(cache=True, nogil=True)
def _put_shape(out, n, words, capitals, first, last):
    """One of 7 lengths × 3 beginnings × 3 ends × 2 (whether half of the words are capitalised)."""
    length = 0
    while length < 6 and words >= 1 << length:  # 0, 1, 2-3, 4-7, 8-15, 16-31, more
        length += 1
    begins = 0  # with a bullet or another sign
    if first >= 48 and first <= 57:
        begins = 1
    elif ((first | 32) >= 97 and (first | 32) <= 122) or (
        first >= 0xC0 and not (first >= 0x2000 and first <= 0x2BFF)  # dashes, bullets, arrows
    ):
        begins = 2
    ends = 0
    if last == 46 or last == 33 or last == 63 or last == 0x3002:  # .!?。
        ends = 1
    elif last == 44 or last == 58 or last == 59:  # ,:;
        ends = 2
    shape = ((length * 3 + begins) * 3 + ends) * 2 + (2 * capitals >= words)
    n = _put(out, n, np.uint32(SHAPES + shape))
    out[n] = 32
    return n + ONE


@numba.njit(cache=True, nogil=True)
def _put_break(out, n, breaks):
    n = _put(out, n, np.uint32(0x21B5) if breaks == 1 else np.uint32(0xB6))  # ↵ ¶
    out[n] = 32
    return n + ONE


@numba.njit(cache=True, nogil=True)
def _spell_windows(data, start, stop, roles, window, out):
    """The tokens of the text's beginning, middle and end; how many bytes of `out` they take."""
    n = np.uint64(0)
    if stop - start <= 3 * window:
        return _spell(data, start, stop, roles, out, n)
    middle = (start + stop - window) // 2
    for first in (start, middle, stop - window):
        a, b = first, first + window
        while (data[a] & 0xC0) == 0x80:
            a += 1
        while b < stop and (data[b] & 0xC0) == 0x80:
            b -= 1
        n = _spell(data, a, b, roles, out, n)
    return n


@numba.njit(cache=True, nogil=True)
def _mixed(x):
    """The finaliser of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _collect(spelling, size, counts, touched):
    """Count each feature of a spelling in `counts` and list those that occur in `touched`; how many they are."""
    n = np.uint64(0)
    word, before, shape_before, private = FNV_OFFSET, np.uint64(0), np.uint64(0), False
    for i in range(np.uint64(size)):
        byte = spelling[i]
        if byte != 32:
            private |= byte == 0xEE
            word = (word ^ np.uint64(byte)) * FNV_PRIME
            continue
        word = _mixed(word)
        place = word >> HALF_BITS
        touched[n] = place
        n += np.uint64(counts[place] == 0)
        counts[place] += counts[place] < 255
        neighbour = shape_before if private else before
        if neighbour != 0:
            place = HALF + (_mixed(neighbour * PAIR + word) >> HALF_BITS)
            touched[n] = place
            n += np.uint64(counts[place] == 0)
            counts[place] += counts[place] < 255
        if private:  # words before and after the end of a line are neighbours all the same
            shape_before, private = word, False
        else:
            before = word
        word = FNV_OFFSET
    return n


@numba.njit(cache=True, nogil=True)
def _workspace(offsets, window):
    """Room for the spelling of any of the texts (five bytes for each byte are more than enough), counts, and places."""
    longest = 0
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    room = 5 * min(longest, 3 * window) + 64
    return np.empty(room, np.uint8), np.zeros(2 * HALF, np.uint8), np.empty(room + 2, np.uint32)


@numba.njit(cache=True, nogil=True)
def _count_features(data, offsets, roles, window):
    spelling, counts, touched = _workspace(offsets, window)
    found = np.empty(len(offsets) - 1, np.int64)
    for row in range(len(offsets) - 1):
        size = _spell_windows(data, offsets[row], offsets[row + 1], roles, window, spelling)
        found[row] = n = _collect(spelling, size, counts, touched)
        for i in range(n):
            counts[touched[i]] = 0
    return found


@numba.njit(cache=True, nogil=True)
def _write_features(data, offsets, roles, window, tf, feature_offsets, places, values):
    spelling, counts, touched = _workspace(offsets, window)
    for row in range(len(offsets) - 1):
        size = _spell_windows(data, offsets[row], offsets[row + 1], roles, window, spelling)
        n = _collect(spelling, size, counts, touched)
        at, square = feature_offsets[row], np.float32(0)
        for i in range(n):
            value = tf[counts[touched[i]]]
            counts[touched[i]] = 0
            places[at + i], values[at + i] = touched[i], value
            square += value * value
        if n > 0:
            values[at : at + np.int64(n)] /= np.sqrt(square)


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _score(data, offsets, roles, window, tf, weights, scores):
    """Features and their product with `weights` in one go: nothing is kept of a text."""
    spelling, counts, touched = _workspace(offsets, window)
    directions = weights.shape[1]
    for row in range(len(offsets) - 1):
        size = _spell_windows(data, offsets[row], offsets[row + 1], roles, window, spelling)
        n = _collect(spelling, size, counts, touched)
        score, square = scores[row], np.float32(0)
        for i in range(n):
            place = touched[i]
            value = tf[counts[place]]
            counts[place] = 0
            square += value * value
            weight = weights[place]
            for c in range(directions):
                score[c] += value * weight[c]
        if n > 0:
            score /= np.sqrt(square)
