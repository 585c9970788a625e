"""The sections `pretrain:` and `sft:` of a recipe, read and checked. No torch here: looking at a schedule must be quick."""

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
    """Everything `training.pretrain.train` wants to know."""

    data: str  # the run's folder, with the dataset and tokenizer/
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
    # What sets fine-tuning apart; no fields of the section.
    dataset: str = "mixture"
    shuffled: bool = False  # read the dataset again and again, each epoch in another order
    starts_from: str | None = None  # sha256 of the weights it begins with; None: new ones by `seed`

    def decisive(self) -> dict[str, Any]:
        """What decides the weights: a checkpoint written under other values is not continued."""
        return {
            "model": self.model,
            "schedule": [asdict(phase) for phase in self.schedule.phases],
            "batch_warm_up": asdict(self.schedule.warm_up),
            "optimizer": asdict(self.optimizer),
            "seed": self.seed,
        } | ({"starts_from": self.starts_from} if self.starts_from is not None else {})


@dataclass(frozen=True)
class SFTSettings:
    """The section `sft:`. Batch, learning rate and context are the MiMo-7B report's (§3.1), the rest is ours."""

    model: str  # HF folder to begin with [RUN/model]
    data: str  # the run's folder, with the datasets sft_mixture/ and tokenizer/
    output: str  # folder for checkpoints, metrics and the model [RUN/sft]
    said: dict[str, Any] = field(repr=False)  # the section as it was written
    epochs: int = 2
    sequences: int = 128  # of a step
    context: int | None = None  # None: what the sequences are packed to (the report: 32,768)
    learning_rate: float = 3e-5  # constant
    warm_up: int = 0  # tokens over which it rises from 0
    mtp_weight: float = 0.1  # as at the end of pre-training
    optimizer: Optimizer = Optimizer()
    checkpoints: Checkpoints = Checkpoints()
    seed: int = 1
    micro_batch_tokens: int = 8192
    precision: str = "auto"
    activation_checkpointing: bool = False
    compile: bool = False

    def settings(self, sequences: int, context: int, rope_base: float, starts_from: str) -> Settings:
        """For so many packed sequences of a context, and a model with this RoPE base and sha256 of its weights.

        Every sequence is seen `epochs` times; the last step is filled up with some of another epoch.
        """
        if self.context not in (None, context):
            remedy = (
                f"the sequences are packed to {context} tokens; say the same here and in the stage `sft_mix`"
            )
            raise wrong("sft.context", self.context, remedy)
        tokens = self.epochs * sequences * context
        if self.warm_up >= tokens:
            raise wrong("sft.warm_up", self.warm_up, f"the whole run has {tokens:,} tokens; choose fewer")
        phase = {
            "tokens": tokens,
            "stage": "sft",
            "learning_rate": self.learning_rate,
            "mtp_weight": self.mtp_weight,
            "context": context,
            "rope_base": rope_base,
            "sequences": self.sequences,
        }
        phases = [phase]
        if self.warm_up:
            rise = {"tokens": self.warm_up, "learning_rate": {"from": 0, "to": self.learning_rate}}
            phases = [phase | rise, {"tokens": tokens - self.warm_up}]
        return Settings(
            data=self.data,
            output=self.output,
            model=None,
            schedule=Schedule.parse({"phases": phases}, "sft"),
            said=self.said,
            dataset="sft_mixture",
            shuffled=True,
            starts_from=starts_from,
            **{name: getattr(self, name) for name in SHARED},
        )


SHARED = (  # fields that both sections have
    *("optimizer", "checkpoints", "seed", "micro_batch_tokens", "precision"),
    *("activation_checkpointing", "compile"),
)


def load_settings(path: str, changes: Iterable[str] = (), output: str | None = None) -> Settings:
    """Read the section `pretrain:` of a recipe.

    `changes` are FIELD=VALUE below the section: "optimizer.clip=0.5", "schedule.phases.0.tokens=1M".
    `output` replaces RUN/pretrain. Raises `RequestError` naming file, field, value and remedy.
    """
    recipe = changed(read_recipe(path), "pretrain", changes)
    try:
        return parse_settings(recipe, output)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def load_sft_settings(path: str, changes: Iterable[str] = (), output: str | None = None) -> SFTSettings:
    """Read the section `sft:` of a recipe, as `load_settings` reads `pretrain:`. `output` replaces RUN/sft."""
    recipe = changed(read_recipe(path, "sft"), "sft", changes)
    try:
        return parse_sft_settings(recipe, output)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def read_recipe(path: str, section: str = "pretrain") -> dict[str, Any]:
    """The whole file; it has a mapping of this name."""
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise RequestError(f"cannot read {path}: {why}. Recipes of this project are in recipes/.") from None
    except yaml.YAMLError as error:
        raise RequestError(f"{path} is not YAML: {str(error).replace(chr(10), ' ')}") from None
    if isinstance(recipe, dict) and section == "sft" and recipe.get("sft", 0) is None:
        recipe["sft"] = {}  # every field of it has a default
    if not isinstance(recipe, dict) or not isinstance(recipe.get(section), dict):
        raise RequestError(f"{path}: there is no section {section}: in it; recipes/demo.yaml shows one")
    return recipe


