"""What a classifier of main content sees of each run of text: the run, its place, the elements around and beside it.

After Kohlschütter et al. (boilerpipe, WSDM 2010: lengths and link shares of a block and its neighbours), Vogels et al.
(Web2Text, 2018: containers), and what forum and documentation pages need: signatures of repeated elements, the words in
class and id attributes, and what the run's own words say (`words`).

Kernels fill the columns of one array x (runs, FEATURES), group by group; `*_AT` says where a group begins. What is true
of a subtree is a difference of sums over runs, for a subtree is a range of them.
"""

from __future__ import annotations

import numba
import numpy as np

from pipeline.extract.content.words import copies_key, said_in_head, scores_of, tokens_of
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
)

AROUND = (
    "nav", "header", "footer", "aside", "form", "article", "main", "section", "table", "ul", "ol", "dl", "figure",
    "blockquote", "details", "button", "label", "noscript", "p", "li", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6",
    "dd", "dt", "figcaption", "pre", "a", "address", "body", "summary", "menu", "fieldset", "dialog", "center", "hidden",
)  # fmt: skip
BIT_OF_TAG = np.full(max(TAGS.values()) + 2, -1, np.int8)
for _bit, _name in enumerate(AROUND[:-1]):
    BIT_OF_TAG[TAGS[_name]] = _bit
P_BIT, H1_BIT, HIDDEN_BIT = (np.uint64(AROUND.index(name)) for name in ("p", "h1", "hidden"))
HEADING_BITS = np.uint64(sum(1 << AROUND.index(f"h{level}") for level in range(1, 7)))
H1, MAIN, ARTICLE = (np.int16(TAGS[name]) for name in ("h1", "main", "article"))
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LEVELS = 6  # of headings
ONE = np.uint64(1)

OWN = (
    "words", "linked", "characters_a_word", "stops_a_word", "digits", "capitals", "texts", "formulas", "listings",
)  # fmt: skip
PLACE = (
    "run", "run_from_end", "words_before", "depth", "h1_before", "h1_after", "since_heading", "tag", "parent_tag",
    "grandparent_tag", "same_block_as_before",
)  # fmt: skip
NAMES = ("name_own", "name_parent", "name_sum", "name_least", "name_most")
CONTAINERS = 4  # block ancestors that are looked at: the run's own block first
CONTAINER = ("words", "linked", "share", "runs", "paragraph_words", "children", "said", "said_first")
PAGE = (
    "page_words", "page_runs", "page_linked", "page_paragraph_words", "page_has_main", "page_longest_run", "page_said",
)  # fmt: skip
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
NEAR = ("words", "linked", "heading", "stops_a_word", "name_sum", "said")
WINDOW = ("window_words", "window_linked", "window_said")
# Of the run's words (log-odds of content), of those of the heading before it, the least of the headings it stands
# under, the least of the runs just before; then what the head of the page says of them too.
SAID = (
    "said",
    "said_heading",
    "said_headings_least",
    "said_before_least",
    "in_description",
    "in_linked_data",
    "in_title",
)
SIGNATURE = ("runs", "words", "linked", "share")
COPIES = ("copies_before", "copies")
FEATURES = (
    *OWN, *PLACE, *NAMES, *(f"in_{name}" for name in AROUND),
    *(f"container{level}_{name}" for level in range(CONTAINERS) for name in CONTAINER),
    *PAGE, *(f"near{place:+d}_{name}" for place in NEIGHBOURS for name in NEAR), *WINDOW, *SAID,
    *(f"alike{level}_{name}" for level in range(2) for name in SIGNATURE), *COPIES,
)  # fmt: skip
PLACE_AT, NAMES_AT, AROUND_AT, CONTAINER_AT, PAGE_AT, NEAR_AT, WINDOW_AT, SAID_AT, ALIKE_AT, COPIES_AT = (
    FEATURES.index(first)
    for first in (
        "run", "name_own", "in_nav", "container0_words", "page_words", "near-3_words", "window_words", "said",
        "alike0_runs", "copies_before",
    )
)  # fmt: skip
CONTAINER_WIDTH, NEAR_WIDTH, SIGNATURE_WIDTH = len(CONTAINER), len(NEAR), len(SIGNATURE)


