"""Student (a): a fastText model for each dimension (Joulin et al. 2017), on our own spelling of the tokens.

An ordinal dimension is one model with an independent logistic output for each threshold ("ova"), a line carrying the
labels of all thresholds it reaches: a binary model a threshold, at the cost of one. A nominal one is a softmax.
fastText knows no shares and no weights: a share of at least one half is a label, and a row of weight 2 is there twice, of
10 or more ten times, of less than 1 once.

Training runs in a fresh process: after other models were loaded, several builds of fastText train to NaN. With the
usual rate of 0.1 and 5 epochs models stay far behind; see the options.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
from pydantic import Field

from filters.taxonomy.heads import Calibration, Targets, calibrations, probabilities, targets, width
from filters.taxonomy.ngrams import check_fingerprint, fingerprint, spelled
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError, RunError
from pipeline.stage import StageConfig

TRAIN = """
import json, sys
import fasttext
options = json.loads(sys.argv[1])
output = options.pop("output")
fasttext.train_supervised(**options).save_model(output)
"""
CALIBRATION = "calibration.json"
ROWS = 1024  # spelled and predicted together
LEAST = 1e-6  # a label that fastText does not name


class FasttextOptions(StageConfig):
    window: int = Field(4096, gt=0, description="bytes read at the beginning, in the middle and at the end")
    dim: int = Field(16, gt=0, description="length of the vectors")
    epoch: int | None = Field(
        None,
        gt=0,
        description="passes over the training rows; by default 20, of few rows until 50,000 are read",
    )
    lr: float = Field(0.5, gt=0, description="learning rate")
    word_ngrams: int = Field(2, gt=0, description="longest sequence of tokens that has a vector")
    buckets: int = Field(1 << 18, gt=0, description="places for such sequences")
    rounds: int = Field(1, gt=0, description="quarters of the hosts held out in turn to calibrate")
    seed: int = Field(0, description="of fastText")


class FasttextTagger:
    """One fastText model for each of `dimensions`."""

    kind = "fasttext"

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        models: dict[str, Any],
        calibration: dict[str, Calibration],
        window: int,
    ) -> None:
        self.dimensions = tuple(dimensions)
        self.models, self.calibration, self.window = models, calibration, window

    def predict(self, texts: pa.ChunkedArray) -> dict[str, np.ndarray]:
        """Probabilities of each dimension, float32 [N, T] (filters.taxonomy.heads.probabilities)."""
        parts: dict[str, list[np.ndarray]] = {
            d.name: [np.empty((0, width(d)), np.float32)] for d in self.dimensions
        }
        for first in range(0, len(texts), ROWS):
            lines = _lines(texts.slice(first, ROWS), self.window)
            for d in self.dimensions:
                score_NT = _scores(self.models[d.name], lines, d)
                parts[d.name].append(probabilities(score_NT, self.calibration[d.name], d))
        return {name: np.concatenate(part) for name, part in parts.items()}

    def save(self, folder: Path) -> list[str]:
        """Write the model's files and return their names."""
        for name, model in self.models.items():
            model.save_model(str(folder / f"{name}.bin"))
        numbers = {name: [part.tolist() for part in found] for name, found in self.calibration.items()}
        text = (
            json.dumps({"features": fingerprint(), "window": self.window, "calibration": numbers}, indent=1)
            + "\n"
        )
        (folder / CALIBRATION).write_text(text, encoding="utf-8")
        return [CALIBRATION, *(f"{name}.bin" for name in self.models)]

    @classmethod
    def open(cls, folder: Path | str) -> FasttextTagger:
        """The tagger in a model folder. Raises `RequestError` if a file is no fastText model."""
        described = json.loads((Path(folder) / "tagger.json").read_bytes())
        saved = json.loads((Path(folder) / CALIBRATION).read_bytes())
        check_fingerprint(saved["features"], folder)
        calibration = {
            name: Calibration(*(np.array(part, np.float32) for part in found))
            for name, found in saved["calibration"].items()
        }
        dimensions = [Dimension.from_dict(found) for found in described["dimensions"]]
        models = {d.name: _load(Path(folder) / f"{d.name}.bin") for d in dimensions}
        return cls(dimensions, models, calibration, saved["window"])


