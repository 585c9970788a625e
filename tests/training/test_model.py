"""The model against transformers' Qwen2, plain cross-entropy, separate forward passes and hand-worked cases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RMSNorm, Qwen2RotaryEmbedding

from pipeline.errors import RequestError
from training.losses import losses
from training.model import MiMo, attend, document_mask, generate_greedy, places
from training.model_config import SIZES, ModelConfig, model_config

SMALL = ModelConfig(
    vocab_size=97,
    hidden_size=128,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    rope_theta=5_000.0,
    max_position_embeddings=256,
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The models are too small for more: a second thread mostly waits, and burns its core while it does."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_model(config: ModelConfig = SMALL, seed: int = 0) -> MiMo:
    """Every parameter counts: norms are not ones and biases not zeros, or a missing one would go unseen."""
    torch.manual_seed(seed)
    model = MiMo(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            else:
                parameter.normal_(std=1 / math.sqrt(parameter.shape[1]))
    return model


def qwen2(config: ModelConfig, **changes: object) -> Qwen2Config:
    names = {f.name for f in dataclasses.fields(config)} - {"num_nextn_predict_layers", "initializer_range"}
    return Qwen2Config(
        **{name: getattr(config, name) for name in names} | changes,  # type: ignore[arg-type]
        tie_word_embeddings=False,
        attn_implementation="eager",
    )


def test_the_7b_model_has_the_published_sizes():
    with torch.device("meta"):
        model = MiMo(SIZES["mimo-7b"])
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert sum(counts.values()) == 7_833_409_536
    assert sum(n for name, n in counts.items() if "mtp_layers" in name) == 210_790_400
    mtp = {name.removeprefix("model.mtp_layers.0.") for name in counts if "mtp_layers" in name}
    attention = {f"self_attn.{x}_proj.{w}" for x in "qkv" for w in ("weight", "bias")} | {
        "self_attn.o_proj.weight"
    }
    mlp = {f"mlp.{x}_proj.weight" for x in ("gate", "up", "down")}
    norms = {"input_layernorm.weight", "post_attention_layernorm.weight"}
    own = {"token_layernorm.weight", "hidden_layernorm.weight", "input_proj.weight", "final_layernorm.weight"}
    assert mtp == attention | mlp | norms | own
    layer = {name.removeprefix("model.layers.35.") for name in counts if "layers.35." in name}
    assert layer == attention | mlp | norms
    assert {n for n in counts if "layers." not in n} == {
        "model.embed_tokens.weight",
        "model.norm.weight",
        "lm_head.weight",
    }


@pytest.mark.parametrize("theta", [5_000.0, 640_000.0])
def test_main_model_equals_transformers_qwen2(theta):
    """Also when the RoPE base of the call is not the one the model was made with."""
    model = random_model()
    peer = Qwen2ForCausalLM(qwen2(SMALL, rope_theta=theta)).eval()
    ignored = peer.load_state_dict(model.state_dict(), strict=False)
    assert not ignored.missing_keys
    assert all("mtp_layers" in name for name in ignored.unexpected_keys)
    tokens_BL = torch.randint(SMALL.vocab_size, (2, 150))
    with torch.no_grad():
        ours = model.lm_head(model(tokens_BL, rope_theta=theta).main_BLD)
        theirs = peer(tokens_BL).logits
    assert theirs.std() > 0.5
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def mtp_by_transformers(model: MiMo, tokens_BL: torch.Tensor, blocks: int) -> list[torch.Tensor]:
    """The MTP blocks written a second time out of transformers' parts; one segment a row."""
    config = qwen2(model.config)
    peer = Qwen2ForCausalLM(config).eval()
    peer.load_state_dict(model.state_dict(), strict=False)
    unnormed: list[torch.Tensor] = []
    peer.model.norm.register_forward_pre_hook(lambda _, inputs: unnormed.append(inputs[0]))
    peer(tokens_BL)
    hidden_BLD = unnormed[0]
    length = tokens_BL.shape[1]
    outputs = []
    for n in range(blocks):
        prefix = f"model.mtp_layers.{n}."
        weights = {k.removeprefix(prefix): v for k, v in model.state_dict().items() if k.startswith(prefix)}
        layer = Qwen2DecoderLayer(config, 0).eval()
        layer.load_state_dict(weights, strict=False)

        def norm(name: str, weights: dict[str, torch.Tensor] = weights) -> Qwen2RMSNorm:
            module = Qwen2RMSNorm(config.hidden_size, config.rms_norm_eps)
            module.load_state_dict({"weight": weights[f"{name}.weight"]})
            return module

        embedding_BLD = torch.zeros_like(hidden_BLD)
        for i in range(length - n - 1):
            if n > 0 or i > 0:
                embedding_BLD[:, i] = peer.model.embed_tokens(tokens_BL[:, i + n + 1])
        joined = torch.cat([norm("hidden_layernorm")(hidden_BLD), norm("token_layernorm")(embedding_BLD)], -1)
        x_BLD = joined @ weights["input_proj.weight"].T
        rope = Qwen2RotaryEmbedding(config)(x_BLD, torch.arange(length)[None])
        causal = torch.full((length, length), -torch.inf).triu(1)[None, None]
        hidden_BLD = norm("final_layernorm")(layer(x_BLD, attention_mask=causal, position_embeddings=rope))
        outputs.append(hidden_BLD)
    return outputs


