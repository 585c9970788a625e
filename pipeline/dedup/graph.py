"""Candidates from buckets, and connected components by edges that meet in partitions: arrays in, arrays out.

A document is an int64 here: where it stands. An *order* is a hash of its id, so that what is chosen among several does
not depend on where they stand.
"""

from __future__ import annotations

import numba
import numpy as np

SMALL = 48  # rows of a bucket up to which insertion sort is the fastest


def bucket_pairs(
    key: np.ndarray, band: np.ndarray, text: np.ndarray, order: np.ndarray, document: np.ndarray, cap: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """What the rows of equal `key` propose: twins and pairs, both int64 [2, …], each pair once.

    twins: (document, its twin) for every document but one of each equal `text`: the one of smallest `order` stands for
    all of them; they meet in every band, and band 0 tells. pairs: (home, guest) among those that stand, all of a
    bucket, or each with the one of smallest order where they are more than `cap`. The home is the one of larger order,
    so that the middle of a star is its guest. Third: how many pairs the cap has left out, those of several buckets
    counted in each.
    """
    rows = np.argsort(key)
    twins, pairs, left_out = _bucket_pairs(key, band, text, order, document, rows, cap)
    return distinct(twins), distinct(pairs), int(left_out)


def distinct(pairs: np.ndarray) -> np.ndarray:
    """The columns of int64 [2, …], sorted, each once."""
    rows = np.lexsort(pairs[::-1])
    pairs = pairs[:, rows]
    new = np.ones(pairs.shape[1], bool)
    new[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    return pairs[:, new]


@numba.njit(cache=True, nogil=True)
def _bucket_pairs(key, band, text, order, document, rows, cap):
    twins = np.empty((2, 1024), np.int64)
    pairs = np.empty((2, 1024), np.int64)
    twins_used, pairs_used, left_out, start = 0, 0, 0, 0
    while start < len(rows):
        stop = start + 1
        while stop < len(rows) and key[rows[stop]] == key[rows[start]]:
            stop += 1
        if stop - start > 1:
            bucket = rows[start:stop]
            _sort_bucket(bucket, text, order)
            heads = np.empty(len(bucket), np.int64)  # the first of each text
            count, middle = 0, 0
            for at in range(len(bucket)):
                row = bucket[at]
                if at and text[row] == text[bucket[at - 1]]:
                    if band[row] == 0:
                        twins, twins_used = _added(
                            twins, twins_used, document[heads[count - 1]], document[row]
                        )
                    continue
                heads[count] = row
                if order[row] < order[heads[middle]]:
                    middle = count
                count += 1
            heads[0], heads[middle] = heads[middle], heads[0]
            left_out += (count - 1) * (count - 2) // 2 if count > cap else 0
            for i in range(count if count <= cap else 1):
                for j in range(i + 1, count):
                    home, guest = heads[i], heads[j]
                    if order[home] < order[guest]:
                        home, guest = guest, home
                    pairs, pairs_used = _added(pairs, pairs_used, document[home], document[guest])
        start = stop
    return twins[:, :twins_used].copy(), pairs[:, :pairs_used].copy(), left_out


@numba.njit(cache=True, nogil=True)
def _sort_bucket(bucket, text, order):
    """By text, then order, in place."""
    if len(bucket) > SMALL:
        bucket[:] = bucket[np.argsort(order[bucket], kind="mergesort")]
        bucket[:] = bucket[np.argsort(text[bucket], kind="mergesort")]
        return
    for i in range(1, len(bucket)):
        row, j = bucket[i], i
        while j > 0 and (
            text[bucket[j - 1]] > text[row]
            or (text[bucket[j - 1]] == text[row] and order[bucket[j - 1]] > order[row])
        ):
            bucket[j] = bucket[j - 1]
            j -= 1
        bucket[j] = row


@numba.njit(cache=True, nogil=True)
def _added(pairs, used, left, right):
    if used == pairs.shape[1]:
        larger = np.empty((2, 2 * used), np.int64)
        larger[:, :used] = pairs
        pairs = larger
    pairs[0, used], pairs[1, used] = left, right
    return pairs, used + 1


# Connected components by alternating stars: Kiveris, Lattanzi, Mirrokni, Rastogi & Vassilvitskii, "Connected Components
# in MapReduce and Beyond" (SoCC 2014). Each step needs the edges of one node at one place only.


def large_star(node: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Edges (larger neighbour, smallest around) of every node, given all of its edges; and whether any was no star yet.

    `node`, `other`: every edge in both directions, all edges of a node together in one call.
    """
    node, other = _sorted_edges(node, other)
    first, degree, smallest = _neighbourhoods(node, other)
    is_star = (smallest == node[first]) | ((degree == 1) & (smallest < node[first]))
    smallest = np.repeat(smallest, degree)
    larger = other > node
    return *_sorted_edges(other[larger], smallest[larger]), not bool(is_star.all())


def small_star(node: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (smaller neighbour or the node itself, smallest of them), given each node's edges to smaller ones."""
    node, other = _sorted_edges(node, other)
    first, degree, smallest = _neighbourhoods(node, other)
    left = np.concatenate([node[first], other])
    right = np.concatenate([smallest, np.repeat(smallest, degree)])
    return _sorted_edges(left[left != right], right[left != right])


def _sorted_edges(node: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = distinct(np.stack([node, other]))
    return edges[0], edges[1]


def _neighbourhoods(node: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of sorted edges, for each node: its first edge, how many there are, and the smallest of it and its neighbours."""
    first = np.flatnonzero(np.diff(node, prepend=-1))
    degree = np.diff(np.append(first, len(node)))
    return first, degree, np.minimum(node[first], other[first])
