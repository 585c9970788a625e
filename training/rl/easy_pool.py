"""Which problem comes next: each once before any twice, and now and then one of those that are solved already.

Easy-data re-sampling (MiMo-7B report, arXiv 2505.07608, §3.2): a problem whose whole group was right moves to the easy
pool; with probability α a group draws from there; a problem of the pool that is no longer solved returns. (To drop
easy problems altogether made the policy's updates unstable.) A group that is all right again is filtered by dynamic
sampling and trains nothing: what the pool brings in is the returned share, so that is counted.

The main set is walked in seeded permutations, one an epoch. A problem whose group was aborted has not been seen: it
comes first the next time.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np


class EasyPool:
    """Draws problems 0 … problems − 1.

    The n-th draw of an iteration is a function of (seed, iteration, group number) and of what was observed before the
    iteration began, as long as groups are drawn in the order of their numbers and nothing is observed in between.
    Write `state_dict` between iterations.
    """

    def __init__(self, problems: int, alpha: float = 0.1, seed: int = 1) -> None:
        self.problems, self.alpha, self.seed = problems, alpha, seed
        self.easy: set[int] = set()
        self.epoch = self.position = 0  # where the walk through the main set is
        self.waiting: deque[int] = deque()  # drawn, but aborted
        self.iteration = 0
        self.drawn = self.returned = 0  # from the pool, to the main set, in this iteration
        self._order = self._permutation()

    def __len__(self) -> int:
        """Problems in the pool."""
        return len(self.easy)

    def begin(self, iteration: int) -> None:
        """Counters start anew; the pool that is drawn from is what it is now, each problem of it once."""
        self.iteration, self.drawn, self.returned = iteration, 0, 0
        self._left = sorted(self.easy)

    def draw(self, group: int) -> int:
        """The problem of a group. A pool that is empty or used up draws from the main set (a few easy problems shall not
        fill an iteration), an empty main set from the pool."""
        random = np.random.default_rng([self.seed, self.iteration, group])
        wants_easy = random.random() < self.alpha
        if len(self.easy) == self.problems:
            wants_easy, self._left = True, self._left or sorted(self.easy)
        if self._left and wants_easy:
            self.drawn += 1
            return self._left.pop(int(random.integers(len(self._left))))
        while self.waiting:
            if (problem := self.waiting.popleft()) not in self.easy:
                return problem
        while True:
            if self.position == self.problems:
                self.epoch, self.position = self.epoch + 1, 0
                self._order = self._permutation()
            problem = int(self._order[self.position])
            self.position += 1
            if problem not in self.easy:
                return problem

    def observe(self, problem: int, pass_rate: float | None) -> None:
        """What came of a whole group; None: undecided, the problem stays where it is."""
        if pass_rate == 1:
            self.easy.add(problem)
        elif pass_rate is not None and problem in self.easy:
            self.easy.remove(problem)
            self.returned += 1

    def unseen(self, problem: int) -> None:
        """Its group was aborted: it comes again first (a problem of the pool when the coin falls so)."""
        if problem not in self.easy:
            self.waiting.append(problem)

    def state_dict(self) -> dict[str, Any]:
        return {
            "easy": sorted(self.easy),
            "epoch": self.epoch,
            "position": self.position,
            "waiting": list(self.waiting),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.easy, self.waiting = set(state["easy"]), deque(state["waiting"])
        self.epoch, self.position = state["epoch"], state["position"]
        self._order = self._permutation()

    def _permutation(self) -> np.ndarray:
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.problems)
