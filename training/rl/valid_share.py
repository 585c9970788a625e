"""How likely it is that a group will be valid, from the rewards seen so far."""

from __future__ import annotations

PRIOR_GROUPS = 8.0  # how many observed groups the prior is worth
MEMORY = 0.5  # what an iteration's observations are worth in the next: pass rates drift as the policy learns


class ValidShare:
    """P(a group becomes valid | so many of its members rewarded and not yet valid), learnt as rewards come in.

    A Kaplan-Meier estimate over members in place of time: of the groups that were not valid after k - 1 rewards, which
    share became valid with the k-th? Groups still running count as far as they have come, so the estimate does not
    lean towards groups that end early (easy ones, short ones).
    """

    def __init__(self, group_size: int, prior: float) -> None:
        # A prior under which most groups show their split early, as those of a spread of pass rates do: the k-th
        # reward leaves the share (1 - prior) ** weight[k] undivided, weight ~ 1/k, sum 1.
        harmonic = [1 / k for k in range(2, group_size + 1)]
        hazards = [1 - (1 - prior) ** (weight / sum(harmonic)) for weight in harmonic]
        self.reached = [0.0, 0.0]  # index k: groups that got a k-th reward and were not valid before it
        self.split = [0.0, 0.0]  # index k: those that it made valid
        left = PRIOR_GROUPS
        for hazard in hazards:
            self.reached.append(left)
            self.split.append(left * hazard)
            left -= left * hazard
        self._given: list[float] | None = None

    def observe(self, rewarded: int, valid: bool) -> None:
        """The `rewarded`-th reward came to a group that was not valid before it."""
        self.reached[rewarded] += 1
        self.split[rewarded] += valid
        self._given = None

    def fade(self) -> None:
        """A new iteration: what was seen before counts less."""
        self.reached = [MEMORY * value for value in self.reached]
        self.split = [MEMORY * value for value in self.split]

    def given(self) -> list[float]:
        """Index k: the probability for a group with k rewards that is not valid yet."""
        if self._given is None:
            undivided, self._given = 1.0, [0.0] * len(self.reached)
            for k in range(len(self.reached) - 1, 0, -1):
                undivided *= 1 - (self.split[k] / self.reached[k] if self.reached[k] else 0.0)
                self._given[k - 1] = 1 - undivided
        return self._given

    def state_dict(self) -> dict[str, list[float]]:
        return {"reached": list(self.reached), "split": list(self.split)}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self.reached, self.split = list(state["reached"]), list(state["split"])
        self._given = None