def features(
    flat: Flat, extra_RC: np.ndarray, name_scores: np.ndarray, word_scores: np.ndarray
) -> np.ndarray:
    """float32 (runs, FEATURES), column by column in memory.

    extra_RC: formulas, listings and the words they hold, of each run. name_scores, word_scores: log-odds of content for
    buckets of names and of words.
    """
    tokens = tokens_of(flat)
    columns_FR = np.zeros((len(FEATURES), flat.runs), np.float32)
    if flat.runs:
        words_R = (flat.counts_RC[:, WORDS] + extra_RC[:, 2]).astype(np.float32)
        said_R = scores_of(tokens, word_scores)
        columns_FR[SAID_AT + 4 : SAID_AT + 7] = said_in_head(flat, tokens).T
        _features(
            flat.tag_N, flat.parent_N, flat.last_N, flat.flags_N, flat.names_at_N, flat.names, flat.counts_RC,
            flat.block_R, flat.first_R, extra_RC, words_R, said_R, copies_key(tokens, words_R), name_scores, columns_FR,
        )  # fmt: skip
    return columns_FR.T


@numba.njit(cache=True, nogil=True)
def _features(
    tag, parent, last, flags, names_at, names, counts, block, first, extra, words, said, copies, name_scores, columns,
):  # fmt: skip
    x = columns.T
    runs = len(block)
    up, around, depth, children = _from_the_root(tag, parent, flags)
    bits = around[first]
    linked, paragraph = np.zeros(runs, np.float32), np.zeros(runs, np.float32)
    weight, weighted = np.sqrt(words + 1), np.zeros(runs, np.float32)
    for r in range(runs):
        linked[r] = counts[r, LINKED_WORDS]
        paragraph[r] = words[r] - linked[r] if (bits[r] >> P_BIT) & ONE else 0
        weighted[r] = weight[r] * said[r]
    sums = np.zeros((runs + 1, 5), np.float32)
    for column, values in enumerate((words, linked, paragraph, weight, weighted)):
        for r in range(runs):
            sums[r + 1, column] = sums[r, column] + values[r]
    _own(words, linked, counts, extra, x)
    _place(tag, up, block, depth[first], bits, sums, x)
    _names(tag, parent, names_at, names, name_scores, up, block, first, x)
    for bit in range(len(AROUND)):
        for r in range(runs):
            x[r, AROUND_AT + bit] = (bits[r] >> np.uint64(bit)) & ONE
    _containers(last, up, children, block, first, sums, said, x)
    _page(tag, words, linked, sums, x)
    _near(bits, said, sums, x)
    _said(tag, block, said, x)
    _alike(tag, parent, names_at, names, first, words, linked, x)
    _copies(copies, x)


@numba.njit(cache=True, nogil=True)
def _from_the_root(tag, parent, flags):
    """Of every node: the next block above, the bits of what is around it, how deep in blocks, and its elements."""
    n = len(tag)
    up, depth, children = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32)
    around = np.zeros(n, np.uint64)
    for node in range(1, n):
        above, kind = parent[node], tag[node]
        up[node] = above if IS_BLOCK[tag[above]] or above == 0 else up[above]
        around[node], depth[node] = around[above], depth[above]
        if kind > 0:
            if BIT_OF_TAG[kind] >= 0:
                around[node] |= ONE << np.uint64(BIT_OF_TAG[kind])
            if flags[node] & HIDDEN:
                around[node] |= ONE << HIDDEN_BIT
            depth[node] += IS_BLOCK[kind]
            children[above] += 1
    return up, around, depth, children


@numba.njit(cache=True, nogil=True)
def _own(words, linked, counts, extra, x):
    for r in range(len(words)):
        of_words = max(words[r], np.float32(1))
        x[r, 0] = words[r]
        x[r, 1] = linked[r] / of_words
        x[r, 2] = counts[r, CHARACTERS] / max(counts[r, WORDS], 1)
        x[r, 3] = counts[r, STOPS] / of_words
        x[r, 4] = counts[r, DIGITS] / max(counts[r, CHARACTERS], 1)
        x[r, 5] = counts[r, CAPITALS] / max(counts[r, LETTERS], 1)
        x[r, 6] = counts[r, TEXTS]
        x[r, 7] = extra[r, 0]
        x[r, 8] = extra[r, 1]


