"""The two losses of MiMo's pre-training and SFT: the next token, and the one after it for the MTP blocks.

Shapes: B rows, L positions, D hidden size, V vocabulary, N positions of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # label of a position without a loss


class Losses(NamedTuple):
    """Cross-entropy in nats as sums and counts, so that ranks and micro-batches can be added up exactly."""

    main_sum: Tensor
    mtp_sum: Tensor  # over all MTP blocks
    main_tokens: Tensor  # int64
    mtp_tokens: Tensor

    @property
    def main(self) -> Tensor:
        """Mean loss of the next token."""
        return self.main_sum / self.main_tokens.clamp(min=1)

    @property
    def mtp(self) -> Tensor:
        """Mean loss of the MTP blocks."""
        return self.mtp_sum / self.mtp_tokens.clamp(min=1)


def losses(
    main_BLD: Tensor,
    mtp: Sequence[Tensor],
    head_VD: Tensor,
    tokens_BL: Tensor,
    segment_BL: Tensor,
    chunk: int | None = None,
    trained_BL: Tensor | None = None,
) -> Losses:
    """Next-token loss of the trunk, next-but-one-token loss of the MTP blocks (the n-th: token i+1+n).

    main_BLD, mtp: hidden states ready for the output head (`training.model.Hidden`). segment_BL: number of each
    position's segment in its row, -1 in padding (`training.model.places`); a position whose label would lie in another
    segment or in padding has no loss. chunk: positions whose logits are in memory at a time; None takes as many as
    make 2^22 logits, at least 128. trained_BL: booleans, which tokens are to be predicted; a position whose label is
    not has no loss. None: all.
    """
    if not torch.is_grad_enabled():
        head_VD = head_VD.detach()  # or its gradient would be computed all the same
    chunk = chunk or max(128, 2**22 // head_VD.shape[0])

    def head_loss(x_BLD: Tensor, ahead: int) -> tuple[Tensor, Tensor]:
        inside_BL = (shifted(segment_BL, ahead, fill=-1) == segment_BL) & (segment_BL >= 0)
        if trained_BL is not None:
            inside_BL = inside_BL & shifted(trained_BL, ahead, fill=0)
        labels_BL = shifted(tokens_BL, ahead, fill=0).masked_fill(~inside_BL, IGNORED)
        loss = HeadLoss.apply(x_BLD.flatten(0, 1), head_VD, labels_BL.flatten(), chunk)
        return loss, inside_BL.sum()

    main_sum, main_tokens = head_loss(main_BLD, 1)
    mtp_sum, mtp_tokens = torch.zeros_like(main_sum), torch.zeros_like(main_tokens)
    for ahead, x_BLD in enumerate(mtp, start=2):
        loss, count = head_loss(x_BLD, ahead)
        mtp_sum, mtp_tokens = mtp_sum + loss, mtp_tokens + count
    return Losses(main_sum, mtp_sum, main_tokens, mtp_tokens)


def shifted(x_BL: Tensor, by: int, fill: int) -> Tensor:
    """y[:, i] = x[:, i + by], and `fill` at the end.

    >>> shifted(torch.tensor([[1, 2, 3]]), 1, fill=0).tolist()
    [[2, 3, 0]]
    """
    return F.pad(x_BL[:, by:], (0, min(by, x_BL.shape[1])), value=fill)


class HeadLoss(torch.autograd.Function):
    """Sum of cross-entropies of `x_ND @ head_VD.T`, without ever holding more than `chunk` rows of logits.

    The gradients are computed on the way forward, while a chunk's logits are there: the loss is a scalar, so backward
    only has to scale them (the idea of Liger's fused linear cross-entropy, Hsu et al. 2024). Softmax in float32.
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, head_VD: Tensor, labels_N: Tensor, chunk: int) -> Tensor:
        device = x_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_ND.dtype
        x, head = x_ND.to(dtype), head_VD.to(dtype)
        x_gradient = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        head_gradient = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        total = torch.zeros((), dtype=torch.float32, device=x.device)
        for start in range(0, len(x), chunk):
            part = slice(start, start + chunk)
            logits = (x[part] @ head.T).float()
            ignored = labels_N[part, None] == IGNORED
            label = labels_N[part, None].masked_fill(ignored, 0)
            peak = logits.amax(-1, keepdim=True)
            label_logit = logits.gather(1, label) - peak
            odds = logits.sub_(peak).exp_()
            mass = odds.sum(-1, keepdim=True)
            total += (mass.log() - label_logit).masked_fill(ignored, 0).sum()
            if x_gradient is None and head_gradient is None:
                continue
            # Slope of the loss by the logits: the probabilities, less one at the label; zero where there is no loss.
            slope = odds.div_(mass.masked_fill(ignored, torch.inf))
            slope.scatter_add_(1, label, ignored.float() - 1)
            slope = slope.to(dtype)
            if x_gradient is not None:
                x_gradient[part] = slope @ head
            if head_gradient is not None:
                head_gradient += slope.T @ x[part]
        ctx.gradients = x_gradient, head_gradient
        ctx.dtypes = x_ND.dtype, head_VD.dtype
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        pairs = zip(ctx.gradients, ctx.dtypes, strict=True)
        return (*((g * scale).to(dtype) if g is not None else None for g, dtype in pairs), None, None)
