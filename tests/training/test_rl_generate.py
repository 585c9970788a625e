"""Both generators of rollouts: the same tests, with our own forward pass as the witness of every token."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from scipy.stats import kstest
from tokenizers import Tokenizer, models, pre_tokenizers

from pipeline.errors import RequestError
from pipeline.server import devices, group_members
from training.export import export, load
from training.model import MiMo, generate_greedy, next_logprobs
from training.model_config import ModelConfig
from training.rl.generate import Generated, GeneratorLost
from training.rl.generate_torch import TorchGenerator, draw, uniform
from training.rl.generate_vllm import VLLMGenerator

SMALL = ModelConfig(
    vocab_size=48,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=32,
    max_position_embeddings=4096,
    rope_theta=3_000.0,
)
STOPS = (2, 0)  # <|im_end|>, <|endoftext|>
PROMPTS = [[7, 9, 11], [5], list(range(3, 40)), [7, 9, 11]]
Make = Callable[..., VLLMGenerator | TorchGenerator]


def random_model(seed: int) -> MiMo:
    """Weights wide enough that its choices are neither even nor always the same."""
    torch.manual_seed(seed)
    model = MiMo(SMALL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            else:
                parameter.normal_(std=1.0 / math.sqrt(parameter.shape[1]))
    return model


@torch.no_grad()
def drafting_model() -> MiMo:
    """The next token depends on the newest one almost alone, and the MTP block hands that one's embedding through: its
    drafts are the trunk's own first choices, which come true in a part of all draws."""
    model = random_model(2)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.mul_(0.05)
    model.lm_head.weight.mul_(2.5)
    block = model.model.mtp_layers[0]
    block.input_proj.weight.copy_(torch.cat([torch.zeros(64, 64), torch.eye(64)], 1))
    for norm in (block.token_layernorm, block.final_layernorm, model.model.norm):
        norm.weight.fill_(1)
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of the same shape; the third is good at drafting for itself."""
    special = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    vocabulary = special | {chr(ord("0") + n): 3 + n for n in range(45)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(list(special))
    root = tmp_path_factory.mktemp("models")
    return [
        export(model, tokenizer.to_str(), root / str(n), dtype="float32", context=4096, rope_theta=3_000.0)
        for n, model in enumerate([random_model(0), random_model(1), drafting_model()])
    ]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before, threads = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)


@pytest.fixture(scope="module", params=["torch", pytest.param("vllm", marks=pytest.mark.vllm)])
def generator(
    request: pytest.FixtureRequest, folders: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VLLMGenerator | TorchGenerator]:
    """One of each kind for all tests; each test begins with the first model's weights."""
    made: VLLMGenerator | TorchGenerator
    if request.param == "torch":
        made = TorchGenerator(folders[0], stops=STOPS, slots=8)
    else:
        try:
            devices("cpu")
        except RequestError as error:
            pytest.skip(str(error))
        made = VLLMGenerator(
            folders[0],
            stops=STOPS,
            slots=8,
            log=tmp_path_factory.mktemp("vllm") / "vllm.log",
            options={"kv_cache_memory_bytes": 16 << 20},
        )
    yield made
    asyncio.run(made.close())
    asyncio.run(made.close())  # may be called again


async def answer(
    generator: VLLMGenerator | TorchGenerator,
    prompt: list[int],
    name: str = "a",
    *,
    max_tokens: int = 40,
    temperature: float = 1.0,
    seed: int = 0,
) -> Generated:
    return await generator.generate(name, prompt, max_tokens=max_tokens, temperature=temperature, seed=seed)


async def answers(
    generator: VLLMGenerator | TorchGenerator, temperature: float, **options: int
) -> list[Generated]:
    asked = [
        answer(generator, prompt, f"{n}", temperature=temperature, seed=n, **options)
        for n, prompt in enumerate(PROMPTS)
    ]
    return list(await asyncio.gather(*asked))


