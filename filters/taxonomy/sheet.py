"""The sheet: documents that a person rates without knowing what was said of them, and what comes of it.

Labels and tagger may agree and both be wrong; only a person's own reading shows it. `write` draws rows that were held
out from training, for each dimension evenly over its levels and over whether labels and tagger agree, because rows that
are alike teach nothing. A row is drawn with a probability that is known exactly (systematic sampling with unequal
probabilities: Madow 1949), so that `read` can weigh each by its inverse and speak of the whole pool (Horvitz and
Thompson 1952). Answers lie in a key file beside the sheet; the sheet itself has texts and empty cells.

Shapes: N rows of the table, D draws of the bootstrap (`filters.taxonomy.measures`).
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.taxonomy.card_page import FEW, Table, markdown, table_rows, with_interval
from filters.taxonomy.held_out import groups_of
from filters.taxonomy.measures import Draws, draw, estimate
from filters.taxonomy.questions import windows
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError
from pipeline.models import sha256_of

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run if a cell began with it
PAIRS = (("person", "labels"), ("person", "tagger"), ("labels", "tagger"))


def write(
    labelled: pa.Table,
    predicted: Mapping[str, np.ndarray],
    dimensions: Sequence[Dimension],
    path: str | Path,
    rows: int = 200,
    seed: int = 0,
    *,
    window_bytes: int = 9000,
    tagger: str | None = None,
) -> int:
    """Write a sheet of `rows` documents and its key (`key_of`); returns how many there are.

    labelled: the held-out rows (id, text, host, cluster, weight, label_…). predicted: what the tagger says of them.
    window_bytes: of a document that are shown, as the labeller was shown them. tagger: digest of its tagger.json, which
    `add_to_card` compares. Fewer rows than asked for if fewer are labelled. Raises `RequestError` if there is a sheet
    already, which may be filled in, or no label.
    """
    path = Path(path).expanduser()
    check_place(path)
    labels = {d.name: _levels_of_labels(labelled, d) for d in dimensions}
    said = {d.name: _levels_of_tagger(predicted[d.name], d) for d in dimensions}
    random = np.random.default_rng(seed)
    strata = [_strata(labels[d.name], said[d.name]) for d in dimensions]
    probability_N = inclusion(strata, rows)
    if not probability_N.any():
        raise RequestError(f"{path}: no row that is held out has a label; there is nothing to rate.")
    chosen = random.permutation(systematic(probability_N, strata, random))
    groups = groups_of(labelled["host"].to_pylist(), labelled["cluster"].to_pylist())
    texts = labelled["text"].take(pa.array(chosen)).to_pylist()
    key = {
        "dimensions": [dimension.to_dict() for dimension in dimensions],
        "tagger": tagger,
        "seed": seed,
        "drawn_from": int((probability_N > 0).sum()),
        "rows": {
            str(number): {
                "id": labelled["id"][row].as_py(),
                "group": int(groups[row]),
                "weight": labelled["weight"][row].as_py(),
                "probability": float(probability_N[row]),
                "labels": {d.name: _name(labels[d.name][row], d) for d in dimensions},
                "tagger": {d.name: _name(said[d.name][row], d) for d in dimensions},
            }
            for number, row in enumerate(chosen.tolist(), 1)
        },
    }
    key_of(path).write_text(json.dumps(key, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    # With a byte order mark, without which spreadsheets take UTF-8 for something else.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(["row", "text", *map(_header, dimensions)])
        for number, text in enumerate(texts, 1):
            sheet.writerow([number, _cell(windows(text, window_bytes)), *("" for _ in dimensions)])
    return len(texts)


def key_of(path: str | Path) -> Path:
    """Where the answers to a sheet lie: SHEET.key.json."""
    return Path(path).expanduser().with_suffix(".key.json")


def check_place(path: str | Path) -> None:
    """Raises `RequestError` where a sheet cannot be written: a filled-in one must not be lost."""
    path = Path(path).expanduser()
    for file in (path, key_of(path)):
        if file.exists():
            raise RequestError(
                f"{file} is there already and may be filled in. Give another name, or remove it."
            )
    if not path.parent.is_dir():
        raise RequestError(f"{path}: there is no folder {path.parent}.")


def read(path: str | Path, *, resamples: int = 1000, seed: int = 0) -> Table:
    """How far a person agrees with labels and tagger, of each dimension of a sheet that is filled in, at least partly.

    "kappa" (quadratic weights for levels, plain for names) and "same", the share of equal answers, of each pair of
    person, labels and tagger on the rows that the person rated, with cluster-bootstrap intervals. An empty cell is a row
    not rated. Raises `RequestError` naming row and column of a cell that is no level, and for a sheet without its key.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise RequestError(
            f"{path}: there is no such sheet. `reasonmill train-tagger --sheet FILE` writes one."
        )
    key = _read_key(key_of(path))
    dimensions = [Dimension.from_dict(found) for found in key["dimensions"]]
    given = _read_cells(path, dimensions, key["rows"])
    if not given:
        raise RequestError(
            f"{path}: no cell is filled in. Write one of the levels in the heads of the columns into each."
        )
    rows = [key["rows"][number] for number in given]
    draws = draw(
        np.array([row["group"] for row in rows]),
        np.array([row["weight"] / row["probability"] for row in rows]),
        resamples,
        seed,
    )
    found = {}
    for dimension in dimensions:
        answers = {who: [row[who][dimension.name] for row in rows] for who in ("labels", "tagger")}
        answers["person"] = [cells[dimension.name] for cells in given.values()]
        ratings = {who: _places(said, dimension) for who, said in answers.items()}
        found[dimension.name] = {
            "ordinal": dimension.ordinal,
            "rated": int((ratings["person"] >= 0).sum()),
            **{f"{a}_{b}": _agreement(ratings, a, b, dimension, draws) for a, b in PAIRS},
        }
    return {
        "sheet": path.name,
        "tagger": key["tagger"],
        "rows": len(key["rows"]),
        "rated": len(rows),
        "drawn_from": key["drawn_from"],
        "resamples": resamples,
        "dimensions": found,
    }


