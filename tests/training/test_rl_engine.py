"""The rollout engine with a real generator (our own, in torch) and real judges; every fault in it is made on purpose."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import RunError
from synth.verify.check import Checked
from synth.verify.check_pool import CheckPool
from training.model import MiMo
from training.model_config import ModelConfig
from training.rl.engine import Collected, RolloutEngine
from training.rl.generate import Generated
from training.rl.generate_torch import TorchGenerator
from training.rl.scheduler import Abort, Rules, Scheduler, Start
from training.rl.trajectory import RLProblem, Trajectory

GROUP_SIZE, WANTED, MAX_TOKENS = 4, 6, 60
FILTERED = ("naive", "continuous", "asynchronous_reward", "seamless")


@pytest.fixture(scope="module")
def model() -> MiMo:
    torch.manual_seed(0)
    model = MiMo(ModelConfig(24, 32, 48, 1, 2, 1, 16, max_position_embeddings=128)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.0 / math.sqrt(parameter.shape[1]))
    return model


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckPool]:
    with CheckPool(workers=1) as pool:
        yield pool


def draw(group: int) -> RLProblem:
    """Every fourth problem cannot be solved."""
    gold = "9" if group % 4 == 3 else str(group % 3)
    return RLProblem(f"p{group}", (3 + group % 20, 5), {"kind": "digits", "answer": gold})


def text(tokens: list[int]) -> str:
    return f"\\boxed{{{sum(tokens) % 3}}}"


def reward(checked: Checked, problem: RLProblem, trajectory: Trajectory) -> float | None:
    assert trajectory.problem_id == problem.id and trajectory.passed == checked.verdict.passed
    return None if checked.verdict.verdict == "undecided" else float(checked.verdict.passed)


class Counting(TorchGenerator):
    """The real generator, which counts what is asked of it and dies before the steps it is told."""

    dies_at: tuple[int, ...] = ()
    late = False  # some answers arrive only when the generator that gave them is replaced
    steps = restarts = 0

    def _start(self) -> None:
        self.asked: list[str] = getattr(self, "asked", [])
        super()._start()

    async def generate(self, request_id: str, *arguments: Any, **options: Any) -> Generated:
        self.asked.append(request_id)
        found = await super().generate(request_id, *arguments, **options)
        while self.late and request_id.endswith("-1-0") and not self.restarts:
            await asyncio.sleep(0.005)
        return found

    async def restart(self) -> None:
        await super().restart()
        self.restarts += 1

    def _step(self) -> None:
        self.steps += 1
        if self.steps in self.dies_at:
            raise MemoryError("on purpose")
        super()._step()


def engine_of(model: MiMo, pool: Any, preset: str = "seamless", **options: Any) -> RolloutEngine:
    rules = {name: options.pop(name) for name in ("staleness", "prior_valid_share") if name in options}
    scheduler = Scheduler(Rules.preset(preset, WANTED, GROUP_SIZE, **rules))
    generator = Counting(model, stops=(0, 1), slots=16)
    return RolloutEngine(
        generator, pool, scheduler, draw, reward, text=text, max_tokens=MAX_TOKENS, seed=5, **options
    )


def collect(engine: RolloutEngine, iterations: int = 1, updates: Path | None = None) -> list[Collected]:
    async def run() -> list[Collected]:
        found = []
        for n in range(iterations):
            if updates is not None and n:
                await engine.update_weights(updates, n)
            found.append(await engine.collect())
            check_books(engine, found[-1])
        await engine.generator.close()
        return found

    return asyncio.run(asyncio.wait_for(run(), 60))


def check_books(engine: RolloutEngine, collected: Collected) -> None:
    """Nothing is lost, nothing twice, and every number says what the answers say."""
    scheduler, statistics = engine.scheduler, collected.statistics
    assert scheduler.started == sum(scheduler.totals.values()) + scheduler.in_flight
    assert len(collected.answers) == GROUP_SIZE * len(collected.fates) == statistics["answers"]
    assert {(one.group, one.member) for one in collected.answers} == {
        (group, member) for group in collected.fates for member in range(GROUP_SIZE)
    }
    for group in collected.groups:
        assert collected.fates[group[0].group] == "trained"
        assert [one.member for one in group] == list(range(GROUP_SIZE))
    assert len(collected.groups) == statistics["groups_trained"]
    for one in collected.answers:
        problem = collected.problems[one.group]
        assert one.problem_id == problem.id == f"p{one.group}"
        assert len(one.tokens) == len(one.logprobs) <= MAX_TOKENS
        if collected.fates[one.group] == "aborted":
            continue
        assert one.finish_reason == ("stop" if one.tokens[-1] in (0, 1) else "length")
        if one.reason not in ("judge_timeout", "judge_failed"):
            right = str(sum(one.tokens) % 3) == problem.check["answer"]
            assert (one.passed, one.reward, one.passes) == (right, float(right), [right])
        assert one.started <= one.finished <= one.rewarded
    trained = sum(len(one.tokens) for group in collected.groups for one in group)
    assert statistics["tokens_trained"] == trained
    assert 0 <= statistics["empty"] <= 1 and 0 <= statistics["idle"] <= 1


def outcome(collected: Collected) -> list[tuple[int, list[list[int]], list[float | None]]]:
    return [
        (group[0].group, [one.tokens for one in group], [one.reward for one in group])
        for group in collected.groups
    ]


def test_every_schedule_trains_on_the_same_answers(model, pool):
    """An answer is decided by seed, group and member, and the groups by their order of starting: whatever ran beside it
    and whenever it was judged, the same come out."""
    by_preset = {preset: collect(engine_of(model, pool, preset), iterations=1)[0] for preset in FILTERED}
    for collected in by_preset.values():
        assert not collected.short and len(collected.groups) == WANTED
        assert all(0 < sum(one.reward for one in group) < GROUP_SIZE for group in collected.groups)
        assert outcome(collected) == outcome(by_preset["naive"])
    assert "filtered_unsolved" in by_preset["naive"].fates.values()
    assert by_preset["naive"].statistics["groups_aborted"] == 0
    assert by_preset["naive"].statistics["groups_started"] % WANTED == 0  # whole rounds
    static = collect(engine_of(model, pool, "static"))[0]
    assert sorted(static.fates) == list(range(WANTED)) and set(static.fates.values()) == {"trained"}


def test_iterations_go_on_where_the_last_one_ended(model, pool):
    found = collect(engine_of(model, pool), iterations=3)
    seen = [group for collected in found for group in collected.fates]
    assert len(seen) == len(set(seen)) and sorted(seen) == list(range(len(seen)))
    assert sum(collected.statistics["groups_started"] for collected in found) == len(seen)
    assert (
        len({tuple(one.tokens) for collected in found for one in collected.answers if len(one.tokens) > 8})
        > 20
    )


def test_aborted_answers_count_as_waste_and_leave_nothing_running(model, pool):
    engine = engine_of(model, pool, prior_valid_share=0.1)  # starts far more than needed
    collected = collect(engine)[0]
    assert collected.statistics["groups_aborted"] > 0
    cut = [one for one in collected.answers if one.finish_reason == "abort"]
    assert cut and all(collected.fates[one.group] == "aborted" and one.reward is None for one in cut)
    tokens = {"thrown": 0, "trained": 0, "filtered": 0}
    for one in collected.answers:
        fate = collected.fates[one.group]
        tokens["thrown" if fate in ("aborted", "surplus") else fate.split("_")[0]] += len(one.tokens)
    statistics = collected.statistics
    assert statistics["waste"] == pytest.approx(tokens["thrown"] / (tokens["thrown"] + tokens["trained"]))
    assert statistics["tokens_generated"] == sum(tokens.values())
    assert not engine._tasks and not engine.generator._running and not engine.generator._waiting


def test_a_group_may_be_aborted_before_its_first_request(model, pool):
    """Start and abort in one breath, as when many events are waiting."""
    engine = engine_of(model, pool)

    async def run() -> None:
        await engine._act(Start(0, (0, 1)))
        await engine._act(Abort(0))
        await asyncio.wait_for(asyncio.gather(*engine._tasks), 5)
        assert engine.generator.asked == []
        await engine.generator.close()

    asyncio.run(run())


@pytest.mark.parametrize("late", [False, True])
def test_a_lost_generator_is_brought_back_and_its_groups_begin_again(model, pool, caplog, late):
    """late: answers arrive when the generator that gave them is already replaced; they have begun again by then."""
    engine = engine_of(model, pool)
    engine.generator.dies_at, engine.generator.late = (12, 30), late
    collected = collect(engine)[0]
    assert collected.statistics["restarts"] == 2 and len(collected.groups) == WANTED
    assert engine.scheduler.members["lost"] > 0
    assert "was lost and is started again (1 of 3)" in caplog.text and "MemoryError" in caplog.text
    attempts = {request.split("-")[2] for request in engine.generator.asked}
    assert attempts >= {"0", "1"}
    assert (engine._tokens_lost > 0) == late
    untouched = collect(engine_of(model, pool))[0]
    assert outcome(collected) != outcome(untouched)  # another attempt is another draw


def test_a_generator_that_dies_again_and_again_ends_the_run(model, pool):
    engine = engine_of(model, pool, restarts=2)
    engine.generator.dies_at = tuple(range(1, 100))
    with pytest.raises(RunError, match=r"lost 3 times in a row.*MemoryError: on purpose"):
        collect(engine)
    assert not engine._tasks


class Unwell:
    """Judges of which some never answer, and some fail."""

    def __init__(self, pool: CheckPool, ill: str) -> None:
        self.pool, self.ill, self.asked = pool, ill, 0

    def submit(self, *arguments: Any, **options: Any) -> Future[Checked]:
        self.asked += 1
        if self.asked % 5:
            return self.pool.submit(*arguments, **options)
        if self.ill == "closed":
            raise RuntimeError("the pool is closed")
        future: Future[Checked] = Future()
        if self.ill == "fails":
            future.set_exception(OSError("no memory for a process"))
        elif self.ill == "cancels":
            future.cancel()
        return future


@pytest.mark.parametrize("ill", ["hangs", "fails", "closed", "cancels"])
@pytest.mark.parametrize("preset", ["seamless", "naive"])
def test_judges_that_fail_or_hang_leave_answers_undecided(model, pool, ill, preset):
    collected = collect(engine_of(model, Unwell(pool, ill), preset, patience=0.3))[0]
    undecided = [
        one for one in collected.answers if one.reward is None and collected.fates[one.group] != "aborted"
    ]
    assert undecided and len(undecided) == collected.statistics["undecided"]
    assert {one.reason for one in undecided} == {"judge_timeout" if ill == "hangs" else "judge_failed"}
    assert all(one.passed is None and one.tokens for one in undecided)
    assert len(collected.groups) == WANTED


def test_an_answer_in_line_behind_others_is_not_given_up(model, pool):
    """One slow judge for many answers: each waits longer than the patience, but verdicts keep coming."""

    class Slow:
        def __init__(self) -> None:
            self.free_at = 0.0

        def submit(self, *arguments: Any, **options: Any) -> Future[Checked]:
            verdict, future = pool.submit(*arguments, **options).result(), Future[Checked]()
            self.free_at = max(self.free_at, time.monotonic()) + 0.05
            loop = asyncio.get_running_loop()
            loop.call_later(self.free_at - time.monotonic(), future.set_result, verdict)
            return future

    collected = collect(engine_of(model, Slow(), "static", patience=0.5))[0]
    waits = [one.rewarded - one.finished for one in collected.answers]
    assert max(waits) > 0.6 and collected.statistics["undecided"] == 0


def test_a_stopped_iteration_is_replayed_from_its_record(model, pool, caplog):
    """As a trainer does that was killed: what is on record is not generated again, and the same comes out."""
    record: list[Trajectory] = []
    whole = collect(engine_of(model, pool, on_finished=record.append))[0]
    judged = [one for one in whole.answers if one.rewarded]
    assert {(one.group, one.member) for one in record} == {(one.group, one.member) for one in judged}

    half = record[: len(record) // 2]
    added: list[Trajectory] = []
    known = {(one.group, one.member): one for one in half}
    again = engine_of(model, pool, on_finished=added.append, known=known)
    assert outcome(collect(again)[0]) == outcome(whole)
    # The same if the generator dies in the middle of it: answers on record stay what they are.
    dying = engine_of(model, pool, known=known)
    dying.generator.dies_at = (12,)
    replayed = {(one.group, one.member): one for one in collect(dying)[0].answers}
    assert all(replayed[place] is one for place, one in known.items() if place in replayed)
    asked = {tuple(int(part) for part in request.split("-")[:2]) for request in again.generator.asked}
    assert not asked & set(known) and not {(one.group, one.member) for one in added} & set(known)
    # Of another problem than the one that is drawn now: not an answer to it.
    foreign = Trajectory(0, 0, "another", [3], [3], [-1.0], "stop", 0, reward=1.0, passed=True)
    fresh = engine_of(model, pool, known={(0, 0): foreign})
    assert outcome(collect(fresh)[0]) == outcome(whole)
    assert "group 0 member 0 was answered before, but to problem another; now p0 is drawn" in caplog.text


def test_a_cancelled_iteration_leaves_nothing_running(model, pool):
    engine = engine_of(model, pool)

    async def stop_early() -> None:
        task = asyncio.create_task(engine.collect())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not engine._tasks
        deadline = time.monotonic() + 120
        while engine.generator._running or engine.generator._waiting:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await engine.generator.close()

    asyncio.run(stop_early())


def test_groups_are_carried_over_new_weights(model, pool, tmp_path):
    folder = weights(model, tmp_path)
    engine = engine_of(model, pool, staleness=1, prior_valid_share=0.2)
    found = collect(engine, iterations=3, updates=folder)
    ages = {
        n - one.version for n, collected in enumerate(found) for group in collected.groups for one in group
    }
    assert ages == {0, 1}  # older ones are given up
    seen = [group for collected in found for group in collected.fates]
    assert len(seen) == len(set(seen))
    assert set(range(engine.scheduler.started)) - set(seen) == set(engine._groups)  # still under way


def test_new_weights_reach_the_generator_even_if_it_dies_over_them(model, pool, tmp_path):
    folder = weights(model, tmp_path)
    engine = engine_of(model, pool)

    async def run() -> Collected:
        await engine.collect()
        engine.generator._inbox.put(("update", None))  # it breaks
        await engine.update_weights(folder, 1)
        return await engine.collect()

    collected = asyncio.run(asyncio.wait_for(run(), 60))
    check_books(engine, collected)
    assert {one.version for one in collected.answers} == {1} and len(collected.groups) == WANTED
    asyncio.run(engine.generator.close())


def weights(model: MiMo, folder: Path) -> Path:
    from tokenizers import Tokenizer, models

    from training.export import export

    tokenizer = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "a": 1}, unk_token="<|endoftext|>"))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return export(model, tokenizer.to_str(), folder / "m", dtype="float32", context=128, rope_theta=640_000.0)
