"""Two ways to touch resiliparse's tree that everything here needs."""

from __future__ import annotations

import functools

import numba
import numpy as np
from resiliparse.parse.html import ElementNode, HTMLTree

SHORT, BLOCK = 2_000, 4_096  # bytes


def select(root: HTMLTree | ElementNode, selector: str) -> list[ElementNode]:
    """All elements that match, as a snapshot: the tree's own collection is live, and the tree is about to change.

    Never iterate a collection of resiliparse 2.0 itself: every step builds the whole list again (measured: 4,000
    elements take 30 s, `values()` of the same collection 13 ms).
    """
    node = root.document if isinstance(root, HTMLTree) else root
    return node.query_selector_all(selector).values() if node is not None else []


def mentions(lowered: bytes, words: tuple[str, ...]) -> bool:
    """Whether a page, as lower-case UTF-8, holds one of the words.

    A pattern with alternatives took two thirds of all time spent on a page, a search by Python takes a tenth of a
    millisecond a word and page.
    """
    if len(lowered) < SHORT:
        return any(word.encode() in lowered for word in words)
    data = np.frombuffer(lowered, np.uint8)
    return any(_holds(data, _coded(word)) for word in words)


@functools.cache
def _coded(word: str) -> np.ndarray:
    return np.frombuffer(word.encode(), np.uint8)


@numba.njit(cache=True, nogil=True)
def _holds(data, word):
    """Whether a word of at least two bytes stands in the data: where its first two and last two do, all are compared.

    These four make a loop that the compiler turns into comparisons of 32 places at once.
    """
    length, most = len(word), len(data) - len(word) + 1
    first, second, third, fourth = word[0], word[1], word[length - 2], word[length - 1]
    at = 0
    while at < most:
        size = min(BLOCK, most - at)
        firsts, seconds = data[at : at + size], data[at + 1 : at + 1 + size]
        thirds = data[at + length - 2 : at + length - 2 + size]
        fourths = data[at + length - 1 : at + length - 1 + size]
        hits = 0
        for place in range(size):
            hits += (
                (firsts[place] == first)
                & (seconds[place] == second)
                & (thirds[place] == third)
                & (fourths[place] == fourth)
            )
        place = at
        while hits > 0:
            if (
                data[place] == first
                and data[place + 1] == second
                and data[place + length - 2] == third
                and data[place + length - 1] == fourth
            ):
                letter = 2
                while letter < length and data[place + letter] == word[letter]:
                    letter += 1
                if letter == length:
                    return True
                hits -= 1
            place += 1
        at += size
    return False


def replace(tree: HTMLTree, node: ElementNode, text: str) -> None:
    """Put text in the place of an element."""
    new = tree.create_text_node(text)
    if new is not None:
        node.replace_with(new)


def classes(node: ElementNode) -> list[str]:
    return (node.getattr("class") or "").split()
