"""The report's section about taggers: what the honesty cards of those that a run used say of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.errors import RunError
from pipeline.models import sha256_of
from reasonmill.report_run import Run, Section, stage_of


def taggers(run: Run) -> list[Section]:
    """The main figures of each tagger's card; no section for a run without taggers."""
    told = [
        _tagger(folder, dataset.manifest["files"].get(f"{folder}/tagger.json"))
        for dataset in run.datasets.values()
        if stage_of(dataset) == "tag"
        for folder in dataset.manifest["config"]["taggers"]
    ]
    return [Section("taggers", "How far the taggers can be trusted", {"taggers": told})] if told else []


def _tagger(folder: str, digest: str | None) -> dict[str, Any]:
    """What its card says, or what is `missing`: the card, or the tagger that gave this run its scores."""
    place = Path(folder).expanduser()
    told: dict[str, Any] = {"folder": folder, "missing": "", "card": None}
    if not (place / "card.json").is_file():
        told["missing"] = "There is no card.json in its folder: how good it is is not known."
    elif not (place / "tagger.json").is_file() or sha256_of(str(place / "tagger.json")) != digest:
        told["missing"] = (
            "The tagger in its folder is not the one that gave these scores: its card is about another one. "
            "Run `tag` again."
        )
    else:
        try:
            card = json.loads((place / "card.json").read_bytes())
        except ValueError as error:
            raise RunError(f"{place / 'card.json'} is damaged ({error}): train the tagger again") from None
        told |= {"card": card, "figures": _figures(card), "cuts": _cuts(card)}
    return told


def _figures(card: dict[str, Any]) -> list[dict[str, Any]]:
    """A row of each threshold and each name: its AUC with interval, beside that of length alone, and the gain."""
    return [
        {
            "says": f"{name} ≥ {row['at_least']}" if part["ordinal"] else f"{name}: {row['level']}",
            "rows": part["rows"],
            **{field: row[field] for field in ("positives", "auc", "ap", "over_length")},
            "length": row["length"]["auc"],
        }
        for name, part in card["dimensions"].items()
        if part["rows"]
        for row in (part["thresholds"] if part["ordinal"] else part["levels"])
        if row["positives"]
    ]


def _cuts(card: dict[str, Any]) -> list[dict[str, Any]]:
    """What each ordinal dimension loses at its cut, by domain and by kind of page."""
    return [
        {"says": f"{name} ≥ {part['cut']['at_least']}", **part["cut"]}
        for name, part in card["dimensions"].items()
        if part.get("cut")
    ]
