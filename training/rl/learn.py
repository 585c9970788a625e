"""The updates of one iteration: from recorded answers to new weights. Every rank runs this on the same answers."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from pipeline.errors import RunError
from training.rl.batches import Answer, MicroBatch, micro_batch, split_micro_batches, split_updates
from training.rl.loss import LossInputs, LossOutputs, grpo_loss, token_weights
from training.rl.mismatch import Mismatch
from training.rl.settings import RLSettings


def learn(
    answers: Sequence[Answer], model: Any, optimizer: Any, accelerator: Accelerator, settings: RLSettings
) -> dict[str, float]:
    """All updates of an iteration; the fields of its row in metrics.jsonl that training decides.

    The log-probabilities of the proximal policy are computed once, before the first update; where there is only one
    update they are its own. A token's weight in the loss is settled for the whole iteration beforehand, so neither
    ranks nor micro-batches weigh tokens differently. Raises `RunError` when loss or gradient is no longer a number.
    """
    ranks, device = accelerator.num_processes, accelerator.device
    updates = split_updates(answers, settings.groups // settings.updates)
    tokens = Counter[int]()
    for answer in answers:
        tokens[answer.group] += len(answer.tokens)
    weights = dict(
        zip(tokens, token_weights(list(tokens.values()), len(updates), settings.normalise), strict=True)
    )
    plan = [
        [
            micro_batch([answer._replace(weight=weights[answer.group]) for answer in part])
            for part in split_micro_batches(update, settings.micro_batch_tokens, ranks)[
                accelerator.process_index :: ranks
            ]
        ]
        for update in updates
    ]

    def logprobs(batch: MicroBatch) -> Tensor:
        return model(
            batch.tokens_BL, batch.lengths, batch.places_N, batch.labels_N, temperature=settings.temperature
        )

    mismatch = Mismatch(device)
    proximal: list[list[Tensor]] = [[] for _ in plan]
    if len(plan) > 1:
        with torch.no_grad():
            for parts, kept in zip(plan, proximal, strict=True):
                for part in parts:
                    kept.append(logprobs(part.to(device)))
                    mismatch.add(kept[-1], part.behaviour_N.to(device))

    totals = torch.zeros(len(LossOutputs._fields), dtype=torch.float64, device=device)  # as `LossOutputs`
    norms = []
    for number, (parts, kept) in enumerate(zip(plan, proximal, strict=True)):
        sums = torch.zeros_like(totals)
        for index, part in enumerate(parts):
            batch = part.to(device)
            # FSDP reduces at every micro-batch, or each device would hold all gradients.
            whole = index + 1 == len(parts) or accelerator.is_fsdp2
            with contextlib.nullcontext() if whole else accelerator.no_sync(model):
                now_N = logprobs(batch)
                if not kept:
                    mismatch.add(now_N, batch.behaviour_N)
                outputs = grpo_loss(
                    LossInputs(
                        now_N,
                        kept[index] if kept else now_N.detach(),
                        batch.behaviour_N,
                        batch.advantages_N,
                        batch.weights_N,
                        settings.clip,
                        settings.dual_clip,
                        settings.importance_cap,
                    )
                )
                accelerator.backward(outputs.loss * ranks)  # ranks: gradients are averaged over them
            sums += torch.stack([value.detach().double() for value in outputs])
        norm = accelerator.clip_grad_norm_(model.parameters(), settings.optimizer.clip)
        norms.append(float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm))
        sums = accelerator.reduce(sums, "sum")
        if not math.isfinite(sums[0].item() + norms[-1]):
            apart = ", ".join(f"{name} {value:.3g}" for name, value in mismatch.values().items())
            raise RunError(
                f"update {number} of the iteration: loss {sums[0].item()}, gradient norm {norms[-1]}: no longer a "
                f"number. Before the first update, engine and trainer: {apart}. The same command trains on the same "
                "answers and ends here again. If these are small, begin anew with --restart and a lower learning_rate or "
                "importance_cap; if not, the engine has gone wrong: remove the newest file in rollouts/, and its "
                "iteration is rolled out once more."
            )
        totals += sums
        optimizer.step()
        optimizer.zero_grad()

    mismatch.sums = accelerator.reduce(mismatch.sums, "sum")
    mismatch.most = accelerator.gather(mismatch.most).max(0, keepdim=True).values  # type: ignore[union-attr]
    loss, count, low, high, ratio, capped, bounded = totals.tolist()
    return {
        "updates": len(plan),
        "tokens_trained": int(count),
        "loss": loss / len(plan),
        "clipped_low": low / count,
        "clipped_high": high / count,
        "clipped_dual": bounded / count,
        "ratio": ratio / count,
        "importance_capped": capped / count,
        "gradient_norm": math.fsum(norms) / len(norms),
        "learning_rate": settings.learning_rate,
        **mismatch.values(),
    }


def learned_nothing(settings: RLSettings) -> dict[str, float]:
    """The same fields for an iteration without any group to train on."""
    fields = (
        "loss",
        "clipped_low",
        "clipped_high",
        "clipped_dual",
        "ratio",
        "importance_capped",
        "gradient_norm",
    )
    zeros = dict.fromkeys(fields, 0.0)
    return {
        "updates": 0,
        "tokens_trained": 0,
        **zeros,
        "learning_rate": settings.learning_rate,
        **Mismatch().values(),
    }
