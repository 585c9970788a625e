"""Fine-tuning: only answers have a loss, epochs in different orders, killed and continued, on one rank and on two."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
import yaml
from accelerate.state import AcceleratorState
from small_mixture import END_OF_TEXT, SCHEMA, VOCABULARY, write_dataset, write_run

from pipeline.errors import RunError
from training import checkpoint, export, sft
from training.data import MixtureReader, loss_tokens
from training.model import MiMo
from training.model_config import model_config
from training.settings import load_sft_settings

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
CONTEXT = 32
EPOCHS = 20
PACKED = SCHEMA.insert(3, pa.field("trained", pa.list_(pa.bool_()), nullable=False))
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "num_nextn_predict_layers": 2,
}
NAMES = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"t{n}" for n in range(3, VOCABULARY))]
TOKENIZER = {
    "model": {"type": "BPE", "vocab": {name: n for n, name in enumerate(NAMES)}, "merges": []},
    "added_tokens": [{"id": n, "content": name, "special": True} for n, name in enumerate(NAMES[:3])],
}


def packed(number: int) -> dict[str, Any]:
    """Row `number`: conversations of random tokens, so that only what is trained can be known afterwards."""
    random = np.random.default_rng(number)
    tokens: list[int] = []
    trained: list[bool] = []
    lengths: list[int] = []
    while CONTEXT - len(tokens) >= 9:
        query, answer = random.integers(2, 6, 2)
        tokens += [*random.integers(3, VOCABULARY, query + answer).tolist(), 2, END_OF_TEXT]
        trained += [False] * query + [True] * (answer + 1) + [False]
        lengths.append(int(query + answer + 2))
    room = CONTEXT - len(tokens)
    return {
        "id": f"sft-00000:{number}",
        "stage": "sft",
        "tokens": tokens + [END_OF_TEXT] * room,
        "trained": trained + [False] * room,
        "lengths": lengths,
        "documents": ["d"] * len(lengths),
        "groups": ["g"] * len(lengths),
        "starts": [0] * len(lengths),
    }


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with 11 packed sequences in two shards, a model folder and a recipe."""
    folder = tmp_path_factory.mktemp("run")
    text = json.dumps(TOKENIZER)
    write_run(str(folder), {}, tokenizer_json=text)
    rows = [packed(number) for number in range(11)]
    write_dataset(str(folder / "sft_mixture"), PACKED, {"sft-00000": rows[:7], "sft-00001": rows[7:]})
    torch.manual_seed(5)
    model = MiMo(model_config(SIZES, VOCABULARY))
    export.export(model, text, folder / "model", dtype="float32", context=CONTEXT, rope_theta=5000.0)
    section = {"epochs": EPOCHS, "sequences": 4, "learning_rate": "2e-2", "micro_batch_tokens": 96}
    section |= {"checkpoints": {"every_tokens": 3_000, "every_minutes": None, "keep": 2}}
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"output": str(folder), "sft": section}), encoding="utf-8")
    return recipe


def in_this_process(config: Path, output: Path, *changes: str) -> int:
    sets = [part for change in changes for part in ("--set", change)]
    AcceleratorState._reset_state(reset_partial_state=True)  # it is one for the whole process, and remembers
    return sft.main(["--config", str(config), "--output", str(output), *sets])


@pytest.fixture(scope="module")
def undisturbed(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "sft"
    assert in_this_process(config, output) == 0
    return output


def rows(output: Path) -> list[dict[str, Any]]:
    clock = ("seconds", "tokens_per_second")
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: v for name, v in json.loads(line).items() if name not in clock} for line in lines]


def by_token(model: MiMo, row: dict[str, Any], rope_base: float, ahead: int) -> Iterator[tuple[float, bool]]:
    """Of each token `ahead` of a place in its conversation: its cross-entropy, and whether it is trained."""
    tokens, start = torch.tensor(row["tokens"]), 0
    for length in row["lengths"]:
        part = tokens[start : start + length]
        hidden = model(part[None], rope_theta=rope_base)
        states = hidden.main_BLD if ahead == 1 else hidden.mtp[ahead - 2]
        for place in range(length - ahead):
            logits = (states[0, place] @ model.lm_head.weight.T).float()
            loss = F.cross_entropy(logits[None], part[place + ahead][None])
            yield float(loss), row["trained"][start + place + ahead]
        start += length


