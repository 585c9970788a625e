"""What an RL run writes down about its rollouts, and goes on from after any kill.

    rollouts/iteration-00012.parquet     every answer of the iteration, with its fate and, where it is trained on, its
                                         advantage; in the file's metadata: the iteration's statistics, and the state
                                         of scheduler and easy pool after it
    rollouts/.iteration-00013.page       the answers of the running iteration, one JSON object a line, appended as
                                         soon as each is judged

Groups are numbered over the whole run. Only answers of a killed sitting that were not needed after all (fate "aborted")
may have a number that the next iteration gives to another group.

Training reads its answers from the Parquet file and from nowhere else. So an iteration whose file is there needs no
rollout again: it is trained on exactly as it would have been. A page is turned into the file when the iteration ends.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.dataset import encode
from pipeline.errors import RunError
from training.rl.batches import Answer
from training.rl.trajectory import Trajectory

SCHEMA = pa.schema(
    [
        pa.field("iteration", pa.int32(), nullable=False),
        pa.field("group", pa.int64(), nullable=False),
        pa.field("member", pa.int32(), nullable=False),
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("fate", pa.string(), nullable=False),
        pa.field("reward", pa.float64()),  # null: undecided
        pa.field("passed", pa.bool_()),
        pa.field("passes", pa.list_(pa.bool_())),
        pa.field("reason", pa.string()),
        pa.field("advantage", pa.float64()),  # null: no loss
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("version", pa.int32(), nullable=False),
        pa.field("prompt", pa.string()),
        pa.field("text", pa.string()),
        pa.field("prompt_tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("logprobs", pa.list_(pa.float32()), nullable=False),
        pa.field("started", pa.float64()),  # seconds on the engine's clock
        pa.field("finished", pa.float64()),
        pa.field("rewarded", pa.float64()),
    ]
)
ABOUT = b"reasonmill.rl"
SYNC_SECONDS = 1.0


def iteration_path(folder: Path, iteration: int) -> Path:
    """Where the record of an iteration is, or will be."""
    return folder / "rollouts" / f"iteration-{iteration:05d}.parquet"


class Page:
    """The answers of a running iteration, append-only. A killed process loses none that was appended; a machine that
    loses its power at most those of the last second."""

    def __init__(self, iteration_file: Path) -> None:
        self.path = iteration_file.with_name(f".{iteration_file.stem}.page")
        storage.make_folder(str(self.path.parent))
        self.known = {(one.group, one.member): one for one in self._read()}  # what an earlier sitting left
        self._file = self.path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def append(self, trajectory: Trajectory) -> None:
        """Raises `RunError` when the disk refuses."""
        try:
            line = memoryview(json.dumps(vars(trajectory)).encode() + b"\n")  # vars: asdict copies each token
            while line:  # an almost full disk takes a part, and refuses the rest
                line = line[self._file.write(line) :]
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise storage.explain_disk_error(error, str(self.path)) from error

    def close(self, remove: bool) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        if remove:
            self.path.unlink()

    def _read(self) -> Iterable[Trajectory]:
        """What is whole; a torn last line is cut off."""
        if not self.path.exists():
            return []
        whole, _, torn = self.path.read_bytes().rpartition(b"\n")
        if torn:
            os.truncate(self.path, len(whole) + 1 if whole else 0)
        try:
            return [Trajectory(**json.loads(line)) for line in whole.splitlines()]
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{self.path} is damaged ({error}): remove it, and its iteration is rolled out anew"
            ) from None


def write_iteration(
    path: Path,
    iteration: int,
    trajectories: Iterable[Trajectory],
    fates: Mapping[int, str],
    advantages: Mapping[tuple[int, int], float],
    prompts: Mapping[int, str],
    about: Mapping[str, Any],
) -> None:
    """The record of an iteration, whole or not at all. advantages: by (group, member), of answers with a loss.
    prompts: by group."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for one in sorted(trajectories, key=lambda one: (one.group, one.member)):
        row = vars(one) | {
            "iteration": iteration,
            "fate": fates[one.group],
            "advantage": advantages.get((one.group, one.member)),
            "prompt": prompts.get(one.group),
            "text": one.text.encode("utf-8", "replace").decode(),  # Arrow refuses lone surrogates
        }
        for name, values in columns.items():
            values.append(row[name])
    table = pa.table(columns, schema=SCHEMA).replace_schema_metadata({ABOUT: json.dumps(about)})
    storage.write_bytes(str(path), encode(table))


def read_about(path: Path) -> dict[str, Any]:
    """Statistics and states of a recorded iteration."""
    with _explained(path):
        return json.loads(pq.read_schema(path).metadata[ABOUT])


def read_answers(path: Path) -> list[Answer]:
    """The answers of an iteration that have a loss, in the order their groups were started."""
    columns = ["group", "advantage", "prompt_tokens", "tokens", "logprobs"]
    with _explained(path):
        table = pq.read_table(path, columns=columns, filters=pc.field("advantage").is_valid())
    return [
        Answer(
            group,
            np.asarray(prompt.values),
            np.asarray(tokens.values),
            np.asarray(logprobs.values),
            advantage,
        )
        for group, advantage, prompt, tokens, logprobs in zip(
            table["group"].to_pylist(),
            table["advantage"].to_pylist(),
            table["prompt_tokens"],
            table["tokens"],
            table["logprobs"],
            strict=True,
        )
    ]


class _explained:
    """Turns what a damaged record raises into one sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError | pa.ArrowException | KeyError | ValueError):
            raise RunError(
                f"cannot read {self.path}: {error}. Remove it and all later ones, and these iterations are rolled "
                "out anew."
            ) from None
