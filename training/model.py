"""MiMo-7B's architecture in plain torch: a Qwen2-like decoder and multi-token prediction (MTP) blocks.

Source: the MiMo report (arXiv 2505.07608, section 2 and figure 2); details the report leaves open follow what vLLM's
`MiMoForCausalLM` and `MiMoMTP` compute, because that is the engine a trained model has to run in. Parameters carry
the tensor names of the published checkpoint, so `state_dict()` is the export.

An MTP block predicts the token after the next: slot i joins the trunk's hidden state h_i with the embedding of token
i+1 and predicts token i+2 with the trunk's own embedding and output head. As a drafter it saves an engine steps.

Shapes: B rows, L positions of the context, D hidden size, H query heads, G key-value heads, K head size, V vocabulary,
N = B·L positions of all rows. `x_BLD` is a tensor of shape (B, L, D).

Rows are *packed*: `lengths[b]` are the lengths of the segments (documents) of row b, in order; what is beyond their
sum is padding. A segment never sees another one, and its positions start at 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

from training.losses import Losses, losses, shifted
from training.model_config import ModelConfig

Lengths = Sequence[Sequence[int]]  # of the segments of each row, as the column `lengths` of a mixture
Rope = tuple[Tensor, Tensor]  # cosines and sines
Mask = Tensor | BlockMask | None  # booleans, blocks for flex attention, or plainly causal


class Hidden(NamedTuple):
    """What the forward pass returns: hidden states after their last norm, ready for the output head."""

    main_BLD: Tensor  # slot i predicts token i+1
    mtp: tuple[Tensor, ...]  # one x_BLD for each MTP block; slot i of the first predicts token i+2


class Places(NamedTuple):
    """Where each position of a packed row is."""

    segment_BL: Tensor  # number of its segment in the row, -1 in padding
    position_BL: Tensor  # in its segment; also padding counts from 0


def places(lengths: Lengths | None, rows: int, context: int, device: torch.device | str) -> Places:
    """Segments and positions of packed rows. None: every row is one segment.

    >>> segment_BL, position_BL = places([[2, 3]], 1, 6, "cpu")
    >>> segment_BL.tolist(), position_BL.tolist()
    ([[0, 0, 1, 1, 1, -1]], [[0, 1, 0, 1, 2, 0]])
    """
    if lengths is None:
        position_BL = torch.arange(context, device=device).expand(rows, context)
        return Places(torch.zeros_like(position_BL), position_BL)
    if len(lengths) != rows:
        raise ValueError(f"lengths of {len(lengths)} rows for {rows} rows of tokens")
    segment_BL, position_BL = torch.empty(2, rows, context, dtype=torch.int64)
    for b, row in enumerate(lengths):
        padding = context - sum(row)
        if padding < 0 or any(length < 1 for length in row):
            raise ValueError(f"row {b}: segments of {list(row)} tokens do not fit into {context} positions")
        parts = torch.tensor([*row, padding])
        numbers = torch.tensor([*range(len(row)), -1])
        segment_BL[b] = numbers.repeat_interleave(parts)
        position_BL[b] = torch.arange(context) - (parts.cumsum(0) - parts).repeat_interleave(parts)
    return Places(segment_BL.to(device, non_blocking=True), position_BL.to(device, non_blocking=True))


def document_mask(segment_BL: Tensor) -> Tensor | BlockMask:
    """Causal attention inside segments: a block mask for flex attention on a GPU, elsewhere a mask_B1LL of booleans.

    Flex attention has no backward pass on the CPU (torch 2.13); there SDPA pays for the whole square.
    """
    rows, context = segment_BL.shape
    if segment_BL.is_cuda:

        def allowed(b: Tensor, _: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return (q >= k) & (segment_BL[b, q] == segment_BL[b, k])

        return create_block_mask(allowed, rows, None, context, context, device=segment_BL.device)
    same_B1LL = segment_BL[:, None, :, None] == segment_BL[:, None, None, :]
    return same_B1LL.tril_()


@functools.cache
def _compiled_flex_attention() -> Any:
    return torch.compile(flex_attention)  # uncompiled it builds the whole matrix of scores


def attend(q_BHLK: Tensor, k_BGLK: Tensor, v_BGLK: Tensor, mask: Mask) -> Tensor:
    """Grouped-query attention, o_BHLK. `mask` as of `document_mask`; None is causal, one segment a row."""
    if isinstance(mask, BlockMask):
        flex = _compiled_flex_attention() if q_BHLK.is_cuda else flex_attention
        return flex(q_BHLK, k_BGLK, v_BGLK, block_mask=mask, enable_gqa=True)
    return F.scaled_dot_product_attention(
        q_BHLK, k_BGLK, v_BGLK, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )


def rope_tables(position_BL: Tensor, head_dim: int, theta: float) -> Rope:
    """Cosines and sines of rotary embeddings, each (B, L, 1, K/2) in float32 (Su et al. 2021; halves, not pairs)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=position_BL.device) / head_dim
    angles = position_BL[..., None, None] * (1.0 / theta**exponents)
    return angles.cos(), angles.sin()