def test_the_loss_is_that_of_the_trained_tokens_alone() -> None:
    torch.manual_seed(2)
    model = MiMo(model_config(SIZES, VOCABULARY)).eval()
    batch = [packed(number) for number in (3, 4, 5)]
    random = np.random.default_rng(0)
    for row in batch[
        1:
    ]:  # any mask will do, padding and first tokens included: they have no loss in any case
        row["trained"] = random.integers(0, 2, CONTEXT).astype(bool).tolist()
    tokens_BL, trained_BL = (torch.tensor([row[name] for row in batch]) for name in ("tokens", "trained"))
    lengths = [row["lengths"] for row in batch]
    with torch.no_grad():
        losses = model(tokens_BL, lengths, 700.0, with_losses=True, trained_BL=trained_BL)
        wanted = {
            ahead: [loss for row in batch for loss, trained in by_token(model, row, 700.0, ahead) if trained]
            for ahead in (1, 2, 3)
        }
    assert losses.main_sum.item() == pytest.approx(sum(wanted[1]), rel=1e-5)
    assert losses.mtp_sum.item() == pytest.approx(sum(wanted[2] + wanted[3]), rel=1e-5)
    counts = len(wanted[1]), len(wanted[2]) + len(wanted[3])
    assert (losses.main_tokens.item(), losses.mtp_tokens.item()) == counts
    assert loss_tokens(lengths, 2, trained_BL) == counts
    everything = torch.ones_like(trained_BL)
    with torch.no_grad():
        all_trained = model(tokens_BL, lengths, 700.0, with_losses=True, trained_BL=everything)
        assert all_trained == model(tokens_BL, lengths, 700.0, with_losses=True)
    assert loss_tokens(lengths, 2, everything) == loss_tokens(lengths, 2)


def test_no_gradient_comes_from_a_query() -> None:
    """Another label of a query's last place changes nothing if the query is not trained."""
    torch.manual_seed(2)
    model = MiMo(model_config(SIZES, VOCABULARY))
    tokens_BL = torch.tensor([[5, 6, 7, 8, 9, 10]])
    trained_BL = torch.tensor([[False, False, False, True, True, True]])
    other = tokens_BL.clone()
    other[0, 5] = 11  # a trained label
    gradients = []
    for tokens, mask in (
        (tokens_BL, trained_BL),
        (other, trained_BL),
        (tokens_BL, torch.zeros_like(trained_BL)),
    ):
        model.zero_grad()
        losses = model(tokens, [[6]], with_losses=True, trained_BL=mask)
        (losses.main_sum + losses.mtp_sum).backward()
        gradients.append(model.lm_head.weight.grad.clone())
    assert not torch.equal(gradients[0], gradients[1])
    assert not gradients[2].any()