@numba.njit(cache=True, nogil=True)
def _place(tag, up, block, depth, bits, sums, x):
    runs = len(block)
    h1_first = h1_last = -1
    for r in range(runs):
        if (bits[r] >> H1_BIT) & ONE:
            h1_first = r if h1_first < 0 else h1_first
            h1_last = r
    since = 0
    for r in range(runs):
        since = 0 if bits[r] & HEADING_BITS else since + 1
        box = block[r]
        x[r, PLACE_AT] = r / runs
        x[r, PLACE_AT + 1] = runs - r
        x[r, PLACE_AT + 2] = sums[r, 0] / max(sums[runs, 0], np.float32(1))
        x[r, PLACE_AT + 3] = depth[r]
        x[r, PLACE_AT + 4] = 1 if 0 <= h1_first <= r else 0
        x[r, PLACE_AT + 5] = r - h1_last if h1_last >= 0 else -1000
        x[r, PLACE_AT + 6] = since
        x[r, PLACE_AT + 7] = tag[box]
        x[r, PLACE_AT + 8] = tag[up[box]]
        x[r, PLACE_AT + 9] = tag[up[up[box]]]
        x[r, PLACE_AT + 10] = 1 if r and block[r - 1] == box else 0


@numba.njit(cache=True, nogil=True)
def _names(tag, parent, names_at, names, name_scores, up, block, first, x):
    """What the class and id attributes of a run's elements say: of many words in one attribute, three on average."""
    n = len(tag)
    own, total = np.zeros(n, np.float32), np.zeros(n, np.float32)
    least, most = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for node in range(1, n):
        above = parent[node]
        score = np.float32(0)
        for at in range(names_at[node], names_at[node + 1]):
            score += name_scores[names[at]]
        if names_at[node + 1] - names_at[node] > 3:
            score *= np.float32(3) / np.float32(names_at[node + 1] - names_at[node])
        own[node] = score
        total[node] = total[above] + score
        least[node] = min(least[above], score)
        most[node] = max(most[above], score)
    for r in range(len(block)):
        node = first[r]
        x[r, NAMES_AT] = own[block[r]]
        x[r, NAMES_AT + 1] = own[up[block[r]]]
        x[r, NAMES_AT + 2] = total[node]
        x[r, NAMES_AT + 3] = least[node]
        x[r, NAMES_AT + 4] = most[node]


@numba.njit(cache=True, nogil=True)
def _containers(last, up, children, block, first, sums, said, x):
    n, runs = len(up), len(block)
    run_from = np.zeros(n + 1, np.int32)  # the first run that begins at a node or after it
    run = 0
    for node in range(n + 1):
        while run < runs and first[run] < node:
            run += 1
        run_from[node] = run
    for r in range(runs):
        box = block[r]
        c = CONTAINER_AT
        for _ in range(CONTAINERS):
            low, high = run_from[box], run_from[last[box]]
            inside = sums[high, 0] - sums[low, 0]
            x[r, c] = inside
            x[r, c + 1] = (sums[high, 1] - sums[low, 1]) / max(inside, np.float32(1))
            x[r, c + 2] = inside / max(sums[runs, 0], np.float32(1))
            x[r, c + 3] = high - low
            x[r, c + 4] = sums[high, 2] - sums[low, 2]
            x[r, c + 5] = children[box]
            x[r, c + 6] = (sums[high, 4] - sums[low, 4]) / max(sums[high, 3] - sums[low, 3], np.float32(1))
            x[r, c + 7] = said[low]
            c += CONTAINER_WIDTH
            box = up[box]


@numba.njit(cache=True, nogil=True)
def _page(tag, words, linked, sums, x):
    runs = len(words)
    has_main = False
    for node in range(1, len(tag)):
        if tag[node] == MAIN or tag[node] == ARTICLE:
            has_main = True
    page_words = max(sums[runs, 0], np.float32(1))
    x[:, PAGE_AT] = page_words
    x[:, PAGE_AT + 1] = runs
    x[:, PAGE_AT + 2] = sums[runs, 1] / page_words
    x[:, PAGE_AT + 3] = sums[runs, 2]
    x[:, PAGE_AT + 4] = 1 if has_main else 0
    x[:, PAGE_AT + 5] = (words - linked).max()
    x[:, PAGE_AT + 6] = sums[runs, 4] / sums[runs, 3]