@torch.no_grad()
def test_mtp_equals_a_second_implementation():
    model = random_model(dataclasses.replace(SMALL, num_nextn_predict_layers=2))
    tokens_BL = torch.randint(SMALL.vocab_size, (2, 40))
    ours = model(tokens_BL).mtp
    theirs = mtp_by_transformers(model, tokens_BL, 2)
    assert len(ours) == 2
    for a, b in zip(ours, theirs, strict=True):
        assert b.std() > 0.5
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_what_an_mtp_slot_sees():
    """Slot i sees the tokens up to i+1; slot 0 alone does not see its token 1, as in vLLM."""
    model = random_model()
    tokens_BL = torch.randint(SMALL.vocab_size, (1, 12))
    before = model(tokens_BL).mtp[0][0]
    for changed in range(12):
        other_BL = tokens_BL.clone()
        other_BL[0, changed] = (other_BL[0, changed] + 1) % SMALL.vocab_size
        differs = (model(other_BL).mtp[0][0] - before).abs().amax(-1) > 1e-6
        first = {0: 0, 1: 1}.get(changed, changed - 1)
        assert differs.tolist() == [slot >= first for slot in range(12)]


@pytest.mark.parametrize("blocks", [1, 2])
@torch.no_grad()
def test_packed_segments_equal_separate_passes(blocks):
    model = random_model(dataclasses.replace(SMALL, num_nextn_predict_layers=blocks))
    lengths = [[5, 1, 30, 2], [48], [3, 20]]
    tokens_BL = torch.randint(SMALL.vocab_size, (3, 48))
    packed = model(tokens_BL, lengths)
    for b, row in enumerate(lengths):
        start = 0
        for length in row:
            part = slice(start, start + length)
            alone = model(tokens_BL[b : b + 1, part])
            torch.testing.assert_close(packed.main_BLD[b, part], alone.main_BLD[0], atol=1e-5, rtol=1e-5)
            for ours, theirs in zip(packed.mtp, alone.mtp, strict=True):
                torch.testing.assert_close(ours[b, part], theirs[0], atol=1e-5, rtol=1e-5)
            start += length


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_all_attention_paths_agree():
    q_BHLK, k_BGLK, v_BGLK = (
        torch.randn(2, 4, 128, 32),
        torch.randn(2, 2, 128, 32),
        torch.randn(2, 2, 128, 32),
    )
    whole_BL = places([[128], [100]], 2, 128, "cpu").segment_BL
    causal, masked = (attend(q_BHLK, k_BGLK, v_BGLK, mask) for mask in (None, document_mask(whole_BL)))
    torch.testing.assert_close(masked[0], causal[0])
    torch.testing.assert_close(masked[1, :, :100], causal[1, :, :100])

    segment_BL = places([[50, 78], [1, 100, 20]], 2, 128, "cpu").segment_BL
    blocks = create_block_mask(
        lambda b, h, q, k: (q >= k) & (segment_BL[b, q] == segment_BL[b, k]), 2, None, 128, 128, device="cpu"
    )
    torch.testing.assert_close(
        attend(q_BHLK, k_BGLK, v_BGLK, document_mask(segment_BL)), attend(q_BHLK, k_BGLK, v_BGLK, blocks)
    )


