"""What becomes of a group of answers to one problem: does it carry a gradient, and if not, why not.

Dynamic sampling drops the groups that say nothing about which answer was better. For a binary reward those are the
groups that are all right or all wrong (DAPO, arXiv 2503.14476; MiMo-7B, arXiv 2505.07608 §3.2). For a graded reward
the same test would throw partial credit away: a group that nobody solved still carries a gradient when some answers
earned more than others, so the test is that the rewards differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

By = Literal["pass_rate", "variance", "none"]
Fate = Literal["valid", "filtered_solved", "filtered_unsolved", "filtered_even", "filtered_undecided"]


def fate(rewards: Sequence[float | None], passes: Sequence[bool | None], by: By) -> Fate:
    """Whether a group is trained on; `rewards` and `passes` hold one entry a member, None where undecided.

    Undecided members (no reward; by pass rate also: no pass) do not count. With fewer than two decided members
    there is nothing to compare: `filtered_undecided`, whatever `by` says.

    * `pass_rate`: valid when 0 < pass rate < 1, else `filtered_solved` (1) or `filtered_unsolved` (0).
    * `variance`: valid when two rewards differ. Else `filtered_solved` (all passed), `filtered_unsolved` (nothing
      earned: all rewards 0, none passed) or `filtered_even` (all the same partial credit).
    * `none`: valid.

    A valid group stays valid with every member that is added to it.

    >>> fate([1.0, 0.0, None], [True, False, None], "pass_rate")
    'valid'
    >>> fate([0.5, 0.0], [False, False], "pass_rate"), fate([0.5, 0.0], [False, False], "variance")
    ('filtered_unsolved', 'valid')
    """
    decided = [
        (reward, passed)
        for reward, passed in zip(rewards, passes, strict=True)
        if reward is not None and not (by == "pass_rate" and passed is None)
    ]
    if len(decided) < 2:
        return "filtered_undecided"
    if by == "none":
        return "valid"
    solved = [bool(passed) for _, passed in decided]
    earned = {reward for reward, _ in decided}  # compared exactly: a variance of equal floats need not be 0
    if len(set(solved if by == "pass_rate" else earned)) > 1:
        return "valid"
    if all(solved):
        return "filtered_solved"
    if by == "pass_rate" or (earned == {0.0} and not any(solved)):
        return "filtered_unsolved"
    return "filtered_even"
