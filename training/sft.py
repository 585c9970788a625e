"""Supervised fine-tuning: answers to queries, packed by the stage `sft_mix`, on top of a model folder.

    accelerate launch --cpu --num_processes 1 -m training.sft --config recipes/demo.yaml
    accelerate launch --use_fsdp --fsdp_version 2 --fsdp_auto_wrap_policy TRANSFORMER_BASED_WRAP \\
        -m training.sft --config recipes/mimo-7b.yaml

MiMo-7B's (report, §3.1): constant learning rate 3e-5, 128 sequences of 32,768 tokens a step; MTP blocks are trained as
well. The loop is pre-training's (`training.pretrain.train`): the same sums over ranks, the same resuming. Three things
are different: it begins with given weights, only tokens of answers have a loss, and the sequences are read `epochs`
times, each time in another order. The optimizer begins anew.

At the end OUTPUT/model holds the model, a Hugging Face folder like the one it began with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from pipeline import storage
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from training.checkpoint import load_model
from training.data import MixtureReader, Tokenizer, read_tokenizer
from training.export import END_OF_TEXT, export, load, special_tokens
from training.launch import command
from training.pretrain import train
from training.settings import SFTSettings, load_sft_settings

STAGE = "sft"  # of the sequences, as the stage `sft_mix` names it


def fine_tune(said: SFTSettings, *, restart: bool = False, restart_if_changed: bool = False) -> int:
    """Fine-tune `said.model` and write OUTPUT/model. Returns 0, or 130/143 when Ctrl-C/SIGTERM ended it early.

    Raises what `training.pretrain.train` raises, and `RequestError` when model, tokenizer and sequences do not belong
    together.
    """
    tokenizer = read_tokenizer(storage.join(said.data, "tokenizer"))
    _check_tokenizer(Path(said.model), tokenizer)
    dataset = storage.join(said.data, "sft_mixture")
    reader = MixtureReader(dataset, tokenizer.vocabulary)
    sequences = reader.sequences(STAGE)
    if sequences == 0:
        raise RequestError(f"{dataset} holds no sequences: every answer was left out; see its dropped/")
    model = load(said.model).float()
    settings = said.settings(
        sequences, reader.context(STAGE), model.config.rope_theta, weights_digest(said.model)
    )
    reader.close()
    code = train(settings, restart=restart, restart_if_changed=restart_if_changed, initial=model)
    if code == 0 and os.environ.get("RANK", "0") == "0":
        trained, about = load_model(said.output)
        special = special_tokens(tokenizer.json, trained.config.vocab_size)
        end_of_text = next((t for t, id_ in special.items() if id_ == tokenizer.end_of_text), END_OF_TEXT)
        export(
            trained,
            tokenizer.json,
            Path(said.output) / "model",
            context=max(trained.config.max_position_embeddings, about["context"]),
            rope_theta=about["rope_base"],
            end_of_text=end_of_text,
        )
    return code


def weights_digest(folder: str | Path) -> str:
    """sha256 that stands for the weights of a model folder, wherever it lies."""
    files = sorted(Path(folder).glob("*.safetensors"))
    return storage.sha256("".join(f"{file.name} {sha256_of(str(file))}\n" for file in files).encode())


def _check_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Whether the model was trained with the tokenizer that the sequences were made with."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return
    texts = (path.read_text(encoding="utf-8"), tokenizer.json)
    theirs, ours = (
        (said.get("model", {}).get("vocab"), said.get("added_tokens")) for said in map(json.loads, texts)
    )
    if theirs != ours:
        raise RequestError(
            f"{folder} has another tokenizer than the run's data: its tokens mean something else. Give the stage "
            f"`tokenizer` this file ({path}) and run it and the stages after it again, or choose another model"
        )


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit codes as of `training.pretrain`."""

    def work(options: argparse.Namespace) -> int:
        said = load_sft_settings(options.config, options.set, options.output)
        return fine_tune(said, restart=options.restart, restart_if_changed=options.restart_if_changed)

    what = "Fine-tune a model on a run's conversations."
    return command("sft", what, "--set epochs=3 --set learning_rate=1e-5", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