def rated(model: MiMo, prompt: list[int], tokens: list[int], temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities (L, V) of the token at each place of an answer, by a pass over the whole of it."""
    logprobs_LV = next_logprobs(model, [*prompt, *tokens])[len(prompt) - 1 : -1]
    return (logprobs_LV / temperature).log_softmax(-1)


def surprise(model: MiMo, prompt: list[int], found: Generated, temperature: float = 1.0) -> np.ndarray:
    """By how much the log-probability of each token is off."""
    expected = rated(model, prompt, found.tokens, temperature).gather(1, torch.tensor(found.tokens)[:, None])[
        :, 0
    ]
    return np.abs(np.array(found.logprobs) - expected.numpy())


def places(model: MiMo, prompt: list[int], found: Generated, temperature: float) -> list[float]:
    """Where in the cumulative distribution each token was drawn: uniform in [0, 1) if, and only if, each was drawn from
    its own distribution (Rosenblatt 1952; within a token's share a place is picked at random)."""
    within = np.random.default_rng(sum(found.tokens)).random(len(found.tokens))
    probabilities_LV = rated(model, prompt, found.tokens, temperature).double().exp()
    drawn = torch.tensor(found.tokens)[:, None]
    above = probabilities_LV.cumsum(1).gather(1, drawn)[:, 0] - probabilities_LV.gather(1, drawn)[:, 0]
    return (above.numpy() + within * probabilities_LV.gather(1, drawn)[:, 0].numpy()).tolist()


async def draws(generator: VLLMGenerator | TorchGenerator, temperature: float) -> list[Generated]:
    asked = [
        answer(generator, [5 + n % 20, 9], f"{n}", temperature=temperature, seed=1000 + n, max_tokens=16)
        for n in range(64)
    ]
    return list(await asyncio.gather(*asked))


def check_draws(generator: VLLMGenerator | TorchGenerator, model: MiMo, temperature: float) -> None:
    found = asyncio.run(draws(generator, temperature))
    at: list[float] = []
    for n, one in enumerate(found):
        assert surprise(model, [5 + n % 20, 9], one, temperature).max() < 1e-3
        assert not set(one.tokens[:-1]) & set(
            STOPS
        )  # it ends with the first stop, or is as long as it may be
        assert one.finish_reason == ("stop" if one.tokens[-1] in STOPS else "length")
        assert len(one.tokens) == 16 or one.finish_reason == "stop"
        at += places(model, [5 + n % 20, 9], one, temperature)
    assert {one.finish_reason for one in found} == {"stop", "length"}
    assert kstest(at, "uniform").pvalue > 1e-3, f"{len(at)} draws do not follow the model"


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_draws_follow_an_independent_forward_pass(generator, folders, temperature):
    check_draws(generator, load(folders[0]), temperature)


def test_greedy_answers_are_our_own(generator, folders):
    model = load(folders[0])
    for prompt, (tokens, logprobs, _) in zip(PROMPTS, asyncio.run(answers(generator, 0.0)), strict=True):
        expected, expected_logprobs = generate_greedy(model, prompt, len(tokens))
        assert tokens == expected
        np.testing.assert_allclose(logprobs, expected_logprobs, atol=1e-3)


def test_a_seed_decides_the_draw_alone_and_among_others(generator):
    together = asyncio.run(answers(generator, 1.0, max_tokens=12))
    alone = [
        asyncio.run(answer(generator, prompt, seed=n, max_tokens=12)) for n, prompt in enumerate(PROMPTS)
    ]
    assert [a.tokens for a in together] == [a.tokens for a in alone]
    assert together[0].tokens != together[3].tokens  # the same prompt, other seeds


def test_more_requests_than_slots(generator):
    async def many() -> list[Generated]:
        asked = [answer(generator, [5, 6], f"{n}", seed=n, max_tokens=1 + n % 7) for n in range(40)]
        return list(await asyncio.gather(*asked))

    for n, (tokens, logprobs, finish_reason) in enumerate(asyncio.run(many())):
        assert len(tokens) == len(logprobs) and 1 <= len(tokens) <= 1 + n % 7
        assert finish_reason == "stop" or len(tokens) == 1 + n % 7


async def a_while(generator: VLLMGenerator | TorchGenerator) -> None:
    """Until what was asked for before has come some tokens further."""
    await asyncio.sleep(0)  # tasks made before hand in their requests first
    await answer(generator, [5], "short", max_tokens=5, temperature=0.0)


def test_an_abort_returns_what_there_is(generator, folders):
    async def abort_all() -> list[Generated]:
        def ask(number: int) -> asyncio.Task[Generated]:
            return asyncio.create_task(
                answer(generator, PROMPTS[0], f"{number}", temperature=0.0, max_tokens=4000)
            )

        asked = [ask(n) for n in range(generator.slots - 1)]
        await a_while(generator)
        asked += [ask(generator.slots - 1), ask(generator.slots)]  # the last one waits in line
        await asyncio.sleep(0)  # they ask now
        await generator.abort("nobody")
        for n in reversed(range(len(asked))):
            await generator.abort(f"{n}")
        return list(await asyncio.wait_for(asyncio.gather(*asked), 60))

    *begun, _, waiting = asyncio.run(abort_all())
    for cut in begun:
        assert cut.finish_reason == "abort" and 0 < len(cut.tokens) == len(cut.logprobs) < 4000
    assert (waiting.finish_reason, waiting.tokens) == ("abort", [])
    assert surprise(load(folders[0]), PROMPTS[0], begun[0]).max() < 1e-3
    assert asyncio.run(answer(generator, [5], max_tokens=3)).finish_reason != "abort"


def test_a_call_that_is_cancelled_frees_its_slot(generator):
    async def cancel_and_ask() -> Generated:
        endless = [
            asyncio.create_task(answer(generator, PROMPTS[0], f"{n}", temperature=0.0, max_tokens=4000))
            for n in range(generator.slots)
        ]
        await asyncio.sleep(0.05)
        for task in endless:
            task.cancel()
        return await asyncio.wait_for(answer(generator, [5], "next", max_tokens=3), 60)

    assert asyncio.run(cancel_and_ask()).finish_reason != "abort"


def test_new_weights_take_over_in_the_middle_of_an_answer(generator, folders):
    old, new = load(folders[0]), load(folders[1])

    async def update_under_way() -> Generated:
        long = asyncio.create_task(answer(generator, PROMPTS[0], "long", temperature=0.0, max_tokens=4000))
        await a_while(generator)
        await generator.update_weights(folders[1])
        await a_while(generator)
        await generator.abort("long")
        return await long

    found = asyncio.run(update_under_way())
    # Up to the update its tokens are the old model's, then the new one's, that has read it all anew.
    by_old, by_new = (surprise(model, PROMPTS[0], found) < 1e-3 for model in (old, new))
    assert by_old[0] and by_new[-1] and not by_old.all() and not by_new.all()
    changed = int(by_new.argmax())
    assert by_old[:changed].all() and by_new[changed:].all()
    # Afterwards it is the new model in everything: nothing of the old one is left in a cache.
    for prompt, one in zip(PROMPTS, asyncio.run(answers(generator, 0.0)), strict=True):
        assert one.tokens == generate_greedy(new, prompt, len(one.tokens))[0]
    asyncio.run(generator.update_weights(folders[0]))
    for prompt, one in zip(PROMPTS, asyncio.run(answers(generator, 0.0)), strict=True):
        assert one.tokens == generate_greedy(old, prompt, len(one.tokens))[0]


def test_wrong_requests_are_refused(generator, folders, tmp_path):
    with pytest.raises(RequestError, match="a prompt of 4090 tokens and 40 new ones"):
        asyncio.run(answer(generator, [5] * 4090, max_tokens=40))
    with pytest.raises(RequestError, match="expected at least one of each"):
        asyncio.run(answer(generator, []))
    with pytest.raises(RequestError, match=r"cannot read config\.json"):
        asyncio.run(generator.update_weights(tmp_path))
    assert asyncio.run(answer(generator, [5], max_tokens=3)).tokens


# ---- of one kind only ----


def test_the_uniform_numbers_of_the_torch_generator_are_uniform():
    """Over positions of one seed, and over neighbouring seeds at one position."""
    many = 20_000
    for seeds, positions in [(np.full(many, 7), np.arange(many)), (np.arange(many), np.full(many, 3))]:
        numbers = uniform(seeds.astype(np.uint64), positions)
        assert kstest(numbers, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 4 / math.sqrt(many)
    # The first outputs of the published SplitMix64 with seed 1234567.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [int(value * 2**53) for value in uniform(np.full(3, 1234567, dtype=np.uint64), np.arange(3))] == [
        number >> 11 for number in published
    ]


def test_a_token_of_probability_zero_is_never_drawn():
    logits_SV = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]]).repeat(4, 1)
    tokens, logprobs = draw(
        logits_SV, torch.ones(4), torch.tensor([0.0, 0.4999, 0.5, 1 - 2**-53], dtype=torch.float64)
    )
    assert tokens.tolist() == [1, 1, 3, 3]
    np.testing.assert_allclose(logprobs, math.log(0.5), atol=1e-6)


