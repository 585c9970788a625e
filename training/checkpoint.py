"""The folder of a training run and its checkpoints: what makes it safe to kill one at any moment.

    metrics.jsonl          a row a step; rows after the newest checkpoint are cut off when a run goes on
    checkpoints/step-0001200/
      state/             weights, AdamW's moments, random state: torch.distributed.checkpoint, in shards as they lie
      checkpoint.json    counters, what decides the weights (to refuse another run's), the model, versions

The sharded format is the same for one process, DDP and FSDP2, and is resharded when it is read: a run may go on with
another number of ranks (its sums are then rounded in another order). A checkpoint is written under a temporary name
and renamed: it is either whole or not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from pipeline import storage
from pipeline.errors import RequestError, RunError
from training.model import MiMo
from training.model_config import ModelConfig
from training.settings import differences


def save(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, about: dict[str, Any], keep: int
) -> Path:
    """Write `folder`/step-N of N = about["step"] and remove all but the newest `keep`. Called by every rank.

    Raises `RunError` when the disk refuses; the checkpoints before it stay.
    """
    final = folder / f"step-{about['step']:07d}"
    temporary = folder / f".{final.name}.tmp"
    main = _rank() == 0
    try:
        if main:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        _barrier()
        with _no_warning():
            dcp.save(_state(model, optimizer), checkpoint_id=temporary / "state")
        if main:
            storage.write_json(str(temporary / "checkpoint.json"), about)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            _sync_folder(folder)
            for old in found(folder)[:-keep]:
                _remove(old)
    except OSError as error:
        raise storage.explain_disk_error(error, str(final)) from error
    except dcp.CheckpointException as failed:  # no Exception to Python: nobody above would see it
        reasons = [reason for reason, _ in failed.failures.values()]
        refused = next((reason for reason in reasons if isinstance(reason, OSError)), None)
        if refused is not None:
            raise storage.explain_disk_error(refused, str(final)) from None
        raise RunError(f"cannot write {final}: {_last_line(failed)}") from None
    _barrier()
    return final


def load(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the weights, AdamW's moments and the random state of a checkpoint in place. Called by every rank."""
    state = _state(model, optimizer)
    _read(path, state)
    set_model_state_dict(model, state["model"])
    set_optimizer_state_dict(model, optimizer, state["optimizer"])
    torch.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"])


def found(folder: Path) -> list[Path]:
    """The whole checkpoints of a folder, oldest first."""
    paths = (path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name))
    return sorted(
        (path for path in paths if (path / "checkpoint.json").exists()),
        key=lambda path: int(path.name.removeprefix("step-")),
    )


def about(path: Path) -> dict[str, Any]:
    """What checkpoint.json says."""
    try:
        return json.loads((path / "checkpoint.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"cannot read {path}/checkpoint.json: {error}. Remove this folder and training goes on from the "
            "checkpoint before it."
        ) from None


def newest(folder: Path, identity: dict[str, Any]) -> Path | None:
    """The checkpoint to go on from. Raises `RequestError` when it is another run's."""
    paths = found(folder / "checkpoints")
    if changed := changes(folder, identity):
        raise RequestError(
            f"{paths[-1]} belongs to another run; since then these have changed:\n  "
            + "\n  ".join(changed)
            + "\nGive them their old values, choose another --output, or set the old run aside with --restart."
        )
    return paths[-1] if paths else None


def changes(folder: Path, identity: dict[str, Any]) -> list[str]:
    """What is another run's in the newest checkpoint, one line each; nothing where there is no checkpoint."""
    paths = found(folder / "checkpoints")
    return differences(about(paths[-1])["decided_by"], identity) if paths else []


def take_folder(folder: Path, restart: bool) -> IO[str]:
    """Take the folder for ourselves; with `restart`, an empty one in its place. Raises `RequestError` if it is taken."""
    storage.make_folder(str(folder))
    lock = (folder / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RequestError(
            f"another process is training in {folder}; wait for it, or stop it first"
        ) from None
    if not restart or not any(folder.glob("[!.]*")):
        return lock
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    folder.rename(aside)
    print(f"the old run is now in {aside}", file=sys.stderr)
    return take_folder(folder, restart=False)


def open_metrics(path: Path, step: int, counter: str = "step") -> IO[str]:
    """metrics.jsonl, opened for rows from `step` on: what a killed run wrote after its last checkpoint is cut off.

    counter: the rows' field that counts."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):  # the last row may be torn
            if json.loads(line)[counter] < step:
                kept.append(line + "\n")
    storage.write_bytes(str(path), "".join(kept).encode())
    return path.open("a", encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def load_model(folder: str | Path) -> tuple[MiMo, dict[str, Any]]:
    """The model of the newest checkpoint of a pretrain folder (or of one checkpoint), in fp32 on the CPU, and its
    checkpoint.json ("context" and "rope_base" are those of its last step).

    >>> load_model("runs/demo/pretrain")  # doctest: +SKIP
    """
    folder = Path(folder)
    paths = [folder] if (folder / "checkpoint.json").exists() else found(folder / "checkpoints")
    if not paths:
        raise RequestError(f"there is no checkpoint in {folder}: run `python -m training.pretrain` first")
    said = about(paths[-1])
    with torch.device("meta"):
        model = MiMo(ModelConfig(**said["model"]))
    model.to_empty(device="cpu")
    weights = {"model": get_model_state_dict(model)}
    _read(paths[-1], weights, no_dist=True)
    set_model_state_dict(model, weights["model"])
    return model, said


def _read(path: Path, state: dict[str, Any], **options: Any) -> None:
    try:
        with _no_warning():
            dcp.load(state, checkpoint_id=path / "state", **options)
    except (OSError, dcp.CheckpointException, RuntimeError) as error:
        raise RunError(
            f"cannot read checkpoint {path}: {_last_line(error)}. Remove this folder and training goes on from the "
            "checkpoint before it."
        ) from None


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]


def _state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    random = {"cpu": torch.get_rng_state()}  # nothing draws from it after initialisation; dropout would
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    return {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, optimizer),
        "random": random,
    }


def _remove(path: Path) -> None:
    """Rename first: a removal that is killed halfway must not leave something that looks like a checkpoint."""
    doomed = path.with_name(f".{path.name}.tmp")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _no_warning() -> Iterator[None]:
    """Torch warns of a single process without a process group; that is what one device is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.distributed is disabled, unavailable")
        yield


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _barrier() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