def plain_losses(
    model: MiMo, tokens_BL: torch.Tensor, lengths: list[list[int]]
) -> list[tuple[torch.Tensor, int]]:
    """(sum, count) of the main and the MTP loss by whole logits, segment by segment."""
    hidden = model(tokens_BL, lengths)
    results = []
    for ahead, x_BLD in enumerate(hidden, start=1):
        total, count = torch.zeros(()), 0
        for b, row in enumerate(lengths):
            start = 0
            for length in row:
                if length > ahead:
                    logits = model.lm_head(
                        (x_BLD if ahead == 1 else x_BLD[0])[b, start : start + length - ahead]
                    )
                    labels = tokens_BL[b, start + ahead : start + length]
                    total, count = (
                        total + F.cross_entropy(logits, labels, reduction="sum"),
                        count + len(labels),
                    )
                start += length
        results.append((total, count))
    return results


@pytest.mark.parametrize("chunk", [7, 96, 1000])
def test_losses_and_gradients_equal_plain_cross_entropy(chunk):
    model = random_model()
    tokens_BL = torch.randint(SMALL.vocab_size, (2, 48))
    lengths = [[20, 1, 2, 10], [48]]
    hidden = model(tokens_BL, lengths)
    segment_BL = places(lengths, 2, 48, "cpu").segment_BL
    ours = losses(*hidden, model.lm_head.weight, tokens_BL, segment_BL, chunk)
    (0.7 * ours.main + 0.3 * ours.mtp).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    (main, main_tokens), (mtp, mtp_tokens) = plain_losses(model, tokens_BL, lengths)
    assert (
        (int(ours.main_tokens), int(ours.mtp_tokens))
        == (main_tokens, mtp_tokens)
        == (29 + 1 + 47 - 1, 18 + 8 + 46)
    )
    torch.testing.assert_close(ours.main_sum, main)
    torch.testing.assert_close(ours.mtp_sum, mtp)
    (0.7 * main / main_tokens + 0.3 * mtp / mtp_tokens).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_losses_of_microbatches_add_up():
    model = random_model()
    tokens_BL = torch.randint(SMALL.vocab_size, (3, 32))
    lengths = [[32], [3, 4], [16, 10]]
    whole = model(tokens_BL, lengths, with_losses=True)
    parts = [model(tokens_BL[b : b + 1], lengths[b : b + 1], with_losses=True) for b in range(3)]
    for name in whole._fields:
        torch.testing.assert_close(getattr(whole, name), sum(getattr(part, name) for part in parts))


def test_nothing_of_the_size_of_all_logits_is_ever_made():
    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.numel = max(self.numel, result.numel())
            return result

    vocabulary, positions, chunk = 5_000, 256, 16
    head_VD = torch.randn(vocabulary, 8, requires_grad=True)
    main_BLD = torch.randn(1, positions, 8, requires_grad=True)
    tokens_BL = torch.randint(vocabulary, (1, positions))
    with Largest() as largest:
        losses(main_BLD, (main_BLD,), head_VD, tokens_BL, torch.zeros_like(tokens_BL), chunk).main.backward()
    assert largest.numel == chunk * vocabulary < positions * vocabulary


def test_bf16_losses_keep_float32_softmax_and_gradients():
    model = random_model()
    tokens_BL = torch.randint(SMALL.vocab_size, (2, 64))
    exact = model(tokens_BL, with_losses=True)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(tokens_BL, with_losses=True)
    (rounded.main + rounded.mtp).backward()
    assert rounded.main_sum.dtype == torch.float32
    assert model.lm_head.weight.grad.dtype == torch.float32
    assert abs(rounded.main.item() - exact.main.item()) < 0.02
    assert abs(rounded.mtp.item() - exact.mtp.item()) < 0.02


