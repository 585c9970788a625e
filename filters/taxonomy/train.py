"""From labels to a tagger with its honesty card: hold out sites, teach a student the rest, measure, write the folder.

The tagger that is written is the one that was measured: rows that are held out are never trained on. Students of the
kinds "ngrams" and "fasttext" are made here, of the kind "lm" by training.tagger_lm.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from filters.taxonomy import sheet as sheets
from filters.taxonomy.card import card, markdown, split
from filters.taxonomy.fasttext_heads import FasttextOptions, train_fasttext
from filters.taxonomy.heads import targets
from filters.taxonomy.ngram_training import NgramOptions, train_ngrams
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError
from pipeline.models import sha256_of

OPTIONS: dict[str, type[NgramOptions] | type[FasttextOptions]] = {
    "ngrams": NgramOptions,
    "fasttext": FasttextOptions,
}
COLUMNS = ("id", "text", "host", "cluster", "kind", "weight")


class Taught(Protocol):
    """A tagger that a student has become."""

    def predict(self, texts: pa.ChunkedArray) -> dict[str, np.ndarray]:
        """As filters.taxonomy.tag.Tagger."""

    def save(self, folder: Path) -> list[str]:
        """Write its files and return their names."""


@dataclass(frozen=True)
class Student:
    """Something that can be taught.

    options: as they stand in tagger.json, with its "seed", which also says which rows are held out. learn: from labelled
    rows and dimensions to the tagger; the last argument is how errors call the rows.
    """

    kind: str
    options: Mapping[str, Any]
    learn: Callable[[pa.Table, Sequence[Dimension], str], Taught]


def student_of(kind: str = "ngrams", **given: Any) -> Student:
    """A student of the kind "ngrams" or "fasttext" with its options. Raises `RequestError` for others."""
    options = _options(kind, given)

    def learn(rows: pa.Table, dimensions: Sequence[Dimension], source: str) -> Taught:
        rounds = [split(rows, share=0.25, seed=options.seed + 1 + i) for i in range(options.rounds)]
        if isinstance(options, NgramOptions):
            return train_ngrams(rows, dimensions, rounds, options)
        return train_fasttext(rows, dimensions, rounds, options)

    return Student(kind, options.model_dump(), learn)


def train(
    labelled: pa.Table,
    dimensions: Sequence[Dimension],
    folder: str | Path,
    student: Student | None = None,
    *,
    name: str = "tagger",
    target: str = "",
    rubric: Mapping[str, str] | None = None,
    share: float = 0.2,
    good: Mapping[str, int] | None = None,
    recall: float = 0.9,
    resamples: int = 1000,
    source: str = "the labelled table",
    sheet: str | Path | None = None,
    shown_bytes: int = 9000,
) -> dict[str, Any]:
    """Teach a student a labelled table, write the tagger's folder and return its card.

    labelled: id, text, host, cluster, kind, weight, and label_… of each dimension. student: n-grams with their default
    options if none is given. target: one sentence, what the tagger is trained to say. rubric: name, version and digest of
    the labels'. share: of the rows, held out. good, recall, resamples: of the card. source: how errors call the table.
    sheet: where to write held-out rows for a person to rate (`filters.taxonomy.sheet`), showing `shown_bytes` of each.
    A tagger that lies in `folder` is replaced.

    Raises `RequestError` for labels that do not fit, too few hosts, or a folder that holds other things.
    """
    folder = Path(folder).expanduser()
    student = student or student_of()
    seed = student.options["seed"]
    _check(labelled, dimensions, folder, source)
    if sheet:
        sheets.check_place(sheet)
        if folder.absolute() in Path(sheet).expanduser().absolute().parents:
            raise RequestError(
                f"{sheet} lies in {folder}, which the next training replaces. Give another place."
            )
    train_rows, test_rows = split(labelled, share, seed)
    rows, held_out = labelled.take(pa.array(train_rows)), labelled.take(pa.array(test_rows))
    without = f"{source}, without the hosts held out"
    for dimension in dimensions:
        targets(rows, dimension, without)
    tagger = student.learn(rows, dimensions, without)
    predicted = tagger.predict(held_out["text"])
    found = card(
        *(held_out, predicted, dimensions),
        train=rows,
        name=name,
        target=target,
        good=good,
        recall=recall,
        resamples=resamples,
        seed=seed,
    )
    about = {
        "kind": student.kind,
        "name": name,
        "target": target,
        "dimensions": [dimension.to_dict() for dimension in dimensions],
        "rubric": dict(rubric) if rubric else None,
        "trained_on": {
            "rows": len(rows),
            "hosts": len(rows["host"].unique()),
            "clusters": len(rows["cluster"].unique()),
        },
        "options": {**student.options, "share": share},
    }
    _write_folder(folder, tagger, about, found)
    if sheet:
        digest = sha256_of(str(folder / "tagger.json"))
        sheets.write(
            *(held_out, predicted, dimensions, sheet), seed=seed, window_bytes=shown_bytes, tagger=digest
        )
    return found


def _write_folder(folder: Path, tagger: Taught, about: dict[str, Any], found: dict[str, Any]) -> None:
    """The tagger's files, `tagger.json` with their digests, and the card; all or nothing."""
    new = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    files = {file: hashlib.sha256((new / file).read_bytes()).hexdigest() for file in tagger.save(new)}
    for file, value in (("tagger.json", about | {"files": files}), ("card.json", found)):
        (new / file).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (new / "card.md").write_text(markdown(found), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _check(labelled: pa.Table, dimensions: Sequence[Dimension], folder: Path, source: str) -> None:
    if absent := [column for column in COLUMNS if column not in labelled.column_names]:
        raise RequestError(
            f"{source} has no column {', '.join(absent)}; it has {', '.join(labelled.column_names)}."
        )
    for column in ("text", "host", "cluster", "weight"):
        if labelled[column].null_count:
            row = int(np.flatnonzero(labelled[column].is_null().to_numpy())[0])
            raise RequestError(
                f"{source}, column {column}, id {labelled['id'][row]}: null; expected a value."
            )
    if not dimensions:
        raise RequestError(f"{source}: no dimension to train. Name at least one.")
    for dimension in dimensions:
        targets(labelled, dimension, source)
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / "tagger.json").exists())
    ):
        raise RequestError(f"{folder} holds something else than a tagger. Give another folder.")


def _options(kind: str, given: dict[str, Any]) -> NgramOptions | FasttextOptions:
    if kind not in OPTIONS:
        raise RequestError(
            f"no kind of tagger {kind!r} is trained here; expected one of {', '.join(OPTIONS)} (a language model is trained by training.tagger_lm)."
        )
    try:
        return OPTIONS[kind](**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(
            f"option {'.'.join(map(str, first['loc']))} of {kind} taggers: {first['msg']}; "
            f"it was {first['input']!r}. Options: {', '.join(OPTIONS[kind].model_fields)}."
        ) from None