def rotate(x_BLHK: Tensor, rope: Rope) -> Tensor:
    """Turns each pair (i, i + K/2) by its position's angle, in float32."""
    cos, sin = rope
    left, right = x_BLHK.float().chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1).type_as(x_BLHK)


class Attention(nn.Module):
    """Grouped-query attention with biases on queries, keys and values and none on the output."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries)
        self.k_proj = nn.Linear(config.hidden_size, keys)
        self.v_proj = nn.Linear(config.hidden_size, keys)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(self, x_BLD: Tensor, rope: Rope, mask: Mask) -> Tensor:
        q_BLHK = rotate(self.q_proj(x_BLD).unflatten(-1, (-1, self.head_dim)), rope)
        k_BLGK = rotate(self.k_proj(x_BLD).unflatten(-1, (-1, self.head_dim)), rope)
        v_BLGK = self.v_proj(x_BLD).unflatten(-1, (-1, self.head_dim))
        o_BHLK = attend(q_BLHK.transpose(1, 2), k_BLGK.transpose(1, 2), v_BLGK.transpose(1, 2), mask)
        return self.o_proj(o_BHLK.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_BLD)) * self.up_proj(x_BLD))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x_BLD: Tensor, rope: Rope, mask: Mask) -> Tensor:
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD), rope, mask)
        return x_BLD + self.mlp(self.post_attention_layernorm(x_BLD))


class MTPBlock(Block):
    """One multi-token prediction block: previous hidden state and a later token's embedding, joined, then a block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.token_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.hidden_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.input_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.final_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_BLD: Tensor, embedding_BLD: Tensor, rope: Rope, mask: Mask) -> Tensor:  # type: ignore[override]
        # Hidden first, as vLLM and SGLang have it. (Megatron's eh_proj has the embedding first: swap when converting.)
        joined = torch.cat([self.hidden_layernorm(hidden_BLD), self.token_layernorm(embedding_BLD)], dim=-1)
        x_BLD = self.input_proj(joined).type_as(
            hidden_BLD
        )  # under autocast the residual stream stays in float32
        return self.final_layernorm(super().forward(x_BLD, rope, mask))


