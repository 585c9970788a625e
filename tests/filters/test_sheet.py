"""The sheet for people: who is drawn and how likely, what a person sees, and what comes of what a person writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from filters.taxonomy.rubric import Dimension
from filters.taxonomy.sheet import inclusion, key_of, read, section, systematic, write
from pipeline.errors import RequestError

DEPTH = Dimension("depth", ("none", "some, a little", "much"), ordinal=True, first=1)
DOMAIN = Dimension("domain", ("maths", "code", "news"), ordinal=False)
BOTH = (DEPTH, DOMAIN)


def population(n: int = 3000, seed: int = 0) -> tuple[pa.Table, dict[str, np.ndarray], dict[str, list]]:
    """Labelled rows, what a tagger says of them, and the truth. The deeper the rarer; labels and tagger err one time in
    ten, each for itself; every fifth row has no domain."""
    random = np.random.default_rng(seed)
    depth = random.choice([1, 2, 3], n, p=[0.85, 0.12, 0.03])
    domain = random.choice(3, n, p=[0.1, 0.2, 0.7])

    def erring(truth: np.ndarray, low: int) -> np.ndarray:
        return np.where(random.random(n) < 0.1, random.integers(low, low + 3, n), truth)

    labels, said = (erring(depth, 1), erring(domain, 0)), (erring(depth, 1), erring(domain, 0))
    names = np.array(DOMAIN.levels)
    table = pa.table(
        {
            "id": [f"d{i}" for i in range(n)],
            "text": [f"Text {i} of its own." for i in range(n)],
            "host": [f"h{i % 500}" for i in range(n)],
            "cluster": [f"d{i}" for i in range(n)],
            "weight": np.ones(n),
            "label_depth": pa.array(labels[0] + random.uniform(-0.4, 0.4, n), pa.float32()),
            "label_domain": pa.array(names[labels[1]].tolist(), mask=np.arange(n) % 5 == 0),
        }
    )
    predicted = {
        "depth": (said[0][:, None] > np.array([1, 2])).astype(np.float32) * 0.8 + 0.1,
        "domain": np.eye(3, dtype=np.float32)[said[1]],
    }
    return table, predicted, {"depth": depth.tolist(), "domain": names[domain].tolist()}


def fill(path: Path, truth: dict[str, list], delimiter: str = ",", rated: int = 10**6) -> None:
    """As a person who knows everything would, in a spreadsheet that writes lists its own way."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    for row in rows[:rated]:
        number = int(row[1].split()[1])
        row[2:] = [str(truth[name.split("\n")[0]][number]) for name in head[2:]]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([head, *rows])


# ---- who is drawn ----


def test_inclusion_by_hand():
    # One dimension, strata of 8, 4 and 1 rows, 6 drawn: the one surely, then 2.5 of each of the others.
    stratum = np.array([0] * 8 + [3] * 4 + [5] + [-1] * 2)
    assert inclusion([stratum], 6) == pytest.approx(np.array([2.5 / 8] * 8 + [2.5 / 4] * 4 + [1] + [0] * 2))
    # Two dimensions, half of the sheet each: 1/4 of the first for each row; a third of the second for three of them.
    two = [np.array([0, 0, 1, 1]), np.array([0, 0, 0, -1])]
    assert inclusion(two, 2) == pytest.approx(np.array([1 / 4 + 1 / 3] * 3 + [1 / 4]))
    assert inclusion(two, 9).tolist() == [1, 1, 1, 1]  # no more than there are
    assert inclusion([np.array([-1, -1])], 5).tolist() == [0, 0]


def test_rows_are_drawn_as_often_as_is_said():
    random = np.random.default_rng(1)
    strata = [random.integers(0, 6, 90), np.where(random.random(90) < 0.7, random.integers(0, 2, 90), -1)]
    strata[0][0] = 7  # alone in its stratum, drawn surely
    probability = inclusion(strata, 20)
    assert probability.sum() == pytest.approx(20)
    assert np.flatnonzero(probability == 1).tolist() == [0]
    times = np.zeros(90)
    for _ in range(6000):
        drawn = systematic(probability, strata, random)
        assert len(drawn) == len(set(drawn)) == 20
        times[drawn] += 1
    deviation = np.sqrt(probability * (1 - probability) / 6000)
    assert (np.abs(times / 6000 - probability) <= 4.5 * deviation).all()