def train_fasttext(
    labelled: pa.Table,
    dimensions: Sequence[Dimension],
    rounds: Sequence[tuple[np.ndarray, np.ndarray]],
    options: FasttextOptions | None = None,
) -> FasttextTagger:
    """Learn each dimension from a labelled table, on one thread: the same bytes for the same rows.

    rounds: pairs of rows to train on and to calibrate on (heads.calibrations). Raises `RequestError` (heads.targets),
    `RunError` when fastText fails.
    """
    options = options or FasttextOptions()
    lines = _lines(labelled["text"], options.window)
    wanted = {d.name: targets(labelled, d) for d in dimensions}
    weight_N = labelled["weight"].to_numpy().astype(np.float32)

    def learn(rows: np.ndarray) -> dict[str, Any]:
        return {d.name: _learn(lines, d, wanted[d.name], weight_N, rows, options) for d in dimensions}

    def score(rows: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
        models = learn(rows)
        return {d.name: _scores(models[d.name], [lines[i] for i in others], d) for d in dimensions}

    calibration = calibrations(dimensions, wanted, weight_N, rounds, score)
    return FasttextTagger(dimensions, learn(np.arange(len(labelled))), calibration, options.window)


def _lines(texts: pa.ChunkedArray, window: int) -> list[str]:
    return [line or "¶" for line in spelled(texts, window)]  # fastText passes over empty lines


def _learn(
    lines: list[str],
    dimension: Dimension,
    wanted: Targets,
    weight_N: np.ndarray,
    rows: np.ndarray,
    options: FasttextOptions,
) -> Any:
    """A fastText model, trained in a process of its own."""
    times_N = np.clip(np.rint(weight_N), 1, 10).astype(int)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "rows.txt").open("w", encoding="utf-8") as file:
            for row in rows[wanted.known_N[rows]]:
                labels = np.flatnonzero(wanted.share_NT[row] >= 0.5)
                if dimension.ordinal:  # and one that all rows carry: a line without a label is passed over
                    labels = np.r_[-1, labels]
                said = " ".join(f"__label__{label}" for label in labels)
                file.write(f"{said} {lines[row]}\n" * times_N[row])
        arguments: dict[str, Any] = {
            "input": file.name,
            "output": str(Path(folder) / "model.bin"),
            "loss": "ova" if dimension.ordinal else "softmax",
            "dim": options.dim,
            "epoch": options.epoch or max(20, 50_000 // len(rows)),
            "lr": options.lr,
            "wordNgrams": options.word_ngrams,
            "bucket": options.buckets,
            "minCount": 2,
            "seed": options.seed,
            "thread": 1,
            "verbose": 0,
        }
        process = subprocess.run(
            [sys.executable, "-c", TRAIN, json.dumps(arguments)], capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise RunError(
                f"fastText could not be trained for {dimension.name}: {process.stderr.strip()[-500:] or process.returncode}"
            )
        return _load(Path(arguments["output"]))


def _load(path: Path) -> Any:
    try:
        return fasttext.load_model(str(path))
    except ValueError as error:
        raise RequestError(f"{path} is not a fastText model ({error}). Train the tagger again.") from error


def _scores(model: Any, lines: list[str], dimension: Dimension) -> np.ndarray:
    """Raw scores [N, T]: logits of an ordinal dimension's thresholds, logarithms of a nominal one's shares."""
    share_NT = np.full((len(lines), width(dimension)), LEAST)
    # The list form works with every build of fastText on NumPy 2, the form for one text does not.
    for row, (labels, values) in enumerate(zip(*model.predict(lines, k=-1), strict=True)):
        for label, value in zip(labels, values, strict=True):
            if (t := int(label.removeprefix("__label__"))) >= 0:
                share_NT[row, t] = min(max(value, LEAST), 1 - LEAST)
    return np.log(share_NT / (1 - share_NT)) if dimension.ordinal else np.log(share_NT)
