"""From a labelled table to a model folder, its card, and the stage that applies it; and what goes wrong on the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from filters.taxonomy import ngrams
from filters.taxonomy.rubric import Dimension
from filters.taxonomy.sheet import add_to_card, key_of, read, section
from filters.taxonomy.tag import Tag, TagConfig, open_tagger
from filters.taxonomy.train import student_of, train
from pipeline.errors import RequestError

DEPTH = Dimension("depth", ("none", "some", "much"), ordinal=True, first=1)
PROOF = Dimension("proof", ("no", "yes"), ordinal=True)
DOMAIN = Dimension("domain", ("mathematics", "code", "news"), ordinal=False)
DIMENSIONS = (DEPTH, PROOF, DOMAIN)
SENTENCES = {  # by domain; the first of each belongs to proofs
    "mathematics": (
        "Suppose that $x^2 = {n}$; hence $x = \\sqrt{{{n}}}$.",
        "The set has {n} elements.",
        "Let $V$ be a space.",
    ),
    "code": (
        "Therefore `f({n})` returns because the loop ends.",
        "```\nfor i in range({n}):\n    print(i)\n```",
        "Call `open` first.",
    ),
    "news": (
        "It follows that {n} voters were counted twice.",
        "The mayor spoke on May {n}.",
        "Rain fell on the city.",
    ),
}


def labelled(rows: int = 480, hosts: int = 40, seed: int = 0) -> pa.Table:
    """Depth is how often the first sentence of a domain stands among eight; proof is whether that is often."""
    random = np.random.default_rng(seed)
    found: dict[str, list] = {name: [] for name in ("text", "label_depth", "label_proof", "label_domain")}
    for row in range(rows):
        domain, depth = DOMAIN.levels[row % 3], int(random.integers(0, 3))
        chosen = [0] * (2 * depth) + random.integers(1, 3, 8 - 2 * depth).tolist()
        sentences = [SENTENCES[domain][i].format(n=random.integers(99)) for i in random.permutation(chosen)]
        found["text"].append("\n".join(sentences))
        found["label_depth"].append(depth + 1.0)
        found["label_proof"].append(float(depth == 2))
        found["label_domain"].append(domain)
    ids = [f"d{i}" for i in range(rows)]
    columns = {
        "id": ids,
        "host": [f"h{i}" for i in random.integers(0, hosts, rows)],
        "cluster": ids,
        "kind": pa.nulls(rows, pa.string()),
        "weight": np.ones(rows),
        "again_depth": pa.nulls(rows, pa.float32()),
        "again_proof": pa.nulls(rows, pa.float32()),
        "again_domain": pa.nulls(rows, pa.string()),
    }
    numbers = {name: pa.array(found.pop(name), pa.float32()) for name in ("label_depth", "label_proof")}
    return pa.table(columns | found | numbers)


OPTIONS: dict[str, dict[str, Any]] = {
    "ngrams": {"rounds": 1},
    "fasttext": {"epoch": 25, "dim": 8, "buckets": 4096},
}


@pytest.fixture(scope="module", params=["ngrams", "fasttext"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("taggers") / request.param
    card = train(
        *(labelled(), DIMENSIONS, folder, student_of(request.param, **OPTIONS[request.param])),
        name="sentences",
        target="Which sentences it was made of.",
        resamples=50,
    )
    return folder, card


def stage(*folders: Path, **names: str) -> Tag:
    return Tag(TagConfig(taggers=[str(folder) for folder in folders], names=names))


def test_what_it_learnt_holds_on_texts_it_has_not_seen(trained: tuple[Path, dict]) -> None:
    table = labelled(rows=150, seed=1)
    predicted = open_tagger(trained[0]).predict(table["text"])
    assert {name: share.shape for name, share in predicted.items()} == {
        "depth": (150, 2),
        "proof": (150, 1),
        "domain": (150, 3),
    }
    assert all(share.dtype == np.float32 for share in predicted.values())
    depth, proof = table["label_depth"].to_numpy(), table["label_proof"].to_numpy() > 0
    expected = 1 + predicted["depth"].sum(axis=1)
    assert np.abs(expected - depth).mean() < 0.35
    assert np.corrcoef(expected, depth)[0, 1] > 0.85
    assert (np.diff(predicted["depth"], axis=1) <= 0).all()
    assert predicted["proof"][proof, 0].min() > np.median(predicted["proof"][~proof, 0])
    names = np.array(DOMAIN.levels)[predicted["domain"].argmax(axis=1)]
    assert (names == np.array(table["label_domain"].to_pylist())).mean() > 0.97
    assert predicted["domain"].sum(axis=1) == pytest.approx(np.ones(150), abs=1e-5)


def test_the_folder_says_what_it_is_and_training_is_repeatable(
    trained: tuple[Path, dict], tmp_path: Path
) -> None:
    folder, card = trained
    about = json.loads((folder / "tagger.json").read_bytes())
    assert about["kind"] == folder.name and about["name"] == "sentences" and about["rubric"] is None
    assert [Dimension.from_dict(found) for found in about["dimensions"]] == list(DIMENSIONS)
    assert 350 < about["trained_on"]["rows"] < 420 and about["trained_on"]["hosts"] < 40
    assert json.loads((folder / "card.json").read_bytes()) == json.loads(json.dumps(card))
    assert "Which sentences it was made of." in (folder / "card.md").read_text()
    again = student_of(folder.name, **OPTIONS[folder.name])
    train(labelled(), DIMENSIONS, tmp_path / "again", again, resamples=2)
    assert json.loads((tmp_path / "again" / "tagger.json").read_bytes())["files"] == about["files"]


def test_the_stage_writes_expected_levels_and_likeliest_names(trained: tuple[Path, dict]) -> None:
    folder = trained[0]
    tag = stage(folder, depth="quality")
    tag.check(None)
    tag.prepare()
    table = labelled(rows=60, seed=2)
    kept = tag.process(table.select(["id", "text"])).kept
    assert kept.schema.equals(tag.schema)
    columns = ["id", "quality", "score_proof", "score_domain", "score_domain_share"]
    assert kept.column_names == columns and kept["id"].equals(table["id"])
    predicted = open_tagger(folder).predict(table["text"])
    upper = predicted["depth"]  # the expectation level by level
    by_hand = 1 * (1 - upper[:, 0]) + 2 * (upper[:, 0] - upper[:, 1]) + 3 * upper[:, 1]
    assert kept["quality"].to_numpy() == pytest.approx(by_hand, abs=1e-5)
    assert kept["score_proof"].to_numpy() == pytest.approx(predicted["proof"][:, 0])
    for name, share, row in zip(
        kept["score_domain"], kept["score_domain_share"], predicted["domain"], strict=True
    ):
        assert row[DOMAIN.levels.index(name.as_py())] == share.as_py() == row.max()
    assert tag.process(table.select(["id", "text"]).slice(0, 0)).kept.num_rows == 0


def test_texts_without_words_get_a_score(trained: tuple[Path, dict]) -> None:
    predicted = open_tagger(trained[0]).predict(pa.chunked_array([["", " \n", None, "\0"]]))
    for share in predicted.values():
        assert np.isfinite(share).all() and (share >= 0).all() and (share <= 1).all()


def test_a_changed_file_is_refused(trained: tuple[Path, dict], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in trained[0].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    key = stage(folder).key()
    open_tagger(folder)
    name = next(iter(json.loads((folder / "tagger.json").read_bytes())["files"]))
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(RequestError, match=f"{name} is not the file that was trained"):
        open_tagger(folder)
    (folder / name).unlink()
    with pytest.raises(RequestError, match=f"{name} is missing"):
        open_tagger(folder)
    about = json.loads((folder / "tagger.json").read_bytes())
    (folder / "tagger.json").write_text(json.dumps(about | {"name": "other"}))
    assert stage(folder).key() != key
    for wrong, words in (
        ("[]", "does not describe"),
        ("{}", "dimensions"),
        (json.dumps(about | {"kind": "x"}), "'x'"),
    ):
        (folder / "tagger.json").write_text(wrong)
        with pytest.raises(RequestError, match=words):
            stage(folder).check(None)


def test_a_model_of_other_features_is_refused(
    trained: tuple[Path, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filters.taxonomy.ngrams.FEATURES", "0")
    ngrams.fingerprint.cache_clear()
    with pytest.raises(RequestError, match="trained on words as another version"):
        open_tagger(trained[0])
    monkeypatch.undo()
    ngrams.fingerprint.cache_clear()
    open_tagger(trained[0])


def test_taggers_that_do_not_go_together_are_refused(trained: tuple[Path, dict], tmp_path: Path) -> None:
    folder = trained[0]
    with pytest.raises(RequestError, match=f"two taggers say depth: {folder} and {folder}"):
        stage(folder, folder).check(None)
    with pytest.raises(RequestError, match="no tagger says width; they say depth, domain, proof"):
        stage(folder, width="quality").check(None)
    with pytest.raises(RequestError, match="two columns would be called score_proof"):
        stage(folder, depth="score_proof").check(None)
    absent = stage(folder, tmp_path / "later", quality="quality")
    with pytest.raises(RequestError, match=r"later is no tagger: it has no tagger\.json"):
        absent.check(None)
    absent.coming = frozenset([str(tmp_path / "later")])
    absent.check(None)  # what it will say is not known yet
    assert "score_depth" in absent.schema.names


def changed(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    return table.set_column(
        table.column_names.index(column), column, pa.array(values, table.schema.field(column).type)
    )


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (labelled(30).drop_columns(["host", "weight"]), "ours has no column host, weight"),
        (
            changed(labelled(30), "label_depth", 7, 4.0),
            "ours, column label_depth, id d7: 4.0 is no level of depth",
        ),
        (changed(labelled(30), "label_domain", 3, "sport"), "label_domain, id d3: 'sport' is no level"),
        (changed(labelled(30), "host", 5, None), "ours, column host, id d5: null"),
        (labelled(30, hosts=1), "nothing can be held out"),
        (labelled(2, hosts=2, seed=3), "nothing can be learnt from 2 labels"),
    ],
)
def test_tables_that_cannot_be_learnt_from_say_why(table: pa.Table, words: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=words):
        train(table, DIMENSIONS, tmp_path / "model", source="ours")
    assert not list(tmp_path.iterdir())


def test_options_and_folders_that_do_not_fit_say_why(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no kind of tagger 'forest'.*ngrams, fasttext"):
        student_of("forest")
    with pytest.raises(RequestError, match=r"option epoch of ngrams taggers.*epochs"):
        student_of(epoch=3)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").write_text("dear")
    with pytest.raises(RequestError, match="holds something else"):
        train(labelled(30), DIMENSIONS, tmp_path / "model")
    assert (tmp_path / "model" / "thesis.tex").read_text() == "dear"


def test_a_persons_ratings_come_onto_the_card(tmp_path: Path) -> None:
    table, few = labelled(), student_of(rounds=1)
    with pytest.raises(RequestError, match="which the next training replaces"):
        train(table, DIMENSIONS, tmp_path, few, sheet=tmp_path / "sheet.csv")
    sheet = tmp_path / "sheet.csv"
    card = train(table, DIMENSIONS, tmp_path / "tagger", few, resamples=5, sheet=sheet, shown_bytes=300)
    with pytest.raises(RequestError, match="is there already and may be filled in"):
        train(table, DIMENSIONS, tmp_path / "tagger", few, sheet=sheet)
    key = json.loads(key_of(sheet).read_bytes())["rows"]
    truth = {row["id"]: row for row in table.to_pylist()}
    assert 50 < len(key) == card["held_out"]["rows"] <= 200  # there are no more
    predicted = open_tagger(tmp_path / "tagger").predict(
        pa.chunked_array([[truth[row["id"]]["text"] for row in key.values()]])
    )
    said = [row["tagger"]["domain"] for row in key.values()]
    assert said == [DOMAIN.levels[place] for place in predicted["domain"].argmax(1)]

    with sheet.open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    assert max(len(row[1].encode()) for row in rows) <= 301
    for row in rows:
        document = truth[key[row[0]]["id"]]
        row[2:] = [str(document[f"label_{d.name}"]).removesuffix(".0") for d in DIMENSIONS]
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    found = read(sheet)
    for part in found["dimensions"].values():
        assert part["person_labels"]["kappa"]["value"] == 1
        assert part["person_tagger"] == part["labels_tagger"]
    page = (tmp_path / "tagger" / "card.md").read_text()
    for _ in range(2):  # twice is once
        add_to_card(found, tmp_path / "tagger")
        assert (tmp_path / "tagger" / "card.md").read_text() == page + "\n" + section(found)
    assert json.loads((tmp_path / "tagger" / "card.json").read_bytes())["person"] == found
    open_tagger(tmp_path / "tagger")  # it is the same tagger

    train(table, DIMENSIONS, tmp_path / "other", student_of(rounds=1, epochs=1), resamples=2)
    with pytest.raises(RequestError, match=r"sheet\.csv is not the sheet of the tagger in .*other"):
        add_to_card(found, tmp_path / "other")
