"""A Llama in a GGUF file becomes a folder as transformers saves it: bf16 safetensors, tokenizer, chat template.

    python pipeline/gguf_to_hf.py MODEL.gguf FOLDER

A script of its own, run by `pipeline.models`: what it needs (`gguf`, the weights in memory) is gone when it
ends. The GGUF names and layouts are those that llama.cpp's converter gives a Llama; the weights are what
the file's quantisation left of them. Equal files give equal folders, byte for byte.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
PRE_TOKENIZERS = {  # by the name that llama.cpp gives to the splitting rules
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
}
CONTROL, USER_DEFINED = 3, 4  # token types of GGUF


def convert(source: Path, folder: Path) -> None:
    """Write the folder (which must not exist yet). Raises `ValueError` for what is no such model."""
    reader = gguf.GGUFReader(source)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    if fields["general.architecture"] != "llama":
        raise ValueError(f"its architecture is {fields['general.architecture']}, expected llama")
    folder.mkdir(parents=True)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = _config(fields, tied="output.weight" not in tensors)
    _tokenizer(fields).save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", _tokenizer_config(fields, config))
    _write(folder / "config.json", config)
    ends = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write(folder / "generation_config.json", ends)
    weights = {
        hf_name(name): _bfloat16(_unpermuted(name, gguf.dequantize(tensor.data, tensor.tensor_type), config))
        for name, tensor in tensors.items()
    }
    _write_safetensors(folder / "model.safetensors", dict(sorted(weights.items())))


def hf_name(name: str) -> str:
    """
    >>> hf_name("blk.3.attn_q.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    if found := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name):
        return f"model.layers.{found[1]}.{LAYER[found[2]]}.{found[3]}"
    stem, _, kind = name.rpartition(".")
    return f"{OUTSIDE[stem]}.{kind}"


def _config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    heads = fields["llama.attention.head_count"]
    tokens = {kind: fields[f"tokenizer.ggml.{kind}_token_id"] for kind in ("bos", "eos")}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": fields.get("llama.attention.head_count_kv", heads),
        "head_dim": fields["llama.rope.dimension_count"],
        "max_position_embeddings": fields["llama.context_length"],
        "rope_theta": fields.get("llama.rope.freq_base", 10000.0),
        # GGUF keeps it in single precision: 9.99999975e-06 was written 1e-05
        "rms_norm_eps": float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": tokens["bos"],
        "eos_token_id": tokens["eos"],
        "pad_token_id": fields.get("tokenizer.ggml.padding_token_id", tokens["eos"]),
    }


def _tokenizer(fields: dict[str, Any]) -> Tokenizer:
    rules = fields.get("tokenizer.ggml.pre", "gpt-2")
    if fields["tokenizer.ggml.model"] != "gpt2" or rules not in PRE_TOKENIZERS:
        raise ValueError(
            f"its tokenizer {fields['tokenizer.ggml.model']}/{rules} is not one of {list(PRE_TOKENIZERS)}"
        )
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[rules]()
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    for token, kind in zip(tokens, types, strict=True):
        if kind in (CONTROL, USER_DEFINED):
            added = AddedToken(token, special=kind == CONTROL, normalized=False)
            (tokenizer.add_special_tokens if kind == CONTROL else tokenizer.add_tokens)([added])
    return tokenizer


def _tokenizer_config(fields: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    special = {f"{kind}_token": tokens[config[f"{kind}_token_id"]] for kind in ("bos", "eos", "pad")}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "chat_template": fields["tokenizer.chat_template"],
        **special,
    }


def _unpermuted(name: str, weight: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """llama.cpp rotates neighbouring pairs of a head's dimensions, transformers its two halves."""
    if not name.endswith(("attn_q.weight", "attn_k.weight")):
        return weight
    heads = config["num_attention_heads" if "attn_q" in name else "num_key_value_heads"]
    pairs = weight.reshape(heads, -1, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _bfloat16(weight: np.ndarray) -> np.ndarray:
    """Rounded to nearest, ties to even: the upper half of the single-precision bits. numpy has no such type."""
    bits = np.ascontiguousarray(weight, dtype="<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _write_safetensors(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Length of the header, the header as JSON, the tensors one after another (format of Hugging Face's library,
    whose numpy side knows no bfloat16)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, weight in weights.items():
        start, end = end, end + weight.nbytes
        header[name] = {"dtype": "BF16", "shape": weight.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for weight in weights.values():
            file.write(weight.data)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
