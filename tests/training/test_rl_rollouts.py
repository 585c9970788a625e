"""The first rank's side of RL: what it makes of undecided answers, and of a signal in the wrong moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import rl_learns
from mixtures.chat import Chat
from pipeline.errors import RequestError
from training.rl.engine import Collected
from training.rl.generate_torch import TorchGenerator
from training.rl.record import iteration_path, read_about
from training.rl.rollouts import Rollouts
from training.rl.settings import parse_settings
from training.rl.trajectory import RLProblem, Trajectory

SIZE = 4


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rollouts_of(folder: Path, **section: object) -> Rollouts:
    chat = Chat(rl_learns.make_tokenizer(), 0)
    problems = [
        RLProblem(f"p{n}", tuple(chat.query(prompt).tolist()), {"kind": "digits", "answer": gold})
        for n, (prompt, gold) in enumerate(rl_learns.additions(4, 1, seed=0))
    ]
    said = {"iterations": 9, "groups": 2, "group_size": SIZE, "updates": 1, "filter": "none", "slots": 8}
    settings = parse_settings({"output": str(folder), "rl": said | {"max_tokens": 4} | section})
    return Rollouts(settings, problems, chat, folder, context=48)


@pytest.mark.parametrize("reward", ["accuracy", "random"])
def test_a_group_with_undecided_answers_is_not_known_to_be_solved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reward: str
) -> None:
    rollouts = rollouts_of(tmp_path, reward=reward)
    verdicts: list[list[bool | None]] = [
        [True, True, None, None],  # what is known is right
        [True, True, True, True],
        [True, False, None, True],
        [True, None, None, None],
    ]
    rollouts.easy.easy = {2, 3}
    groups = [
        [
            Trajectory(
                n, m, f"p{n}", [1], [1], [-1.0], "stop", 0, "", passed and 1.0, passed, reason="timeout"
            )
            for m, passed in enumerate(passes)
        ]
        for n, passes in enumerate(verdicts)
    ]
    fates = dict.fromkeys(range(4), "trained") | {3: "filtered_undecided"}
    names = ("trained", "filtered", "aborted", "surplus", "started")
    statistics = {f"groups_{name}": 0.0 for name in names}
    statistics |= {"seconds": 1.0, "tokens_generated": 16.0, "waste": 0.0, "idle": 0.0}
    problems = dict(enumerate(rollouts.problems))
    answers = [one for group in groups for one in group]
    collected = Collected(groups[:3], False, fates, answers, problems, statistics)
    rollouts._write(iteration_path(tmp_path, 0), 0, collected, [])
    if reward == "random":
        assert rollouts.easy.easy == {2, 3}  # answers decide nothing here
    else:
        assert rollouts.easy.easy == {1, 3}  # p2 has a wrong answer, of p0 and p3 nothing more is known
    assert read_about(iteration_path(tmp_path, 0))["row"]["undecided"] == 6 / 16
    assert "iteration 0: 38 % of the answers could not be judged" in caplog.text and "timeout" in caplog.text
    rollouts.close()


def test_a_signal_while_weights_are_exchanged_ends_the_iteration(tmp_path: Path) -> None:
    rl_learns.write_model(rl_learns.make_model(hidden=16), tmp_path / "base")
    stopped: list[int] = []
    rollouts, goes_on = rollouts_of(tmp_path), threading.Event()
    assert rollouts.collect(0, tmp_path / "base", 0, stopped, lambda judged: None)
    generator = rollouts._generator
    assert isinstance(generator, TorchGenerator)
    # Its thread is held up by a message before the new weights.
    generator._abort = lambda request_id: goes_on.wait(600)  # type: ignore[assignment,method-assign]
    generator._inbox.put(("abort", ""))
    threading.Timer(0.3, stopped.append, args=(15,)).start()
    began = time.monotonic()
    assert not rollouts.collect(1, tmp_path / "base", 1, stopped, lambda judged: None)
    assert time.monotonic() - began < 120
    goes_on.set()
    rollouts.close()


def test_a_mistake_while_the_generator_starts_is_not_taken_for_a_wrong_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rl_learns.write_model(rl_learns.make_model(hidden=16), tmp_path / "base")
    wrong = rollouts_of(tmp_path, generator_options={"slotz": 3})
    with pytest.raises(RequestError, match=r"generator_options: got an unexpected keyword argument 'slotz'"):
        wrong._make_generator(tmp_path / "base")
    wrong.close()
    fine = rollouts_of(tmp_path)
    monkeypatch.setattr(TorchGenerator, "_start", lambda self: len(None))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="NoneType"):
        fine._make_generator(tmp_path / "base")
    fine.close()
