"""A tokenizer that any cut and any number of threads give alike, and that loses no byte."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import TEXTS, rows_of, run, run_rounds, trained, write_dataset, write_documents

from mixtures.tokenizer import PASSAGE, SPECIAL, Tokenizer, open_tokenizer
from pipeline import models
from pipeline.dataset import Dataset
from pipeline.errors import RequestError
from pipeline.runner import RunOptions

MANY = [f"{text} {n * 7919 % 1000}" for n, text in enumerate(TEXTS * 40)]


def table_of(texts):
    return pa.table({"id": [f"{n:04d}" for n in range(len(texts))], "text": pa.array(texts, pa.string())})


def train(tables, **config):
    return run_rounds(Tokenizer(Tokenizer.Config(**{"vocabulary": 400} | config)), tables)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained(folder, MANY, 500)
    return open_tokenizer(Dataset.open(f"{folder}/tokenizer"))[0]


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=300, deadline=None)
def test_every_text_comes_back_byte_for_byte(bpe, text):
    ids = encode(bpe, text)
    assert bpe.decode(ids, skip_special_tokens=False) == text and min(ids, default=3) > 2


def test_real_texts_come_back_and_are_short(bpe):
    for text in TEXTS:
        assert bpe.decode(encode(bpe, text), skip_special_tokens=False) == text
    assert len(encode(bpe, TEXTS[0])) < len(TEXTS[0]) / 2


def test_words_are_split_as_documented(bpe):
    def words(text):
        return [text[a:b] for _, (a, b) in bpe.pre_tokenizer.pre_tokenize_str(text)]

    assert words("We'd add 123") == ["We", "'d", " add", " ", "1", "2", "3"]
    assert words("if x:\n\n    return") == ["if", " x", ":\n\n", "   ", " return"]
    assert words("勾股定理。\r\n因此") == ["勾股定理", "。\r\n", "因此"]


def test_merges_are_the_most_frequent_pairs_and_special_tokens_come_first(tmp_path):
    # "ab" stands 3 × 10 times, then "abab" 2 × 10 times (of "ab ab"), then the third "ab".
    row = trained(tmp_path, ["ababab"] * 10 + ["xy"] * 7, vocabulary=256 + 3 + 4)
    tokenizer, end_of_text = open_tokenizer(Dataset.open(f"{tmp_path}/tokenizer"))
    assert [tokenizer.id_to_token(id) for id in range(3)] == list(SPECIAL) and end_of_text == 0
    assert [tokenizer.id_to_token(id) for id in range(259, 263)] == ["ab", "abab", "ababab", "xy"]
    assert row["vocabulary"] == 263
    assert row["sha256"] == hashlib.sha256(row["tokenizer_json"].encode()).hexdigest()


@pytest.mark.parametrize("parallel", ["true", "false"])
def test_any_cut_and_any_number_of_threads_train_the_same(parallel, monkeypatch):
    (reference,) = train([table_of(MANY)], sample_bytes=6000)[-1]
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", parallel)
    table = table_of(MANY)
    order = np.random.default_rng(3).permutation(len(table))
    for cut in (
        (table.slice(0, 33), table.slice(33)),
        (table.take(order).slice(0, 90), table.take(order).slice(90)),
    ):
        assert train(list(cut), sample_bytes=6000)[-1][0].equals(reference)


def test_the_runner_trains_the_same_with_any_workers(tmp_path):
    made = []
    for workers, shards in ((1, 1), (2, 5)):
        folder = tmp_path / str(workers)
        write_documents(folder, MANY, shards, keep=range(150))
        config = Tokenizer.Config(vocabulary=450, sample_bytes=5000)
        options = RunOptions(workers=1, quiet=True) if workers == 1 else None  # two of them last
        (summary,) = run(folder, Tokenizer(config), options=options)
        made += rows_of(folder, "tokenizer")
    assert made[0] == made[1] and made[0]["vocabulary"] == 450 and summary.kept == 1
    kept_only = train([table_of(MANY[:150])], vocabulary=450, sample_bytes=5000)[-1][0]  # the policy's rows
    assert kept_only.to_pylist() == [made[0]]


def test_the_sample_is_of_the_size_asked_for_and_no_giant_rules_it():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh é语"), rng.integers(200, 2000))) for _ in range(2000)]
    size = sum(len(text.encode()) for text in texts)
    sample = train([table_of(texts[:500]), table_of(texts[500:])], sample_bytes=size // 4)[2]
    taken = sum(len(text.encode()) for part in sample for text in part["text"].to_pylist())
    assert taken == pytest.approx(size / 4, rel=0.1)
    giant = "语" + "".join(rng.choice(list("xyzé语 "), 5 * PASSAGE))
    (part,) = train([table_of([giant, "small"])], sample_bytes=10**9)[2]
    passage, small = part["text"].to_pylist()
    assert passage in giant and PASSAGE - 4 <= len(passage.encode()) <= PASSAGE and small == "small"


def test_a_given_file_is_taken_as_it_is(tmp_path):
    row = trained(tmp_path / "first")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(row["tokenizer_json"], encoding="utf-8")
    for file in (folder, folder / "tokenizer.json"):
        stage = Tokenizer(Tokenizer.Config(file=str(file)))
        assert run_rounds(stage, [])[-1][0].to_pylist() == [row]
    before = stage.key()
    (folder / "tokenizer.json").write_text(row["tokenizer_json"] + "\n", encoding="utf-8")
    assert stage.key() != before  # another file is another tokenizer
    assert (
        Tokenizer(Tokenizer.Config(file=str(folder), end_of_text="<|im_end|>"))
        .given(None)["end_of_text"][0]
        .as_py()
        == 2
    )


def test_the_tokenizer_of_a_known_model():
    name = "smollm2-135m-instruct"
    if not (
        models.cache_folder() / "models" / models.sha256_of(name)[:16] / name / "tokenizer.json"
    ).exists():
        pytest.skip(f"{name} is not in the model cache")
    (row,) = run_rounds(Tokenizer(Tokenizer.Config(file=name)), [])[-1][0].to_pylist()
    assert row["vocabulary"] == 49152 and row["end_of_text"] == 0


def test_wrong_requests_say_what_to_do(tmp_path):
    for wrong in (
        {},
        {"file": "x", "vocabulary": 500},
        {"vocabulary": 258},
        {"vocabulary": 500, "end_of_text": "</s>"},
    ):
        with pytest.raises(ValueError):
            Tokenizer.Config(**wrong)
    with pytest.raises(RequestError, match=r"no file .*nowhere.*smollm2-135m-instruct"):
        Tokenizer(Tokenizer.Config(file=str(tmp_path / "nowhere"))).key()
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    with pytest.raises(RequestError, match=r"tokenizer.json is no tokenizer.json"):
        Tokenizer(Tokenizer.Config(file=str(file))).given(None)
    file.write_text(trained(tmp_path)["tokenizer_json"], encoding="utf-8")
    with pytest.raises(RequestError, match=r"no special token </s>.*<\|endoftext\|>, <\|im_start\|>"):
        Tokenizer(Tokenizer.Config(file=str(file), end_of_text="</s>")).given(None)
    write_dataset(tmp_path, "empty", [Tokenizer.schema.empty_table()])
    with pytest.raises(RequestError, match="holds 0 tokenizers"):
        open_tokenizer(Dataset.open(f"{tmp_path}/empty"))


def test_nothing_to_train_on_still_gives_bytes():
    (row,) = train([table_of([])])[-1][0].to_pylist()
    assert row["vocabulary"] == 259