def section(found: Table) -> str:
    """What `read` found, as a section of the card's page."""
    lines = [
        "## What a person says",
        "",
        f"A person rated {found['rated']} of {found['rows']} rows, drawn from {found['drawn_from']:,} that were held out, without "
        "seeing what labels and tagger say of them. κ has quadratic weights for levels and none for names; rows count by "
        f"the inverse of their probability of being drawn; brackets hold the middle 95 % of {found['resamples']:,} draws.",
        "",
        *(f"* {sentence}" for sentence in _to_know(found)),
    ]
    names = [f"{a}–{b}" for a, b in PAIRS]
    head = ["", "rated", *(f"κ {name}" for name in names), *(f"same, {name}" for name in names[:2])]
    body = [
        [name, str(part["rated"])]
        + [with_interval(part[f"{a}_{b}"]["kappa"]) for a, b in PAIRS]
        + [with_interval(part[f"{a}_{b}"]["same"], ".0%") for a, b in PAIRS[:2]]
        for name, part in found["dimensions"].items()
        if part["rated"]
    ]
    return "\n".join([*lines, *([""] if lines[-1] else []), *table_rows(head, body)]) + "\n"


def add_to_card(found: Table, folder: str | Path) -> None:
    """Put what a person said into card.json and card.md of a tagger's folder, in place of an earlier sheet's."""
    folder = Path(folder).expanduser()
    try:
        card = json.loads((folder / "card.json").read_bytes())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{folder / 'card.json'} cannot be read: {error}. Give a tagger's folder."
        ) from None
    if found["tagger"] != sha256_of(str(folder / "tagger.json")):
        raise RequestError(
            f"{found['sheet']} is not the sheet of the tagger in {folder}, but of another or an earlier one."
        )
    card["person"] = found
    (folder / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(markdown(card) + "\n" + section(found), encoding="utf-8")


# ---- who is drawn --------------------------------------------------------------------------------------------------


def inclusion(strata: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """Probability of each row of being among `rows` drawn ones, float64 [N].

    strata: of each dimension the number of each row's stratum, int64 [N], −1 for none. Dimensions get equal
    shares, and within each its strata; a row's is the sum of what it gets of each. None is drawn more than surely.
    """
    share_N = np.zeros(len(strata[0]))
    for stratum_N in strata:
        _, place_N, sizes = np.unique(stratum_N[stratum_N >= 0], return_inverse=True, return_counts=True)
        share_N[stratum_N >= 0] += 1 / (len(sizes) * sizes[place_N])
    surely_N, open_N = np.zeros(len(share_N), bool), share_N > 0
    rows = min(rows, int(open_N.sum()))
    while True:
        left = rows - surely_N.sum()
        probability_N = np.where(open_N, left * share_N / max(share_N[open_N].sum(), 1e-300), surely_N)
        more_N = open_N & (probability_N >= 1 - 1e-9)
        if not more_N.any():
            return probability_N
        surely_N, open_N = surely_N | more_N, open_N & ~more_N


def systematic(
    probability_N: np.ndarray, strata: Sequence[np.ndarray], random: np.random.Generator
) -> np.ndarray:
    """Rows drawn with exactly these probabilities, as many as their sum: laid end to end, stratum after stratum, those
    that the teeth of a comb hit, one tooth every 1, the first anywhere."""
    surely = np.flatnonzero(probability_N == 1)
    others = random.permutation(np.flatnonzero((probability_N > 0) & (probability_N < 1)))
    if not len(others):
        return surely
    others = others[np.lexsort([stratum_N[others] for stratum_N in strata[::-1]])]  # random within a stratum
    ends = probability_N[others].cumsum()
    ends[-1] = round(ends[-1])  # it is a whole number but for rounding
    teeth = np.floor(ends - (1 - random.random()))
    return np.concatenate([surely, others[np.diff(teeth, prepend=-1.0) > 0]])


def _strata(labels_N: np.ndarray, said_N: np.ndarray) -> np.ndarray:
    """Number of (level of the label, whether the tagger agrees), −1 where there is no label."""
    return np.where(labels_N < 0, -1, 2 * labels_N + (labels_N == said_N))


def _levels_of_labels(labelled: pa.Table, dimension: Dimension) -> np.ndarray:
    """Places in `dimension.values` [N]; −1 where there is no label. Expected levels are rounded, halves upwards."""
    column = labelled[f"label_{dimension.name}"].to_pylist()
    if dimension.ordinal:
        column = [None if level is None else int(np.floor(level + 0.5)) for level in column]
    return _places(column, dimension)


def _levels_of_tagger(share_NT: np.ndarray, dimension: Dimension) -> np.ndarray:
    if dimension.ordinal:
        return np.floor(share_NT.sum(axis=1, dtype=np.float64) + 0.5).astype(np.int64)
    return share_NT.argmax(axis=1)


def _places(values: Sequence[Any], dimension: Dimension) -> np.ndarray:
    place = {value: n for n, value in enumerate(dimension.values)}
    return np.array([-1 if value is None else place[value] for value in values], np.int64)


def _name(place: int, dimension: Dimension) -> int | str | None:
    return None if place < 0 else dimension.values[place]


# ---- the file ------------------------------------------------------------------------------------------------------


def _header(dimension: Dimension) -> str:
    """The name in the first line, then what may be written below it."""
    if not dimension.ordinal:
        return "\n".join([dimension.name, *dimension.levels])
    levels = zip(dimension.values, dimension.levels, strict=True)
    return "\n".join([dimension.name, *(f"{value}: {wording}" for value, wording in levels)])


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: the document is a stranger's."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _read_key(path: Path) -> Table:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{path} cannot be read: {error}. It was written beside the sheet and must lie beside it, under this name."
        ) from None


def _read_cells(
    path: Path, dimensions: Sequence[Dimension], rows: Mapping[str, Table]
) -> dict[str, dict[str, Any]]:
    """Of each row that the person rated, by its number, what is said of each dimension; None where nothing."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}. Save the sheet as CSV in UTF-8.") from None
    first = text.lstrip('"')
    delimiter = next((mark for mark in ",;\t" if first.removeprefix("row").lstrip('"').startswith(mark)), ",")
    csv.field_size_limit(1 << 24)
    head, *lines = [*csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)] or [[]]
    names = [cell.strip().split("\n")[0].strip() for cell in head]
    if absent := [name for name in ("row", *(d.name for d in dimensions)) if name not in names]:
        raise RequestError(
            f"{path} has no column {', '.join(absent)}. Leave the first line of the sheet as it was written."
        )
    given: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, 2):
        cells = dict(itertools.zip_longest(names, line, fillvalue=""))
        if not "".join(line).strip():
            continue
        row = cells["row"].strip().removesuffix(".0")
        if row not in rows or row in given:
            again = "stands there twice" if row in given else f"is none of 1 … {len(rows)}"
            raise RequestError(
                f"{path}, line {number} of the table, column row: {cells['row']!r} {again}. Leave the numbers as they were."
            )
        given[row] = {
            d.name: _level(cells[d.name], d, f"{path}, row {row}, column {d.name}") for d in dimensions
        }
    return {row: cells for row, cells in given.items() if any(level is not None for level in cells.values())}


def _level(cell: str, dimension: Dimension, where: str) -> int | str | None:
    said = cell.strip().casefold()
    if not said:
        return None
    for value in dimension.values:
        if said == str(value).casefold() or (dimension.ordinal and said == f"{value}.0"):
            return value
    raise RequestError(
        f"{where}: {cell!r}, expected one of {', '.join(map(str, dimension.values))}, or nothing."
    )


# ---- what came of it -----------------------------------------------------------------------------------------------


def _agreement(
    ratings: Mapping[str, np.ndarray], one: str, other: str, dimension: Dimension, draws: Draws
) -> dict[str, Any]:
    """Of two of the three who rate, on the rows that the person rated and both of them have an answer for."""
    both = (ratings["person"] >= 0) & (ratings[one] >= 0) & (ratings[other] >= 0)
    a, b = ratings[one][both], ratings[other][both]
    of_rows = draws.only(both)
    names = np.arange(len(dimension.levels))
    kappa = (
        of_rows.kappa(a, b) if dimension.ordinal else of_rows.kappa(a[:, None] == names, b[:, None] == names)
    )
    return {"rows": int(both.sum()), "kappa": estimate(kappa), "same": estimate(of_rows.share(a == b))}


def _to_know(found: Table) -> list[str]:
    said = []
    for name, part in found["dimensions"].items():
        if not part["rated"]:
            said.append(f"`{name}` was not rated.")
        elif part["rated"] < 3 * FEW:
            said.append(f"`{name}`: only {part['rated']} rows are rated; their numbers say little.")
        else:
            person, learnt = part["person_labels"]["kappa"], part["labels_tagger"]["kappa"]
            if None not in (person["high"], learnt["low"]) and person["high"] < learnt["low"]:
                said.append(
                    f"`{name}`: the tagger says what the labels say (κ {learnt['value']:.2f}), a person something else "
                    f"(κ {person['value']:.2f}): better labels would help, a better tagger would not."
                )
    return said
