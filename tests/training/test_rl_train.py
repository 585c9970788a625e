"""RL as a user starts it, on additions: followed, repeated by a plain loop, killed, stopped, on two ranks, refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
import yaml

from benchmarks import rl_learns
from pipeline.errors import RequestError, RunError
from training import checkpoint
from training.export import load
from training.rl.__main__ import main
from training.rl.record import iteration_path
from training.rl.settings import RLSettings, load_settings, parse_settings
from training.rl.train import train
from training.rl.trajectory import Trajectory

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
ITERATIONS, GROUPS, SIZE = 4, 6, 6
# spec of a row; a few more are there
FIELDS = [
    "iteration",
    "version",
    "updates",
    "seconds",
    "rollout_seconds",
    "train_seconds",
    "reward",
    "pass_rate",
    "reward_trained",
    "pass_rate_trained",
    "length",
    "length_max",
    "truncated",
    "undecided",
    "groups_started",
    "groups_trained",
    "groups_filtered",
    "groups_aborted",
    "tokens_generated",
    "tokens_trained",
    "waste",
    "idle",
    "easy_pool",
    "easy_drawn",
    "easy_returned",
    "loss",
    "clipped_low",
    "clipped_high",
    "clipped_dual",
    "gradient_norm",
    "learning_rate",
    "mismatch_mean",
    "mismatch_max",
    "mismatch_k3",
    "mismatch_outside",
    "mismatch_ess",
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder: a model that has seen some additions, problems, and a recipe."""
    folder = tmp_path_factory.mktemp("run")
    known = rl_learns.additions(200, 2, seed=1)
    model = rl_learns.make_model(hidden=32)
    rl_learns.supervise(model, known, steps=40, batch=64, rate=5e-3)
    rl_learns.write_model(model, folder / "sft" / "model")
    rl_learns.write_problems(folder / "rl_problems", known[:60])
    section = {
        "iterations": ITERATIONS,
        "groups": GROUPS,
        "group_size": SIZE,
        "updates": 2,
        "learning_rate": 1e-3,
        "reward": "soft",
        "max_tokens": 8,
        "slots": 16,
        "micro_batch_tokens": 256,
        "checkpoints": {"every_minutes": None, "keep": 2},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"output": str(folder), "rl": section}))
    return folder


def settings(run: Path, output: Path | None = None, *changes: str) -> RLSettings:
    return load_settings(str(run / "recipe.yaml"), "rl", changes, str(output) if output else None)


@pytest.fixture(scope="module")
def finished(run: Path) -> Path:
    """Undisturbed, through the command."""
    assert main(["--config", str(run / "recipe.yaml")]) == 0
    return run / "rl"


