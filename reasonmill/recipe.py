"""Recipe files: which sources, which stages with which options, in one YAML file.

    name: demo
    output: runs/demo
    sources:
      - {name: pages, path: data/pages.warc.gz, licence: CC-BY-4.0}
    stages:
      read:
      urls:
      extract: {max_bytes: 20000000}
      policy: {file: recipes/policy.yaml}
    pretrain: …          # then, if wanted and in this order: training, export, the export's check,
    export: {}
    check: {prompts: [Let n be]}
    sft: …               # fine-tuning of RUN/model on what the stage `sft_mix` packed,
    rl_data:             # stages that may use the fine-tuned model: problems, its rollouts, difficulty,
      problems: …
    rl_zero: …           # reinforcement learning from RUN/model, and from RUN/sft/model; a control,
    rl: …
    evaluate: …          # how often each of these is right,
    report: true         # and a page about all of it

A mistake is reported with file, line, field, value and remedy before anything runs.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import reprlib
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline import storage
from pipeline.dataset import finished
from pipeline.errors import RequestError
from pipeline.models import FOLDERS
from pipeline.runner import RunOptions
from pipeline.sources import Source
from pipeline.stage import Stage
from reasonmill.model_steps import Check, Evaluate, Export, check_evaluation
from reasonmill.stages import STAGES, stage_class
from training.rl.settings import RLSettings
from training.rl.settings import parse_settings as parse_rl_settings
from training.settings import Settings, SFTSettings, parse_settings, parse_sft_settings

RL_SECTIONS = ("rl_zero", "rl", "rl_control")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str | int | None) -> int | None:
    """Bytes of "512MiB", "4 GiB" or a plain number.

    >>> parse_size("2 GiB")
    2147483648
    """
    if text is None or isinstance(text, int):
        return text
    number = text.strip()
    for unit in sorted(UNITS, key=len, reverse=True):
        if number.endswith(unit):
            return int(float(number.removesuffix(unit)) * UNITS[unit])
    return int(number)


class Running(BaseModel):
    """How a recipe is run; none of it changes a result."""

    model_config = ConfigDict(extra="forbid")

    workers: int | None = Field(
        None, gt=0, description="worker processes on this machine; default: one per core"
    )
    cluster: str | None = Field(
        None, description="address of a Dask scheduler, tcp://…; default: this machine"
    )
    seconds_per_document: float = Field(
        60.0, gt=0, description="CPU seconds after which a document counts as hung"
    )
    memory_per_worker: str | int | None = Field(
        None, description='e.g. "4GiB"; default: a share of the machine'
    )
    failure_budget: float = Field(0.01, ge=0, le=1, description="share of a stage's rows that may fail")
    failure_floor: int = Field(10, ge=0, description="… but never stop for fewer failures than this")

    @field_validator("memory_per_worker")
    @classmethod
    def _size(cls, value: str | int | None) -> int | None:
        try:
            return parse_size(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a size; write e.g. 4GiB or 512MiB") from None

    def options(self, **more: Any) -> RunOptions:
        given = {name: value for name, value in self.model_dump().items() if value is not None}
        return RunOptions(**given, **more)


class _RecipeFile(BaseModel):
    """The top level of a recipe."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="name of the run")
    output: str = Field(description="folder of the run")
    run: Running = Running()
    sources: list[Source] = Field(min_length=1, description="the list, or a file that holds it")
    stages: dict[str, dict[str, Any] | None] = Field(min_length=1)
    pretrain: dict[str, Any] | None = Field(None, description="what training.pretrain reads")
    launch: list[str] | None = Field(
        None,
        description="arguments of `accelerate launch` for every training; default: all devices of this machine",
    )
    export: Export | None = Field(None, description="make a Hugging Face folder of the last checkpoint")
    check: Check | None = Field(None, description="compare the export with stock vLLM")
    sft: dict[str, Any] | None = Field(None, description="what training.sft reads")
    rl_data: dict[str, dict[str, Any] | None] | None = Field(
        None, description="stages that follow fine-tuning: problems, rollouts, rollout_verdicts, difficulty"
    )
    rl_zero: dict[str, Any] | None = Field(None, description="what training.rl reads: RL from Base")
    rl: dict[str, Any] | None = Field(None, description="the same: RL from the fine-tuned model")
    rl_control: dict[str, Any] | None = Field(None, description="the same once more, to compare with")
    evaluate: Evaluate | None = Field(None, description="how often the models of this run are right")
    report: bool = Field(False, description="write report.html at the end")

    @field_validator("export", "check", "sft", *RL_SECTIONS, "evaluate", mode="before")
    @classmethod
    def _named_is_wanted(cls, value: Any) -> Any:
        return {} if value is None else value  # as with stages: `export:` alone takes the defaults


