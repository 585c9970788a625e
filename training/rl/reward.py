"""What an answer is worth: accuracy by rules, or graded by the difficulty of the tests it passes.

Test-difficulty-driven reward (MiMo-7B report, arXiv 2505.07608, §3.2): the tests of a problem are clustered by pass
rate into levels (`mixtures.difficulty`), level 0 the easiest, and each level has a score; scores add up to 1.

A problem with four tests at levels 0, 0, 1, 2, of which an answer passes the first, the second and the fourth:

>>> passes, levels, scores = [True, True, False, True], [0, 0, 1, 2], [0.2, 0.3, 0.5]
>>> strict(passes, levels, scores)  # level 0 is earned; level 1 is not, and so nothing above it
0.2
>>> soft(passes, levels, scores)  # 0.2·2/2 + 0.3·0/1 + 0.5·1/1
0.7

`passes` has None for a test the judge could not decide: such a test is not passed, so an answer never gains by it. Only
where nothing at all is decided is the reward undecided, None. No format reward, no length penalty (report, §3.2).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

Kind = Literal["accuracy", "strict", "soft", "random"]
Passes = Sequence[bool | None]


def accuracy(passed: bool | None) -> float | None:
    """1 for a right answer, 0 for a wrong one."""
    return None if passed is None else float(passed)


def strict(passes: Passes, levels: Sequence[int], scores: Sequence[float]) -> float | None:
    """The score of a level is earned only if all its tests and all tests of easier levels pass."""
    if all(passed is None for passed in passes):
        return None
    failed = [level for passed, level in zip(passes, levels, strict=True) if not passed]
    return math.fsum(scores[: min(failed, default=len(scores))])


def soft(passes: Passes, levels: Sequence[int], scores: Sequence[float]) -> float | None:
    """The score of a level is shared equally by its tests; the reward is the sum over the tests that pass."""
    if all(passed is None for passed in passes):
        return None
    if all(passes):
        return math.fsum(scores)  # exactly what `strict` gives, not the sum of its shares
    sizes = [0] * len(scores)
    for level in levels:
        sizes[level] += 1
    return math.fsum(scores[lv] / sizes[lv] for passed, lv in zip(passes, levels, strict=True) if passed)


def random_reward(*of: object) -> float:
    """A coin that does not look at the answer, 0 or 1 by what it is thrown for (seed, group, member): the control. What
    a model gains by it, it did not gain by the reward (Shao et al. 2025 saw such gains). The same answer gets the same
    coin whenever it is judged: before a restart or after it, first or last of its group."""
    digest = hashlib.blake2b("/".join(map(str, of)).encode(), digest_size=1).digest()
    return float(digest[0] & 1)


def graded(
    kind: Literal["strict", "soft"],
    passed: bool | None,
    passes: Passes,
    levels: Sequence[int] | None,
    scores: Sequence[float] | None,
) -> float | None:
    """`strict` or `soft` of a judged answer, whatever the problem says about its tests.

    Without levels all tests are of one. A verdict without its tests (they are fewer than the problem's) counts as a
    whole. An answer with every part right that is wrong all the same (an integer with digits too many) has not passed
    its hardest part.
    """
    if levels is None or scores is None:
        levels, scores = [0] * len(passes), [1.0]
    if len(passes) != len(levels):
        return accuracy(passed)
    if passed is False and all(passes):
        hardest = max(range(len(levels)), key=lambda part: levels[part])
        passes = [ok and part != hardest for part, ok in enumerate(passes)]
    return (strict if kind == "strict" else soft)(passes, levels, scores)
