"""From labels to a tagger with its honesty card: hold out sites, train a student on the rest, measure, write the folder.

The tagger that is written is the one that was measured: rows that are held out are never trained on. Kinds "ngrams" and
"fasttext" are trained here; "lm" is training.tagger_lm.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from filters.taxonomy.card import card, markdown, split
from filters.taxonomy.fasttext_heads import FasttextOptions, FasttextTagger, train_fasttext
from filters.taxonomy.heads import targets
from filters.taxonomy.ngram_training import NgramOptions, train_ngrams
from filters.taxonomy.ngrams import NgramTagger
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError

OPTIONS: dict[str, type[NgramOptions] | type[FasttextOptions]] = {
    "ngrams": NgramOptions,
    "fasttext": FasttextOptions,
}
COLUMNS = ("id", "text", "host", "cluster", "kind", "weight")


def train(
    labelled: pa.Table,
    dimensions: Sequence[Dimension],
    folder: str | Path,
    kind: str = "ngrams",
    *,
    name: str = "tagger",
    target: str = "",
    rubric: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    share: float = 0.2,
    seed: int = 0,
    good: Mapping[str, int] | None = None,
    recall: float = 0.9,
    resamples: int = 1000,
    source: str = "the labelled table",
) -> dict[str, Any]:
    """Train a tagger on a labelled table, write its model folder and return its card.

    labelled: id, text, host, cluster, kind, weight, and label_… of each dimension. target: one sentence, what the tagger
    is trained to say. rubric: name, version and digest of the labels'. share: of the rows, held out. good, recall,
    resamples: of the card. source: how errors call the table. A tagger that lies in `folder` is replaced.

    Raises `RequestError` for labels that do not fit, too few hosts, unknown options, or a folder that holds other things.
    """
    folder = Path(folder).expanduser()
    _check(labelled, dimensions, folder, source)
    student_options = _options(kind, {"seed": seed} | dict(options or {}))
    train_rows, test_rows = split(labelled, share, seed)
    rows, held_out = labelled.take(pa.array(train_rows)), labelled.take(pa.array(test_rows))
    for dimension in dimensions:
        targets(rows, dimension, f"{source}, without the hosts held out")
    rounds = [split(rows, share=0.25, seed=seed + 1 + i) for i in range(student_options.rounds)]
    tagger: NgramTagger | FasttextTagger
    if isinstance(student_options, NgramOptions):
        tagger = train_ngrams(rows, dimensions, rounds, student_options)
    else:
        tagger = train_fasttext(rows, dimensions, rounds, student_options)
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
        "kind": kind,
        "name": name,
        "target": target,
        "dimensions": [dimension.to_dict() for dimension in dimensions],
        "rubric": dict(rubric) if rubric else None,
        "trained_on": {
            "rows": len(rows),
            "hosts": len(rows["host"].unique()),
            "clusters": len(rows["cluster"].unique()),
        },
        "options": student_options.model_dump() | {"share": share, "seed": seed},
    }
    write_folder(folder, tagger, about, found)
    return found


class Student(Protocol):
    """What a model folder is made of."""

    def save(self, folder: Path) -> list[str]:
        """Write its files and return their names."""


def write_folder(folder: Path, tagger: Student, about: dict[str, Any], found: dict[str, Any]) -> None:
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