def test_the_sheet_is_even_over_levels_and_agreement(tmp_path: Path):
    table, predicted, _ = population()
    assert write(table, predicted, [DEPTH], tmp_path / "sheet.csv", 600) == 600
    key = json.loads(key_of(tmp_path / "sheet.csv").read_text())
    counts: dict[tuple[int, bool], int] = {}
    for row in key["rows"].values():
        labels, tagger = row["labels"]["depth"], row["tagger"]["depth"]
        counts[labels, labels == tagger] = counts.get((labels, labels == tagger), 0) + 1
    assert set(counts) == {(level, same) for level in (1, 2, 3) for same in (True, False)}
    sizes = dict.fromkeys(counts, 0)
    labels = np.floor(table["label_depth"].to_numpy() + 0.5).astype(int)
    tagger = 1 + (predicted["depth"] > 0.5).sum(1)
    for label, other in zip(labels.tolist(), tagger.tolist(), strict=True):
        sizes[label, label == other] += 1
    assert max(sizes.values()) > 2000 > 100 > min(sizes.values())
    small = {cell: size for cell, size in sizes.items() if counts[cell] == size}
    assert small  # the smallest stands on it as a whole
    share = (600 - sum(small.values())) / (6 - len(small))
    for cell in sizes.keys() - small.keys():
        assert abs(counts[cell] - share) <= 1  # whole numbers next to an equal share
    for row in key["rows"].values():  # what it says of each row is what was labelled and predicted
        number = int(row["id"][1:])
        assert (row["labels"]["depth"], row["tagger"]["depth"]) == (labels[number], tagger[number])


# ---- what a person sees ----


def test_a_person_sees_texts_and_empty_cells_only(tmp_path: Path):
    table, predicted, _ = population(300)
    texts = table["text"].to_pylist()
    texts[:50] = [f"=cmd|' /C calc'!A{i}\nsecond, \"line\"" for i in range(50)]
    texts[50:100] = [f"{i} " + "long " * 3000 + "end" for i in range(50, 100)]
    table = table.set_column(1, "text", pa.array(texts))
    path = tmp_path / "sheet.csv"
    assert write(table, predicted, BOTH, path, rows=10**4, window_bytes=900) == 300
    assert path.read_bytes().startswith(b"\xef\xbb\xbfrow,text,")
    options = pa.csv.ParseOptions(newlines_in_values=True)
    as_text = pa.csv.ConvertOptions(column_types={"row": pa.int64(), "text": pa.string()})
    seen = pa.csv.read_csv(path, parse_options=options, convert_options=as_text)  # another reader of CSV
    heads = ["row", "text", "depth\n1: none\n2: some, a little\n3: much", "domain\nmaths\ncode\nnews"]
    assert seen.column_names == heads
    assert seen["row"].to_pylist() == [*range(1, 301)]
    assert seen[heads[2]].null_count + seen[heads[3]].null_count == 600
    key = json.loads(key_of(path).read_text())
    ids = [key["rows"][str(number)]["id"] for number in range(1, 301)]
    assert sorted(ids) == sorted(table["id"].to_pylist()) and ids != sorted(ids)
    for id_, shown in zip(ids, seen["text"].to_pylist(), strict=True):
        number = int(id_[1:])
        if number < 50:
            assert shown == "'" + texts[number]  # no formula
        elif number < 100:
            assert len(shown.encode()) <= 900 and shown.startswith(f"{number} ") and shown.endswith(" end")
            assert shown.count("[…]") == 2
        else:
            assert shown == texts[number]
    # In the order of the rows nothing of the answers can be read: runs of equal labels are as long as by chance.
    labels = np.array([key["rows"][str(number)]["labels"]["depth"] for number in range(1, 301)])
    chance = ((np.bincount(labels) / 300) ** 2).sum()
    assert abs((labels[1:] == labels[:-1]).mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / 299)