def test_every_epoch_reads_each_sequence_once_in_its_own_order(config: Path) -> None:
    reader = MixtureReader(str(config.parent / "sft_mixture"), VOCABULARY, shuffle=1)
    known = {tuple(packed(number)["tokens"]): number for number in range(11)}

    def read(reader: MixtureReader, first: int, count: int) -> list[int]:
        batch = reader.batch("sft", first, count)
        found = [known[tuple(row)] for row in batch.tokens_BL.tolist()]
        assert batch.trained_BL is not None
        assert batch.trained_BL.tolist() == [packed(number)["trained"] for number in found]
        assert batch.lengths == [packed(number)["lengths"] for number in found]
        return found

    epochs = [read(reader, 11 * epoch, 11) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    again = MixtureReader(str(config.parent / "sft_mixture"), VOCABULARY, shuffle=1)
    pieces = [read(again, first, count) for first, count in ((40, 4), (0, 9), (9, 5), (14, 26))]
    assert [*pieces[1], *pieces[2], *pieces[3], *pieces[0]] == [*itertools.chain(*epochs)]
    other = MixtureReader(str(config.parent / "sft_mixture"), VOCABULARY, shuffle=2)
    assert read(other, 0, 44) != [*itertools.chain(*epochs)]
    in_order = MixtureReader(str(config.parent / "sft_mixture"), VOCABULARY)
    assert read(in_order, 0, 11) == list(range(11))
    with pytest.raises(IndexError):
        in_order.batch("sft", 10, 2)


def test_answers_are_learnt_and_queries_are_not(config: Path, undisturbed: Path) -> None:
    found = rows(undisturbed)
    assert len(found) == -(-EPOCHS * 11 // 4)  # the last step is filled up
    assert {(row["learning_rate"], row["mtp_weight"], row["context"], row["rope_base"]) for row in found} == {
        (2e-2, 0.1, CONTEXT, 5000.0)
    }
    before, after = export.load(config.parent / "model"), export.load(undisturbed / "model").float()
    for name, model in (("before", before), ("after", after)):
        losses: dict[bool, list[float]] = {True: [], False: []}
        with torch.no_grad():
            for number in range(11):
                for loss, trained in by_token(model, packed(number), 5000.0, 1):
                    losses[trained].append(loss)
        answers, queries = (sum(losses[trained]) / len(losses[trained]) for trained in (True, False))
        if name == "before":
            assert answers == pytest.approx(np.log(VOCABULARY), rel=0.05)
        else:
            assert answers < 0.2 and queries > np.log(VOCABULARY)
    said = json.loads((undisturbed / "model" / "config.json").read_text())
    assert (said["rope_theta"], said["max_position_embeddings"], said["num_nextn_predict_layers"]) == (
        5000.0,
        32,
        2,
    )
    assert json.loads((undisturbed / "model" / "tokenizer.json").read_text()) == TOKENIZER


def test_the_first_step_is_worked_out_by_hand(config: Path, undisturbed: Path) -> None:
    """Four sequences in two micro-batches: the mean over the step's trained tokens, whatever the sequences' sizes."""
    reader = MixtureReader(str(config.parent / "sft_mixture"), VOCABULARY, shuffle=1)
    batch = reader.batch("sft", 0, 4)
    assert batch.trained_BL is not None
    columns = (batch.tokens_BL.tolist(), batch.lengths, batch.trained_BL.tolist())
    step = [
        dict(zip(("tokens", "lengths", "trained"), row, strict=True)) for row in zip(*columns, strict=True)
    ]
    model = export.load(config.parent / "model")
    means = []
    with torch.no_grad():
        for aheads in ((1,), (2, 3)):
            found = [one for row in step for ahead in aheads for one in by_token(model, row, 5000.0, ahead)]
            means.append(np.mean([loss for loss, trained in found if trained]))
    first = rows(undisturbed)[0]
    assert (first["loss"], first["mtp_loss"]) == pytest.approx(tuple(means), rel=1e-5)


def test_killed_and_continued_it_is_bit_equal(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "sft"
    command = [sys.executable, "-m", "training.sft", "--config", str(config), "--output", str(output)]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (
        not (output / "metrics.jsonl").exists()
        or len((output / "metrics.jsonl").read_bytes().split(b"\n")) < 30
    ):
        time.sleep(0.001)
    process.kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, errors
    began = checkpoint.about(checkpoint.found(output / "checkpoints")[-1])["step"]
    assert 0 < began < len(rows(undisturbed)) and not (output / "model").exists()
    assert in_this_process(config, output) == 0
    assert rows(output) == rows(undisturbed)
    ours, theirs = (export.load(folder / "model").state_dict() for folder in (output, undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_ranks_are_one(config: Path, undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "sft"
    command = [sys.executable, "-m", "training.sft", "--config", str(config), "--output", str(output)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [*command, "--set", "epochs=1"],
            cwd=ROOT,
            env=ENVIRONMENT | where | {"RANK": rank, "LOCAL_RANK": rank},  # as torchrun sets them
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    for two, one in zip(rows(output), rows(undisturbed)[:3], strict=True):
        assert two.pop("stage") == one.pop("stage") == "sft"
        assert two == pytest.approx(one, rel=1e-4)
    assert (output / "model" / "config.json").exists()


def test_another_start_is_another_run(
    config: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(TOKENIZER)
    torch.manual_seed(6)
    other = MiMo(model_config(SIZES, VOCABULARY))
    export.export(other, text, tmp_path / "other", dtype="float32", context=CONTEXT, rope_theta=5000.0)
    assert in_this_process(config, undisturbed, f"model={tmp_path}/other") == 2
    assert "starts_from: " in capsys.readouterr().err
    (tmp_path / "moved").symlink_to(config.parent / "model")  # the same weights elsewhere
    assert in_this_process(config, undisturbed, f"model={tmp_path}/moved") == 0


def test_what_cannot_be_trained_is_said_before_anything_is_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = dict(TOKENIZER, added_tokens=TOKENIZER["added_tokens"][:2])
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(wrong))
    empty = tmp_path / "empty"
    write_run(str(empty), {}, tokenizer_json=json.dumps(TOKENIZER))
    write_dataset(str(empty / "sft_mixture"), PACKED, {})
    for change, message in [
        (f"model={tmp_path}/absent", "cannot read config.json"),
        (f"model={folder}", "has another tokenizer than the run's data"),
        (f"data={tmp_path}/absent", "run the stage that writes it first"),
        (f"data={empty}", "holds no sequences"),
        ("context=64", "sft.context = 64: the sequences are packed to 32 tokens"),
        ("warm_up=1M", "the whole run has 7,040 tokens"),
        ("epochs=0", "sft.epochs = 0: write a whole number, 1 or more"),
        ("epoch=3", "sft.epoch: unknown field; did you mean epochs?"),
    ]:
        changes = [change] if change.startswith("model") else [change, f"model={config.parent}/model"]
        assert in_this_process(config, tmp_path / "sft", *changes) == 2, change
        assert message in capsys.readouterr().err
        assert not (tmp_path / "sft").exists()


def test_a_warm_up_rises_to_the_constant_rate(config: Path) -> None:
    said = load_sft_settings(str(config), ["warm_up=1280", "sequences=2"])
    schedule = said.settings(11, CONTEXT, 5000.0, "").schedule
    rates = [rates.learning_rate for _, rates in schedule.steps()]
    assert rates[:20] == pytest.approx([2e-2 * step / 20 for step in range(20)])
    assert set(rates[20:]) == {2e-2} and len(rates) == EPOCHS * 11 // 2


def test_a_damaged_mask_is_named(config: Path, tmp_path: Path) -> None:
    broken = [packed(number) for number in range(3)]
    broken[1]["trained"] = broken[1]["trained"][:-1]
    write_dataset(str(tmp_path / "sft_mixture"), PACKED, {"sft-00000": broken})
    with pytest.raises(
        RunError, match=r"sft-00000\.parquet, row 1: `trained` does not say of each of 32 tokens"
    ):
        MixtureReader(str(tmp_path / "sft_mixture"), VOCABULARY).batch("sft", 0, 1)
