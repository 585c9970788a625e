"""The objective against numpy written from the equation, by hand, by finite differences; packing; the mismatch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.model import MiMo, next_logprobs
from training.model_config import ModelConfig
from training.rl.batches import Answer, micro_batch, padding_share, split_micro_batches, split_updates
from training.rl.loss import LossInputs, LossOutputs, grpo_loss, token_weights
from training.rl.mismatch import Mismatch
from training.rl.policy import Policy, SelectedLogprobs

CONFIG = ModelConfig(
    vocab_size=29,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    max_position_embeddings=64,
    rope_theta=10_000.0,
)


def inputs(random: np.random.Generator, count: int = 12, spread: float = 0.5, **changes: Any) -> LossInputs:
    def numbers(scale: float) -> torch.Tensor:
        return torch.tensor(random.normal(0, scale, count), dtype=torch.float64)

    now = numbers(1) - 3
    values = {
        "now_N": now,
        "proximal_N": now + numbers(spread),
        "behaviour_N": now + numbers(spread),
        "advantages_N": numbers(1),
        "weights_N": torch.tensor(random.uniform(0.01, 0.3, count)),
    }
    return LossInputs(**(values | changes))


def by_hand(i: LossInputs) -> float:
    """−J of a list of tokens, one token at a time, in plain Python."""
    total = 0.0
    columns = (i.now_N, i.proximal_N, i.behaviour_N, i.advantages_N, i.weights_N)
    for now, proximal, behaviour, gain, weight in zip(*(c.tolist() for c in columns), strict=True):
        ratio = math.exp(now - proximal)
        clipped = ratio
        if ratio < 1 - i.clip[0]:
            clipped = 1 - i.clip[0]
        if ratio > 1 + i.clip[1]:
            clipped = 1 + i.clip[1]
        gained = min(ratio * gain, clipped * gain)
        if i.dual_clip is not None and gain < 0:
            gained = max(gained, i.dual_clip * gain)
        if i.importance_cap is not None:
            gained *= min(math.exp(proximal - behaviour), i.importance_cap)
        total -= weight * gained
    return total


@pytest.mark.parametrize("dual", [None, 3.0, 1.3])
@pytest.mark.parametrize("cap", [None, 2.0, 1.1])
def test_the_loss_is_the_equation(cap: float | None, dual: float | None) -> None:
    for seed in range(20):
        one = inputs(np.random.default_rng(seed), importance_cap=cap, clip=(0.2, 0.28), dual_clip=dual)
        assert grpo_loss(one).loss.item() == pytest.approx(by_hand(one), rel=1e-12)


def test_a_bad_token_that_became_likely_does_not_take_the_update_over() -> None:
    """Two tokens of bad answers (A = −1), of equal weight: one is 600 times as likely as it was, the other as likely as
    ever. Without the dual clip the first has 600 times the gradient of the second; with it none, and a loss of c."""

    def gradients(dual_clip: float | None) -> tuple[list[float], LossOutputs]:
        now_N = torch.tensor([600.0, 1.0]).log().requires_grad_()
        ones_N, zeros_N = torch.ones(2), torch.zeros(2)
        found = grpo_loss(LossInputs(now_N, zeros_N, zeros_N, -ones_N, ones_N, dual_clip=dual_clip))
        found.loss.backward()
        assert now_N.grad is not None
        return now_N.grad.tolist(), found

    free, found = gradients(None)
    assert free == pytest.approx([600, 1]) and found.bounded == 0
    held, found = gradients(3.0)
    assert held == pytest.approx([0, 1]) and found.bounded == 1
    assert found.loss.item() == pytest.approx(3 + 1)


def test_two_tokens_by_hand() -> None:
    """A bad answer's two tokens (A = −2, weight ¼ each): the first is ½ as likely as it was, so clipped at 0.8; the
    second 1.5 times as likely, which is not clipped for a bad answer. The engine thought the first 4 times less likely
    than the trainer did, which is capped at 2."""
    one = LossInputs(
        now_N=torch.tensor([0.5, 1.5]).log(),
        proximal_N=torch.zeros(2),
        behaviour_N=torch.tensor([0.25, 1.0]).log(),
        advantages_N=torch.tensor([-2.0, -2.0]),
        weights_N=torch.tensor([0.25, 0.25]),
    )
    found = grpo_loss(one)
    # first: ¼ · 2 · max(0.5·2, 0.8·2) = 0.8; second: ¼ · 1 · 1.5·2 = 0.75
    assert found.loss.item() == pytest.approx(0.8 + 0.75)
    assert (found.tokens, found.clipped_low, found.clipped_high, found.capped) == (2, 1, 0, 1)
    assert found.ratio.item() == pytest.approx(2.0)


def test_its_gradient_is_that_of_finite_differences() -> None:
    one = inputs(np.random.default_rng(3), importance_cap=2.0)
    now_N = one.now_N.clone().requires_grad_()
    grpo_loss(LossInputs(**(vars(one) | {"now_N": now_N}))).loss.backward()
    assert now_N.grad is not None
    clipped = 0
    for n in range(len(now_N)):
        step = torch.zeros_like(one.now_N)
        step[n] = 1e-6
        up, down = (by_hand(LossInputs(**(vars(one) | {"now_N": one.now_N + s}))) for s in (step, -step))
        assert now_N.grad[n].item() == pytest.approx((up - down) / 2e-6, abs=1e-7)
        clipped += now_N.grad[n].item() == 0
    assert 0 < clipped < len(now_N)  # both sides of the clip were looked at


def test_the_first_update_on_its_own_data_is_the_plain_policy_gradient() -> None:
    random = np.random.default_rng(1)
    one = inputs(random, importance_cap=None)
    now_N = one.now_N.clone().requires_grad_()
    found = grpo_loss(LossInputs(**(vars(one) | {"now_N": now_N, "proximal_N": now_N.detach()})))
    found.loss.backward()
    assert now_N.grad is not None
    torch.testing.assert_close(now_N.grad, -one.weights_N * one.advantages_N)  # −w·A·∇log π


def test_no_advantage_and_no_weight_have_no_gradient() -> None:
    random = np.random.default_rng(1)
    each: list[dict[str, Any]] = [{"advantages_N": torch.zeros(12)}, {"weights_N": torch.zeros(12)}]
    for silenced in each:
        now_N = torch.randn(12, dtype=torch.float64, requires_grad=True)
        one = inputs(random, **silenced)
        broken = one.behaviour_N.clone()
        if "weights_N" in silenced:
            broken[0] = -math.inf  # of a token that is masked
        grpo_loss(LossInputs(**(vars(one) | {"now_N": now_N, "behaviour_N": broken}))).loss.backward()
        assert now_N.grad is not None and (now_N.grad == 0).all()


def test_the_order_of_tokens_does_not_matter_and_parts_add_up() -> None:
    one = inputs(np.random.default_rng(5), count=30)
    columns = {name: value for name, value in vars(one).items() if name.endswith("_N")}
    rest = {name: value for name, value in vars(one).items() if name not in columns}
    whole = grpo_loss(one)
    order = torch.randperm(30)
    mixed = grpo_loss(LossInputs(**{n: v[order] for n, v in columns.items()}, **rest))
    parts = [
        grpo_loss(LossInputs(**{n: v[part] for n, v in columns.items()}, **rest))
        for part in (slice(0, 7), slice(7, 30))
    ]
    for index, value in enumerate(whole):
        assert mixed[index].item() == pytest.approx(value.item())
        assert sum(part[index].item() for part in parts) == pytest.approx(value.item())


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any),
    st.integers(1, 5),
    st.sampled_from(["batch", "group"]),
)
def test_weights_come_to_one_an_update(tokens: list[int], updates: int, normalise: Any) -> None:
    weights = token_weights(tokens, updates, normalise)
    shares = [weight * count for weight, count in zip(weights, tokens, strict=True)]
    assert sum(shares) == pytest.approx(updates)
    filled = [i for i, count in enumerate(tokens) if count]
    if normalise == "batch":  # tokens weigh alike
        assert len({weights[i] for i in filled}) == 1
    else:  # groups do
        assert max(shares[i] for i in filled) == pytest.approx(min(shares[i] for i in filled))


# ── from answers to log-probabilities ─────────────────────────────────────────────────────────────────────────────


def answers(random: np.random.Generator, count: int = 9) -> list[Answer]:
    found = []
    for number in range(count):
        prompt, tokens = (random.integers(0, 29, random.integers(1, 12)) for _ in range(2))
        gain, weight = random.normal(), random.uniform(0.1, 1)
        logprobs = random.normal(-3, 0.2, len(tokens)).astype(np.float32)
        found.append(Answer(number // 3, prompt, tokens, logprobs, gain, weight))
    return found


def model() -> MiMo:
    torch.manual_seed(0)
    found = MiMo(CONFIG)
    for parameter in found.parameters():  # away from the symmetric beginning
        torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
    return found


def logprobs(policy: Policy, some: list[Answer], temperature: float = 1.0) -> torch.Tensor:
    part = micro_batch(some)
    return policy(part.tokens_BL, part.lengths, part.places_N, part.labels_N, temperature)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_selected_logprobs_are_those_of_a_softmax_over_everything(temperature: float) -> None:
    some = answers(np.random.default_rng(0))
    mimo = model()
    expected = []
    for answer in some:
        sequence = [*answer.prompt.tolist(), *answer.tokens.tolist()]
        hidden = mimo(torch.tensor([sequence])).main_BLD[0]
        all_LV = (mimo.lm_head(hidden) / temperature).double().log_softmax(-1)
        expected += [all_LV[len(answer.prompt) + i - 1, token] for i, token in enumerate(answer.tokens)]
    plain = next_logprobs(mimo, sequence)[len(some[-1].prompt) - 1, some[-1].tokens[0]]
    if temperature == 1.0:
        assert expected[-len(some[-1].tokens)].item() == pytest.approx(plain.item(), abs=1e-5)
    expected_N = torch.stack(expected)
    parameters = [p for n, p in mimo.named_parameters() if "mtp" not in n]
    slope_N = torch.randn(len(expected_N), dtype=torch.float64)
    wanted = torch.autograd.grad((expected_N * slope_N).sum(), parameters)

    found_N = logprobs(Policy(mimo), some, temperature)
    assert found_N.dtype == torch.float32
    torch.testing.assert_close(found_N.double(), expected_N.detach(), atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad((found_N * slope_N.float()).sum(), parameters)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_chunks_of_the_head_change_nothing() -> None:
    torch.manual_seed(1)
    x_ND, head_VD = torch.randn(37, 8), torch.randn(29, 8)
    labels_N = torch.randint(29, (37,))

    def run(chunk: int) -> list[torch.Tensor]:
        x, head = x_ND.clone().requires_grad_(), head_VD.clone().requires_grad_()
        found_N = SelectedLogprobs.apply(x, head, labels_N, 0.8, chunk)
        (found_N * torch.linspace(-1, 1, 37)).sum().backward()
        assert x.grad is not None and head.grad is not None
        return [found_N, x.grad, head.grad]

    for a, b in zip(run(5), run(1000), strict=True):
        torch.testing.assert_close(a, b)


def test_how_answers_are_packed_changes_neither_loss_nor_gradient() -> None:
    some = answers(np.random.default_rng(2), 12)

    def learnt(parts: list[list[Answer]]) -> tuple[float, list[torch.Tensor]]:
        policy, total = Policy(model()), 0.0
        for part in parts:
            batch, now_N = micro_batch(part), logprobs(policy, part)
            loss = grpo_loss(
                LossInputs(now_N, now_N.detach(), batch.behaviour_N, batch.advantages_N, batch.weights_N)
            ).loss
            loss.backward()
            total += loss.item()
        return total, [p.grad for p in policy.parameters() if p.grad is not None]

    whole = learnt([some])
    assert len(whole[1]) > 20
    plans = [
        split_micro_batches(some, 30),
        split_micro_batches(some, 60, ranks=5),
        split_micro_batches(list(reversed(some)), 1),
    ]
    for plan in plans:
        total, gradients = learnt(plan)
        assert total == pytest.approx(whole[0], rel=1e-5)
        for a, b in zip(gradients, whole[1], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_without_its_mtp_blocks_the_policy_is_the_trunk_and_they_come_back_unchanged() -> None:
    mimo = model()
    before = {name: tensor.clone() for name, tensor in mimo.state_dict().items()}
    policy = Policy(mimo)
    assert not any("mtp" in name for name, _ in policy.named_parameters())
    whole = policy.whole()
    assert whole is not None and list(whole.state_dict()) == list(before)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, before[name])


@settings(max_examples=50)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=30), st.integers(1, 4), st.integers(40, 200))
def test_every_answer_is_in_one_micro_batch_and_ranks_have_equally_many(
    lengths: list[int], ranks: int, tokens: int
) -> None:
    some = [
        Answer(i, np.zeros(1, int), np.zeros(n - 1, int), np.zeros(n - 1), 0.0) for i, n in enumerate(lengths)
    ]
    parts = split_micro_batches(some, tokens, ranks)
    assert sorted(a.group for part in parts for a in part) == list(range(len(lengths)))
    assert len(parts) % ranks == 0
    for part in filter(None, parts):
        assert len(part) * max(a.length for a in part) <= tokens or len(part) == 1
    assert 0 <= padding_share(parts) < 1


def test_updates_take_whole_groups_and_a_short_iteration_has_fewer() -> None:
    some = [
        Answer(group, np.zeros(1, int), np.zeros(2, int), np.zeros(2), 0.0)
        for group in (4, 4, 9, 9, 11)
        for _ in range(2)
    ]
    assert [sorted({a.group for a in part}) for part in split_updates(some, 2)] == [[4, 9], [11]]
    assert sum(map(len, split_updates(some, 2))) == len(some)


# ── the mismatch ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_mismatch_by_hand_and_in_parts() -> None:
    trainer, behaviour = torch.tensor([2.0, 1.0, 0.5, 1.05]).log(), torch.zeros(4)
    whole, parts = Mismatch(), Mismatch()
    whole.add(trainer, behaviour)
    for i in range(4):
        parts.add(trainer[i : i + 1], behaviour[i : i + 1])
    found = whole.values()
    ratios = [2.0, 1.0, 0.5, 1.05]
    logs = [math.log(r) for r in ratios]
    assert found == pytest.approx(parts.values())
    assert found == pytest.approx(
        {
            "mismatch_mean": sum(map(abs, logs)) / 4,
            "mismatch_max": math.log(2),
            "mismatch_k3": sum(r - 1 - d for r, d in zip(ratios, logs, strict=True)) / 4,
            "mismatch_outside": 0.5,
            "mismatch_ess": 4.55**2 / (4 * (4 + 1 + 0.25 + 1.05**2)),
        },
        rel=1e-6,
    )


def test_k3_estimates_the_divergence_and_a_forgotten_temperature_shows() -> None:
    """Tokens drawn at temperature 0.7 while the trainer thinks it was 1: against the exact sum over the vocabulary."""
    torch.manual_seed(0)
    logits_V = torch.randn(50) * 2
    behaviour_V, trainer_V = (logits_V / 0.7).log_softmax(-1), logits_V.log_softmax(-1)
    drawn_N = torch.multinomial(behaviour_V.exp(), 200_000, replacement=True)
    one = Mismatch()
    one.add(trainer_V[drawn_N], behaviour_V[drawn_N])
    found = one.values()
    exact = (behaviour_V.exp() * (behaviour_V - trainer_V)).sum().item()
    assert found["mismatch_k3"] == pytest.approx(exact, rel=0.03)
    chi = ((trainer_V * 2 - behaviour_V).exp()).sum().item()  # E[r²]; E[r] = 1
    assert found["mismatch_ess"] == pytest.approx(1 / chi, rel=0.05)
    assert found["mismatch_outside"] > 0.5