def changed(recipe: dict[str, Any], section: str, changes: Iterable[str]) -> dict[str, Any]:
    """The recipe with FIELD=VALUE below a section replaced. Raises `RequestError`."""
    for change in changes:
        _set(recipe[section], change, section)
    return recipe


def parse_settings(recipe: dict[str, Any], output: str | None = None) -> Settings:
    """The section `pretrain:` of a recipe that is already read. Raises `RequestError` as `load_settings` does."""
    section = recipe["pretrain"]
    known = {one.name for one in fields(Settings)} - {"said", "dataset", "shuffled", "starts_from"}
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
    section = section | _folders(recipe, "pretrain", output)
    return Settings(
        data=section["data"],
        output=section["output"],
        model=section["model"],
        schedule=Schedule.parse(section["schedule"], "pretrain.schedule"),
        said=section,
        **parse_shared(section, "pretrain"),
    )


def parse_sft_settings(recipe: dict[str, Any], output: str | None = None) -> SFTSettings:
    """The section `sft:` of a recipe that is already read. Raises `RequestError` as `load_sft_settings` does."""
    section = recipe["sft"]
    check_fields(section, {one.name for one in fields(SFTSettings)} - {"said"}, "sft")
    section = section | _folders(recipe, "sft", output)
    model = section.get("model", storage.join(section["data"], "model"))
    if not isinstance(model, str):
        raise wrong("sft.model", model, "name the folder of the model to begin with")
    said: dict[str, Any] = {}
    for name, parse in (
        ("epochs", lambda value, where: parse_whole(value, where, least=1)),
        ("sequences", lambda value, where: parse_whole(value, where, least=1)),
        ("context", lambda value, where: parse_whole(value, where, least=3)),
        ("learning_rate", lambda value, where: parse_number(value, where, least=0)),
        ("warm_up", parse_tokens),
        ("mtp_weight", lambda value, where: parse_number(value, where, least=0)),
    ):
        if section.get(name) is not None:
            said[name] = parse(section[name], f"sft.{name}")
    shared = parse_shared(section, "sft")
    return SFTSettings(
        model, section["data"], section["output"], section | {"model": model}, **said, **shared
    )


def _folders(recipe: dict[str, Any], name: str, output: str | None) -> dict[str, str]:
    """The fields `data` and `output` of a section, from what it or the recipe says."""
    section = recipe[name]
    data = section.get("data") or recipe.get("output")
    if not isinstance(data, str):
        raise wrong(f"{name}.data", data, "name the run's folder, in which mixture/ and tokenizer/ are")
    output = str(output or section.get("output") or storage.join(data, name))
    if not storage.is_local(output):
        remedy = "checkpoints are renamed into place, which an object store cannot do; give a local or mounted folder"
        raise wrong(f"{name}.output", output, remedy)
    return {"data": data, "output": output}


def parse_shared(section: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields that every training has. Raises `RequestError` naming section (`where`), field, value and remedy."""
    said: dict[str, Any] = {}
    if "seed" in section:
        said["seed"] = parse_whole(section["seed"], f"{where}.seed")
    if "micro_batch_tokens" in section:
        said["micro_batch_tokens"] = parse_tokens(
            section["micro_batch_tokens"], f"{where}.micro_batch_tokens"
        )
    for name in ("activation_checkpointing", "compile"):
        if name in section:
            if not isinstance(section[name], bool):
                raise wrong(f"{where}.{name}", section[name], "write true or false")
            said[name] = section[name]
    precision = section.get("precision", "auto")
    if precision not in ("auto", "bf16", "fp32"):
        raise wrong(f"{where}.precision", precision, "choose auto, bf16 or fp32")
    return said | {
        "precision": precision,
        "optimizer": _parse_optimizer(section.get("optimizer") or {}, f"{where}.optimizer"),
        "checkpoints": _parse_checkpoints(section.get("checkpoints") or {}, f"{where}.checkpoints"),
    }


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


def _set(section: Any, change: str, where: str = "pretrain") -> None:
    """Set one field, "optimizer.clip=0.5"; a number in the path is the place in a list."""
    name, equals, value = change.partition("=")
    *way, last = [int(part) if part.isdigit() else part for part in name.removeprefix(f"{where}.").split(".")]
    if not equals:
        raise RequestError(f"--set {change}: write FIELD=VALUE, e.g. --set optimizer.clip=0.5")
    try:
        for part in way:
            if isinstance(section, dict) and section.get(part) is None:
                section[part] = {}
            section = section[part]
        section[last] = yaml.safe_load(value)
    except (TypeError, IndexError, KeyError):
        raise RequestError(f"--set {change}: there is no such place in the section {where}") from None
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
