"""From a trained `MiMo` to a Hugging Face folder that stock vLLM, SGLang and transformers load, and back.

    python -m training.export --pretrain runs/demo/pretrain --tokenizer runs/demo/tokenizer --output runs/demo/model

Form of the folder: the published MiMo-7B checkpoint (config.json, tensor names, `auto_map`). No release of transformers
knows the model type `mimo`, so two small Python files travel with the weights and are loaded with
`trust_remote_code=True`. `--plain-qwen2` leaves the MTP blocks out: then it is a Qwen2 model for any engine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline import storage
from pipeline.errors import ReasonmillError, RequestError, RunError
from training.model import MiMo
from training.model_config import ModelConfig, model_config

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
END_OF_TEXT, CHAT_START, CHAT_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Every name an export may write; a folder with others is somebody's, and is not replaced.
WRITTEN = re.compile(
    r"(generation_|tokenizer_)?config\.json|tokenizer\.json|(configuration|modeling)_mimo\.py|__pycache__"
    r"|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"
)

# No system message unless one is given: the model card recommends an empty one.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

CONFIGURATION_MIMO = '''\
"""MiMo: Qwen2 with multi-token prediction (MTP) blocks."""

from transformers import Qwen2Config


class MiMoConfig(Qwen2Config):
    model_type = "mimo"

    num_nextn_predict_layers: int = 0
'''

MODELING_MIMO = '''\
"""MiMo for transformers: the main model, which is a Qwen2. Its MTP blocks (`model.mtp_layers`) are drafters for
speculative decoding in vLLM and SGLang; they are not loaded here, and `save_pretrained` does not write them."""

from transformers import Qwen2ForCausalLM

from .configuration_mimo import MiMoConfig


class MiMoForCausalLM(Qwen2ForCausalLM):
    config_class = MiMoConfig
    _keys_to_ignore_on_load_unexpected = [r"model\\.mtp_layers\\."]
'''


def export(
    model: MiMo,
    tokenizer_json: str,
    folder: str | Path,
    *,
    dtype: str = "bfloat16",
    context: int,
    rope_theta: float,
    mtp: bool = True,
    end_of_text: str = END_OF_TEXT,
    max_shard_size: str = "5GB",
) -> Path:
    """Writes the model as a Hugging Face folder; an earlier export there is replaced once the new one is whole.

    model: unwrapped and with whole weights (not sharded over ranks). tokenizer_json: text of the tokenizer's file; it
    needs the special token `end_of_text`, and <|im_start|> and <|im_end|> for a chat template. context, rope_theta:
    those of the stage the weights come from. mtp: False, or a model without MTP blocks, writes a plain Qwen2 model.

    Raises `RequestError` when tokenizer and model do not belong together or `folder` holds something else, `RunError`
    when the disk refuses; the earlier export is still there then.
    """
    folder = Path(folder)
    if dtype not in DTYPES:
        raise RequestError(f"export: dtype {dtype!r} is unknown; expected one of {', '.join(DTYPES)}.")
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"export: {folder} is a file; choose another place for the model folder.")
    if folder.exists() and (
        others := {path.name for path in folder.iterdir() if not WRITTEN.fullmatch(path.name)}
    ):
        raise RequestError(
            f"export: {folder} is no model folder that may be replaced: it holds {_few(others)}, which no export "
            "writes; choose another folder, or move that away."
        )
    special = special_tokens(tokenizer_json, model.config.vocab_size)
    if end_of_text not in special:
        raise RequestError(
            f"export: the tokenizer has no special token {end_of_text} to end a text with; it has "
            f"{', '.join(special) or 'none'}."
        )
    mtp = mtp and model.config.num_nextn_predict_layers > 0
    stops = [special[token] for token in (CHAT_END, end_of_text) if token in special]
    config = _config(model.config, dtype, context, rope_theta, mtp) | {
        "bos_token_id": None,
        "eos_token_id": special[end_of_text],
        "pad_token_id": special[end_of_text],
    }
    tokenizer: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "bos_token": None,
        "eos_token": end_of_text,
        "pad_token": end_of_text,
        "clean_up_tokenization_spaces": False,
    }
    if CHAT_START in special and CHAT_END in special:
        tokenizer["chat_template"] = CHAT_TEMPLATE
    generation = {  # what the model card recommends
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
        "eos_token_id": stops,
        "pad_token_id": special[end_of_text],
    }

    storage.make_folder(str(folder.parent))
    # One name for all exports to this folder: what a killed one left behind (gigabytes) is removed by the next.
    temporary, earlier = (folder.with_name(f".{folder.name}.{end}.tmp") for end in ("new", "old"))
    for leftover in (temporary, earlier):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        temporary.mkdir()
        state = {
            name: tensor.detach().to("cpu", DTYPES[dtype])
            for name, tensor in model.state_dict().items()
            if mtp or ".mtp_layers." not in name
        }
        save_torch_state_dict(state, temporary, max_shard_size=max_shard_size, metadata={"format": "pt"})
        for name, value in {
            "config.json": config,
            "generation_config.json": generation,
            "tokenizer_config.json": tokenizer,
        }.items():
            (temporary / name).write_text(
                json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        (temporary / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
        if mtp:
            (temporary / "configuration_mimo.py").write_text(CONFIGURATION_MIMO, encoding="utf-8")
            (temporary / "modeling_mimo.py").write_text(MODELING_MIMO, encoding="utf-8")
        if folder.exists():
            folder.rename(earlier)
        temporary.rename(folder)
        shutil.rmtree(earlier, ignore_errors=True)
    except OSError as error:
        raise storage.explain_disk_error(error, str(folder)) from error
    except SafetensorError as error:
        raise RunError(f"cannot write {folder}: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load(folder: str | Path) -> MiMo:
    """The model of a folder written by `export`, or of any checkpoint in MiMo's or Qwen2's form, in its own dtype.

    Raises `RequestError` naming what is missing.
    """
    folder = Path(folder)
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder}: cannot read config.json ({error}); expected a model folder.") from None
    if "rope_theta" not in said and "rope_parameters" in said:  # as transformers 5 writes it
        said["rope_theta"] = said["rope_parameters"]["rope_theta"]
    said.setdefault("num_nextn_predict_layers", 0)
    said.setdefault("head_dim", said.get("hidden_size", 0) // said.get("num_attention_heads", 1))
    names = [field.name for field in dataclasses.fields(ModelConfig)]
    with torch.device("meta"):
        model = MiMo(model_config({name: said[name] for name in names if name in said}))
    state = {
        name: tensor
        for part in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(part).items()
    }
    wanted = set(model.state_dict())
    if wanted != set(state):
        raise RequestError(
            f"{folder}: the weights do not fit config.json; missing: {_few(wanted - set(state))}; "
            f"not expected: {_few(set(state) - wanted)}."
        )
    model.load_state_dict(state, assign=True)
    return model


def special_tokens(tokenizer_json: str, vocab_size: int) -> dict[str, int]:
    """Special tokens of a tokenizer.json and their ids. Raises `RequestError` if the model has no room for its tokens."""
    try:
        said = json.loads(tokenizer_json)
        added, vocabulary = said["added_tokens"], said["model"]["vocab"]
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"export: this is no tokenizer.json ({type(error).__name__}: {error}).") from None
    ids = [token["id"] for token in added]
    ids += vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    if max(ids) >= vocab_size:
        raise RequestError(
            f"export: the tokenizer has ids up to {max(ids)}, the model a vocabulary of {vocab_size}; "
            "give the tokenizer the model was trained with."
        )
    return {token["content"]: token["id"] for token in added if token["special"]}


def _config(model: ModelConfig, dtype: str, context: int, rope_theta: float, mtp: bool) -> dict[str, Any]:
    """config.json as the published one, field by field."""
    own = {
        "architectures": ["MiMoForCausalLM"],
        "model_type": "mimo",
        "auto_map": {
            "AutoConfig": "configuration_mimo.MiMoConfig",
            "AutoModelForCausalLM": "modeling_mimo.MiMoForCausalLM",
        },
        "num_nextn_predict_layers": model.num_nextn_predict_layers,
    }
    shared = dataclasses.asdict(model) | {
        "attention_bias": True,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "max_window_layers": model.num_hidden_layers,
        "rope_theta": rope_theta,
        "sliding_window": context,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
        "use_cache": True,
        "use_mrope": False,
    }
    del shared["num_nextn_predict_layers"]
    return (own if mtp else {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}) | shared


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"


def main(arguments: list[str] | None = None) -> int:
    """The newest checkpoint of a pre-training run → a model folder."""
    from training.checkpoint import load_model
    from training.data import read_tokenizer

    parser = argparse.ArgumentParser(prog="python -m training.export", description=main.__doc__)
    parser.add_argument(
        "--pretrain", required=True, help="folder of the training run, or one checkpoint of it"
    )
    parser.add_argument("--tokenizer", required=True, help="dataset of the tokenizer it was trained with")
    parser.add_argument("--output", required=True, help="the model folder to write")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="bfloat16", help="of the written weights (%(default)s)"
    )
    parser.add_argument(
        "--plain-qwen2", action="store_true", help="leave the MTP blocks out: a Qwen2 model, no remote code"
    )
    options = parser.parse_args(arguments)
    try:
        model, said = load_model(options.pretrain)
        tokenizer = read_tokenizer(options.tokenizer)
        special = special_tokens(tokenizer.json, model.config.vocab_size)
        end_of_text = next(
            (token for token, id_ in special.items() if id_ == tokenizer.end_of_text), END_OF_TEXT
        )
        folder = export(
            model,
            tokenizer.json,
            options.output,
            dtype=options.dtype,
            context=said["context"],
            rope_theta=said["rope_base"],
            mtp=not options.plain_qwen2,
            end_of_text=end_of_text,
        )
    except ReasonmillError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
