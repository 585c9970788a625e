"""Pieces of documents into sequences of one length, cutting nothing and leaving little room.

Best-fit decreasing, as in Ding et al. 2024, "Fewer Truncations Improve Language Modeling" (arXiv 2404.10830): the longest
piece first, each into the sequence in which it leaves the least room. The search over rooms is a binary tree, so that
n pieces cost n log(capacity).
"""

from __future__ import annotations

import numba
import numpy as np


def best_fit(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """For each piece the number of its sequence, int64, counted from 0 in the order they were begun.

    Pieces of equal length are taken in the order given. Raises `ValueError` for a piece that is empty or too long.

    >>> best_fit(np.array([3, 6, 4, 5, 2]), 8).tolist()
    [1, 0, 2, 1, 0]
    """
    lengths = np.ascontiguousarray(lengths, np.int64)
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= capacity:
        raise ValueError(
            f"pieces of {lengths.min()} to {lengths.max()} tokens do not fit sequences of {capacity}"
        )
    return _best_fit(lengths, np.argsort(-lengths, kind="stable"), capacity)


@numba.njit(cache=True, nogil=True)
def _best_fit(lengths, order, capacity):
    leaves = 1
    while leaves <= capacity:
        leaves *= 2
    open_below = np.zeros(
        2 * leaves, np.bool_
    )  # a tree: is there an open sequence with a room of this range?
    newest = np.full(capacity + 1, -1, np.int64)  # for each room a stack of sequences that have it
    beneath = np.full(len(lengths), -1, np.int64)
    sequence_of = np.empty(len(lengths), np.int64)
    count = 0
    for piece in order:
        room = _smallest_room(open_below, leaves, lengths[piece])
        if room < 0:
            room, sequence = capacity, count
            count += 1
        else:
            sequence = newest[room]
            newest[room] = beneath[sequence]
            if newest[room] < 0:
                _set(open_below, leaves, room, False)
        sequence_of[piece] = sequence
        left = room - lengths[piece]
        if left:
            beneath[sequence] = newest[left]
            newest[left] = sequence
            _set(open_below, leaves, left, True)
    return sequence_of


@numba.njit(cache=True, nogil=True)
def _smallest_room(open_below, leaves, wanted):
    """The smallest room ≥ `wanted` that an open sequence has, or -1."""
    node = leaves + wanted
    if open_below[node]:
        return wanted
    while node > 1 and not (node % 2 == 0 and open_below[node + 1]):
        node //= 2
    if node <= 1:
        return -1
    node += 1
    while node < leaves:
        node = 2 * node if open_below[2 * node] else 2 * node + 1
    return node - leaves


@numba.njit(cache=True, nogil=True)
def _set(open_below, leaves, room, value):
    node = leaves + room
    open_below[node] = value
    while node > 1:
        node //= 2
        open_below[node] = open_below[2 * node] or open_below[2 * node + 1]
