"""Taggers applied: a model folder becomes a tagger, and the stage `tag` writes what taggers say of each document.

A model folder holds `tagger.json` (what kind of student it is, what it is trained to say, dimensions, digests of its
files), the student's files and the honesty card. Three kinds of student predict the same thing: for an ordinal
dimension P(level ≥ first + 1 + t), for a nominal one the share of each name.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from pydantic import Field

from filters.taxonomy.fasttext_heads import FasttextTagger
from filters.taxonomy.ngrams import NgramTagger
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from pipeline.stage import MapStage, Outcome, StageConfig, source_digest

KINDS = ("ngrams", "fasttext", "lm")
LM = "training.tagger_lm"  # loaded when needed: it brings torch with it


class Tagger(Protocol):
    """What all kinds of student have in common."""

    @property
    def dimensions(self) -> Sequence[Dimension]: ...

    def predict(self, texts: pa.ChunkedArray) -> dict[str, np.ndarray]:
        """Of each dimension float32 [N, T]: thresholds (never increasing) or names (of sum 1)."""


def describe(folder: str | Path) -> dict[str, Any]:
    """What `tagger.json` says. Raises `RequestError` if the folder holds no tagger."""
    file = Path(folder).expanduser() / "tagger.json"
    if not file.is_file():
        raise RequestError(
            f"{folder} is no tagger: it has no tagger.json. Train one with `reasonmill train-tagger`."
        )
    try:
        described = json.loads(file.read_bytes())
        for dimension in described["dimensions"]:
            Dimension.from_dict(dimension)
        if described["kind"] in KINDS and isinstance(described["files"], dict):
            return described
        problem = f"its kind is {described['kind']!r}, not one of {', '.join(KINDS)}"
    except (ValueError, TypeError, AttributeError) as error:
        problem = str(error)
    except KeyError as error:
        problem = f"the field {error} is missing"
    raise RequestError(f"{file} does not describe a tagger: {problem}. Train it again.")


def open_tagger(folder: str | Path) -> Tagger:
    """The tagger in a model folder. Raises `RequestError` if a file is missing or not the one that was trained."""
    folder = Path(folder).expanduser()
    described = describe(folder)
    for name, digest in described["files"].items():
        if not (folder / name).is_file() or sha256_of(str(folder / name)) != digest:
            state = "is not the file that was trained" if (folder / name).exists() else "is missing"
            raise RequestError(f"{folder / name} {state}. Copy the whole folder again, or train it again.")
    if described["kind"] == "ngrams":
        return NgramTagger.open(folder)
    if described["kind"] == "fasttext":
        return FasttextTagger.open(folder)
    return importlib.import_module(LM).LMTagger.open(folder)


class TagConfig(StageConfig):
    taggers: list[str] = Field(min_length=1, description="folders of trained taggers")
    names: dict[str, str] = Field(
        {},
        description="dimension: another name for its column, in place of score_DIMENSION",
    )


class Tag(MapStage):
    """documents → what the taggers say of each.

    `score_D` of an ordinal dimension D is the expected level (of one with two levels the probability of the upper),
    of a nominal one the likeliest name, with its probability in `score_D_share`.
    """

    name = "tag"
    output = "scores"
    input = ("documents",)
    reads = ("id", "text")
    libraries = ("fasttext-community", "numba", "numpy")
    Config: ClassVar[type[StageConfig]] = TagConfig

    @property
    def schema(self) -> pa.Schema:  # type: ignore[override]
        """Follows from the taggers' dimensions; without those that are not trained yet."""
        fields = [pa.field("id", pa.string(), nullable=False)]
        for _, dimension in self._dimensions():
            column = self._column(dimension)
            if dimension.ordinal:
                fields.append(pa.field(column, pa.float32()))
            else:
                fields += [pa.field(column, pa.string()), pa.field(f"{column}_share", pa.float32())]
        return pa.schema(fields)

    def check(self, schema: pa.Schema | None) -> None:
        of: dict[str, str] = {}
        for folder, dimension in self._dimensions():
            if dimension.name in of:
                raise RequestError(
                    f"two taggers say {dimension.name}: {of[dimension.name]} and {folder}. Leave one out of `taggers`."
                )
            of[dimension.name] = folder
        if len(self._trained()) < len(self.config.taggers):  # what they will say is not known
            return
        if unknown := self.config.names.keys() - of.keys():
            raise RequestError(
                f"`names` of tag: no tagger says {', '.join(sorted(unknown))}; they say {', '.join(sorted(of))}."
            )
        columns = self.schema.names
        if twice := {column for column in columns if columns.count(column) > 1}:
            raise RequestError(
                f"`names` of tag: two columns would be called {sorted(twice)[0]}. Choose other names."
            )

    def files(self) -> dict[str, str]:
        found = {f"{folder}/tagger.json": sha256_of(f"{folder}/tagger.json") for folder in self._trained()}
        if any(describe(folder)["kind"] == "lm" for folder in self._trained()):
            found[LM] = source_digest(LM)  # this file does not import it
        return found

    def prepare(self) -> None:
        self.check(None)
        self.taggers = [open_tagger(folder) for folder in self.config.taggers]

    def process(self, batch: pa.Table) -> Outcome:
        columns: dict[str, Any] = {"id": batch["id"]}
        for tagger in self.taggers:
            predicted = tagger.predict(batch["text"])
            for dimension in tagger.dimensions:
                columns |= self._said(dimension, predicted[dimension.name])
        return Outcome(pa.table(columns, schema=self.schema))

    def _said(self, dimension: Dimension, share_NT: np.ndarray) -> dict[str, pa.Array | np.ndarray]:
        column = self._column(dimension)
        if dimension.ordinal:
            expected_N = share_NT.sum(axis=1, dtype=np.float32)
            return {
                column: expected_N if len(dimension.levels) == 2 else expected_N + np.float32(dimension.first)
            }
        names = pa.array(dimension.levels, pa.string())
        return {
            column: names.take(pa.array(share_NT.argmax(axis=1))),
            f"{column}_share": share_NT.max(axis=1),
        }

    def _column(self, dimension: Dimension) -> str:
        return self.config.names.get(dimension.name, f"score_{dimension.name}")

    def _trained(self) -> list[str]:
        """Folders of the taggers that are there. Others must be about to be trained."""
        return [
            folder
            for folder in self.config.taggers
            if (Path(folder).expanduser() / "tagger.json").exists()
            or str(Path(folder).expanduser().absolute()) not in self.coming
        ]

    def _dimensions(self) -> list[tuple[str, Dimension]]:
        return [
            (folder, Dimension.from_dict(found))
            for folder in self._trained()
            for found in describe(folder)["dimensions"]
        ]