def test_a_torch_generator_that_breaks_says_so_and_can_be_restarted(folders):
    generator = TorchGenerator(folders[0], slots=2)

    async def break_it() -> None:
        waiting = [asyncio.create_task(answer(generator, [5], f"{n}", max_tokens=4000)) for n in range(3)]
        await asyncio.sleep(0.01)
        generator._cache.keys_NSGTK = None  # as memory that is gone
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, GeneratorLost) and "TypeError" in str(result)
        with pytest.raises(GeneratorLost, match="TypeError"):
            await answer(generator, [5])
        await generator.abort("0")
        with pytest.raises(GeneratorLost, match="TypeError"):
            await generator.update_weights(folders[1])
        await generator.restart()
        assert len((await answer(generator, [5], max_tokens=3)).tokens) == 3
        await generator.close()

    asyncio.run(break_it())


def test_weights_that_cannot_be_read_end_a_torch_generator_and_hang_nobody(folders, tmp_path):
    damaged = shutil.copytree(folders[1], tmp_path / "damaged")
    (weights,) = damaged.glob("*.safetensors")
    weights.write_bytes(b"\x10" * 200)
    generator = TorchGenerator(folders[0], slots=2)

    async def update() -> None:
        with pytest.raises(GeneratorLost, match=r"damaged: cannot be loaded.*Safetensor"):
            await asyncio.wait_for(generator.update_weights(damaged), 30)
        await generator.restart()
        await generator.update_weights(folders[1])
        found = await answer(generator, PROMPTS[0], temperature=0.0)
        assert found.tokens == generate_greedy(load(folders[1]), PROMPTS[0], 40)[0]
        await generator.close()

    asyncio.run(update())