class Trunk(nn.Module):
    """Everything but the output head; the modules below `model.` in the checkpoint."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        if config.num_nextn_predict_layers:
            self.mtp_layers = nn.ModuleList(MTPBlock(config) for _ in range(config.num_nextn_predict_layers))


class MiMo(nn.Module):
    """The model. RoPE base and context length belong to a call, not to the model: a new stage needs no new model.

    Set `activation_checkpointing` to keep only the input of each block for the backward pass.
    """

    _no_split_modules = ["Block", "MTPBlock"]  # what Accelerate shards as units (FSDP)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = False
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Ours, the report gives none: weights N(0, initializer_range²), biases 0, norms 1. The projections back into
        the residual stream are narrower by √(2·layers), so that its variance does not grow with depth (GPT-2)."""
        std = self.config.initializer_range
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                into_residual = name.endswith(("o_proj", "down_proj"))
                narrower = math.sqrt(2 * self.config.num_hidden_layers) if into_residual else 1.0
                nn.init.normal_(module.weight, std=std / narrower)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=std)
            elif isinstance(module, nn.RMSNorm):
                nn.init.ones_(module.weight)

    def forward(
        self,
        tokens_BL: Tensor,
        lengths: Lengths | None = None,
        rope_theta: float | None = None,
        with_losses: bool = False,
        trained_BL: Tensor | None = None,
    ) -> Hidden | Losses:
        """Hidden states of packed rows (`lengths`: see the module's docstring), or with_losses their losses.

        Losses are computed in here, not outside, because sharded weights (FSDP) are whole only during the forward pass.
        rope_theta: None takes the configuration's. trained_BL: booleans, which tokens have a loss; None: all.
        """
        rows, context = tokens_BL.shape
        where = places(lengths, rows, context, tokens_BL.device)
        packed = lengths is not None and any(len(row) > 1 for row in lengths)  # padding alone needs no mask
        mask = document_mask(where.segment_BL) if packed else None
        rope = rope_tables(where.position_BL, self.config.head_dim, rope_theta or self.config.rope_theta)

        embedding_BLD = self.model.embed_tokens(tokens_BL)
        x_BLD = embedding_BLD
        for layer in self.model.layers:
            x_BLD = self._run(layer, x_BLD, rope, mask)
        mtp = self._predict_further(x_BLD, embedding_BLD, where, rope, mask)
        hidden = Hidden(self.model.norm(x_BLD), mtp)
        if with_losses:
            return losses(*hidden, self.lm_head.weight, tokens_BL, where.segment_BL, trained_BL=trained_BL)
        return hidden

    def _predict_further(
        self, x_BLD: Tensor, embedding_BLD: Tensor, where: Places, rope: Rope, mask: Mask
    ) -> tuple[Tensor, ...]:
        """The MTP blocks, one after the other. The first reads the trunk's hidden states *before* the final norm: that
        is what vLLM hands to its drafter. A further one reads the states of the one before, as vLLM does when it drafts
        more than one token."""
        outputs: list[Tensor] = []
        for ahead, block in enumerate(getattr(self.model, "mtp_layers", []), start=1):
            later_BLD = embedding_BLD.roll(-ahead, dims=1)
            # Nothing crosses a border, also not the one from the row's end to its beginning.
            unseen_BL = shifted(where.segment_BL, ahead, fill=-2) != where.segment_BL
            if ahead == 1:
                # vLLM zeroes the embedding where the slot's position is 0 (its mask is meant for "no token yet", but
                # slot 0 holds the second token): a model trained without this rule would meet it first when it runs.
                unseen_BL = unseen_BL | (where.position_BL == 0)
            x_BLD = self._run(block, x_BLD, later_BLD.masked_fill(unseen_BL[..., None], 0), rope, mask)
            outputs.append(x_BLD)
        return tuple(outputs)

    def _run(self, block: nn.Module, *arguments: Any) -> Tensor:
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *arguments, use_reentrant=False)
        return block(*arguments)


@torch.no_grad()
def generate_greedy(
    model: MiMo, tokens: Sequence[int], count: int, rope_theta: float | None = None
) -> tuple[list[int], list[float]]:
    """The `count` most likely next tokens, one after the other, and their log-probabilities.

    Every token runs the whole sequence again: it shares no cache with an engine, so it can be the witness of one.
    """
    sequence, logprobs = list(tokens), []
    for _ in range(count):
        logprobs_V = next_logprobs(model, sequence, rope_theta)[-1]
        sequence.append(int(logprobs_V.argmax()))
        logprobs.append(float(logprobs_V[sequence[-1]]))
    return sequence[len(tokens) :], logprobs


@torch.no_grad()
def next_logprobs(model: MiMo, tokens: Sequence[int], rope_theta: float | None = None) -> Tensor:
    """Log-probabilities (L, V) in float32 of the token after each position of one sequence."""
    tokens_BL = torch.tensor([list(tokens)], device=model.lm_head.weight.device)
    return model.lm_head(model(tokens_BL, rope_theta=rope_theta).main_BLD[0]).float().log_softmax(-1)
