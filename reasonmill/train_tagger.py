"""`reasonmill train-tagger`: from labels, or from documents of known kinds, to a tagger with its honesty card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.dataset import Dataset
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from filters.taxonomy.train import Student


def train_tagger(
    run: str | None,
    folder: str,
    *,
    kind: str = "ngrams",
    model: str | None = None,
    name: str | None = None,
    share: float = 0.2,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    sheet: str | None = None,
) -> dict[str, Any]:
    """Train on the labels of a run folder, or, without one, on documents of known kinds; returns the card.

    kind, options: which student, and its options. model: for "lm", the folder that is fine-tuned. share: of the rows, held
    out. sheet: where to write some of these for a person to rate. Raises `RequestError` for what does not fit.
    """
    from filters.taxonomy import known_kinds
    from filters.taxonomy.label import labelled
    from filters.taxonomy.rubric import Dimension, load_rubric
    from filters.taxonomy.train import student_of, train

    if (kind == "lm") != bool(model):
        raise RequestError("--model, a folder that transformers reads, is for --kind lm, and needed there")
    dimensions: tuple[Dimension, ...]
    usual = known_kinds.OPTIONS if run is None and kind == "ngrams" else {}
    given: dict[str, Any] = {"seed": seed, **usual, **(options or {})}
    taught = _lm(model, given) if model else student_of(kind, **given)
    about: dict[str, Any] = {"name": name or Path(folder).name, "share": share, "sheet": sheet}
    if run is None:
        table, dimensions = known_kinds.build(seed), known_kinds.DIMENSIONS
        about |= {"target": known_kinds.TARGET, "source": "documents of known kinds"}
    else:
        table = labelled(run)
        labels = Dataset.open(f"{run.rstrip('/')}/labels")
        rubric = load_rubric(labels.manifest["config"]["rubric"])
        if rubric.digest not in labels.manifest["files"].values():
            raise RequestError(
                f"{labels.path} was made by another state of the rubric {rubric.name}: label again"
            )
        dimensions = rubric.dimensions
        about |= {"target": f"What a labeller says by the rubric {rubric.name} {rubric.version}."}
        about |= {"rubric": rubric.identity, "source": f"the labels of {run}"}
        about |= {"shown_bytes": labels.manifest["config"]["window_bytes"]}
    return train(table, dimensions, folder, taught, **about)


def _lm(model: str, given: Mapping[str, Any]) -> Student:
    from training.tagger_lm import LMOptions, lm_student

    known = [field.name for field in fields(LMOptions)]
    if unknown := given.keys() - set(known):
        raise RequestError(f"no option {sorted(unknown)[0]!r} of lm taggers; there are {', '.join(known)}")
    return lm_student(model, LMOptions(**given))
