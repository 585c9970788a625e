"""A language model as a tagger: it learns what labels say, of encoders and decoders, and predicts the same when opened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from filters.taxonomy.heads import targets
from filters.taxonomy.held_out import split
from filters.taxonomy.rubric import Dimension
from filters.taxonomy.tag import open_tagger
from filters.taxonomy.train import train
from pipeline.errors import RequestError
from training.tagger_lm import LMOptions, LMTagger, fine_tune, lm_student, loss_of_labels

DEPTH = Dimension("depth", ("none", "some", "much"), ordinal=True, first=1)
DOMAIN = Dimension("domain", ("maths", "news"), ordinal=False)
WORDS = {"maths": "sum root prime angle", "news": "mayor storm vote match"}
STEPS = "therefore hence because"
OTHER = "the a of to in and is it that one two day way man old new big red cat sea"
OPTIONS = LMOptions(context=48, epochs=8, batch_tokens=768, learning_rate=5e-3, head_factor=4.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def labelled() -> pa.Table:
    """Depth is how many words of inference there are (1, 2, 3 from 0, 1–3, 4 on), domain whose words occur."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(600):
        domain = DOMAIN.levels[int(random.integers(2))]
        steps = int(random.choice([0, 2, 5]))
        words = [
            *random.choice(OTHER.split(), int(random.integers(5, 30))),
            *random.choice(WORDS[domain].split(), 3),
            *random.choice(STEPS.split(), steps),
        ]
        random.shuffle(words)
        level = 1.0 + (steps > 0) + (steps > 3)
        rows.append(
            {
                "id": f"d{i}",
                "text": " ".join(words),
                "host": f"h{i % 60}",
                "cluster": f"d{i}",
                "kind": None,
                "weight": 1.0,
                "label_depth": level if i % 7 else None,
                "again_depth": None,
                "label_domain": domain,
                "again_domain": None,
            }
        )
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("id", "text", "host", "cluster", "kind")),
            ("weight", pa.float64()),
            *((f"{what}_depth", pa.float32()) for what in ("label", "again")),
            *((f"{what}_domain", pa.string()) for what in ("label", "again")),
        ]
    )
    return pa.Table.from_pylist(rows, schema)


