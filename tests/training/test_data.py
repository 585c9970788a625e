"""Batches by number, against the rows as DuckDB reads them; what is checked before and while training."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import duckdb
import fsspec
import pytest
import yaml
from small_mixture import SCHEMA, STAGES, VOCABULARY, recipe, write_dataset, write_run

from pipeline import storage
from pipeline.errors import RequestError, RunError
from training.data import MixtureReader, loss_tokens, micro_batches, read_tokenizer
from training.settings import load_settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("run"))
    write_run(path, STAGES)
    return path


@pytest.fixture(scope="module")
def rows(folder: str) -> dict[str, list[tuple[list[int], list[int]]]]:
    """Tokens and lengths of every stage, read by DuckDB: shards in name order, rows in order."""
    found: dict[str, list[tuple[list[int], list[int]]]] = {}
    for shard in sorted((Path(folder) / "mixture").glob("*.parquet")):
        query = f"SELECT tokens, lengths FROM read_parquet('{shard}')"
        found.setdefault(shard.name.split("-")[0], []).extend(duckdb.sql(query).fetchall())
    return found


def test_any_batch_is_what_lies_in_the_shards(folder: str, rows: dict) -> None:
    reader = MixtureReader(f"{folder}/mixture", VOCABULARY)
    draw = random.Random(3)
    assert {stage: reader.sequences(stage) for stage in STAGES} == {s: len(r) for s, r in rows.items()}
    for _ in range(60):  # in any order, across row groups (5 rows) and shards (12 rows)
        stage = draw.choice(list(STAGES))
        first = draw.randrange(len(rows[stage]))
        count = draw.randint(1, min(40, len(rows[stage]) - first))
        batch = reader.batch(stage, first, count)
        wanted = rows[stage][first : first + count]
        assert batch.tokens_BL.tolist() == [tokens for tokens, _ in wanted]
        assert batch.lengths == [lengths for _, lengths in wanted]
        assert batch.tokens_BL.shape == (count, STAGES[stage][0])
        assert len(reader._groups) <= 2
    with pytest.raises(IndexError):
        reader.batch("stage1", 159, 2)


def test_the_same_from_any_filesystem(folder: str, rows: dict) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/mixture", "/far/mixture", recursive=True)
    memory.put(f"{folder}/tokenizer", "/far/tokenizer", recursive=True)
    reader = MixtureReader("memory://far/mixture", VOCABULARY)
    assert reader.batch("stage3", 3, 20).tokens_BL.tolist() == [tokens for tokens, _ in rows["stage3"][3:23]]
    assert read_tokenizer("memory://far/tokenizer") == ("{}", VOCABULARY, 0)


def test_ranks_and_micro_batches_share_a_step_without_gaps() -> None:
    for sequences, ranks, size in itertools.product((1, 2, 3, 7, 8, 64), (1, 2, 3, 8), (1, 2, 5)):
        parts = [micro_batches(sequences, ranks, rank, size) for rank in range(ranks)]
        assert [i for rank in parts for part in rank for i in part] == list(range(sequences))
        assert len({len(rank) for rank in parts}) == 1  # collectives pair up
        assert all(len(part) <= size for rank in parts for part in rank)
        taken = [sum(map(len, rank)) for rank in parts]
        assert max(taken) - min(taken) <= 1


def test_predicted_tokens_are_those_the_model_counts() -> None:
    from training.model import MiMo
    from training.model_config import model_config

    torch = pytest.importorskip("torch")
    lengths = [[5, 1, 2, 9], [20], [3, 3]]
    for blocks in (0, 1, 2):
        config = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        config |= {"num_key_value_heads": 1, "head_dim": 8, "num_nextn_predict_layers": blocks}
        model = MiMo(model_config(config, vocab_size=11))
        losses = model(torch.randint(0, 11, (3, 20)), lengths, 1e4, with_losses=True)
        assert loss_tokens(lengths, blocks) == (int(losses.main_tokens), int(losses.mtp_tokens))


def small_schedule(tmp_path: Path, folder: str, *changes: str) -> object:
    return load_settings(str(recipe(tmp_path / "r.yaml", folder)), changes).schedule


def test_enough_data_for_the_schedule_or_one_message(folder: str, tmp_path: Path) -> None:
    reader = MixtureReader(f"{folder}/mixture", VOCABULARY)
    schedule = small_schedule(tmp_path, folder)
    reader.check(schedule)
    # stage 1 three times as long (its phase 1 takes 256 tokens a step at most), stage 3 in another context
    longer = small_schedule(
        tmp_path, folder, "schedule.phases.1.tokens=9000", "schedule.phases.4.context=128"
    )
    need = longer.totals["stage1"].sequences
    with pytest.raises(RequestError) as error:
        reader.check(longer)
    text = str(error.value)
    assert f"stage1: {(need - 160) * 32:,} tokens are missing" in text
    assert f"({need:,} sequences of 32 are needed, 160 are there)" in text
    assert "stage3: its sequences have 64 tokens, the schedule's context is 128" in text
    named = small_schedule(tmp_path, folder, "schedule.phases.3.stage=second")
    with pytest.raises(
        RequestError, match="second: the mixture has stage1, stage2, stage3; correct the stage's name"
    ):
        reader.check(named)
    with pytest.raises(RequestError, match="does not exist"):
        MixtureReader(f"{folder}/absent", VOCABULARY)


def row(tokens: list[int], lengths: list[int]) -> dict:
    one = {"id": "x", "stage": "stage1", "tokens": tokens, "lengths": lengths}
    return one | {"documents": [], "groups": [], "starts": []}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row([1, 2, 3], [3]), "row 7: a sequence of 3 tokens among sequences of 4"),
        (row([1, 2, 97, 3], [4]), "row 7: a token outside the vocabulary of 97"),
        (row([1, -1, 9, 3], [4]), "row 7: a token outside the vocabulary"),
        (row([1, 2, 3, 4], [3, 2]), r"row 7: segments \[3, 2\] do not fit into 4"),
        (row([1, 2, 3, 4], [0, 2]), r"row 7: segments \[0, 2\]"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, bad: dict, message: str) -> None:
    good = row([1, 2, 3, 4], [2, 2])
    write_dataset(str(tmp_path / "mixture"), SCHEMA, {"stage1-00000": [good] * 7 + [bad, good]})
    reader = MixtureReader(str(tmp_path / "mixture"), VOCABULARY)
    assert reader.batch("stage1", 0, 5).lengths == [[2, 2]] * 5  # its row group is sound
    with pytest.raises(RunError, match=f"stage1-00000.parquet, {message}"):
        reader.batch("stage1", 5, 1)


def test_a_shard_that_is_damaged_gone_or_shorter_than_said(tmp_path: Path) -> None:
    write_run(str(tmp_path), {"stage1": (32, 24)})
    shard = tmp_path / "mixture" / "stage1-00001.parquet"
    whole = shard.read_bytes()
    for damage in (whole[:-20], b"", None, (tmp_path / "tokenizer" / "00000.parquet").read_bytes()):
        shard.unlink(missing_ok=True)
        if damage is not None:
            shard.write_bytes(damage)
        reader = MixtureReader(str(tmp_path / "mixture"), VOCABULARY)
        assert reader.batch("stage1", 0, 12).tokens_BL.shape == (12, 32)
        with pytest.raises(RunError, match=r"cannot read shard .*stage1-00001"):
            reader.batch("stage1", 11, 2)


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="run the stage that writes it first"):
        read_tokenizer(str(tmp_path / "tokenizer"))
    write_run(str(tmp_path), {"stage1": (32, 1)})
    manifest = storage.read_json(str(tmp_path / "tokenizer" / "manifest.json"))
    storage.write_json(str(tmp_path / "tokenizer" / "manifest.json"), manifest | {"shards": []})
    with pytest.raises(RequestError, match="holds 0 rows instead of one tokenizer"):
        read_tokenizer(str(tmp_path / "tokenizer"))


def test_the_recipe_of_these_tests_is_read_as_written(tmp_path: Path, folder: str) -> None:
    settings = load_settings(str(recipe(tmp_path / "r.yaml", folder)))
    assert settings.schedule.phases[0].learning_rate.end == 1e-2  # "1e-2" is text to YAML
    assert settings.checkpoints.every_minutes is None
    assert yaml.safe_load((tmp_path / "r.yaml").read_text())["pretrain"] | {
        "output": f"{folder}/pretrain"
    } == dict(settings.said)
