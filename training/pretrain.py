"""Pre-training on the packed mixture, by a schedule in token milestones. (`training.sft` uses the same loop.)

    accelerate launch --cpu --num_processes 1 -m training.pretrain --config recipes/demo.yaml
    torchrun --nproc-per-node 8 -m training.pretrain --config recipes/demo.yaml      # several devices, each with the model
    accelerate launch --use_fsdp --fsdp_version 2 --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP \\
        -m training.pretrain --config recipes/mimo-7b.yaml      # they share it: 125 GB with gradients and AdamW

Read `train` from top to bottom: it is all there is. What one may want to know before:

* A step is exactly `sequences` sequences of the schedule, on any number of ranks. Its loss is the sum over all
  predicted tokens of the step divided by their number, so neither ranks nor micro-batches weigh tokens differently.
* A run is a function of recipe, mixture and seed. Killed at any moment (kill -9 as well) and started again, it goes
  on from its newest checkpoint with the same losses and weights, bit for bit on a CPU with the same ranks, threads
  and micro-batches.
* Ctrl-C and SIGTERM finish the step, write a checkpoint and end with 130 and 143.

Hyper-parameters: the MiMo-7B report (arXiv 2505.07608, §2.4). Ours, because it is silent: ε, seed, initialisation
(training/model.py), and which parameters decay: weight matrices of the blocks and the output head do; embeddings,
norms and biases do not (a token that is rarely seen would otherwise shrink between its sightings).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import tqdm

from pipeline import storage
from pipeline.errors import RequestError, RunError
from training import checkpoint
from training.data import Batch, MixtureReader, loss_tokens, micro_batches, padding, read_tokenizer
from training.launch import (
    accelerator_for,
    command,
    decay_groups,
    precision_of,
    run_record,
    stop_signals,
    versions,
)
from training.model import MiMo
from training.model_config import ModelConfig, model_config
from training.schedule import Rates
from training.settings import Settings, load_settings


def train(
    settings: Settings,
    *,
    restart: bool = False,
    restart_if_changed: bool = False,
    initial: MiMo | None = None,
) -> int:
    """Train to the end of the schedule, from the newest checkpoint if there is one.

    restart: set what is in the folder aside first; restart_if_changed: only if it is another run's. initial: the model
    to begin with, in float32 (its weights' digest is `settings.starts_from`); None: a new one of `settings.model`.

    Returns 0, or 130/143 when Ctrl-C/SIGTERM ended it early. Raises `RequestError` before anything is written when
    data, schedule and checkpoints do not belong together, `RunError` when the loss is no longer a number.
    """
    schedule, folder = settings.schedule, Path(settings.output)

    # The data, before anything heavy: is there enough of it, and is it what the schedule expects?
    tokenizer = read_tokenizer(storage.join(settings.data, "tokenizer"))
    config = initial.config if initial is not None else _model_config(settings, tokenizer.vocabulary)
    reader = MixtureReader(
        storage.join(settings.data, settings.dataset),
        tokenizer.vocabulary,
        shuffle=settings.seed if settings.shuffled else None,
    )
    reader.check(schedule)

    accelerator = accelerator_for(precision_of(settings.precision))
    main, ranks, rank = accelerator.is_main_process, accelerator.num_processes, accelerator.process_index

    # The folder: ours alone, of the same run, without leftovers.
    identity = _identity(settings, config, reader)
    lock = None
    if main:
        aside = restart or (restart_if_changed and bool(checkpoint.changes(folder, identity)))
        lock = checkpoint.take_folder(folder, aside)
    accelerator.wait_for_everyone()
    saved = checkpoint.newest(folder, identity)
    if main:
        checkpoint.sweep(folder / "checkpoints")
        storage.write_bytes(
            str(folder / "config.yaml"), yaml.safe_dump(settings.said, sort_keys=False).encode()
        )

    # Model and optimizer. Initialised on the CPU: the same weights for the same seed on every device.
    torch.manual_seed(settings.seed)
    model: Any = initial if initial is not None else MiMo(config)
    model.activation_checkpointing = settings.activation_checkpointing
    if settings.compile:
        for block in [*model.model.layers, *getattr(model.model, "mtp_layers", [])]:
            block.compile()
    adamw = torch.optim.AdamW(
        decay_groups(model, settings.optimizer.weight_decay),
        lr=0.0,  # set at every step
        betas=settings.optimizer.betas,
        eps=settings.optimizer.epsilon,
        fused=accelerator.device.type == "cuda",
    )
    model, optimizer = accelerator.prepare(model, adamw)
    network = accelerator.unwrap_model(model)

    # The counters: all that a resumed run needs besides the weights.
    step = tokens = 0
    stage, sequence = "", 0  # next sequence of the stage
    seconds = 0.0
    if saved is not None:
        checkpoint.load(saved, network, optimizer.optimizer)
        about = checkpoint.about(saved)
        step, tokens, stage, sequence = (about[n] for n in ("step", "tokens", "stage", "sequence"))
        seconds = about["seconds"]
    metrics = checkpoint.open_metrics(folder / "metrics.jsonl", step) if main else None
    began_at, started = step, time.monotonic()
    last_saved, saved_at = (tokens, step), started

    def save() -> None:
        nonlocal last_saved, saved_at
        if metrics:
            os.fsync(metrics.fileno())  # rows before a checkpoint are never written again
        said = {
            "step": step,
            "tokens": tokens,
            "stage": stage,
            "sequence": sequence,
            "seconds": seconds + time.monotonic() - started,
            "context": rates.context,  # of the last step, for the export
            "rope_base": rates.rope_base,
            "model": asdict(config),
            "data": settings.data,
            "decided_by": identity,
            "ranks": ranks,
            "versions": versions(),
        }
        checkpoint.save(folder / "checkpoints", network, optimizer.optimizer, said, settings.checkpoints.keep)
        last_saved, saved_at = (tokens, step), time.monotonic()

    def read(first: int, rates: Rates) -> list[Batch]:
        """This rank's micro-batches of a step whose first sequence is `first`."""
        rows = max(1, settings.micro_batch_tokens // rates.context)
        parts = micro_batches(rates.sequences, ranks, rank, rows)
        return [
            reader.batch(rates.stage, first + part.start, len(part)) if part else padding(rates.context)
            for part in parts
        ]

    progress = tqdm(
        total=schedule.tokens,
        initial=tokens,
        unit="tok",
        unit_scale=True,
        disable=not main,
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )
    with stop_signals() as stopped, ThreadPoolExecutor(1) as pool, progress:
        pending = None  # the next step's data, read while this one is computed
        while tokens < schedule.tokens:
            begun = time.monotonic()
            rates = schedule.at(tokens)
            if rates.stage != stage:
                stage, sequence = rates.stage, 0
            batches = pending.result() if pending else read(sequence, rates)
            pending = None
            if (after := tokens + rates.step_tokens) < schedule.tokens:
                coming = schedule.at(after)
                first = sequence + rates.sequences if coming.stage == stage else 0
                pending = pool.submit(read, first, coming)

            # How many tokens the whole step predicts, so that every one of them weighs the same.
            blocks = config.num_nextn_predict_layers
            counts = [loss_tokens(batch.lengths, blocks, batch.trained_BL) for batch in batches]
            counted = torch.tensor(counts, dtype=torch.int64, device=accelerator.device).sum(0)
            main_tokens, mtp_tokens = accelerator.reduce(counted, "sum").clamp(min=1).tolist()

            sums = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
            for index, batch in enumerate(batches):
                # FSDP reduces at every micro-batch, or each device would hold all gradients.
                whole = index + 1 == len(batches) or accelerator.is_fsdp2
                with contextlib.nullcontext() if whole else accelerator.no_sync(model):
                    losses = model(
                        batch.tokens_BL.to(accelerator.device),
                        batch.lengths,
                        rates.rope_base,
                        with_losses=True,
                        trained_BL=None
                        if batch.trained_BL is None
                        else batch.trained_BL.to(accelerator.device),
                    )
                    loss = losses.main_sum / main_tokens + rates.mtp_weight * losses.mtp_sum / mtp_tokens
                    accelerator.backward(loss * ranks)  # ranks: gradients are averaged over them
                sums += torch.stack([losses.main_sum.detach(), losses.mtp_sum.detach()])

            norm = accelerator.clip_grad_norm_(model.parameters(), settings.optimizer.clip)
            norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
            minutes = settings.checkpoints.every_minutes
            late = main and minutes is not None and time.monotonic() - saved_at > 60 * minutes
            shared = torch.tensor(
                [float(late), float(bool(stopped))], dtype=torch.float64, device=sums.device
            )
            main_sum, mtp_sum, due, stop = accelerator.reduce(torch.cat([sums, shared]), "sum").tolist()
            loss_now, mtp_now = main_sum / main_tokens, mtp_sum / mtp_tokens
            if not math.isfinite(loss_now + mtp_now + norm):
                raise RunError(
                    f"step {step}: loss {loss_now}, MTP loss {mtp_now}, gradient norm {norm}: no longer a number. "
                    f"The weights before it are in {folder}/checkpoints; lower the learning rate or look at the data."
                )
            for group in optimizer.param_groups:
                group["lr"] = rates.learning_rate
            optimizer.step()
            optimizer.zero_grad()

            took = time.monotonic() - begun
            if metrics:
                row = {
                    "step": step,
                    "tokens": tokens,
                    "step_tokens": rates.step_tokens,
                    "stage": stage,
                    "loss": loss_now,
                    "mtp_loss": mtp_now,
                    "learning_rate": rates.learning_rate,
                    "mtp_weight": rates.mtp_weight,
                    "sequences": rates.sequences,
                    "context": rates.context,
                    "rope_base": rates.rope_base,
                    "gradient_norm": norm,
                    "seconds": took,
                    "tokens_per_second": rates.step_tokens / took,
                }
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
            step, tokens, sequence = step + 1, tokens + rates.step_tokens, sequence + rates.sequences
            progress.set_description(stage, refresh=False)
            progress.set_postfix_str(f"loss {loss_now:.3f}, mtp {mtp_now:.3f}", refresh=False)
            progress.update(min(rates.step_tokens, schedule.tokens - progress.n))

            every = settings.checkpoints.every_tokens
            if stop or due or (every is not None and tokens - last_saved[0] >= every):
                save()
            if stop and tokens < schedule.tokens:
                if main:
                    progress.write(
                        f"stopped after step {step - 1}; the same command goes on from there", sys.stderr
                    )
                return 128 + (stopped[0] if stopped else signal.SIGTERM)

    if last_saved[1] != step:
        save()
    if main and (step > began_at or not (folder / "run.json").exists()):
        seconds = checkpoint.about(checkpoint.found(folder / "checkpoints")[-1])["seconds"]
        storage.write_json(str(folder / "run.json"), run_record(network, accelerator, step, tokens, seconds))
    if lock:
        lock.close()
    return 0


def _model_config(settings: Settings, vocabulary: int) -> ModelConfig:
    """The model with the tokenizer's vocabulary, or a larger one that the recipe says (padded for the hardware)."""
    said = settings.model
    if not isinstance(said, str | dict):
        raise RequestError(f"pretrain.model = {said!r}: name a size, e.g. tiny, or give a mapping of sizes")
    padded = said.get("vocab_size") if isinstance(said, dict) else None
    if isinstance(padded, int) and padded < vocabulary:
        raise RequestError(
            f"pretrain.model.vocab_size = {padded}: the tokenizer has {vocabulary} tokens; leave this field out"
        )
    return model_config(said, vocabulary if padded is None else None)


def _identity(settings: Settings, config: ModelConfig, reader: MixtureReader) -> dict[str, Any]:
    """What decides the weights, as JSON gives it back."""
    own = {
        "model": asdict(config),
        "precision": precision_of(settings.precision),
        "mixture": reader.dataset.digest,
    }
    return json.loads(json.dumps(settings.decisive() | own))


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130/143 stopped by a signal."""

    def work(options: argparse.Namespace) -> int:
        settings = load_settings(options.config, options.set, options.output)
        return train(settings, restart=options.restart, restart_if_changed=options.restart_if_changed)

    what = "Pre-train on a run's mixture by the recipe's schedule."
    example = "--set schedule.phases.0.tokens=1M --set optimizer.clip=0.5"
    return command("pretrain", what, example, work, arguments)


if __name__ == "__main__":
    sys.exit(main())
