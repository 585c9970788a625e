"""The sizes a model may have. No torch here: a recipe with a mistake is refused before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import RequestError


@dataclass(frozen=True)
class ModelConfig:
    """The model's sizes, named as in a Hugging Face `config.json`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int = 32_768
    rope_theta: float = 640_000.0
    rms_norm_eps: float = 1e-5
    num_nextn_predict_layers: int = 1  # MTP blocks
    initializer_range: float = 0.02  # ours: the report is silent


SIZES: dict[str, ModelConfig] = {
    # For two CPU cores: with a vocabulary of 8,192 the two passes over the output head are two thirds of the work.
    "tiny": ModelConfig(
        vocab_size=8_192,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1_024,
        rope_theta=10_000.0,
    ),
    "mimo-7b": ModelConfig(
        vocab_size=151_680,
        hidden_size=4_096,
        intermediate_size=11_008,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
    ),
}


def model_config(model: str | Mapping[str, Any], vocab_size: int | None = None) -> ModelConfig:
    """The configuration a recipe asks for: a name of `SIZES`, or fields of `ModelConfig`, which may start from one.

    vocab_size: the tokenizer's, where it decides. Raises `RequestError` naming the field.

    >>> model_config({"size": "tiny", "num_hidden_layers": 2}, vocab_size=1_000).num_hidden_layers
    2
    """
    wanted: dict[str, Any] = {"size": model} if isinstance(model, str) else dict(model)
    size = wanted.pop("size", None)
    if size is not None and size not in SIZES:
        raise RequestError(f"model: size {size!r} is unknown; expected one of {', '.join(SIZES)}.")
    fields = {field.name: field for field in dataclasses.fields(ModelConfig)}
    for name in wanted:
        if name not in fields:
            raise RequestError(
                f"model: unknown field {name!r}; expected size or some of {', '.join(fields)}."
            )
    values = {**(dataclasses.asdict(SIZES[size]) if size else {}), **wanted}
    if vocab_size is not None:
        values["vocab_size"] = vocab_size
    missing = [
        name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in values
    ]
    if missing:
        raise RequestError(
            f"model: {', '.join(missing)} missing; give them, or start from a size: {', '.join(SIZES)}."
        )
    for name, value in values.items():
        whole = fields[name].type == "int"
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not is_number or value < 0 or (value == 0 and name != "num_nextn_predict_layers"):
            kind = "positive whole number" if whole else "positive number (in YAML 1.0e-5, not 1e-5)"
            raise RequestError(f"model: {name} is {value!r}; expected a {kind}.")
    if values["num_attention_heads"] % values["num_key_value_heads"]:
        raise RequestError(
            f"model: num_attention_heads {values['num_attention_heads']} is no multiple of "
            f"num_key_value_heads {values['num_key_value_heads']}."
        )
    heads, head_dim, hidden = values["num_attention_heads"], values["head_dim"], values["hidden_size"]
    if heads * head_dim != hidden or head_dim % 2:
        raise RequestError(
            f"model: {heads} heads of head_dim {head_dim}; expected an even head_dim that is hidden_size {hidden} "
            "divided by num_attention_heads: vLLM's Qwen2 attention knows no other."
        )
    return ModelConfig(**values)
