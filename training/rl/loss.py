"""The objective of MiMo-7B's RL: GRPO without KL term, with clip-higher, every token of a group weighing alike.

    J = E[ 1/Σ|o_i| · Σ_i Σ_j min(ρ_ij·A_i, clip(ρ_ij, 1 − ε_low, 1 + ε_high)·A_i) ],   A_i = (r_i − mean r) / std r

(MiMo-7B report, arXiv 2505.07608, eq. 1–2; clip-higher and the token-level sum are DAPO's, arXiv 2503.14476.) As
printed ρ has no token index and the expectation is over the policy that is being learned; read as DAPO's token ratio.

Three policies meet here: the *behaviour* policy is what the engine computed when it sampled (its own kernels and
precision), the *proximal* policy is the same weights seen by the trainer, and the policy *now* has had some of the
iteration's updates since. ρ = now / proximal.

The clip does not hold a bad answer's token that has become *more* likely: there min(ρA, …) is ρA without a bound, and
one such token can be all of an update's gradient (seen when nearly all is solved: ρ of about 600, gradient norm 287).
`dual_clip` c, not in the report, bounds it: max(…, c·A) where A < 0 (Ye et al., arXiv 1912.09729). It is off by
default. In one run of 100 iterations on the demo's additions, lr 5e-4, the share that passed went to 99 % with and
without it and then fell back now and then: to 74 % with c = 3, to 24 % without. The first ten iterations were worse
with it (5 % after the first, 28 % without). A lower learning rate at the end, or an end, is the better remedy.

Shapes: N tokens of answers, of any number of trajectories; nothing else of a trajectory matters here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Normalise = Literal["batch", "group"]
FARTHEST = 20.0  # of a log-ratio: beyond it exp would only overflow, and the clip has long decided


@dataclass(frozen=True)
class LossInputs:
    """Log-probabilities in nats, float32, of the tokens that were sampled, at the temperature they were sampled at."""

    now_N: Tensor  # the only one with a gradient
    proximal_N: Tensor  # the trainer's at the start of the iteration
    behaviour_N: Tensor  # the engine's
    advantages_N: Tensor
    weights_N: Tensor  # of each token in the sum; 0: no part in anything. See `token_weights`
    clip: tuple[float, float] = (0.2, 0.28)  # ε_low, ε_high; not published, DAPO's
    dual_clip: float | None = None  # c; None: the equation as it is printed
    importance_cap: float | None = 2.0  # C; None: no correction


class LossOutputs(NamedTuple):
    """`loss` to call backward on, and sums over tokens, so that micro-batches and ranks can be added up exactly."""

    loss: Tensor
    tokens: Tensor  # those of weight above 0
    clipped_low: Tensor  # of these: where 1 − ε_low took the gradient away (A < 0)
    clipped_high: Tensor  # where 1 + ε_high did (A > 0)
    ratio: Tensor  # Σ ρ
    capped: Tensor  # where the importance weight met C
    bounded: Tensor  # where the dual clip took the gradient away (A < 0, ρ > c)


def grpo_loss(inputs: LossInputs) -> LossOutputs:
    """Σ over tokens of −weight · min(proximal/behaviour, C) · min(ρA, clip(ρ)A).

    Two tokens of an answer that was better than its group (A = 1), each of weight ½. The policy has moved on by a
    factor of 1.5 on the first, which is clipped at 1.28, and not at all on the second:

    >>> zero_N, now_N = torch.zeros(2), torch.tensor([1.5, 1.0]).log()
    >>> outputs = grpo_loss(LossInputs(now_N, zero_N, zero_N, torch.ones(2), torch.full((2,), 0.5)))
    >>> round(outputs.loss.item(), 6), outputs.clipped_high.item()
    (-1.14, 1.0)
    """
    low, high = inputs.clip
    counted_N = inputs.weights_N > 0
    ratio_N = (inputs.now_N - inputs.proximal_N).clamp(-FARTHEST, FARTHEST).exp()
    free_N = ratio_N * inputs.advantages_N
    clipped_N = ratio_N.clamp(1 - low, 1 + high) * inputs.advantages_N
    gained_N, bounded_N = torch.minimum(free_N, clipped_N), torch.zeros_like(counted_N)
    if inputs.dual_clip is not None:
        bounded_N = (inputs.advantages_N < 0) & (ratio_N > inputs.dual_clip)
        gained_N = torch.where(bounded_N, inputs.dual_clip * inputs.advantages_N, gained_N)
    weights_N, capped_N = inputs.weights_N, torch.zeros_like(counted_N)
    if inputs.importance_cap is not None:
        importance_N = (inputs.proximal_N - inputs.behaviour_N).detach().clamp(-FARTHEST, FARTHEST).exp()
        capped_N = importance_N > inputs.importance_cap
        weights_N = weights_N * importance_N.clamp(max=inputs.importance_cap)
    # A weight of 0 must silence a token whatever its log-probabilities are, also if they are infinite.
    loss = -(weights_N * gained_N).masked_fill(~counted_N, 0).sum()
    ratio_N = ratio_N.detach()
    return LossOutputs(
        loss,
        counted_N.sum().float(),
        (counted_N & (ratio_N < 1 - low) & (inputs.advantages_N < 0)).sum().float(),
        (counted_N & (ratio_N > 1 + high) & (inputs.advantages_N > 0)).sum().float(),
        ratio_N.masked_fill(~counted_N, 0).sum(),
        (counted_N & capped_N).sum().float(),
        (counted_N & bounded_N).sum().float(),
    )


def token_weights(tokens: Sequence[int], updates: int, normalise: Normalise) -> list[float]:
    """What one token of each group weighs, given how many tokens with a loss each group of the iteration has.

    "group" is the equation as it is printed: 1/Σ|o_i| of the token's group, averaged over the groups of an update.
    "batch": one number for the whole iteration, so that a token weighs alike in every group and in every update. (The
    tokens of an update by themselves would make its step longer the shorter its answers happen to be.)
    Both come to a total weight of `updates` over the iteration: about 1 an update.

    >>> token_weights([30, 10], updates=1, normalise="batch"), token_weights([30, 10], 1, "group")
    ([0.025, 0.025], [0.016666666666666666, 0.05])
    """
    if normalise == "batch":
        total = sum(tokens)
        return [updates / total if count else 0.0 for count in tokens]
    groups = sum(1 for count in tokens if count)
    return [updates / groups / count if count else 0.0 for count in tokens]
