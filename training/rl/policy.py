"""The model as RL sees it: log-probabilities of the tokens that were sampled, nothing else.

MTP blocks are frozen in RL (MiMo-7B's model card): they are no part of the policy, cost no memory on a device and no
forward pass, and are put back in place for the engine, which drafts with them, and for the export.

Shapes: B rows, L positions, D hidden size, V vocabulary, N sampled tokens of all rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from training.model import MiMo


class Policy(nn.Module):
    """Wraps a `MiMo` and takes its MTP blocks away (`frozen_blocks`).

    A module of its own, because sharded weights (FSDP) are whole only within a forward pass.
    """

    _no_split_modules = ["Block"]

    def __init__(self, mimo: MiMo) -> None:
        super().__init__()
        self.frozen_blocks = {
            name: tensor.cpu() for name, tensor in mimo.state_dict().items() if ".mtp_layers." in name
        }
        if self.frozen_blocks:
            del mimo.model.mtp_layers
        self.mimo = mimo

    def forward(
        self,
        tokens_BL: Tensor,
        lengths: list[list[int]],
        places_N: Tensor,
        labels_N: Tensor,
        temperature: float = 1.0,
    ) -> Tensor:
        """logprobs_N in float32 of `labels_N`, each as the token after position `places_N` of the flattened rows."""
        hidden = self.mimo(tokens_BL, lengths)
        x_ND = hidden.main_BLD.flatten(0, 1)[places_N]
        return SelectedLogprobs.apply(x_ND, self.mimo.lm_head.weight, labels_N, temperature, None)

    def whole(self) -> MiMo | None:
        """A model of its own on the CPU, MTP blocks in place; None on other ranks than 0. Called by every rank."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state: dict[str, Any] = get_model_state_dict(self, options=options)
        if not state:
            return None
        with torch.device("meta"):
            mimo = MiMo(self.mimo.config)
        # Gathered shards may lie in a larger storage (padding), which safetensors refuses to write.
        own = {
            name.removeprefix("mimo."): x.clone() if x.untyped_storage().nbytes() > x.nbytes else x
            for name, x in state.items()
        }
        mimo.load_state_dict(own | self.frozen_blocks, assign=True)
        return mimo


class SelectedLogprobs(torch.autograd.Function):
    """log softmax(x_ND @ head_VD.T / temperature) at `labels_N`, without ever holding more than `chunk` rows of logits.

    What the loss makes of them is not known on the way forward, so backward computes the logits once more. Softmax in
    float32, of logits that are products in the precision of the pass: in bf16 they are rounded to 8 bits, as vLLM's are,
    and what that costs is part of the mismatch that `training.rl.mismatch` measures. chunk: None takes as many rows as make 2^22 logits, at least 128 (as `training.losses`).
    """

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, head_VD: Tensor, labels_N: Tensor, temperature: float, chunk: int | None
    ) -> Tensor:
        device = x_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_ND.dtype
        chunk = chunk or max(128, 2**22 // head_VD.shape[0])
        ctx.save_for_backward(x_ND, head_VD, labels_N)
        ctx.settings = dtype, temperature, chunk
        x, head = x_ND.to(dtype), head_VD.to(dtype)
        logprobs_N = torch.empty(len(x), dtype=torch.float32, device=x.device)
        for start in range(0, len(x), chunk):
            part = slice(start, start + chunk)
            logits = (x[part] @ head.T).float() / temperature
            label_logit = logits.gather(1, labels_N[part, None])[:, 0]
            logprobs_N[part] = label_logit - logits.logsumexp(-1)
        return logprobs_N

    @staticmethod
    def backward(ctx: Any, slope_N: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_ND, head_VD, labels_N = ctx.saved_tensors
        dtype, temperature, chunk = ctx.settings
        x, head = x_ND.to(dtype), head_VD.to(dtype)
        x_gradient = torch.empty_like(x)
        head_gradient = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        for start in range(0, len(x), chunk):
            part = slice(start, start + chunk)
            # By the logits: one at the label less the probabilities, times what the loss makes of the log-probability.
            slope = (x[part] @ head.T).float().div_(temperature).softmax(-1).neg_()
            slope.scatter_add_(1, labels_N[part, None], torch.ones_like(slope[:, :1]))
            slope = (slope * (slope_N[part, None] / temperature)).to(dtype)
            x_gradient[part] = slope @ head
            if head_gradient is not None:
                head_gradient += slope.T @ x[part]
        return (
            x_gradient.to(x_ND.dtype),
            head_gradient.to(head_VD.dtype) if head_gradient is not None else None,
            None,
            None,
            None,
        )
