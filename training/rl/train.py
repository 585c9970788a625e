"""Reinforcement learning from a model folder and a set of problems, one iteration after the other.

    accelerate launch --cpu --num_processes 1 -m training.rl --config recipes/demo.yaml --section rl
    torchrun --nproc-per-node 2 -m training.rl --config recipes/demo.yaml --section rl_zero     # a copy on each device
    accelerate launch --num_processes 8 --use_fsdp --fsdp_version 2 \\
        --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP --fsdp_transformer_layer_cls_to_wrap Block \\
        -m training.rl --config recipes/mimo-7b.yaml --section rl_zero     # shared out among them; MTP blocks are no part

A copy takes 16 bytes a parameter (122 GB for MiMo-7B), so that a model of billions has to be shared out. Updates are made
on all devices, rollouts on the first one only, while the others wait: the generator is one engine on one device.

Read `train` from top to bottom. An iteration is: weights to the engine → rollouts, judged as they end → the record of the
iteration → updates from that record → the next one. The engine is synchronous: an iteration's answers are all drawn
with the weights it begins with (MiMo-7B report, arXiv 2505.07608, §3.3–3.4).

* The first rank drives engine and judges; all ranks read the record and share the updates.
* Killed at any moment (kill -9 as well) and started again, a run goes on from its newest checkpoint: iterations
  recorded since are trained on again from their records, answers of the running iteration that were judged are kept,
  and only what was in flight is drawn anew.
* Ctrl-C and SIGTERM end the rollouts at once (or finish the iteration's updates), write a checkpoint and end with
  130 and 143.
* Without any group that carries a gradient an iteration changes nothing; after three of them the run ends and says why.
  Started again, it tries three more.
* Weights go to the engine through memory (/dev/shm/reasonmill-…) where there is room. A run that is killed leaves up to
  two copies of them there, which the same command replaces and, at its end, removes.

    config.yaml  decided_by.json  metrics.jsonl (a row an iteration)  run.json  model/ (HF folder, at the end)
    rollouts/    see training.rl.record              checkpoints/  see training.checkpoint
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import tokenizers
import torch
import yaml
from tqdm import tqdm

from mixtures.chat import Chat
from pipeline import storage
from pipeline.dataset import Dataset
from pipeline.errors import RequestError
from training import checkpoint
from training.export import END_OF_TEXT, export, load, special_tokens
from training.launch import accelerator_for, decay_groups, precision_of, run_record, stop_signals, versions
from training.model import MiMo
from training.rl.learn import learn, learned_nothing
from training.rl.policy import Policy
from training.rl.problems import read_problems
from training.rl.record import iteration_path, read_about, read_answers
from training.rl.rollouts import Rollouts
from training.rl.settings import RLSettings
from training.settings import differences

BARREN = 3  # iterations in a row without a gradient, after which a run ends
WAIT = timedelta(days=7)  # of the other ranks, while the first one's rollouts run


def train(settings: RLSettings, *, restart: bool = False, restart_if_changed: bool = False) -> int:
    """All iterations, from the newest checkpoint if there is one.

    restart: set what is in the folder aside first; restart_if_changed: only if it is another run's.

    Returns 0, or 130/143 when Ctrl-C/SIGTERM ended it early. Raises `RequestError` before anything is written when
    model, problems and checkpoints do not belong together, `RunError` when the generator is lost for good or the
    loss is no longer a number.
    """
    with contextlib.ExitStack() as closing:
        return _train(settings, restart, restart_if_changed, closing)


def _train(
    settings: RLSettings, restart: bool, restart_if_changed: bool, closing: contextlib.ExitStack
) -> int:
    folder = Path(settings.output)

    # What is given, before anything heavy: do tokenizer, problems and model belong together?
    tokenizer_json, chat = read_chat(Path(settings.model))
    dataset = Dataset.open(settings.problems)
    problems = read_problems(dataset, chat, settings.prompt)
    mimo = load(settings.model).float()
    config, context = mimo.config, mimo.config.max_position_embeddings
    special = special_tokens(tokenizer_json, config.vocab_size)
    end_of_text = next((token for token, id_ in special.items() if id_ == chat.end_of_text), END_OF_TEXT)

    precision = precision_of(settings.precision)
    accelerator = accelerator_for(precision, WAIT)
    main, ranks = accelerator.is_main_process, accelerator.num_processes

    def anywhere(value: bool) -> bool:
        """Whether it is true on any rank. All of them wait for one another here."""
        flag = torch.tensor([float(value)], device=accelerator.device)
        return bool(accelerator.reduce(flag, "sum").item())

    # The folder: ours alone, of the same run, without leftovers.
    own = {"model": model_digest(Path(settings.model)), "problems": dataset.digest, "precision": precision}
    identity = json.loads(json.dumps(settings.decisive() | own))
    rollouts = Rollouts(settings, problems, chat, folder, context) if main else None
    if rollouts:
        closing.callback(rollouts.close)
    if main:
        aside = restart or (restart_if_changed and bool(_changes(folder, identity)))
        closing.enter_context(checkpoint.take_folder(folder, aside))
        _claim(folder, identity)
        checkpoint.sweep(folder / "checkpoints")
    accelerator.wait_for_everyone()
    saved = checkpoint.newest(folder, identity)
    if main:
        storage.write_bytes(
            str(folder / "config.yaml"), yaml.safe_dump(settings.said, sort_keys=False).encode()
        )

    # Policy and optimizer.
    mimo.activation_checkpointing = settings.activation_checkpointing
    policy = Policy(mimo)
    adamw = torch.optim.AdamW(
        decay_groups(policy, settings.optimizer.weight_decay),
        lr=settings.learning_rate,
        betas=settings.optimizer.betas,
        eps=settings.optimizer.epsilon,
        fused=accelerator.device.type == "cuda",
    )
    model, optimizer = accelerator.prepare(policy, adamw)
    network = accelerator.unwrap_model(model)

    # The counters: all that a resumed run needs besides weights and records.
    iteration = barren = 0
    version = 0  # of the weights: one more after every iteration that changed them
    seconds = 0.0
    state: dict[str, Any] = rollouts.state if rollouts else {}
    if saved is not None:
        checkpoint.load(saved, network, optimizer.optimizer)
        about = checkpoint.about(saved)
        iteration, version, barren, seconds, state = (
            about[name] for name in ("step", "version", "barren", "seconds", "state")
        )
        barren %= BARREN  # it ended for want of gradients: a new start is a new try
        if rollouts:
            rollouts.state = state
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate
    metrics = None
    if main:
        metrics = checkpoint.open_metrics(folder / "metrics.jsonl", iteration, "iteration")
        closing.enter_context(metrics)
    began_at, last_saved, saved_at, ended_by = iteration, iteration, time.monotonic(), None
    weights = _weights_folder(folder, sum(p.numel() for p in policy.parameters()) * 4)
    if main:
        closing.callback(shutil.rmtree, weights, ignore_errors=True)

    def write_model(whole: MiMo | None, to: Path) -> None:
        assert whole is not None  # gathered on this rank
        export(
            whole,
            tokenizer_json,
            to,
            dtype="bfloat16" if precision == "bf16" else "float32",
            context=context,
            rope_theta=config.rope_theta,
            end_of_text=end_of_text,
        )

    def save() -> None:
        nonlocal last_saved, saved_at
        if metrics:
            os.fsync(metrics.fileno())  # rows before a checkpoint are never written again
        said = {
            "step": iteration,
            "version": version,
            "barren": barren,
            "seconds": seconds,
            "state": state,
            "context": context,
            "rope_base": config.rope_theta,
            "model": asdict(config),
            "decided_by": identity,
            "ranks": ranks,
            "versions": versions(),
        }
        checkpoint.save(folder / "checkpoints", network, optimizer.optimizer, said, settings.checkpoints.keep)
        last_saved, saved_at = iteration, time.monotonic()

    progress = tqdm(
        total=settings.iterations,
        initial=iteration,
        unit="it",
        disable=not main,
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )

    def show(answers: int) -> None:
        progress.set_description(f"iteration {iteration}: {answers} answers", refresh=False)
        progress.update(0)

    with stop_signals() as stopped, progress:
        while iteration < settings.iterations:
            begun = time.monotonic()
            path = iteration_path(folder, iteration)
            live = anywhere(main and not path.exists())
            finished = True
            if live:
                whole = network.whole()  # gathered from all ranks
                if rollouts:
                    write_model(whole, weights)
                    del whole
                    finished = rollouts.collect(iteration, weights, version, stopped, show)
            elif rollouts:
                rollouts.state = read_about(path)["state"]
            if anywhere(main and not finished):
                ended_by = stopped[0] if stopped else signal.SIGTERM
                break

            recorded, answers = read_about(path), read_answers(path)
            state = recorded["state"]
            rolled_out = time.monotonic()
            learned = (
                learn(answers, model, optimizer, accelerator, settings)
                if answers
                else learned_nothing(settings)
            )
            trained = time.monotonic()
            took = trained - begun if live else recorded["row"]["rollout_seconds"] + trained - rolled_out
            row = {
                "iteration": iteration,
                "version": version,
                "updates": learned["updates"],
                "seconds": took,
            }
            row |= recorded["row"] | {"train_seconds": trained - rolled_out} | learned
            if metrics:
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
            iteration, seconds, version = iteration + 1, seconds + took, version + bool(answers)
            barren = 0 if answers else barren + 1
            progress.set_postfix_str(
                f"reward {row['reward']:.3f}, passed {row['pass_rate']:.1%}, length {row['length']:.0f}",
                refresh=False,
            )
            progress.update(1)
            if not answers and main:
                progress.write(_nothing_to_learn(iteration - 1, row), sys.stderr)

            minutes = settings.checkpoints.every_minutes
            late = main and minutes is not None and time.monotonic() - saved_at > 60 * minutes
            stop = anywhere(bool(stopped))
            if anywhere(late) or stop:
                save()
            if barren == BARREN:
                if main:
                    progress.write(_too_barren(row), sys.stderr)
                break
            if stop and iteration < settings.iterations:
                ended_by = stopped[0] if stopped else signal.SIGTERM
                break
    if last_saved != iteration:
        save()
    if ended_by is not None:
        if main:
            print(
                f"stopped after {iteration} iterations; the same command goes on from there",
                file=sys.stderr,
            )
        return 128 + ended_by
    whole = network.whole()
    # A run killed between its last checkpoint and its model has yet to write the model; run.json comes after it.
    if main and (iteration > began_at or not _is_written(folder, iteration, version)):
        write_model(whole, folder / "model")
        tokens = sum(json.loads(line)["tokens_trained"] for line in (folder / "metrics.jsonl").open())
        about_run = run_record(network, accelerator, iteration, tokens, max(seconds, 1e-9))
        storage.write_json(
            str(folder / "run.json"), about_run | {"iterations": iteration, "version": version}
        )
    return 0


def read_chat(folder: Path) -> tuple[str, Chat]:
    """The text of a model folder's tokenizer.json, and the chat form with it. Raises `RequestError`."""
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{folder} is no model folder with a tokenizer ({error}): run the export (RUN/model) or SFT "
            "(RUN/sft/model) before RL, or name another model"
        ) from None
    ends = said.get("eos_token_id")
    end_of_text = ends[0] if isinstance(ends, list) and ends else ends
    if not isinstance(end_of_text, int):
        raise RequestError(
            f"{folder}/config.json: eos_token_id is {ends!r}; expected the token that ends a text"
        )
    try:
        return text, Chat(tokenizers.Tokenizer.from_str(text), end_of_text)
    except RequestError as error:
        raise RequestError(f"{folder}: {error}") from None
    except Exception as error:  # the library raises nothing narrower
        raise RequestError(f"{folder}/tokenizer.json cannot be read: {error}") from None