@dataclass
class Recipe:
    """A validated recipe: every stage is built, nothing has run."""

    name: str
    output: str
    running: Running
    sources: list[Source]
    stages: list[Stage]
    content: dict[str, Any]  # the file with its changes, as training.pretrain will read it
    pretrain: Settings | None = None
    launch: list[str] | None = None
    export: Export | None = None
    check: Check | None = None
    sft: SFTSettings | None = None
    rl_data: list[Stage] = dataclasses.field(default_factory=list)
    rl: dict[str, RLSettings] = dataclasses.field(default_factory=dict)  # by section
    evaluate: Evaluate | None = None
    report: bool = False

    def steps(self) -> list[str]:
        """What is to be done after the stages, in this order; stages among it under their own names."""
        wanted = {
            "pretrain": self.pretrain,
            "export": self.export,
            "check": self.check,
            "sft": self.sft,
            **{stage.name: stage for stage in self.rl_data},
            **self.rl,
            "evaluate": self.evaluate,
            "report": self.report,
        }
        return [name for name, how in wanted.items() if how]

    def resolved(self) -> dict[str, Any]:
        """The plan with every default filled in, as `--dry-run` prints it."""
        return {
            "name": self.name,
            "output": self.output,
            "run": self.running.model_dump(),
            "sources": [source.model_dump() for source in self.sources],
            "stages": {stage.name: stage.config.model_dump(mode="json") for stage in self.stages},
            "pretrain": self.pretrain.said if self.pretrain else None,
            "launch": self.launch,
            "export": self.export.model_dump() if self.export else None,
            "check": self.check.model_dump() if self.check else None,
            "sft": self.sft.said if self.sft else None,
            "rl_data": {stage.name: stage.config.model_dump(mode="json") for stage in self.rl_data},
            **{section: settings.said for section, settings in self.rl.items()},
            "evaluate": self.evaluate.model_dump() if self.evaluate else None,
            "report": self.report,
        }