@pytest.fixture(scope="module")
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, labelled: pa.Table
) -> Path:
    """A folder as transformers saves it: random weights of the architecture asked for, byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(labelled["text"].to_pylist(), trainer)
    folder = tmp_path_factory.mktemp("model")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    if request.param == "encoder":
        BertModel(BertConfig(**sizes, max_position_embeddings=64)).save_pretrained(folder)
    else:
        LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(folder)
    return folder


both = pytest.mark.parametrize("model", ["decoder", "encoder"], indirect=True)
decoder = pytest.mark.parametrize("model", ["decoder"], indirect=True)


@both
def test_it_learns_and_says_the_same_when_opened(model: Path, labelled: pa.Table, tmp_path: Path):
    card = train(
        labelled,
        [DEPTH, DOMAIN],
        tmp_path / "tagger",
        lm_student(model, OPTIONS),
        name="small",
        target="steps",
        resamples=50,
    )
    depth, domain = card["dimensions"]["depth"], card["dimensions"]["domain"]
    assert depth["thresholds"][0]["auc"]["value"] > 0.95
    assert depth["thresholds"][1]["auc"]["value"] > 0.9
    assert depth["thresholds"][0]["over_length"]["low"] > 0.1
    assert domain["accuracy"]["value"] > 0.9
    described = json.loads((tmp_path / "tagger" / "tagger.json").read_text())
    assert (described["kind"], described["name"], described["target"]) == ("lm", "small", "steps")
    assert described["trained_on"]["rows"] == card["train"]["rows"]
    assert (described["options"]["epochs"], described["options"]["model"]) == (OPTIONS.epochs, model.name)
    assert (tmp_path / "tagger" / "card.md").read_text().startswith("# small")

    tagger = open_tagger(tmp_path / "tagger")  # as the stage `tag` does, all digests compared
    assert isinstance(tagger, LMTagger)
    held_out = labelled.take(pa.array(split(labelled, 0.2, 0)[1]))
    found = tagger.predict(held_out["text"])
    assert found["depth"].shape == (len(held_out), 2)
    assert (np.diff(found["depth"], axis=1) <= 0).all()
    assert found["domain"].sum(1) == pytest.approx(np.ones(len(held_out)), abs=1e-5)
    right = np.array(DOMAIN.levels)[found["domain"].argmax(1)] == np.array(
        held_out["label_domain"].to_pylist()
    )
    assert right.mean() == pytest.approx(domain["accuracy"]["value"], abs=1e-4)  # the model that was measured
    one_by_one = [tagger.predict(held_out["text"].slice(i, 1))["depth"][0] for i in range(20)]
    assert np.array(one_by_one) == pytest.approx(
        found["depth"][:20], abs=1e-4
    )  # padding and order change nothing


@decoder
def test_equal_seeds_give_equal_taggers(model: Path, labelled: pa.Table):
    options = LMOptions(context=48, epochs=1, batch_tokens=2048, learning_rate=3e-3)
    texts = labelled["text"].slice(0, 30)
    first, second = (fine_tune(labelled, [DEPTH], model, options).predict(texts)["depth"] for _ in range(2))
    assert np.array_equal(first, second)


@decoder
def test_long_documents_are_read_at_both_ends_and_in_the_middle(model: Path, labelled: pa.Table):
    tagger = fine_tune(labelled, [DEPTH], model, LMOptions(context=30, epochs=0))
    body = ["cat"] * 50_000
    for place in (0, 24_999, 49_999):
        words = [*body]
        words[place] = "therefore"
        (tokens,) = tagger.tokens(pa.chunked_array([[" ".join(words)]]))
        assert len(tokens) == 30
        assert "therefore" in tagger.tokenizer.decode(tokens), place
    assert len(tagger.tokens(pa.chunked_array([[""]]))[0]) == 1
    assert np.isfinite(tagger.predict(pa.chunked_array([["", "cat"]]))["depth"]).all()


def test_the_loss_is_that_of_each_label_alone(labelled: pa.Table):
    """A second way: row by row, dimension by dimension, in float64."""
    wanted = {d.name: targets(labelled, d) for d in (DEPTH, DOMAIN)}
    weights = np.random.default_rng(0).random(len(labelled)).astype(np.float32)
    batch = np.array([0, 3, 7, 12, 14])  # 0, 7 and 14 have no depth
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = 0.0
    for score, row in zip(scores, batch, strict=True):
        level = labelled["label_depth"][int(row)].as_py()
        if level is not None:
            yes = torch.sigmoid(score[:2])
            expected -= (
                weights[row]
                * sum(torch.log(p if level >= k else 1 - p) for p, k in zip(yes, (2, 3), strict=True))
                / 2
            )
        expected -= (
            weights[row]
            * F.log_softmax(score[2:], 0)[DOMAIN.levels.index(labelled["label_domain"][int(row)].as_py())]
        )
    found = loss_of_labels(scores, wanted, weights, batch, (DEPTH, DOMAIN))
    assert found.item() == pytest.approx(expected.item() / 5, rel=1e-6)


@decoder
def test_what_does_not_fit_is_named(model: Path, labelled: pa.Table, tmp_path: Path):
    with pytest.raises(RequestError, match=r"is no model: it has no config\.json"):
        train(labelled, [DEPTH], tmp_path / "out", lm_student(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nonesuch"}')
    with pytest.raises(RequestError, match="cannot be loaded by transformers"):
        train(labelled, [DEPTH], tmp_path / "out", lm_student(tmp_path))
    untaught = lm_student(model, LMOptions(context=16, epochs=0))
    train(labelled, [DEPTH], tmp_path / "tagger", untaught, resamples=5)
    said = json.loads((tmp_path / "tagger" / "tagger.json").read_text())
    said["dimensions"].append(DOMAIN.to_dict())
    (tmp_path / "tagger" / "tagger.json").write_text(json.dumps(said))
    with pytest.raises(RequestError, match=r"has 2 outputs of 32 inputs, expected 4 of 32"):
        LMTagger.open(tmp_path / "tagger")