def test_equal_seeds_give_equal_sheets_and_no_sheet_is_lost(tmp_path: Path):
    table, predicted, _ = population(400)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(table, predicted, BOTH, tmp_path / f"{name}.csv", 40, seed)
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b != c
    with pytest.raises(RequestError, match=r"a\.csv is there already and may be filled in"):
        write(table, predicted, BOTH, tmp_path / "a.csv")
    (tmp_path / "a.csv").unlink()
    with pytest.raises(RequestError, match=r"a\.key\.json is there already"):
        write(table, predicted, BOTH, tmp_path / "a.csv")
    with pytest.raises(RequestError, match="there is no folder"):
        write(table, predicted, BOTH, tmp_path / "none" / "a.csv")
    unlabelled = table.set_column(5, "label_depth", pa.nulls(400, pa.float32()))
    with pytest.raises(RequestError, match="nothing to rate"):
        write(unlabelled, predicted, [DEPTH], tmp_path / "d.csv")


# ---- what comes of it ----


def kappa(a: list, b: list, weights: list[float], values: tuple, power: int) -> float:
    """From the table of both ratings (Cohen 1968), a second way: |i − j|^power, and 0 ** 0 is agreement."""
    table = np.zeros((len(values), len(values)))
    for one, other, weight in zip(a, b, weights, strict=True):
        table[values.index(one), values.index(other)] += weight
    table /= table.sum()
    distance = np.abs(np.subtract.outer(np.arange(len(values)), np.arange(len(values)))).astype(float)
    distance = distance**2 if power else (distance > 0).astype(float)
    return 1 - (distance * table).sum() / (distance * np.outer(table.sum(1), table.sum(0))).sum()


def test_kappas_are_those_of_the_weighted_table(tmp_path: Path):
    table, predicted, truth = population(1000)
    path = tmp_path / "sheet.csv"
    write(table, predicted, BOTH, path, 150)
    fill(path, truth)
    found = read(path)
    assert (found["rows"], found["drawn_from"]) == (150, 1000)
    rows = json.loads(key_of(path).read_text())["rows"].values()
    for dimension in BOTH:
        name = dimension.name
        for who in ("labels", "tagger"):
            known = [row for row in rows if row[who][name] is not None]
            person = [truth[name][int(row["id"][1:])] for row in known]
            other, weights = [row[who][name] for row in known], [1 / row["probability"] for row in known]
            part = found["dimensions"][name][f"person_{who}"]
            expected = kappa(person, other, weights, dimension.values, 2 if dimension.ordinal else 0)
            assert part["kappa"]["value"] == pytest.approx(expected, abs=1e-4)
            assert part["kappa"]["low"] < expected < part["kappa"]["high"]
            same = np.average(np.equal(person, other), weights=weights)
            assert part["same"]["value"] == pytest.approx(same, abs=1e-4)
            assert part["rows"] == len(known)
    assert (
        found["dimensions"]["domain"]["person_labels"]["rows"] < found["dimensions"]["domain"]["rated"] == 150
    )
    page = section(found)
    assert "A person rated 150 of 150 rows, drawn from 1,000" in page
    assert f"| depth | 150 | {found['dimensions']['depth']['person_labels']['kappa']['value']:.3f} [" in page


def test_a_few_rows_speak_of_all(tmp_path: Path):
    """Rows where labels and tagger differ are far too many on a sheet. Weighted, the mean over sheets is the κ of all
    3,000 rows; unweighted it is far from it."""
    table, predicted, truth = population()
    labels = np.floor(table["label_depth"].to_numpy() + 0.5).astype(int).tolist()
    of_all = kappa(truth["depth"], labels, [1.0] * 3000, DEPTH.values, 2)
    weighted, plain = [], []
    for seed in range(40):
        path = tmp_path / f"{seed}.csv"
        write(table, predicted, [DEPTH], path, 200, seed)
        fill(path, truth)
        weighted.append(read(path, resamples=1)["dimensions"]["depth"]["person_labels"]["kappa"]["value"])
        rows = list(json.loads(key_of(path).read_text())["rows"].values())
        person = [truth["depth"][int(row["id"][1:])] for row in rows]
        plain.append(kappa(person, [row["labels"]["depth"] for row in rows], [1.0] * 200, DEPTH.values, 2))
    error = np.std(weighted) / np.sqrt(40)
    assert error < 0.03
    assert abs(np.mean(weighted) - of_all) < 3 * error + 0.01  # a ratio of estimates: all but free of bias
    assert abs(np.mean(plain) - of_all) > 0.1


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_half_filled_sheet_of_any_spreadsheet(tmp_path: Path, delimiter: str):
    table, predicted, truth = population(500)
    path = tmp_path / "sheet.csv"
    write(table, predicted, BOTH, path, 60)
    fill(path, truth, delimiter, rated=25)
    text = path.read_text(encoding="utf-8-sig")
    path.write_text(
        text.replace("news", " NEWS ").replace(f"{delimiter}2{delimiter}", f"{delimiter}2.0{delimiter}")
    )
    found = read(path)
    assert [part["rated"] for part in found["dimensions"].values()] == [25, 25]
    assert "`depth`: only 25 rows are rated; their numbers say little." in section(found)