def test_activation_checkpointing_changes_nothing():
    model = random_model()
    tokens_BL = torch.randint(SMALL.vocab_size, (2, 32))
    gradients = []
    for model.activation_checkpointing in (False, True):
        model.zero_grad()
        result = model(tokens_BL, [[10, 22], [32]], with_losses=True)
        (result.main + result.mtp).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


def test_no_gradient_is_computed_for_an_evaluation():
    model = random_model()
    with torch.no_grad():
        result = model(torch.randint(SMALL.vocab_size, (1, 8)), with_losses=True)
    assert not result.main_sum.requires_grad
    assert result.main.item() == pytest.approx(result.main_sum.item() / 7)


def test_new_weights_are_as_documented():
    torch.manual_seed(0)
    model = MiMo(SIZES["tiny"])
    state = model.state_dict()
    assert all((tensor == 0).all() for name, tensor in state.items() if name.endswith("bias"))
    assert all((tensor == 1).all() for name, tensor in state.items() if "norm" in name)
    assert state["lm_head.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    assert state["model.layers.3.mlp.down_proj.weight"].std().item() == pytest.approx(0.02 / 8**0.5, rel=0.02)
    result = model(torch.randint(8192, (2, 64)), with_losses=True)
    assert result.main.item() == pytest.approx(math.log(8192), abs=0.1)  # knows nothing yet
    assert result.mtp.item() == pytest.approx(math.log(8192), abs=0.1)


def test_greedy_generation_by_hand():
    """A model whose every block adds nothing and whose head maps each token's embedding to the next token."""
    config = dataclasses.replace(SMALL, vocab_size=64, hidden_size=64, head_dim=16, num_hidden_layers=1)
    model = MiMo(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(64))
        model.lm_head.weight.copy_(torch.eye(64).roll(1, dims=0))
    tokens, logprobs = generate_greedy(model, [3, 60], 6)
    assert tokens == [61, 62, 63, 0, 1, 2]
    # The norm makes the one √64 = 8, the others stay 0.
    assert logprobs == pytest.approx([8 - math.log(math.exp(8) + 63)] * 6, abs=1e-4)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("huge", "size 'huge' is unknown; expected one of tiny, mimo-7b"),
        ({"size": "tiny", "layers": 3}, "unknown field 'layers'"),
        ({"hidden_size": 64}, "vocab_size, intermediate_size, .* missing"),
        ({"size": "tiny", "hidden_size": 0}, "hidden_size is 0; expected a positive whole number"),
        ({"size": "tiny", "num_hidden_layers": 2.0}, "num_hidden_layers is 2.0"),
        ({"size": "tiny", "rms_norm_eps": "1e-5"}, "in YAML 1.0e-5"),
        ({"size": "tiny", "num_attention_heads": 3}, "3 is no multiple of num_key_value_heads 2"),
        ({"size": "tiny", "head_dim": 64}, "4 heads of head_dim 64; .* hidden_size 128 divided"),
        ({"size": "tiny", "hidden_size": 132, "head_dim": 33}, "expected an even head_dim"),
    ],
)
def test_a_wrong_request_is_explained(asked, message):
    with pytest.raises(RequestError, match=message):
        model_config(asked)


def test_a_request_may_start_from_a_size():
    config = model_config({"size": "tiny", "num_nextn_predict_layers": 0}, vocab_size=500)
    assert config == dataclasses.replace(SIZES["tiny"], num_nextn_predict_layers=0, vocab_size=500)
    assert len(MiMo(config)(torch.zeros(1, 3, dtype=torch.int64)).mtp) == 0


def test_segments_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="row 1"):
        places([[4], [3, 2]], 2, 4, "cpu")
    with pytest.raises(ValueError, match="2 rows"):
        places([[4], [4]], 1, 4, "cpu")
