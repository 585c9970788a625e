"""Advantages: how much better an answer was than the others to the same problem.

Which groups carry a gradient at all is decided by `training.rl.fate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Scale = Literal["std", "none"]
LEAST_STD = 0.01


def advantages(
    rewards: Sequence[float | None], scale: Scale = "std", least: float = LEAST_STD
) -> list[float | None]:
    """A_i = (r_i − mean r) / std r over the members of one group; None for an undecided member.

    An undecided member has no loss and no part in mean and deviation: it is neither praised nor blamed for what the
    judge could not tell. The deviation is the population's, as in GRPO (arXiv 2402.03300).

    std: as MiMo-7B prints it. It also makes groups that are almost solved or almost unsolved count for more, and with
    graded rewards it blows up a difference that is hardly one: therefore `least`, below which no deviation counts
    (ours; 16 members with binary rewards have at least 0.24).
    none: the difference alone (Dr. GRPO, arXiv 2503.20783).

    >>> advantages([1.0, 0.0, 0.0, 1.0, None])
    [1.0, -1.0, -1.0, 1.0, None]
    >>> advantages([1.0, 0.5], scale="none")
    [0.25, -0.25]
    """
    decided = [reward for reward in rewards if reward is not None]
    if not decided:
        return [None] * len(rewards)
    mean = math.fsum(decided) / len(decided)
    if min(decided) == max(decided):  # exactly: a mean of equal floats need not be one of them
        return [None if reward is None else 0.0 for reward in rewards]
    scaled_by = 1.0
    if scale == "std":
        variance = math.fsum((reward - mean) ** 2 for reward in decided) / len(decided)
        scaled_by = max(math.sqrt(variance), least)
    return [None if reward is None else (reward - mean) / scaled_by for reward in rewards]


def pass_rate(passes: Sequence[bool | None]) -> float | None:
    """Share of the decided members that passed; None where none is decided."""
    decided = [passed for passed in passes if passed is not None]
    return sum(decided) / len(decided) if decided else None
