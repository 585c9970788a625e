"""Runs a recipe: lists the sources, brings each stage's dataset up to date, then trains, aligns, evaluates, reports."""

from __future__ import annotations

import time

from rich.console import Console

from pipeline import storage
from pipeline.errors import RequestError
from pipeline.runner import Runner, RunOptions, Summary
from pipeline.server import devices
from pipeline.sources import list_sources
from pipeline.stage import Stage
from reasonmill.model_steps import ModelSteps
from reasonmill.recipe import Recipe


def run_recipe(recipe: Recipe, options: RunOptions, *, until: str | None = None) -> list[Summary]:
    """Run all stages and steps up to `until` (one's name); what is finished and unchanged is skipped."""
    console = Console(quiet=options.quiet, highlight=False, soft_wrap=True)
    started = time.monotonic()
    summaries = []
    for stage in (*recipe.stages, *recipe.rl_data):
        stage.key()  # a missing model or benchmark is said before anything is paid for
    _check_servers(recipe, until)
    trainings = {"pretrain": recipe.pretrain, "sft": recipe.sft, **recipe.rl}
    for section, settings in trainings.items():
        if settings is not None:
            ModelSteps(recipe.output, console).check_request(section, settings)
    with Runner(recipe.output, options) as runner:
        files = list_sources(recipe.output, recipe.sources)
        console.print(
            f"{recipe.name}: {files.rows:,} files from {len(recipe.sources)} sources → {recipe.output}"
        )
        # JSON is YAML; it is what training reads and the report shows.
        storage.write_json(storage.join(runner.folder, "recipe.yaml"), recipe.content)
        earlier: list[str] = []
        for stage in recipe.stages:
            summaries.append(run_stage(runner, stage, console, earlier))
            earlier.append(stage.output)
            if stage.name == until:
                break
        runner.cluster.close()  # training wants the memory
        begun = [stage.name for stage in recipe.stages]
        steps = 0 if until in begun else _run_steps(recipe, runner, earlier, console, until)
    ran = sum(summary.tasks_run for summary in summaries) + steps
    work = f"{ran:,} units of work" if ran else "nothing to do: everything is finished and unchanged"
    console.print(f"[bold]{recipe.name}[/] finished in {time.monotonic() - started:.1f} s, {work}")
    return summaries


def _check_servers(recipe: Recipe, until: str | None) -> None:
    """Whether this machine can serve the models that it trains, said before they are trained."""
    steps = recipe.steps()
    if until in {stage.name for stage in recipe.stages}:
        return
    done = {"evaluate": "evaluation/results.json", "rollouts": "rollouts/manifest.json"}
    rollouts = (stage for stage in recipe.rl_data if stage.name == "rollouts")
    asking = {s.name for s in rollouts if any(model.server is None for model in s.config.models)} | {
        "evaluate"
    }
    for number, name in enumerate(steps[: steps.index(until) + 1] if until in steps else steps):
        if name not in asking or storage.exists(storage.join(recipe.output, done[name])):
            continue
        try:
            devices()
        except RequestError as error:
            before = f" Or stop before it: --until {steps[number - 1]}" if number else ""
            raise RequestError(f"{name}: it starts vLLM for models of this run: {error}{before}") from None


def _run_steps(
    recipe: Recipe, runner: Runner, earlier: list[str], console: Console, until: str | None
) -> int:
    """What the recipe wants after the stages; returns how much of it had to be done."""
    if not recipe.steps():
        return 0
    if recipe.steps() == ["report"] and not storage.is_local(recipe.output):
        from reasonmill.report import write_report

        console.print(f"{'report':<14} {write_report(recipe.output)}", markup=False)
        return 1
    steps = ModelSteps(recipe.output, console)
    file = steps.folder / "recipe.yaml"
    stages = {stage.name: stage for stage in recipe.rl_data}
    done = 0
    for name in recipe.steps():
        if name == "pretrain":
            assert recipe.pretrain is not None
            done += steps.pretrain(recipe.pretrain, file, recipe.launch)
        elif name == "export":
            assert recipe.export is not None
            done += steps.export(recipe.export)
        elif name == "check":
            assert recipe.check is not None
            done += steps.check(recipe.check)
        elif name == "sft":
            assert recipe.sft is not None
            done += steps.sft(recipe.sft, file, recipe.launch)
        elif name in stages:
            done += run_stage(runner, stages[name], console, earlier).tasks_run
            earlier.append(stages[name].output)
        elif name in recipe.rl:
            runner.cluster.close()
            done += steps.reinforce(recipe.rl[name], file, recipe.launch)
        elif name == "evaluate":
            assert recipe.evaluate is not None
            runner.cluster.close()
            done += steps.evaluate(recipe.evaluate)
        else:
            done += steps.report()
        if name == until:
            break
    return done


def run_stage(runner: Runner, stage: Stage, console: Console, earlier: list[str] | None) -> Summary:
    """Run one stage and print its line."""
    summary = runner.run(stage, earlier=earlier)
    console.print(summary.line(), markup=False)  # a reason may be called [anything]
    if summary.tasks_run and (remark := stage.remark()):
        console.print(f"  {remark}", markup=False, style="dim")
    if summary.failed:
        console.print(
            f"  {summary.failed.total():,} failed in {summary.stage}: see `reasonmill inspect {runner.folder} --sql "
            f'"SELECT * FROM failed"`; --retry-failed works on them again',
            style="yellow",
        )
    return summary