def model_digest(folder: Path) -> str:
    """SHA-256 over a model folder's config.json and weights."""
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _changes(folder: Path, identity: dict[str, Any]) -> list[str]:
    """What is another run's in a folder, one line each; nothing where there is no run."""
    try:
        return differences(json.loads((folder / "decided_by.json").read_text(encoding="utf-8")), identity)
    except (OSError, ValueError):
        return []


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Writes down what decides the weights: until the first checkpoint, records and pages are all there is to go on
    from. Raises `RequestError` when the folder holds another run's. Removes pages that have become records."""
    file, records = folder / "decided_by.json", folder / "rollouts"
    if (
        any(records.glob("*.parquet"))
        or any(records.glob(".*.page"))
        or checkpoint.found(folder / "checkpoints")
    ):
        if changed := _changes(folder, identity):
            raise RequestError(
                f"{folder} belongs to another run; since then these have changed:\n  "
                + "\n  ".join(changed)
                + "\nGive them their old values, choose another --output, or set the old run aside with --restart."
            )
        if not file.exists():
            raise RequestError(
                f"{folder} holds rollouts, but not decided_by.json, which says by what; set the folder aside with "
                "--restart, or choose another --output"
            )
    storage.write_json(str(file), identity)
    for page in records.glob(".iteration-*.page"):
        if (records / f"{page.stem.removeprefix('.')}.parquet").exists():
            page.unlink()


