"""Which labelled rows are held out: whole sites with all their near-duplicates, of every kind some."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RequestError


def groups_of(hosts: Sequence[str], clusters: Sequence[str]) -> np.ndarray:
    """Numbers of the connected groups of rows: equal where a chain of shared hosts and shared clusters connects them.

    >>> groups_of(["a", "a", "b", "c"], ["1", "2", "2", "3"]).tolist()
    [0, 0, 0, 1]
    """
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parents.setdefault(node, node)
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for host, cluster in zip(hosts, clusters, strict=True):
        parents[root(("cluster", cluster))] = root(("host", host))
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(root(("host", host)), len(numbers)) for host in hosts], np.int64)


def split(labelled: pa.Table, share: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to hold out, about `share` of them: no host and no cluster is on both sides.

    Groups are dealt out kind by kind (`kind` and first nominal label, else the first ordinal one; a group is what most of
    its rows are), so that a kind that two groups or more have is on both sides. A group larger than the room that is
    left stays on the training side. Raises `RequestError` if all rows are one group.
    """
    groups = groups_of(labelled["host"].to_pylist(), labelled["cluster"].to_pylist())
    sizes = np.bincount(groups)
    if len(sizes) < 2:
        raise RequestError(
            "nothing can be held out: all labelled rows share hosts or near-duplicates (columns host, cluster); "
            "label documents of several sites"
        )
    votes = Counter(zip(groups.tolist(), _kinds(labelled), strict=True))
    kinds: dict[int, tuple[int, str]] = {}
    for (group, kind), count in votes.items():
        kinds[group] = max(kinds.get(group, (0, "")), (count, kind))
    names: dict[int, str] = {}  # the first host by name: the order of the rows shall not matter
    for group, host in zip(groups.tolist(), labelled["host"].to_pylist(), strict=True):
        names[group] = min(names.get(group, host), host)
    of_kind: dict[str, list[int]] = defaultdict(list)
    for group in sorted(kinds, key=lambda group: names[group]):
        of_kind[kinds[group][1]].append(group)
    random = np.random.default_rng(seed)
    held_out: set[int] = set()
    for _, members in sorted(of_kind.items()):
        room = share * sizes[members].sum()
        chosen: list[int] = []
        for group in random.permutation(members).tolist():
            if sizes[group] <= 1.25 * room:  # a quarter too much is better than none of a kind
                chosen.append(group)
                room -= sizes[group]
        if not chosen and len(members) > 1:
            chosen = [min(members, key=lambda group: sizes[group])]
        held_out.update(chosen)
    if not held_out:  # every kind is one group
        held_out = {int(np.argmin(sizes))}
    test = np.isin(groups, sorted(held_out))
    return np.flatnonzero(~test), np.flatnonzero(test)


def _kinds(labelled: pa.Table) -> list[str]:
    """Of each row its kind and first nominal label; where there is neither, its first ordinal label."""
    labels = [name for name in labelled.column_names if name.startswith("label_")]
    nominal = [name for name in labels if pa.types.is_string(labelled.schema.field(name).type)]
    names = ["kind", *nominal[:1]]
    kinds = [
        " ".join(filter(None, row))
        for row in zip(*(labelled[name].to_pylist() for name in names), strict=True)
    ]
    if labels and not nominal:
        levels = pc.round(labelled[labels[0]]).cast(pa.string()).to_pylist()
        kinds = [kind or level or "" for kind, level in zip(kinds, levels, strict=True)]
    return kinds
