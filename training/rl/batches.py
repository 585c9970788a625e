"""From the answers of an iteration to the micro-batches of its updates: deterministic, the same plan on every rank.

An update takes whole groups, in the order they were started. Within an update answers are sorted by length and put
into rows of their own, as many as fit: rows of one length need no mask of segments, and what is lost to padding is
little (`padding_share`). Only answer tokens are looked up in the output head.

Shapes: B rows, L positions of the longest, N answer tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Answer(NamedTuple):
    """One answer with a loss."""

    group: int
    prompt: np.ndarray  # int
    tokens: np.ndarray  # int, with the token that ended it
    logprobs: np.ndarray  # float32, the engine's
    advantage: float
    weight: float = 0.0  # of each of its tokens, see `training.rl.loss.token_weights`

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.tokens)


class MicroBatch(NamedTuple):
    """What one forward pass of `training.rl.policy.Policy` takes, and what the loss takes of its tokens."""

    tokens_BL: Tensor  # int64
    lengths: list[list[int]]
    places_N: Tensor  # int64, in the flattened rows: the position before each answer token
    labels_N: Tensor  # int64
    behaviour_N: Tensor  # float32
    advantages_N: Tensor
    weights_N: Tensor

    def to(self, device: torch.device) -> MicroBatch:
        moved = {
            name: x.to(device, non_blocking=True) for name, x in self._asdict().items() if name != "lengths"
        }
        return self._replace(**moved)


def split_updates(answers: Sequence[Answer], groups_each: int) -> list[list[Answer]]:
    """The answers of each update: `groups_each` groups, the last update what is left.

    An iteration that came out short has fewer updates, not smaller ones, but for the last.
    """
    groups = list(dict.fromkeys(answer.group for answer in answers))
    update_of = {group: number // groups_each for number, group in enumerate(groups)}
    updates: list[list[Answer]] = [[] for _ in range(-(-len(groups) // groups_each))]
    for answer in answers:
        updates[update_of[answer.group]].append(answer)
    return updates


def split_micro_batches(answers: Sequence[Answer], tokens: int, ranks: int = 1) -> list[list[Answer]]:
    """Answers sorted by length, in micro-batches of at most `tokens` positions with padding (one answer at least).

    Micro-batch i is rank i mod `ranks`'s; there are as many for each rank (some may be empty), because the ranks'
    collective operations must pair up.
    """
    batches: list[list[Answer]] = []
    for answer in sorted(answers, key=lambda answer: -answer.length):
        if batches and (len(batches[-1]) + 1) * batches[-1][0].length <= tokens:
            batches[-1].append(answer)
        else:
            batches.append([answer])
    return batches + [[] for _ in range(-len(batches) % ranks)]


def micro_batch(answers: Sequence[Answer]) -> MicroBatch:
    """Tensors of some answers. None: one row without a loss, for a rank that has nothing left of an update."""
    longest = max((answer.length for answer in answers), default=2)
    tokens_BL = np.zeros((max(1, len(answers)), longest), np.int64)
    places: list[np.ndarray] = []
    for row, answer in enumerate(answers):
        tokens_BL[row, : answer.length] = np.concatenate([answer.prompt, answer.tokens])
        first = row * longest + len(answer.prompt) - 1  # predicts the answer's first token
        places.append(np.arange(first, first + len(answer.tokens)))

    def each(values: Sequence[float]) -> Tensor:
        counts = [len(answer.tokens) for answer in answers]
        return torch.from_numpy(np.repeat(np.asarray(values, np.float32), counts))

    def flat(parts: Sequence[np.ndarray], dtype: type) -> Tensor:
        return torch.from_numpy(np.concatenate([np.empty(0, dtype), *parts]).astype(dtype))

    return MicroBatch(
        torch.from_numpy(tokens_BL),
        [[answer.length] for answer in answers] or [[longest]],
        flat(places, np.int64),
        flat([answer.tokens for answer in answers], np.int64),
        flat([answer.logprobs for answer in answers], np.float32),
        each([answer.advantage for answer in answers]),
        each([answer.weight for answer in answers]),
    )


def padding_share(batches: Sequence[Sequence[Answer]]) -> float:
    """Share of the computed positions that are padding."""
    used = sum(answer.length for batch in batches for answer in batch)
    computed = sum(len(batch) * max(answer.length for answer in batch) for batch in batches if batch)
    return 1 - used / computed if computed else 0.0