@numba.njit(cache=True, nogil=True)
def _near(bits, said, sums, x):
    runs = len(bits)
    c = NEAR_AT
    for place in NEIGHBOURS:
        for r in range(runs):
            other = r + place
            if 0 <= other < runs:
                x[r, c] = x[other, 0]
                x[r, c + 1] = x[other, 1]
                x[r, c + 2] = 1 if bits[other] & HEADING_BITS else 0
                x[r, c + 3] = x[other, 3]
                x[r, c + 4] = x[other, NAMES_AT + 2]
                x[r, c + 5] = said[other]
            else:
                x[r, c] = -1
        c += NEAR_WIDTH
    for r in range(runs):
        low, high = max(r - 8, 0), min(r + 9, runs)
        inside = sums[high, 0] - sums[low, 0]
        x[r, WINDOW_AT] = inside / (high - low)
        x[r, WINDOW_AT + 1] = (sums[high, 1] - sums[low, 1]) / max(inside, np.float32(1))
        x[r, WINDOW_AT + 2] = (sums[high, 4] - sums[low, 4]) / (sums[high, 3] - sums[low, 3])


@numba.njit(cache=True, nogil=True)
def _said(tag, block, said, x):
    heading = np.float32(0)
    above = np.zeros(LEVELS + 1, np.float32)  # of the last heading of each level or a higher one
    for r in range(len(block)):
        level = tag[block[r]] - H1 + 1
        if 1 <= level <= LEVELS:
            heading = said[r]
            above[level:] = heading
        x[r, SAID_AT] = said[r]
        x[r, SAID_AT + 1] = heading
        x[r, SAID_AT + 2] = above[2:5].min()
        x[r, SAID_AT + 3] = said[max(r - 4, 0) : r + 1].min()


@numba.njit(cache=True, nogil=True)
def _alike(tag, parent, names_at, names, first, words, linked, x):
    """Runs in elements of the same signature: a hash of tag and names of the nearest block and the one above, or of the
    four nearest ones."""
    n, runs = len(tag), len(first)
    own, two, four = np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    for node in range(n):
        value = np.uint64(tag[node]) * GOLDEN
        for at in range(names_at[node], names_at[node + 1]):
            value += (np.uint64(names[at]) + np.uint64(77)) * GOLDEN * np.uint64(2654435761)
        own[node] = value
        above = parent[node]
        if node and IS_BLOCK[tag[node]]:
            two[node] = value * GOLDEN + own[above]
            higher = parent[above]
            four[node] = two[node] * GOLDEN + own[higher] * np.uint64(3) + own[parent[higher]]
        else:
            two[node], four[node] = two[above], four[above]
    page_words = max(x[0, PAGE_AT], np.float32(1))
    for level in range(2):
        keys = two[first] if level == 0 else four[first]
        column = ALIKE_AT + SIGNATURE_WIDTH * level
        order = np.argsort(keys)
        low = 0
        while low < runs:
            high = low
            sum_words = sum_links = np.float32(0)
            while high < runs and keys[order[high]] == keys[order[low]]:
                sum_words += words[order[high]]
                sum_links += linked[order[high]]
                high += 1
            for r in order[low:high]:
                x[r, column] = high - low
                x[r, column + 1] = sum_words / (high - low)
                x[r, column + 2] = sum_links / max(sum_words, np.float32(1))
                x[r, column + 3] = sum_words / page_words
            low = high


@numba.njit(cache=True, nogil=True)
def _copies(keys, x):
    """How often a run's text stands on the page, and how often before: pages hold menus and cards for two screens."""
    order = np.argsort(keys, kind="mergesort")  # stable: copies stay in the order of the page
    low = 0
    for at in range(len(keys) + 1):
        if at == len(keys) or keys[order[at]] != keys[order[low]]:
            for place in range(low, at):
                x[order[place], COPIES_AT] = place - low
                x[order[place], COPIES_AT + 1] = at - low
            low = at