def _weights_folder(folder: Path, size: int) -> Path:
    """Where weights go to the engine: memory, if there is room for two copies; one place for each run's folder, so that
    what a killed run left there is replaced."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 3 * size and os.access(memory, os.W_OK):
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        return memory / f"reasonmill-{name}"
    return folder / ".weights"


def _is_written(folder: Path, iteration: int, version: int) -> bool:
    """Whether the folder's model is the one after so many iterations."""
    try:
        said = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (folder / "model").exists() and (said["iterations"], said["version"]) == (iteration, version)


def _nothing_to_learn(iteration: int, row: dict[str, Any]) -> str:
    return (
        f"iteration {iteration}: none of {row['groups_started']} groups carries a gradient "
        f"({row.get('filtered_solved', 0)} solved, {row.get('filtered_unsolved', 0)} unsolved, "
        f"{row.get('filtered_even', 0)} all alike, {row.get('filtered_undecided', 0)} undecided): no update"
    )


def _too_barren(row: dict[str, Any]) -> str:
    counts = {name: row.get(f"filtered_{name}", 0) for name in ("solved", "unsolved", "even", "undecided")}
    worst = max(counts, key=lambda name: counts[name])
    if row["groups_trained"]:  # selected, and yet without a loss
        worst = "cut"
    remedy = {
        "solved": "the problems are too easy for this model: give it harder ones, or be content with it",
        "unsolved": "the problems are too hard for this model: give it easier ones, a graded reward (soft, strict), "
        "more max_tokens, or more SFT first",
        "even": "its answers to a problem all earn the same: give it other problems or a larger group_size",
        "undecided": "the answers cannot be judged: look at the column reason of rollouts/*.parquet",
        "cut": "all its answers were cut off, and `truncated: mask` leaves those out: give it more max_tokens",
    }[worst]
    return (
        f"{BARREN} iterations in a row had nothing to learn from, so the run ends here; {remedy} "
        "(another model, other problems or settings begin a new run: --restart)"
    )