def test_a_dimension_that_is_not_rated_is_said_to_be(tmp_path: Path):
    table, predicted, truth = population(500)
    path = tmp_path / "sheet.csv"
    write(table, predicted, BOTH, path, 60)
    fill(path, truth | {"domain": [""] * 500})
    found = read(path)
    assert found["dimensions"]["domain"]["person_labels"]["kappa"]["value"] is None
    assert "`domain` was not rated." in section(found) and "| domain |" not in section(found)


def test_labels_that_no_person_would_give_are_told(tmp_path: Path):
    """The tagger has learnt the labels by heart; a person says something else altogether."""
    table = population(500)[0]
    labels = np.floor(table["label_depth"].to_numpy() + 0.5)
    same = {"depth": (labels[:, None] > np.array([1, 2])).astype(np.float32)}
    path = tmp_path / "sheet.csv"
    write(table, same, [DEPTH], path, 100)
    fill(path, {"depth": np.random.default_rng(0).integers(1, 4, 500).tolist()})
    page = section(read(path))
    assert "`depth`: the tagger says what the labels say (κ 1.00), a person something else (κ " in page


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (",2,", ",4,", r"sheet\.csv, row \d+, column depth: '4', expected one of 1, 2, 3, or nothing"),
        (
            ",news\r\n",
            ",sport\r\n",
            r"row \d+, column domain: 'sport', expected one of maths, code, news, or",
        ),
        ("row,text", "number,text", "has no column row"),
        ('"domain\nmaths', '"field\nmaths', "has no column domain"),
        ("\r\n7,", "\r\n61,", r"line 8 of the table, column row: '61' is none of 1 … 60"),
        ("\r\n7,", "\r\n8,", r"line 9 of the table, column row: '8' stands there twice"),
    ],
)
def test_cells_that_do_not_fit_are_named(tmp_path: Path, before: str, after: str, told: str):
    table, predicted, truth = population(500)
    path = tmp_path / "sheet.csv"
    write(table, predicted, BOTH, path, 60)
    fill(path, truth)
    data = path.read_bytes().decode()
    path.write_bytes(data.replace(before, after, 1).encode())
    assert before in data
    with pytest.raises(RequestError, match=told):
        read(path)


def test_sheets_without_ratings_or_key(tmp_path: Path):
    table, predicted, _ = population(500)
    path = tmp_path / "sheet.csv"
    write(table, predicted, BOTH, path, 60)
    with pytest.raises(RequestError, match="no cell is filled in"):
        read(path)
    path.write_text("row,text,depth,domain\n")
    with pytest.raises(RequestError, match="no cell is filled in"):
        read(path)
    path.write_text("")
    with pytest.raises(RequestError, match="has no column row, depth, domain"):
        read(path)
    path.write_bytes("row,text,depth,domain\n1,naïve,2,maths".encode("cp1252"))
    with pytest.raises(RequestError, match=r"sheet\.csv cannot be read.*Save the sheet as CSV in UTF-8"):
        read(path)
    key_of(path).unlink()
    with pytest.raises(RequestError, match=r"sheet\.key\.json cannot be read.*must lie beside it"):
        read(path)
    with pytest.raises(RequestError, match=r"other\.csv: there is no such sheet.*train-tagger --sheet"):
        read(tmp_path / "other.csv")