@torch.no_grad()
def foretold(model: MiMo, found: list[Generated]) -> float:
    """Share of drafts that come true: a draft is the MTP block's first choice, accepted with its own probability."""
    shares: list[float] = []
    for n, one in enumerate(found):
        hidden = model(torch.tensor([[5 + n % 20, 9, *one.tokens]]))
        drafts = model.lm_head(hidden.mtp[0][0])[1:-2].argmax(-1)
        shares += (
            model.lm_head(hidden.main_BLD[0])[2:-1].softmax(-1).gather(1, drafts[:, None])[:, 0].tolist()
        )
    return sum(shares) / len(shares)


vllm_only = pytest.mark.parametrize(
    "generator", [pytest.param("vllm", marks=pytest.mark.vllm)], indirect=True
)


@vllm_only
def test_a_killed_vllm_is_one_clear_error_and_comes_back_speculating(generator, folders):
    """One restart for two questions, because a start takes twenty seconds of CPU time."""
    model = load(folders[0])

    async def kill_it() -> None:
        keeper = generator._process.pid
        engine = [process for process in group_members(keeper) if process.pid != keeper]
        for process in engine:  # or an answer of few tokens may be there before it is killed
            process.suspend()
        waiting = [asyncio.create_task(answer(generator, [9, 9], f"{n}", max_tokens=4000)) for n in range(3)]
        await asyncio.sleep(0.05)
        for process in engine:
            process.kill()
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, GeneratorLost) and "vLLM died. Its log" in str(result)
        with pytest.raises(GeneratorLost):
            await answer(generator, [5])
        generator.speculative = True
        await generator.restart()
        assert not group_members(keeper)

    async def acceptance() -> tuple[float, int, list[Generated]]:
        before = await generator.counters()
        found = await draws(generator, 1.0)
        after = await generator.counters()
        drafts, accepted = (
            after[f"vllm:spec_decode_num_{what}_tokens"] - before[f"vllm:spec_decode_num_{what}_tokens"]
            for what in ("draft", "accepted")
        )
        return accepted / drafts, drafts, found

    asyncio.run(kill_it())
    check_draws(generator, model, 1.0)
    assert asyncio.run(acceptance())[0] < 0.1  # a random drafter
    asyncio.run(generator.update_weights(folders[2]))
    model = load(folders[2])
    rate, drafts, found = asyncio.run(acceptance())
    expected = foretold(model, found)
    assert expected > 0.2 and drafts > 300
    assert abs(rate - expected) < 4 * math.sqrt(expected / drafts)  # the drafter has its new weights, too
    for temperature in (1.0, 0.7):  # drafts are now accepted and rejected in turn
        check_draws(generator, model, temperature)
    for prompt, one in zip(PROMPTS, asyncio.run(answers(generator, 0.0)), strict=True):
        assert one.tokens == generate_greedy(model, prompt, len(one.tokens))[0]