def load_recipe(path: str, changes: dict[str, Any] | None = None) -> Recipe:
    """Read and check a recipe. `changes` sets single fields: {"stages.dedup.threshold": 0.9}.

    Raises `RequestError` with all mistakes, one a line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"cannot read recipe {path}: {getattr(error, 'strerror', None) or 'it is not text'}. Recipes of this project are in recipes/."
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise RequestError(f"{path} is not YAML: {str(error).replace(chr(10), ' ')}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: a recipe is a mapping with the fields name, output, sources, stages")
    lines: dict[tuple[Any, ...], int] = {}
    for where, line in _lines(node):
        if where in lines:
            field = ".".join(str(part) for part in where)
            raise RequestError(
                f"{path}:{line}: {field} stands twice, first in line {lines[where]}; remove one"
            )
        lines[where] = line
    for field, value in (changes or {}).items():
        _set(content, field.split("."), value)

    def say(error: ValidationError, prefix: tuple[Any, ...], model: type[BaseModel]) -> list[str]:
        return [_explain(path, lines, prefix, dict(one), model) for one in error.errors()]

    if isinstance(content.get("sources"), str):
        content["sources"] = _listed_sources(path, lines.get(("sources",), 1), content["sources"])
    try:
        recipe = _RecipeFile.model_validate(content)
    except ValidationError as error:
        raise RequestError("\n".join(say(error, (), _RecipeFile))) from None
    if (
        not text.lstrip().startswith("{")
        and Path(path).resolve() == Path(recipe.output, "recipe.yaml").resolve()
    ):
        raise RequestError(
            f"{path}: the run would overwrite it, it keeps its recipe under this name; give this file another name"
        )
    mistakes: list[str] = []

    def mistake(error: RequestError, *field: Any) -> None:
        """With the line of the field that the message begins with, or else of `field`."""
        said = re.split(r": | = ", str(error))[0]
        named = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", said))
        where = next((named[:n] for n in range(len(named), 0, -1) if named[:n] in lines), field)
        mistakes.append(f"{path}:{lines.get(where, 1)}: {error}")

    def build(section: str, wanted: dict[str, dict[str, Any] | None], before: list[Stage]) -> list[Stage]:
        """The stages of a section, which stand after others."""
        built: list[Stage] = []
        for name, config in wanted.items():
            options = dict(config or {})
            try:
                cls = stage_class(options.pop("class", name))
                built.append(cls(cls.Config.model_validate(options)))
                if (
                    name not in STAGES
                ):  # a user's own stage may be used several times, under the recipe's names
                    built[-1].name = built[-1].output = name  # type: ignore[misc]
                if not mistakes:  # a stage that could not be made would be missed by the ones after it
                    coming = _models_made(recipe, ["export", "sft"]) if section == "rl_data" else {}
                    _check_place([*before, *built], recipe.output, coming)
            except ValidationError as error:
                mistakes.extend(say(error, (section, name), cls.Config))
            except RequestError as error:
                near = difflib.get_close_matches(name, STAGES, 1) if name not in STAGES else []
                hint = f" Did you mean {near[0]!r}?" if near and "class" not in (config or {}) else ""
                line = lines.get((section, name), 1)
                mistakes.append(f"{path}:{line}: {section}.{name}: {error}{hint}")
        return built

    stages = build("stages", recipe.stages, [])
    rl_data = build("rl_data", recipe.rl_data or {}, stages)
    settings: Settings | None = None
    sft: SFTSettings | None = None
    rl: dict[str, RLSettings] = {}
    for section in ("pretrain", "sft", *RL_SECTIONS):
        if getattr(recipe, section) is None:
            continue
        try:
            if section == "pretrain":
                settings = parse_settings(content)
            elif section == "sft":
                content["sft"] = recipe.sft
                sft = parse_sft_settings(content)
            else:
                content[section] = getattr(recipe, section)
                rl[section] = parse_rl_settings(content, section)
        except RequestError as error:
            mistake(error, section)
    if not mistakes:
        try:
            _check_steps(recipe, settings, stages)
            _check_inputs(recipe, sft, rl, [*stages, *rl_data])
        except RequestError as error:
            mistake(error)
    if mistakes:
        raise RequestError("\n".join(mistakes))
    return Recipe(
        recipe.name,
        recipe.output,
        recipe.run,
        recipe.sources,
        stages,
        content,
        pretrain=settings,
        sft=sft,
        rl_data=rl_data,
        rl=rl,
        **{name: getattr(recipe, name) for name in ("launch", "export", "check", "evaluate", "report")},
    )


def _check_steps(recipe: _RecipeFile, settings: Settings | None, stages: list[Stage]) -> None:
    """Whether each step finds what it works on, as far as the recipe says."""
    if recipe.check and not recipe.export:
        raise RequestError("check: it compares the exported model; add `export: {}`")
    if recipe.export and recipe.pretrain is None:
        raise RequestError("export: it needs a model; add `pretrain`, as in recipes/demo.yaml")
    trainings = ("pretrain", "sft", *RL_SECTIONS)
    if recipe.launch is not None and all(getattr(recipe, name) is None for name in trainings):
        raise RequestError(
            f"launch: it says how trainings are started; add one ({', '.join(trainings)}), or remove it"
        )
    if settings is not None and not storage.is_local(recipe.output):
        raise RequestError(
            f"output = {recipe.output!r}: training writes checkpoints, which needs a local or mounted folder; take "
            "`pretrain` and what follows out, and launch training by itself with `data` naming this folder"
        )
    mix = next((s for s in stages if s.name == "mix" and isinstance(s, stage_class("mix"))), None)
    if settings is None or mix is None:
        return
    contexts = {stage.name: stage.context for stage in mix.config.stages}
    for number, phase in enumerate(settings.schedule.phases):
        where = f"pretrain.schedule.phases[{number}]"
        if phase.stage not in contexts:
            raise RequestError(f"{where}.stage = {phase.stage!r}: `mix` makes {', '.join(contexts)}")
        if phase.context != contexts[phase.stage]:
            made = contexts[phase.stage]
            raise RequestError(
                f"{where}.context = {phase.context}: sequences of {phase.stage} have {made} tokens by `mix`; make it the same"
            )


def _models_made(recipe: _RecipeFile, steps: Iterable[str]) -> dict[str, str]:
    """Model folders, as absolute paths, that those of these steps write which the recipe has; and the steps."""
    wanted = [step for step in steps if getattr(recipe, step) is not None]
    folders = {step: f"{step.replace('_', '-')}/model" if step != "export" else "model" for step in wanted}
    return {str(Path(recipe.output, folder).absolute()): step for step, folder in folders.items()}


def _check_inputs(
    recipe: _RecipeFile, sft: SFTSettings | None, rl: dict[str, RLSettings], stages: list[Stage]
) -> None:
    """Whether datasets and models that trainings and the evaluation need are there, or made before."""
    written = {str(Path(recipe.output, stage.output).absolute()) for stage in stages}
    order = ["export", "sft", *rl]
    made = _models_made(recipe, order)

    def dataset(field: str, folder: str, remedy: str) -> None:
        if str(Path(folder).absolute()) not in written and not finished(folder):
            raise RequestError(f"{field}: there is no dataset {folder}, and no stage writes it; {remedy}")

    def model(field: str, folder: str, before: list[str]) -> None:
        path = Path(folder).absolute()
        if made.get(str(path)) not in before and not (path / "config.json").is_file():
            raise RequestError(
                f"{field}: there is no model in {folder}, and no step before makes it; put that step into the recipe, or "
                "name another folder"
            )

    if sft is not None:
        dataset("sft", storage.join(sft.data, "sft_mixture"), "put `sft` into `stages`")
        model("sft.model", sft.model, ["export"])
    for section, settings in rl.items():
        dataset(f"{section}.problems", settings.problems, "put `difficulty` into `rl_data`, or name another")
        model(f"{section}.model", settings.model, order[: order.index(section)])
    if recipe.evaluate is not None:
        try:
            check_evaluation(recipe.evaluate)
        except RequestError as error:
            raise RequestError(f"evaluate: {error}") from None
        for name, folder in recipe.evaluate.models.items():
            below = Path(recipe.output, folder).absolute()
            here = str(below) in made or below.exists()
            if folder not in FOLDERS:
                model(f"evaluate.models.{name}", str(below) if here else folder, order)


def _check_place(stages: list[Stage], output: str, coming: Iterable[str]) -> None:
    """Whether the last of the stages can stand where it stands: its input is there, and what it says is still heard.

    And whether the stage itself finds nothing wrong. coming: model folders that will be made."""
    *before, stage = stages
    if (
        "/" in stage.output
        or stage.output == "sources"
        or stage.output in {earlier.output for earlier in before}
    ):
        raise RequestError(
            f"the folder {stage.output!r} belongs to another stage; give this one another name"
        )
    written = {earlier.output: earlier for earlier in before}
    source = next((name for name in stage.input if name in written), None)
    there = any(finished(storage.join(output, name)) for name in stage.input) or "sources" in stage.input
    if stage.input and source is None and not there:
        writers = [name for name in STAGES if stage_class(name).output in stage.input]
        raise RequestError(
            f"it reads {' or '.join(stage.input)}; put {' or '.join(writers) or 'its writer'} before it"
        )
    for name in (*stage.uses, *([stage.selected_by] if stage.selected_by else [])):
        made_here = name == stage.selected_by and source is not None  # a leftover speaks of leftovers only
        if name not in written and (made_here or not finished(storage.join(output, name))):
            writers = [known for known in STAGES if stage_class(known).output == name]
            raise RequestError(f"it needs {name}; put {' or '.join(writers) or 'its writer'} before it")
    for earlier in before:
        if getattr(stage, "aligned", False) and "*" in earlier.columns and source in earlier.input:
            raise RequestError(
                f"it stands after {earlier.name}, which would not see what it says; put it before"
            )
    schema = None
    if source is not None:
        columns = list(written[source].written())
        for earlier in before:
            described = getattr(earlier, "aligned", False) and {"*", earlier.output} & set(stage.columns)
            if source in earlier.input and (described or earlier.output == stage.selected_by):
                columns += [column for column in earlier.schema if column.name != "id"]
        schema = pa.schema([column.with_nullable(True) for column in columns])
    stage.folder = output  # a ledger whose questions are all answered needs no model
    stage.coming = frozenset(coming)
    try:
        stage.check(schema)
    finally:
        stage.folder, stage.coming = "", frozenset()


def _listed_sources(path: str, line: int, listing: str) -> Any:
    """Sources listed in a file of their own, such as the demo corpus's; their paths are relative to that file."""
    try:
        sources = yaml.safe_load(Path(listing).read_text(encoding="utf-8"))
        for source in sources:
            if "://" not in source["path"]:
                source["path"] = str(Path(listing).parent / source["path"])
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise RequestError(
            f"{path}:{line}: sources = {listing!r}: cannot be read as a list of sources ({error!r}). "
            "For the demo, write it with `reasonmill demo-corpus`."
        ) from None
    return sources


