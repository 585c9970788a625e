"""A section `rl:` or `rl_zero:` of a recipe, read and checked. No torch here: a mistake is told at once.

    rl:                            # RL from SFT: RUN/sft/model → RUN/rl
      iterations: 500
    rl_zero:                       # RL from Base: RUN/model → RUN/rl-zero
      iterations: 500

Every other field has a default: the MiMo-7B report's (arXiv 2505.07608, §3.3) where it gives one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from pipeline import storage
from pipeline.errors import RequestError
from training.rl.fate import By
from training.rl.groups import Scale
from training.rl.reward import Kind
from training.rl.scheduler import PRESETS
from training.schedule import check_fields, parse_number, parse_tokens, parse_whole, wrong
from training.settings import Checkpoints, Optimizer, changed, parse_shared, read_recipe

FROM = {"rl": "sft/model", "rl_zero": "model"}  # the model a section begins with, below the run's folder


@dataclass(frozen=True)
class RLSettings:
    """Everything `training.rl` wants to know. Defaults marked "ours" are not published."""

    section: str
    model: str  # HF folder to begin with
    problems: str  # dataset `rl_problems`, or `problems`
    output: str
    iterations: int
    said: dict[str, Any] = field(repr=False)  # the section as it was written
    groups: int = 512  # problems trained on in an iteration
    group_size: int = 16  # answers to each; ours
    updates: int = 16  # of the weights in an iteration, groups / updates groups each
    learning_rate: float = 1e-6
    clip: tuple[float, float] = (0.2, 0.28)  # ε_low, ε_high; ours (DAPO's)
    dual_clip: float | None = None  # c, e.g. 3; ours. See training.rl.loss
    reward: Kind = "accuracy"
    filter: By = "pass_rate"  # which groups carry a gradient; graded rewards: variance
    normalise: Literal["batch", "group"] = "batch"  # see training.rl.loss.token_weights
    advantage: Scale = "std"
    truncated: Literal["keep", "mask"] = (
        "keep"  # mask: cut-off answers have no loss, but count in their group
    )
    importance_cap: float | None = 2.0  # ours
    schedule: str = "seamless"
    most_groups: float = 10.0  # started in an iteration at most, in multiples of `groups`; ours
    max_tokens: int | None = None  # of an answer; None: what its prompt leaves of the model's context
    temperature: float = 1.0
    alpha: float = 0.1  # share of groups drawn from the easy pool
    prompt: Literal["chat", "plain"] = "chat"
    generator: Literal["auto", "vllm", "torch"] = "auto"  # auto: vLLM on a GPU where it is installed
    generator_options: dict[str, Any] = field(default_factory=dict)  # further arguments of the generator
    slots: int = 256  # answers generated at the same time
    judges: int | None = None  # processes; None: one a core
    judge_seconds: float = 30.0  # deadline of one answer that is no program
    optimizer: Optimizer = field(default_factory=Optimizer)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    seed: int = 1
    micro_batch_tokens: int = 32_768  # positions of one forward pass on one device
    precision: str = "auto"  # bf16 on CUDA, fp32 on the CPU
    activation_checkpointing: bool = False

    def decisive(self) -> dict[str, Any]:
        """What decides the weights: a checkpoint written under other values is not continued. (How far a run goes,
        where and how fast it runs may change.)"""
        free = {"said", "section", "output", "problems", "model", "iterations", "checkpoints", "precision"}
        free |= {"generator", "generator_options", "slots", "judges", "judge_seconds"}
        free |= {"micro_batch_tokens", "activation_checkpointing"}
        return {name: value for name, value in asdict(self).items() if name not in free}


def load_settings(
    path: str, section: str = "rl", changes: Iterable[str] = (), output: str | None = None
) -> RLSettings:
    """Read a section of a recipe. `changes` are FIELD=VALUE below it: "learning_rate=2e-6", "optimizer.clip=0.5".

    `output` replaces RUN/rl. Raises `RequestError` naming file, field, value and remedy.
    """
    recipe = changed(read_recipe(path, section), section, changes)
    try:
        return parse_settings(recipe, section, output)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def parse_settings(recipe: dict[str, Any], section: str = "rl", output: str | None = None) -> RLSettings:
    """A section of a recipe that is already read. Raises `RequestError` as `load_settings` does."""
    said = recipe[section]
    check_fields(said, {one.name for one in fields(RLSettings)} - {"said", "section"}, section)
    run = recipe.get("output")

    def place(name: str, below: str, what: str) -> str:
        value = said.get(name) or (storage.join(run, below) if isinstance(run, str) else None)
        if not isinstance(value, str):
            raise wrong(f"{section}.{name}", value, what)
        return value

    values: dict[str, Any] = {
        "section": section,
        "said": said,
        "model": place("model", FROM.get(section, "sft/model"), "name the model folder to begin with"),
        "problems": place("problems", "rl_problems", "name the dataset of problems, e.g. RUN/rl_problems"),
        "output": output or place("output", section.replace("_", "-"), "name the folder to write to"),
    }
    if not storage.is_local(values["output"]):
        remedy = "checkpoints are renamed into place, which an object store cannot do; give a local or mounted folder"
        raise wrong(f"{section}.output", values["output"], remedy)
    if "iterations" not in said:
        raise RequestError(f"{section}.iterations: this field is needed; say how many, e.g. iterations: 100")

    wholes = {"iterations": 1, "groups": 1, "group_size": 2, "updates": 1, "slots": 1, "judges": 1}
    numbers = {"learning_rate": 0.0, "most_groups": 1.0, "judge_seconds": 0.001}
    choices = {
        "reward": ("accuracy", "strict", "soft", "random"),
        "filter": ("pass_rate", "variance", "none"),
        "normalise": ("batch", "group"),
        "advantage": ("std", "none"),
        "truncated": ("keep", "mask"),
        "schedule": tuple(PRESETS),
        "prompt": ("chat", "plain"),
        "generator": ("auto", "vllm", "torch"),
    }
    for name, value in said.items():
        where = f"{section}.{name}"
        if name in wholes and not (name == "judges" and value is None):
            values[name] = parse_whole(value, where, least=wholes[name])
        elif name in numbers:
            values[name] = parse_number(value, where, least=numbers[name])
        elif name in choices:
            if value not in choices[name]:
                raise wrong(where, value, f"choose one of {', '.join(choices[name])}")
            values[name] = value
    if said.get("max_tokens") is not None:
        values["max_tokens"] = parse_tokens(said["max_tokens"], f"{section}.max_tokens")
    if "temperature" in said:
        values["temperature"] = parse_number(said["temperature"], f"{section}.temperature", 0.01)
    if "alpha" in said:
        values["alpha"] = parse_number(said["alpha"], f"{section}.alpha", 0, 1)
    for name in ("importance_cap", "dual_clip"):
        if name in said:
            cap = said[name]
            values[name] = None if cap is None else parse_number(cap, f"{section}.{name}", 1)
    if "clip" in said:
        values["clip"] = _parse_clip(said["clip"], f"{section}.clip")
    if "generator_options" in said:
        if not isinstance(said["generator_options"], dict):
            raise wrong(f"{section}.generator_options", said["generator_options"], "write a mapping")
        values["generator_options"] = said["generator_options"]
    values |= parse_shared(said, section)
    if "filter" not in said and values.get("reward", "accuracy") != "accuracy":
        values["filter"] = "variance"  # by pass rate partial credit would be thrown away
    settings = RLSettings(**values)
    if settings.groups % settings.updates:
        remedy = f"{settings.groups} groups cannot be shared out among them evenly; choose a divisor"
        raise wrong(f"{section}.updates", settings.updates, remedy)
    if settings.filter == "pass_rate" and settings.reward == "random":
        raise wrong(
            f"{section}.filter", "pass_rate", "random rewards have nothing to do with it: choose variance"
        )
    if settings.checkpoints.every_tokens is not None:
        raise wrong(
            f"{section}.checkpoints.every_tokens",
            settings.checkpoints.every_tokens,
            "RL counts iterations, not tokens; set every_minutes",
        )
    return settings


def _parse_clip(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise wrong(where, value, "write two numbers, ε_low and ε_high, e.g. [0.2, 0.28]")
    low, high = parse_number(value[0], where, 0, 1), parse_number(value[1], where, 0)
    return low, high