@vllm_only
def test_a_vllm_that_hangs_is_lost_and_one_that_is_idle_is_not(generator):
    """Stopped, it is alive and says nothing. The last one for this generator, which is not started again."""

    async def hang() -> None:
        assert (await answer(generator, [5], max_tokens=3)).tokens  # the first one takes its time
        generator.silence = 6.0
        await asyncio.sleep(9)  # nothing to say but that it is there
        assert (await answer(generator, [5], max_tokens=3)).tokens
        keeper = generator._process.pid
        for process in group_members(keeper):
            if process.pid != keeper:
                process.suspend()
        asked = [generator.update_weights(generator.folder), answer(generator, [5], max_tokens=4000)]
        waiting = asyncio.gather(*asked, return_exceptions=True)
        for result in await asyncio.wait_for(waiting, 30):
            assert isinstance(result, GeneratorLost) and "no sign of life for 6 s. Its log" in str(result)
        assert not group_members(keeper)

    asyncio.run(hang())


@pytest.mark.vllm
def test_nothing_outlives_a_killed_trainer(folders, tmp_path):
    try:
        devices("cpu")
    except RequestError as error:
        pytest.skip(str(error))
    code = (
        "import sys; from pathlib import Path; from training.rl.generate_vllm import VLLMGenerator\n"
        "VLLMGenerator(sys.argv[1], log=Path(sys.argv[2]))"
    )
    trainer = subprocess.Popen(
        [sys.executable, "-c", code, str(folders[0]), str(tmp_path / "log")], cwd=Path(__file__).parents[2]
    )

    def started() -> list[psutil.Process]:
        return [
            p
            for p in psutil.Process(trainer.pid).children(recursive=True)
            if "training.rl.vllm_worker" in p.cmdline()
        ]

    try:
        wait_for(lambda: len(started()) == 2, 60)  # the keeper and what it keeps
        left = started()
    finally:
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.wait()
    wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in left), 20)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
