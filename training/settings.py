"""The section `pretrain:` of a recipe, read and checked. No torch here: looking at a schedule must be quick."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from pipeline import storage
from pipeline.errors import RequestError
from training.model_config import model_config
from training.schedule import (
    Schedule,
    check_fields,
    parse_number,
    parse_tokens,
    parse_whole,
    wrong,
)


@dataclass(frozen=True)
class Optimizer:
    """AdamW. β, weight decay and clip are the report's; ε is not published, 1e-8 is AdamW's own."""

    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0


@dataclass(frozen=True)
class Checkpoints:
    """When a checkpoint is written, besides the one at the end. None: that clock does not count."""

    every_tokens: int | None = None
    every_minutes: float | None = 30.0
    keep: int = 2


@dataclass(frozen=True)
class Settings:
    """Everything `training.pretrain` wants to know."""

    data: str  # the run's folder, with the datasets mixture/ and tokenizer/
    output: str  # folder for checkpoints and metrics
    model: Any  # a size's name, or a mapping; see training.model_config
    schedule: Schedule
    said: dict[str, Any] = field(repr=False)  # the section as it was written
    optimizer: Optimizer = Optimizer()
    checkpoints: Checkpoints = Checkpoints()
    seed: int = 1
    micro_batch_tokens: int = 8192  # of one forward pass on one device
    precision: str = "auto"  # bf16 on CUDA, fp32 on the CPU
    activation_checkpointing: bool = False
    compile: bool = False

    def decisive(self) -> dict[str, Any]:
        """What decides the weights: a checkpoint written under other values is not continued."""
        return {
            "model": self.model,
            "schedule": [asdict(phase) for phase in self.schedule.phases],
            "batch_warm_up": asdict(self.schedule.warm_up),
            "optimizer": asdict(self.optimizer),
            "seed": self.seed,
        }


def load_settings(path: str, changes: Iterable[str] = (), output: str | None = None) -> Settings:
    """Read the section `pretrain:` of a recipe.

    `changes` are FIELD=VALUE below the section: "optimizer.clip=0.5", "schedule.phases.0.tokens=1M".
    `output` replaces RUN/pretrain. Raises `RequestError` naming file, field, value and remedy.
    """
    recipe = read_recipe(path)
    section = recipe["pretrain"]
    for change in changes:
        _set(section, change)
    try:
        return parse_settings(recipe, output)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def read_recipe(path: str) -> dict[str, Any]:
    """The whole file; it has a mapping `pretrain`."""
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise RequestError(f"cannot read {path}: {why}. Recipes of this project are in recipes/.") from None
    except yaml.YAMLError as error:
        raise RequestError(f"{path} is not YAML: {str(error).replace(chr(10), ' ')}") from None
    if not isinstance(recipe, dict) or not isinstance(recipe.get("pretrain"), dict):
        raise RequestError(f"{path}: there is no section pretrain: in it; recipes/demo.yaml shows one")
    return recipe


def parse_settings(recipe: dict[str, Any], output: str | None = None) -> Settings:
    """The section `pretrain:` of a recipe that is already read. Raises `RequestError` as `load_settings` does."""
    section = recipe["pretrain"]
    known = {one.name for one in fields(Settings)} - {"said"}
    check_fields(section, known, "pretrain")
    for name in ("model", "schedule"):
        if name not in section:
            raise RequestError(f"pretrain.{name}: this field is needed; recipes/demo.yaml shows one")
    if not isinstance(section["model"], str | dict):
        raise wrong("pretrain.model", section["model"], "name a size (tiny, mimo-7b), or give its fields")
    try:  # the vocabulary is the tokenizer's, unless the section says another
        known_size = isinstance(section["model"], str) or "vocab_size" in section["model"]
        model_config(section["model"], None if known_size else 1)
    except RequestError as error:
        raise RequestError(f"pretrain.{error}") from None
    data = section.get("data") or recipe.get("output")
    if not isinstance(data, str):
        raise wrong("pretrain.data", data, "name the run's folder, in which mixture/ and tokenizer/ are")
    section = section | {
        "data": data,
        "output": str(output or section.get("output") or storage.join(data, "pretrain")),
    }
    if not storage.is_local(section["output"]):
        remedy = "checkpoints are renamed into place, which an object store cannot do; give a local or mounted folder"
        raise wrong("pretrain.output", section["output"], remedy)
    plain: dict[str, Any] = {}
    if "seed" in section:
        plain["seed"] = parse_whole(section["seed"], "pretrain.seed")
    if "micro_batch_tokens" in section:
        plain["micro_batch_tokens"] = parse_tokens(
            section["micro_batch_tokens"], "pretrain.micro_batch_tokens"
        )
    for name in ("activation_checkpointing", "compile"):
        if name in section:
            if not isinstance(section[name], bool):
                raise wrong(f"pretrain.{name}", section[name], "write true or false")
            plain[name] = section[name]
    precision = section.get("precision", "auto")
    if precision not in ("auto", "bf16", "fp32"):
        raise wrong("pretrain.precision", precision, "choose auto, bf16 or fp32")
    return Settings(
        data=section["data"],
        output=section["output"],
        model=section["model"],
        schedule=Schedule.parse(section["schedule"], "pretrain.schedule"),
        said=section,
        optimizer=_parse_optimizer(section.get("optimizer") or {}, "pretrain.optimizer"),
        checkpoints=_parse_checkpoints(section.get("checkpoints") or {}, "pretrain.checkpoints"),
        precision=precision,
        **plain,
    )


def _parse_optimizer(mapping: Any, where: str) -> Optimizer:
    mapping = check_fields(mapping, {one.name for one in fields(Optimizer)}, where)
    said: dict[str, Any] = {}
    if "betas" in mapping:
        betas = mapping["betas"]
        if not isinstance(betas, list) or len(betas) != 2:
            raise wrong(f"{where}.betas", betas, "write two numbers, e.g. [0.9, 0.95]")
        said["betas"] = tuple(parse_number(beta, f"{where}.betas", 0, 0.999999) for beta in betas)
    for name, least in (("epsilon", 1e-30), ("weight_decay", 0.0), ("clip", 1e-30)):
        if name in mapping:
            said[name] = parse_number(mapping[name], f"{where}.{name}", least)
    return Optimizer(**said)


def _parse_checkpoints(mapping: Any, where: str) -> Checkpoints:
    mapping = check_fields(mapping, {one.name for one in fields(Checkpoints)}, where)
    said: dict[str, Any] = {}
    if mapping.get("every_tokens") is not None:
        said["every_tokens"] = parse_tokens(mapping["every_tokens"], f"{where}.every_tokens")
    if "every_minutes" in mapping:
        minutes = mapping["every_minutes"]
        said["every_minutes"] = (
            None if minutes is None else parse_number(minutes, f"{where}.every_minutes", 0.01)
        )
    if "keep" in mapping:
        said["keep"] = parse_whole(mapping["keep"], f"{where}.keep", least=1)
    return Checkpoints(**said)


def _set(section: Any, change: str) -> None:
    """Set one field, "optimizer.clip=0.5"; a number in the path is the place in a list."""
    name, equals, value = change.partition("=")
    *way, last = [int(part) if part.isdigit() else part for part in name.removeprefix("pretrain.").split(".")]
    if not equals:
        raise RequestError(f"--set {change}: write FIELD=VALUE, e.g. --set optimizer.clip=0.5")
    try:
        for part in way:
            if isinstance(section, dict) and section.get(part) is None:
                section[part] = {}
            section = section[part]
        section[last] = yaml.safe_load(value)
    except (TypeError, IndexError, KeyError):
        raise RequestError(f"--set {change}: there is no such place in the section pretrain") from None
    except yaml.YAMLError:
        raise RequestError(f"--set {change}: the value is not YAML") from None


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, one line each: "optimizer.clip: 1.0 → 0.5".

    >>> differences({"a": [1, 2]}, {"a": [1, 3]})
    ['a.1: 2 → 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        pairs = [(str(key), old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(index), a, b) for index, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        return [] if old == new else [f"{name}: {json.dumps(old)} → {json.dumps(new)}"]
    return [line for key, a, b in pairs for line in differences(a, b, f"{name}.{key}".lstrip("."))]
