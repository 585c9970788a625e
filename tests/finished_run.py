"""One tiny run for the whole test run, from the sample documents to the report, made by the command itself.

Its generator is the random model of `tests/vllm_server.py`: what it writes is worthless and the verifiers say so. Takes
about two minutes on two cores.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.server import Server

ROOT = Path(__file__).parents[1]


def reasonmill(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    command = [sys.executable, "-m", "reasonmill.command", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)


def recipe(folder: Path, server: Server) -> dict:
    """Every stage and step at its smallest."""
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    mixture = [
        {"name": "stage1", "tokens": "12K", "context": 128, "factors": {"technical": 0.5}},
        {"name": "stage2", "tokens": "6K", "context": 128, "like": "stage1", "shares": {"maths": 0.5}},
        {"name": "stage3", "tokens": "4K", "context": 256, "like": "stage2"},
    ]
    phases = [
        {"tokens": "4K", "stage": "stage1", "context": 128, "rope_base": 10000, "sequences": 8}
        | {"learning_rate": {"from": 0, "to": 3.0e-3}, "mtp_weight": 0.3},
        {"tokens": "6K", "learning_rate": {"to": 1.0e-3, "shape": "cosine"}, "mtp_weight": 0.1},
        {"tokens": "4K", "stage": "stage2"},
        {"tokens": "3K", "stage": "stage3", "context": 256, "rope_base": 640000, "sequences": 4},
    ]
    additions = str(folder / "corpus" / "arithmetic" / "problems.jsonl")
    reinforcement = {
        "problems": str(folder / "run" / "problems"),
        "groups": 4,
        "group_size": 4,
        "updates": 2,
    } | {
        "reward": "soft",
        "max_tokens": 12,
        "generator": "torch",
        "judges": 1,
        "most_groups": 3,
    }
    return {
        "name": "tiny run",
        "output": str(folder / "run"),
        "sources": str(folder / "corpus" / "sources.json"),
        "stages": {
            "read": {"records_per_shard": 20},
            "urls": None,
            "extract": None,
            "language": None,
            "signals": None,
            "tag": {"taggers": [str(folder / "corpus" / "tagger")]},
            "rights": None,
            "sensitive": {"lists": []},
            "signatures": None,
            "dedup": {"threshold": 0.8},
            "decontaminate": {"benchmarks": [str(folder / "corpus" / "benchmark.jsonl")]},
            "policy": {"file": str(ROOT / "recipes" / "demo-policy.yaml")},
            "synth": {
                "server": server.base_url,
                "model": server.model,
                "context": 256,  # half of the server's: its tokens are shorter than a real model's
                "analyse_documents": 2,
                "tasks": {"chain_sum": {"size": 3}, "gcd": {"size": 2}},
                "problems": {},
                "worked_examples": 0,
                "write_queries": 2,
                "analyse_max_tokens": 24,
                "solve_max_tokens": 24,
                "write_max_tokens": 24,
            },
            "verify": None,
            "answer_files": {"files": [str(folder / "corpus" / "arithmetic" / "answers.jsonl")]},
            "answers": None,
            "verify_answers": None,
            "tokenizer": {"vocabulary": 512},
            "tokens": None,
            "answer_tokens": None,
            "mix": {"stages": mixture, "tokens_per_shard": "4K"},
            "sft_mix": {"context": 128, "shards": 1},
        },
        "pretrain": {
            "model": {"size": "tiny", **small, "num_key_value_heads": 1, "head_dim": 32},
            "schedule": {"phases": phases},
            "micro_batch_tokens": 1024,
        },
        "export": {},
        "check": {"prompts": ["The sum of the first", "def mean(values):"], "new_tokens": 8},
        "sft": {"epochs": 1, "sequences": 128, "learning_rate": 1.0e-3},
        "rl_data": {
            "problems": {
                "sets": {additions: 40},
                "check": {additions: "digits"},
                "prompts": {additions: "bare"},
            }
        },
        "rl_zero": {"iterations": 1, **reinforcement},
        "rl": {"iterations": 2, **reinforcement},
        "report": True,
    }


@pytest.fixture(scope="session")
def finished_recipe(vllm_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe's file. It has been run: what came of it is in `run` beside it, what was printed in `printed.txt`."""
    folder = tmp_path_factory.mktemp("line")
    corpus = reasonmill("demo-corpus", str(folder / "corpus"), "--offline")
    assert corpus.returncode == 0, corpus.stderr
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(folder, vllm_server), sort_keys=False))
    done = reasonmill("run", str(path))
    (folder / "printed.txt").write_text(done.stdout)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return path


@pytest.fixture(scope="session")
def finished_run(finished_recipe: Path) -> Path:
    """Folder of the finished run."""
    return finished_recipe.with_name("run")
