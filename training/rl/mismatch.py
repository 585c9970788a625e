"""How far apart engine and trainer are on the same weights and tokens, before anything is corrected.

The engine that samples and the trainer that learns compute the same log-probability in different ways (kernels,
precision, batching), and what differs makes the data off-policy. It is measured first, because truncated importance
weights would hide it: a temperature or a top-p that only one side knows shows here at once.

With δ = log π_trainer − log π_behaviour of each sampled token and r = e^δ:

    mean, max     of |δ|
    k3            mean of r − 1 − δ, an unbiased estimate of KL(behaviour ‖ trainer) that is never negative (Schulman 2020)
    outside       share of r outside [0.9, 1.1]
    ess           effective sample size (Σr)² / (N·Σr²), as a share of the N tokens

On one set of kernels in fp32 `max` is some 1e-5; with bf16 and two engines `mean` is some 1e-2.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Mismatch:
    """Adds up over micro-batches. `sums` may be summed, `most` maximised over ranks before `values` is called."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(6, dtype=torch.float64, device=device)  # N, |δ|, k3, outside, r, r²
        self.most = torch.zeros(1, dtype=torch.float64, device=device)

    def add(self, trainer_N: Tensor, behaviour_N: Tensor) -> None:
        """Log-probabilities of the same tokens by both."""
        if not len(trainer_N):
            return
        delta_N = (trainer_N - behaviour_N).detach().double()
        ratio_N = delta_N.exp()
        outside_N = (ratio_N < 0.9) | (ratio_N > 1.1)
        parts = (
            torch.ones_like(delta_N),
            delta_N.abs(),
            ratio_N - 1 - delta_N,
            outside_N,
            ratio_N,
            ratio_N**2,
        )
        self.sums += torch.stack([part.sum().double() for part in parts])
        self.most = torch.maximum(self.most, delta_N.abs().max())

    def values(self) -> dict[str, float]:
        """As a row of metrics.jsonl has them."""
        count, absolute, k3, outside, ratio, square = self.sums.tolist()
        if not count:
            return dict.fromkeys(
                [f"mismatch_{name}" for name in ("mean", "max", "k3", "outside", "ess")], 0.0
            )
        return {
            "mismatch_mean": absolute / count,
            "mismatch_max": self.most.item(),
            "mismatch_k3": k3 / count,
            "mismatch_outside": outside / count,
            "mismatch_ess": ratio**2 / (count * square),
        }