def _lines(node: yaml.Node | None, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Where each field stands: (path of the field, line)."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*prefix, key.value), key.start_mark.line + 1
            yield from _lines(value, (*prefix, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*prefix, index), value.start_mark.line + 1
            yield from _lines(value, (*prefix, index))


def _explain(
    path: str,
    lines: dict[tuple[Any, ...], int],
    prefix: tuple[Any, ...],
    error: dict[str, Any],
    model: type[BaseModel],
) -> str:
    where = (*prefix, *error["loc"])
    line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), 1)
    field = ".".join(str(part) for part in where)
    if error["type"] == "extra_forbidden":
        known = _fields(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(where[-1]), known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(known) or 'none'}."
        return f"{path}:{line}: {field}: unknown field; {remedy}"
    if error["type"] == "missing":
        return f"{path}:{line}: {field}: this field is needed; add it."
    message = error["msg"].removeprefix("Value error, ")
    value = reprlib.repr(error["input"]) if isinstance(error["input"], dict | list) else repr(error["input"])
    return f"{path}:{line}: {field} = {value}: {message}."


def _fields(model: Any, path: tuple[Any, ...]) -> list[str]:
    """Field names of the model that a path of an error leads to."""
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
            if isinstance(model, types.UnionType) or typing.get_origin(model) is typing.Union:
                model = next(a for a in typing.get_args(model) if a is not type(None))
        elif typing.get_origin(model) in (list, dict):
            model = typing.get_args(model)[-1]
    if typing.get_origin(model) in (list, dict):
        model = typing.get_args(model)[-1]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _set(content: Any, path: list[str], value: Any) -> None:
    """Set a field by its path; a number in it is the place in a list (sources.0.path)."""
    *way, last = [int(part) if part.isdigit() else part for part in path]
    try:
        for part in way:
            if isinstance(content, dict) and content.get(part) is None:
                content[part] = {}
            content = content[part]
        content[last] = value
    except (TypeError, IndexError, KeyError):
        raise RequestError(f"--set {'.'.join(path)}: there is no such place in the recipe") from None
