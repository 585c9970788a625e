"""Which runs of text are a page's main content: a small learned classifier over features of the flat tree.

Boosted decision trees, twice: the first look judges every run by itself and where it stands; the second sees also what
the first thought of its neighbours and of the containers around it, which makes content hang together. The weights
(`content_model.npz`) are trained by `pipeline.extract.content_training`, which says on what.

The features follow Kohlschütter et al. (boilerpipe, WSDM 2010: lengths and link shares of a block and its neighbours),
Vogels et al. (Web2Text, 2018: containers) and what forum and documentation pages need: signatures of repeated
elements, and the words in class and id attributes, each hashed to one learned number.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np

from pipeline.extract.flat import (
    CAPITALS,
    CHARACTERS,
    DIGITS,
    HIDDEN,
    IS_BLOCK,
    LETTERS,
    LINKED_WORDS,
    STOPS,
    TAGS,
    TEXTS,
    WORDS,
    Flat,
)  # fmt: skip

MODEL = Path(__file__).with_name("content_model.npz")
AROUND = [
    "nav",
    "header",
    "footer",
    "aside",
    "form",
    "article",
    "main",
    "section",
    "table",
    "ul",
    "ol",
    "dl",
    "figure",
    "blockquote",
    "details",
    "button",
    "label",
    "noscript",
    "p",
    "li",
    "td",
    "th",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "dd",
    "dt",
    "figcaption",
    "pre",
    "a",
    "address",
    "body",
    "summary",
    "menu",
    "fieldset",
    "dialog",
    "center",
]
AROUND_OF_TAG = np.full(max(TAGS.values()) + 2, -1, np.int8)
for _bit, _name in enumerate(AROUND):
    AROUND_OF_TAG[TAGS[_name]] = _bit
HIDDEN_BIT = len(AROUND)

OWN = (
    "words",
    "linked",
    "characters_a_word",
    "stops_a_word",
    "digits",
    "capitals",
    "texts",
    "formulas",
    "listings",
)
PLACE = (
    "run", "run_from_end", "words_before", "depth", "h1_before", "h1_after", "since_heading", "tag", "parent_tag",
    "grandparent_tag", "same_block_as_before",
)  # fmt: skip
NAMES = ("name_own", "name_parent", "name_sum", "name_least", "name_most")
CONTAINER = ("words", "linked", "share", "runs", "paragraph_words", "children")
CONTAINERS = 4  # block ancestors that are looked at: the run's own block first
SIGNATURE = ("runs", "words", "linked", "share")
PAGE = ("page_words", "page_runs", "page_linked", "page_paragraph_words", "page_has_main", "page_longest_run")
NEAR = ("words", "linked", "heading", "stops_a_word", "name_sum")
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
FEATURES = (
    *OWN, *PLACE, *NAMES,
    *(f"in_{name}" for name in (*AROUND, "hidden")),
    *(f"container{level}_{name}" for level in range(CONTAINERS) for name in CONTAINER),
    *(f"alike{level}_{name}" for level in range(2) for name in SIGNATURE),
    *PAGE,
    *(f"near{place:+d}_{name}" for place in NEIGHBOURS for name in NEAR),
    "window_words", "window_linked",
)  # fmt: skip
SECOND = (
    "own", "before1", "before2", "before3", "after1", "after2", "after3", "alike0", "alike1", "page", "window",
    *(f"container{level}" for level in range(CONTAINERS)), "longest_before", "longest_after", "share_before", "share_after",
)  # fmt: skip


def features(flat: Flat, extra_RC: np.ndarray, name_scores: np.ndarray) -> np.ndarray:
    """float32 (runs, FEATURES). extra_RC: formulas, listings and the words they hold, of each run."""
    return _features(
        flat.tag_N, flat.parent_N, flat.last_N, flat.flags_N, flat.names_at_N, flat.names, flat.counts_RC, flat.block_R,
        flat.first_R, extra_RC, name_scores, IS_BLOCK, AROUND_OF_TAG, len(FEATURES),
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _signatures(tag, parent, names_at, names, is_block):
    """Of every node: a hash of its tag and names and of its block parents', two levels and four."""
    n = len(tag)
    own = np.zeros(n, np.uint64)
    two = np.zeros(n, np.uint64)
    four = np.zeros(n, np.uint64)
    prime = np.uint64(0x9E3779B97F4A7C15)
    for node in range(n):
        value = np.uint64(tag[node]) * prime
        for at in range(names_at[node], names_at[node + 1]):
            value += (np.uint64(names[at]) + np.uint64(77)) * prime * np.uint64(2654435761)
        own[node] = value
        if node and is_block[tag[node]]:
            up = parent[node]
            two[node] = value * prime + own[up]
            above = parent[up]
            four[node] = two[node] * prime + own[above] * np.uint64(3) + own[parent[above]]
        else:
            two[node] = two[parent[node]]
            four[node] = four[parent[node]]
    return two, four