def rows(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def ask(query: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(query).fetchall()


def records(output: Path, what: str, *more: str) -> list[tuple[Any, ...]]:
    return ask(f"SELECT {what} FROM '{output}/rollouts/*.parquet' {' '.join(more)}")


def differs(a: Path, b: Path) -> float:
    """Greatest difference between the weights of two model folders."""
    left, right = load(a).state_dict(), load(b).state_dict()
    assert left.keys() == right.keys()
    return max((left[name] - right[name]).abs().max().item() for name in left)


def test_a_run_writes_what_it_did(run: Path, finished: Path) -> None:
    found = rows(finished)
    assert [row["iteration"] for row in found] == list(range(ITERATIONS))
    for number, row in enumerate(found):
        assert set(FIELDS) <= set(row)
        assert row["version"] == number and row["updates"] == 2 and row["groups_trained"] == GROUPS
        fates = ("groups_trained", "groups_filtered", "groups_aborted", "groups_surplus")
        assert row["groups_started"] == sum(row[fate] for fate in fates)
        assert row["mismatch_max"] < 1e-4 and row["mismatch_outside"] == 0 and row["mismatch_ess"] > 0.9999
        # Counted a second time, from the record.
        (counted,) = ask(
            f"""SELECT count(DISTINCT "group"), sum(len(tokens)),
                avg(reward) FILTER (fate != 'aborted'), avg(passed::INT) FILTER (fate != 'aborted'),
                avg(reward) FILTER (fate = 'trained'),
                avg(len(tokens)) FILTER (fate != 'aborted'),
                sum(len(tokens)) FILTER (advantage IS NOT NULL),
                count(DISTINCT "group") FILTER (fate LIKE 'filtered%')
                FROM '{iteration_path(finished, number)}'"""
        )
        names = ("groups_started", "tokens_generated", "reward", "pass_rate", "reward_trained", "length")
        assert counted == pytest.approx([row[name] for name in (*names, "tokens_trained", "groups_filtered")])
        assert row["waste"] <= 1 and 0 <= row["idle"] < 1

    # Every answer has what it needs, and its reward is what its digits say.
    for reward, passes, passed, tokens, logprobs, started, done, rewarded, text in records(
        finished,
        "reward, passes, passed, len(tokens), len(logprobs), started, finished, rewarded, text",
        "WHERE fate != 'aborted'",
    ):
        assert tokens == logprobs > 0 and started <= done <= rewarded
        right = sum(passes) - (all(passes) and not passed)
        assert reward == pytest.approx(right / len(passes))
        assert passed == (reward == 1) and isinstance(text, str)
    # Advantages of a group: those of numpy.
    for rewards, advantages in records(
        finished, "list(reward), list(advantage)", "WHERE fate = 'trained' GROUP BY iteration, \"group\""
    ):
        values = np.array(rewards)
        np.testing.assert_allclose(advantages, (values - values.mean()) / values.std(), atol=1e-9)
        assert len(rewards) == SIZE

    assert not list((finished / "rollouts").glob(".*")) and not (finished / ".weights").exists()
    assert json.loads((finished / "run.json").read_text())["iterations"] == ITERATIONS
    assert yaml.safe_load((finished / "config.yaml").read_text())["reward"] == "soft"
    before, after = load(run / "sft" / "model").state_dict(), load(finished / "model").state_dict()
    for name, tensor in after.items():  # MTP blocks are frozen
        assert torch.equal(tensor, before[name]) == (".mtp_layers." in name), name


def test_its_updates_are_those_of_a_plain_loop(run: Path, finished: Path) -> None:
    """A second trainer: one answer at a time, softmax over everything, the objective token by token."""
    model = load(run / "sft" / "model")
    named = {name: p for name, p in model.named_parameters() if ".mtp_layers." not in name}
    plain = [p for name, p in named.items() if p.ndim < 2 or "embed" in name]
    matrices = [p for name, p in named.items() if p.ndim > 1 and "embed" not in name]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)

    def logprobs(prompt: list[int], tokens: list[int]) -> torch.Tensor:
        hidden = model(torch.tensor([prompt + tokens])).main_BLD[0, len(prompt) - 1 : -1]
        return model.lm_head(hidden).log_softmax(-1)[range(len(tokens)), tokens]

    for number, row in enumerate(rows(finished)):
        answers = ask(
            f"""SELECT "group", prompt_tokens, tokens, logprobs, advantage FROM '{iteration_path(finished, number)}'
                WHERE fate = 'trained' ORDER BY "group", member"""
        )
        order = list(dict.fromkeys(answer[0] for answer in answers))
        total = sum(len(answer[2]) for answer in answers)
        with torch.no_grad():
            proximal = [logprobs(answer[1], answer[2]) for answer in answers]
        losses = []
        for update in (order[: GROUPS // 2], order[GROUPS // 2 :]):
            loss = torch.tensor(0.0)
            for (group, prompt, tokens, engine, gain), old in zip(answers, proximal, strict=True):
                if group in update:
                    ratio = (logprobs(prompt, tokens) - old).exp()
                    importance = (old - torch.tensor(engine)).exp().clamp(max=2.0)
                    better = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.28) * gain)
                    loss = loss - (importance * better).sum() * 2 / total
            loss.backward()
            torch.nn.utils.clip_grad_norm_(list(named.values()), 1.0)
            adamw.step()
            adamw.zero_grad()
            losses.append(loss.item())
        assert row["loss"] == pytest.approx(sum(losses) / 2, abs=2e-5)
    learnt = load(finished / "model").state_dict()
    for name, parameter in named.items():
        torch.testing.assert_close(learnt[name], parameter.detach(), atol=2e-4, rtol=1e-3)


def start(run: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training.rl", "--config", str(run / "recipe.yaml")]
    command += ["--output", str(output), *options]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_killed_twice_and_stopped_once_it_loses_only_what_was_in_flight(
    run: Path, finished: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rl"
    page = output / "rollouts" / ".iteration-00001.page"

    def lines() -> list[bytes]:
        return page.read_bytes().split(b"\n")[:-1] if page.exists() else []

    # kill -9 in the middle of the rollouts of iteration 1
    process = start(run, output)
    wait_until(process, lambda: len(lines()) >= 8)
    process.kill()
    process.communicate()
    kept = [json.loads(line) for line in lines()]
    assert 8 <= len(kept) < GROUPS * SIZE * 10
    page.write_bytes(page.read_bytes() + b'{"group": 99, "mem')  # a torn line, as a lost machine leaves it

    # again: iteration 0 is trained on from its record; kill -9 when iteration 2 is recorded, in its updates
    process = start(run, output)
    wait_until(process, iteration_path(output, 2).exists)
    process.kill()
    process.communicate()
    recorded = {path.name: path.read_bytes() for path in sorted((output / "rollouts").glob("*.parquet"))}
    assert list(recorded)[:3] == [f"iteration-{number:05d}.parquet" for number in range(3)]
    answers = {
        (group, member): (tokens, reward)
        for group, member, tokens, reward in records(output, '"group", member, tokens, reward')
    }
    for one in kept:  # what was judged before the first kill is in the record as it was
        assert answers[one["group"], one["member"]] == (one["tokens"], one["reward"])

    # SIGTERM in the rollouts of a later iteration, then to the end
    page = output / "rollouts" / ".iteration-00004.page"

    def stop() -> None:
        while not page.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert train(settings(run, output, "iterations=8")) == 143
    assert 4 <= checkpoint.about(checkpoint.found(output / "checkpoints")[-1])["step"] < 8
    assert train(settings(run, output, "iterations=8")) == 0

    for name, data in recorded.items():
        assert (output / "rollouts" / name).read_bytes() == data  # written once
    assert [row["iteration"] for row in rows(output)] == list(range(8))
    assert (
        sum(row["groups_started"] for row in rows(output)) == records(output, 'count(DISTINCT "group")')[0][0]
    )
    doubled = records(output, '"group", member, count(*) AS n', "GROUP BY ALL HAVING n > 1")
    assert doubled == []
    assert not list((output / "rollouts").glob(".*"))
    # Which groups are trained on follows from their content alone, and an answer from its own seed.
    trained = '"group", member, tokens', "WHERE fate = 'trained' AND iteration = 0 ORDER BY ALL"
    same = [a == b for a, b in zip(records(output, *trained), records(finished, *trained), strict=True)]
    assert np.mean(same) > 0.9  # a draw may fall otherwise where sums in another batch are rounded otherwise


def test_two_ranks_learn_the_same_from_the_same_records(run: Path, finished: Path, tmp_path: Path) -> None:
    """From the beginning, in smaller micro-batches; then an iteration of their own."""
    output = tmp_path / "rl"
    shutil.copytree(finished, output)
    for name in ("checkpoints", "model"):
        shutil.rmtree(output / name)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=127.0.0.1:0", "-m", "training.rl", "--config", str(run / "recipe.yaml")]
    command += [
        "--output",
        str(output),
        "--set",
        "micro_batch_tokens=60",
        "--set",
        f"iterations={ITERATIONS + 1}",
    ]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *replayed, own = rows(output)
    for one, two in zip(rows(finished), replayed, strict=True):
        for name in ("loss", "gradient_norm", "tokens_trained", "mismatch_mean", "clipped_high", "reward"):
            assert two[name] == pytest.approx(one[name], rel=2e-3, abs=2e-5), name
    assert own["groups_trained"] == GROUPS and own["mismatch_max"] < 1e-4  # the engine had the ranks' weights
    assert json.loads((output / "run.json").read_text())["machine"]["processes"] == 2


def test_nothing_to_learn_ends_with_a_sentence(run: Path, tmp_path: Path, capfd: Any) -> None:
    """An untrained model is never right: by accuracy no group carries a gradient."""
    rl_learns.write_model(rl_learns.make_model(hidden=32), tmp_path / "base")
    changes = (
        f"model={tmp_path}/base",
        "reward=accuracy",
        "filter=pass_rate",
        "most_groups=1",
        "max_tokens=4",
    )
    output = tmp_path / "rl"
    assert train(settings(run, output, *changes, "iterations=9")) == 0
    found = rows(output)
    assert [row["updates"] for row in found] == [0, 0, 0] and {row["version"] for row in found} == {0}
    assert all(row["filtered_unsolved"] == row["groups_started"] == GROUPS for row in found)
    assert differs(tmp_path / "base", output / "model") == 0
    said = capfd.readouterr().err
    assert "iteration 0: none of 6 groups carries a gradient (0 solved, 6 unsolved" in said
    assert "3 iterations in a row" in said and "too hard" in said and "--restart" in said
    # The same command tries as often once more, and no longer.
    assert train(settings(run, output, *changes, "iterations=9")) == 0
    assert len(rows(output)) == 6 and json.loads((output / "run.json").read_text())["iterations"] == 6
    assert "3 iterations in a row" in capfd.readouterr().err


def test_nothing_but_cut_answers_is_told_apart(run: Path, tmp_path: Path, capfd: Any) -> None:
    changes = ("truncated=mask", "max_tokens=2", "temperature=0.1", "reward=random", "filter=variance")
    assert train(settings(run, tmp_path / "rl", *changes)) == 0
    assert [(row["updates"], row["groups_trained"]) for row in rows(tmp_path / "rl")] == [(0, GROUPS)] * 3
    assert "all its answers were cut off" in capfd.readouterr().err


def test_a_model_that_a_killed_run_did_not_write_is_written(
    run: Path, finished: Path, tmp_path: Path
) -> None:
    """Killed after its last checkpoint: the folder has the model of a run that was to be shorter."""
    output = tmp_path / "rl"
    shutil.copytree(finished, output)
    longer = settings(run, output, f"iterations={ITERATIONS + 1}")
    assert train(longer) == 0
    whole = shutil.copytree(output / "model", tmp_path / "whole")
    assert differs(whole, finished / "model") > 0
    for name in ("model", "run.json"):
        shutil.rmtree(output / name) if name == "model" else (output / name).unlink()
    shutil.copytree(finished / "model", output / "model")
    shutil.copy(finished / "run.json", output / "run.json")
    assert train(longer) == 0
    assert differs(whole, output / "model") == 0
    assert json.loads((output / "run.json").read_text())["iterations"] == ITERATIONS + 1
    # Then there is nothing left to do.
    before = (output / "run.json").read_bytes(), (output / "model" / "config.json").stat().st_ino
    assert train(longer) == 0
    assert before == ((output / "run.json").read_bytes(), (output / "model" / "config.json").stat().st_ino)


@pytest.fixture(scope="module")
def control(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RLSettings]:
    """An iteration of an untrained model's long answers under random rewards; one of the problems is long itself."""
    folder = tmp_path_factory.mktemp("control")
    rl_learns.write_model(rl_learns.make_model(hidden=32), folder / "base")
    asked = [*rl_learns.additions(5, 1, seed=3), ("What is 1+1? Units first." + "\n" * 20, "2")]
    rl_learns.write_problems(folder / "problems", asked)
    changes = (f"model={folder}/base", f"problems={folder}/problems", "max_tokens=null", "iterations=1")
    chosen = settings(run, folder / "rl", *changes, "reward=random", "filter=variance")
    assert train(chosen) == 0
    return folder / "rl", chosen


def test_a_long_prompt_shortens_the_answers_to_itself_alone(control: tuple[Path, RLSettings]) -> None:
    found = records(
        control[0], "problem_id, len(prompt_tokens), len(tokens), finish_reason", "WHERE fate != 'aborted'"
    )
    context, longest = 48, max(prompt for _, prompt, _, _ in found)
    assert {prompt + tokens for _, prompt, tokens, reason in found if reason == "length"} == {context}
    assert longest > 25 and max(tokens for _, _, tokens, _ in found) > context - longest


def test_random_rewards_are_the_same_coins_after_a_kill(
    control: tuple[Path, RLSettings], tmp_path: Path
) -> None:
    output, chosen = control
    query = f"FROM '{iteration_path(output, 0)}' WHERE fate != 'aborted'"
    coins = {
        (group, member): reward for group, member, reward in ask(f'SELECT "group", member, reward {query}')
    }
    # Of each group but one some answers were judged before the kill; those of the others are judged after it.
    fields = ", ".join(f'"{one.name}"' for one in dataclasses.fields(Trajectory))
    page = tmp_path / "rl" / "rollouts" / ".iteration-00000.page"
    page.parent.mkdir(parents=True)
    shutil.copy(output / "decided_by.json", tmp_path / "rl")
    kept = duckdb.sql(f'SELECT {fields} {query} AND member < "group" % 4').to_arrow_table()
    page.write_text("".join(json.dumps(row) + "\n" for row in kept.to_pylist()))
    assert 0 < kept.num_rows < len(coins) / 2
    assert train(dataclasses.replace(chosen, output=str(tmp_path / "rl"))) == 0
    again = records(tmp_path / "rl", '"group", member, reward', "WHERE fate != 'aborted'")
    assert {(group, member): reward for group, member, reward in again} == coins


def test_a_loss_that_is_no_number_says_what_can_be_done(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"update 1 .* no longer a number.*mismatch_max .*--restart") as raised:
        train(settings(run, tmp_path / "rl", "learning_rate=1e30"))
    assert "mismatch_ess 1." in str(raised.value) and iteration_path(tmp_path / "rl", 0).exists()


def test_all_solved_is_told_apart_from_too_hard(run: Path, tmp_path: Path, capfd: Any) -> None:
    """Problems of one kind that the model knows by heart: the pool takes them, and the run says that they are easy."""
    model = rl_learns.make_model(hidden=32)
    known = [("What is 0+0? Units first.", "0"), ("What is 1+1? Units first.", "2")]
    rl_learns.supervise(model, known * 32, steps=60, batch=64, rate=5e-3)
    rl_learns.write_model(model, tmp_path / "model")
    rl_learns.write_problems(tmp_path / "problems", known)
    changes = (f"model={tmp_path}/model", f"problems={tmp_path}/problems", "temperature=0.1", "most_groups=1")
    assert train(settings(run, tmp_path / "rl", *changes)) == 0
    found = rows(tmp_path / "rl")
    assert [row["easy_pool"] for row in found] == [2, 2, 2] and found[1]["easy_drawn"] == GROUPS
    assert "too easy" in capfd.readouterr().err


def test_masked_answers_have_no_loss_but_count_in_their_group(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "rl"
    assert (
        train(
            settings(
                run,
                output,
                "truncated=mask",
                "max_tokens=5",
                "iterations=1",
                "reward=random",
                "filter=variance",
            )
        )
        == 0
    )
    found = records(output, "finish_reason, advantage, reward", "WHERE fate = 'trained'")
    cut = [one for one in found if one[0] == "length"]
    assert cut and all(advantage is None for _, advantage, _ in cut)
    assert all(advantage is not None for reason, advantage, _ in found if reason != "length")
    assert {reward for _, _, reward in found} == {0.0, 1.0}  # the coin
    assert (
        rows(output)[0]["tokens_trained"]
        == records(output, "sum(len(tokens))", "WHERE fate = 'trained' AND finish_reason = 'stop'")[0][0]
    )


def test_what_cannot_work_is_refused_with_a_remedy(run: Path, finished: Path, tmp_path: Path) -> None:
    def refused(*changes: str, output: Path = tmp_path / "new") -> str:
        with pytest.raises(RequestError) as raised:
            train(settings(run, output, *changes))
        return str(raised.value)

    assert "learning_rate" in refused("learning_rate=2e-3", output=finished)
    assert "seed" in refused("seed=2", output=finished)
    assert "does not exist" in refused("problems=/nowhere")
    assert "tokenizer" in refused("model=/nowhere")
    assert "the model has a context of 48" in refused("max_tokens=100")

    odd = tmp_path / "odd"
    for check, words in (("null", "nothing can be judged by"), ('{"kind": "text"}', "no right answer")):
        rl_learns.write_problems(odd, [("What is 1+1? Units first.", "2")])
        shard = odd / "00000.parquet"
        ask(
            f"COPY (SELECT * REPLACE ('{check}' AS \"check\") FROM '{shard}') TO '{shard}.new' (FORMAT parquet)"
        )
        Path(f"{shard}.new").replace(shard)
        said = refused(f"problems={odd}")
        assert words in said and "00000.parquet, row 0 (p0)" in said
    ask(f"COPY (SELECT * FROM '{shard}' LIMIT 0) TO '{shard}.new' (FORMAT parquet)")
    Path(f"{shard}.new").replace(shard)
    assert "holds no problem" in refused(f"problems={odd}")

    shutil.copytree(run / "sft" / "model", tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    file.write_text(file.read_text().replace("<|im_start|>", "<|start|>"))
    assert "<|im_start|>" in refused(f"model={tmp_path}/model")

    rl_learns.write_problems(odd, [("What is 1+1? Units first.", "2")])
    check = json.dumps({"kind": "code", "tests": [{"input": "", "output": "2"}]})
    ask(f"COPY (SELECT * REPLACE ('{check}' AS \"check\") FROM '{shard}') TO '{shard}.new' (FORMAT parquet)")
    Path(f"{shard}.new").replace(shard)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("REASONMILL_ISOLATION", "none")
        said = refused(f"problems={odd}")
    assert "there are programs to judge, and none may run here" in said and "bubblewrap" in said

    orphans = tmp_path / "orphans"
    shutil.copytree(finished / "rollouts", orphans / "rollouts")
    assert "which says by what" in refused(output=orphans)
    shutil.copy(finished / "decided_by.json", orphans)
    assert "alpha: 0.1 → 0.2" in refused("alpha=0.2", output=orphans)
    assert not (tmp_path / "new" / "rollouts").exists()  # nothing was begun


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iterations": None}, "write a whole number"),
        ({"itertions": 3}, "did you mean iterations?"),
        ({"groups": 10, "updates": 4}, "choose a divisor"),
        ({"reward": "exact"}, "choose one of accuracy, strict, soft, random"),
        ({"clip": 0.2}, "ε_low and ε_high"),
        ({"alpha": 1.5}, "0 to 1"),
        ({"schedule": "fast"}, "choose one of static, naive"),
        ({"reward": "random", "filter": "pass_rate"}, "choose variance"),
        ({"output": "s3://bucket/rl"}, "object store"),
        ({"max_tokens": "many"}, "write tokens as"),
        ({"checkpoints": {"every_tokens": "1M"}}, "every_minutes"),
        ({"optimizer": {"betas": [0.9]}}, "two numbers"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=r"^rl\.") as raised:
        parse_settings({"output": "run", "rl": {"iterations": 5} | change})
    assert words in str(raised.value)


def test_defaults_are_the_recipe() -> None:
    zero = parse_settings({"output": "run", "rl_zero": {"iterations": 5}}, "rl_zero")
    assert (zero.model, zero.problems, zero.output) == ("run/model", "run/rl_problems", "run/rl-zero")
    rl = parse_settings({"output": "run", "rl": {"iterations": 5, "reward": "strict"}})
    assert (rl.model, rl.output, rl.filter) == ("run/sft/model", "run/rl", "variance")
    assert (rl.groups, rl.updates, rl.learning_rate, rl.temperature, rl.alpha) == (512, 16, 1e-6, 1.0, 0.1)
    assert zero.filter == "pass_rate" and zero.schedule == "seamless"