@numba.njit(cache=True, nogil=True)
def _features(
    tag,
    parent,
    last,
    flags,
    names_at,
    names,
    counts,
    block,
    first,
    extra,
    name_scores,
    is_block,
    around_of,
    width,
):
    n, runs = len(tag), len(block)
    x = np.zeros((runs, width), np.float32)
    if runs == 0:
        return x
    # From the root down: what is around each node, and what its names say.
    around = np.zeros(n, np.uint64)
    depth = np.zeros(n, np.int32)
    score = np.zeros(n, np.float32)
    total = np.zeros(n, np.float32)
    least = np.zeros(n, np.float32)
    most = np.zeros(n, np.float32)
    up = np.zeros(n, np.int32)  # the next block above
    children = np.zeros(n, np.int32)
    one = np.uint64(1)
    has_main = False
    for node in range(1, n):
        above = parent[node]
        kind = tag[node]
        mask = around[above]
        own = np.float32(0)
        if kind > 0:
            bit = around_of[kind]
            if bit >= 0:
                mask |= one << np.uint64(bit)
                if bit == 6 or bit == 5:
                    has_main = True
            if flags[node] & HIDDEN:
                mask |= one << np.uint64(HIDDEN_BIT)
            count = names_at[node + 1] - names_at[node]
            for at in range(names_at[node], names_at[node + 1]):
                own += name_scores[names[at]]
            if count > 3:
                own *= np.float32(3) / np.float32(count)
            children[above] += 1
        around[node] = mask
        score[node] = own
        total[node] = total[above] + own
        least[node] = min(least[above], own)
        most[node] = max(most[above], own)
        if kind > 0 and is_block[kind]:
            depth[node] = depth[above] + 1
        else:
            depth[node] = depth[above]
        up[node] = above if is_block[tag[above]] or above == 0 else up[above]

    two, four = _signatures(tag, parent, names_at, names, is_block)

    # Sums over runs, so that a subtree's are differences.
    words = np.zeros(runs, np.float32)
    linked = np.zeros(runs, np.float32)
    cumulated = np.zeros(runs + 1, np.float32)
    cumulated_links = np.zeros(runs + 1, np.float32)
    cumulated_p = np.zeros(runs + 1, np.float32)
    heading = np.zeros(runs, np.float32)
    stops = np.zeros(runs, np.float32)
    p_bit = np.uint64(18)
    longest = np.float32(0)
    h1_first, h1_last = -1, -1
    for r in range(runs):
        words[r] = counts[r, WORDS] + extra[r, 2]
        linked[r] = counts[r, LINKED_WORDS]
        bits = around[first[r]]
        in_p = (bits >> p_bit) & one
        heading[r] = 1 if (bits >> np.uint64(22)) & np.uint64(63) else 0
        if (bits >> np.uint64(22)) & one:
            h1_first = r if h1_first < 0 else h1_first
            h1_last = r
        stops[r] = counts[r, STOPS] / max(words[r], 1)
        cumulated[r + 1] = cumulated[r] + words[r]
        cumulated_links[r + 1] = cumulated_links[r] + linked[r]
        cumulated_p[r + 1] = cumulated_p[r] + (words[r] - linked[r] if in_p else 0)
        longest = max(longest, words[r] - linked[r])
    page_words, page_links = max(cumulated[runs], 1), cumulated_links[runs]

    since = 0
    for r in range(runs):
        node, b = first[r], block[r]
        w = max(words[r], 1)
        c = 0
        x[r, 0] = words[r]
        x[r, 1] = linked[r] / w
        x[r, 2] = counts[r, CHARACTERS] / max(counts[r, WORDS], 1)
        x[r, 3] = stops[r]
        x[r, 4] = counts[r, DIGITS] / max(counts[r, CHARACTERS], 1)
        x[r, 5] = counts[r, CAPITALS] / max(counts[r, LETTERS], 1)
        x[r, 6] = counts[r, TEXTS]
        x[r, 7] = extra[r, 0]
        x[r, 8] = extra[r, 1]
        c = 9
        x[r, c] = r / runs
        x[r, c + 1] = runs - r
        x[r, c + 2] = cumulated[r] / page_words
        x[r, c + 3] = depth[node]
        x[r, c + 4] = 1 if 0 <= h1_first <= r else 0
        x[r, c + 5] = r - h1_last if h1_last >= 0 else -1000
        since = 0 if heading[r] else since + 1
        x[r, c + 6] = since
        x[r, c + 7] = tag[b]
        x[r, c + 8] = tag[up[b]]
        x[r, c + 9] = tag[up[up[b]]]
        x[r, c + 10] = 1 if r and block[r - 1] == b else 0
        c += 11
        x[r, c] = score[b]
        x[r, c + 1] = score[up[b]]
        x[r, c + 2] = total[node]
        x[r, c + 3] = least[node]
        x[r, c + 4] = most[node]
        c += 5
        bits = around[node]
        for bit in range(HIDDEN_BIT + 1):
            x[r, c + bit] = (bits >> np.uint64(bit)) & one
        c += HIDDEN_BIT + 1
        box = b
        for _ in range(CONTAINERS):
            low, high = np.searchsorted(first, box), np.searchsorted(first, last[box])
            inside = cumulated[high] - cumulated[low]
            x[r, c] = inside
            x[r, c + 1] = (cumulated_links[high] - cumulated_links[low]) / max(inside, 1)
            x[r, c + 2] = inside / page_words
            x[r, c + 3] = high - low
            x[r, c + 4] = cumulated_p[high] - cumulated_p[low]
            x[r, c + 5] = children[box]
            c += 6
            box = up[box]
        # Alike: filled below.
        c += 8
        x[r, c] = page_words
        x[r, c + 1] = runs
        x[r, c + 2] = page_links / page_words
        x[r, c + 3] = cumulated_p[runs]
        x[r, c + 4] = 1 if has_main else 0
        x[r, c + 5] = longest
        c += 6
        for place in (-3, -2, -1, 1, 2, 3):
            other = r + place
            if 0 <= other < runs:
                x[r, c] = words[other]
                x[r, c + 1] = linked[other] / max(words[other], 1)
                x[r, c + 2] = heading[other]
                x[r, c + 3] = stops[other]
                x[r, c + 4] = total[first[other]]
            else:
                x[r, c] = -1
            c += 5
        low, high = max(r - 8, 0), min(r + 9, runs)
        x[r, c] = (cumulated[high] - cumulated[low]) / (high - low)
        x[r, c + 1] = (cumulated_links[high] - cumulated_links[low]) / max(
            cumulated[high] - cumulated[low], 1
        )

    column = 9 + 11 + 5 + HIDDEN_BIT + 1 + 6 * CONTAINERS
    for level in range(2):
        keys = np.empty(runs, np.uint64)
        for r in range(runs):
            keys[r] = two[first[r]] if level == 0 else four[first[r]]
        order = np.argsort(keys)
        low = 0
        while low < runs:
            high = low
            sum_words = sum_links = np.float32(0)
            while high < runs and keys[order[high]] == keys[order[low]]:
                sum_words += words[order[high]]
                sum_links += linked[order[high]]
                high += 1
            for at in range(low, high):
                r = order[at]
                x[r, column] = high - low
                x[r, column + 1] = sum_words / (high - low)
                x[r, column + 2] = sum_links / max(sum_words, np.float32(1))
                x[r, column + 3] = sum_words / page_words
            low = high
        column += 4
    return x


def second_look(flat: Flat, first_R: np.ndarray, words_R: np.ndarray) -> np.ndarray:
    """float32 (runs, SECOND): what the first look thought of a run and of what is around it."""
    return _second(
        flat.tag_N, flat.parent_N, flat.last_N, flat.names_at_N, flat.names, flat.block_R, flat.first_R, IS_BLOCK,
        first_R.astype(np.float32), words_R.astype(np.float32), len(SECOND),
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _second(tag, parent, last, names_at, names, block, first, is_block, p, words, width):
    runs = len(block)
    x = np.zeros((runs, width), np.float32)
    weight = np.zeros(runs + 1, np.float32)  # cumulated words, + 1 a run
    kept = np.zeros(runs + 1, np.float32)
    for r in range(runs):
        weight[r + 1] = weight[r] + words[r] + 1
        kept[r + 1] = kept[r] + (words[r] + 1) * p[r]
    two, four = _signatures(tag, parent, names_at, names, is_block)
    up = np.zeros(len(tag), np.int32)  # the next block above
    for node in range(1, len(tag)):
        above = parent[node]
        up[node] = above if is_block[tag[above]] or above == 0 else up[above]
    for r in range(runs):
        x[r, 0] = p[r]
        for place in range(1, 4):
            x[r, place] = p[r - place] if r >= place else -1
            x[r, 3 + place] = p[r + place] if r + place < runs else -1
        x[r, 9] = kept[runs] / weight[runs]
        low, high = max(r - 10, 0), min(r + 11, runs)
        x[r, 10] = (kept[high] - kept[low]) / (weight[high] - weight[low])
        box = block[r]
        for level in range(CONTAINERS):
            low, high = np.searchsorted(first, box), np.searchsorted(first, last[box])
            x[r, 11 + level] = (kept[high] - kept[low]) / max(weight[high] - weight[low], np.float32(1))
            box = up[box]
        column = 11 + CONTAINERS
        low, high = max(r - 30, 0), min(r + 31, runs)
        for other in range(low, r):
            x[r, column] = max(x[r, column], p[other] * min(words[other], 50))
        for other in range(r + 1, high):
            x[r, column + 1] = max(x[r, column + 1], p[other] * min(words[other], 50))
        x[r, column + 2] = kept[r] / max(kept[runs], np.float32(1))
        x[r, column + 3] = (kept[runs] - kept[r + 1]) / max(kept[runs], np.float32(1))
    for level in range(2):
        keys = np.empty(runs, np.uint64)
        for r in range(runs):
            keys[r] = two[first[r]] if level == 0 else four[first[r]]
        order = np.argsort(keys)
        low = 0
        while low < runs:
            high = low
            above = below = np.float32(0)
            while high < runs and keys[order[high]] == keys[order[low]]:
                r = order[high]
                above += (words[r] + 1) * p[r]
                below += words[r] + 1
                high += 1
            for at in range(low, high):
                x[order[at], 7 + level] = above / below
            low = high
    return x


@dataclass(frozen=True)
class Trees:
    """A boosted ensemble as arrays of its nodes in pre-order: a node's left child is the next one. Leaves have feature
    −1 and their value in `threshold`."""

    feature: np.ndarray  # int16
    threshold: np.ndarray  # float32
    right: np.ndarray  # int32
    roots: np.ndarray  # int32

    def probabilities(self, x_RF: np.ndarray) -> np.ndarray:
        return _run_trees(self.feature, self.threshold, self.right, self.roots, x_RF)


@numba.njit(cache=True, nogil=True)
def _run_trees(feature, threshold, right, roots, x):
    total = np.zeros(len(x), np.float32)
    for root in roots:  # tree by tree: its nodes stay in the first-level cache
        for r in range(len(x)):
            node = root
            asked = feature[node]
            while asked >= 0:
                node = node + 1 if x[r, asked] <= threshold[node] else right[node]
                asked = feature[node]
            total[r] += threshold[node]
    return 1 / (1 + np.exp(-total))


@dataclass(frozen=True)
class Model:
    name_scores: np.ndarray  # float32 (NAME_BUCKETS,)
    first: Trees
    second: Trees

    def probabilities(self, flat: Flat, extra_RC: np.ndarray) -> np.ndarray:
        """How likely each run belongs to the main content."""
        x_RF = features(flat, extra_RC, self.name_scores)
        p_R = self.first.probabilities(x_RF)
        return self.second.probabilities(np.hstack([x_RF, second_look(flat, p_R, x_RF[:, 0])]))


def most_likely(p_R: np.ndarray, words_R: np.ndarray) -> np.ndarray:
    """bool (runs,): the choice of runs whose expected F1 of words is best.

    Of the likeliest runs as many as make 2·Σ kept w·p / (Σ kept w + Σ all w·p) largest (Lewis, "Evaluating and
    optimizing autonomous text classification systems", SIGIR 1995): a page that nothing is sure of keeps more than a
    fixed threshold would, a clear one no less.

    >>> most_likely(np.array([0.9, 0.3, 0.35, 0.0]), np.array([10, 50, 50, 500])).tolist()
    [True, True, True, False]
    """
    order = np.argsort(-p_R, kind="stable")
    weight_R = words_R[order] + 1e-6
    gained = np.cumsum(weight_R * p_R[order])
    best = int(np.argmax(gained / (np.cumsum(weight_R) + gained[-1])))
    kept_R = np.zeros(len(p_R), bool)
    kept_R[order[: best + 1]] = True
    return kept_R


def main_content(flat: Flat, extra_RC: np.ndarray) -> np.ndarray:
    """bool (runs,): which runs are the page's main content; never none of them.

    A formula, listing or table that stands among kept runs (one within three before it, one within three after it) is
    kept, whatever the classifier thinks of it. So is the last `<h1>` before them: what people took out of pages to train
    on has no titles in it, but a document should begin with its own (it costs 0.001 of F1 there).
    """
    if not flat.runs:
        return np.zeros(0, bool)
    kept_R = most_likely(load().probabilities(flat, extra_RC), flat.counts_RC[:, WORDS] + extra_RC[:, 2])
    for run in np.flatnonzero(~kept_R & (extra_RC[:, :2].sum(1) > 0)).tolist():
        if kept_R[max(run - 3, 0) : run].any() and kept_R[run + 1 : run + 4].any():
            kept_R[run] = True
    titles = np.flatnonzero(flat.tag_N[flat.block_R[: int(np.argmax(kept_R))]] == TAGS["h1"])
    kept_R[titles[-1:]] = True
    return kept_R


def save(model: Model, path: Path, about: str) -> None:
    arrays: dict[str, Any] = {"name_scores": model.name_scores.astype(np.float16)}
    for name, trees in (("first", model.first), ("second", model.second)):
        for field in ("feature", "threshold", "right", "roots"):
            arrays[f"{name}_{field}"] = np.asarray(getattr(trees, field))
    np.savez_compressed(path, about=np.array(about), allow_pickle=False, **arrays)


@functools.cache
def load(path: Path = MODEL) -> Model:
    with np.load(path) as stored:
        first, second = (
            Trees(*(stored[f"{name}_{field}"] for field in ("feature", "threshold", "right", "roots")))
            for name in ("first", "second")
        )
        scores = stored["name_scores"].astype(np.float32)
        return Model(scores, first, second)
