"""The command `reasonmill`: one sub-command a stage, and what looks at all of them.

Exit codes: 0 fine, 1 the run failed, 2 the request was wrong, 130/143 stopped by Ctrl-C/SIGTERM.
Nothing heavy is imported before a sub-command asks for it, so that `--help` is quick.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from pipeline.errors import ReasonmillError, RequestError, RunError
from reasonmill.stages import STAGES, stage_class


class _Lines(click.Group):
    """Sub-commands of our own, and one made on demand for each stage."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*self.commands, *STAGES]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return self.commands.get(name) or (_stage_command(name) if name in STAGES else None)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        own = [(name, command.get_short_help_str(70)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(own)
        with formatter.section("Stages, one at a time (RUN is the run's folder)"):
            formatter.write_dl([(name, line) for name, (_, line) in STAGES.items()])


@click.group(cls=_Lines, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="reasonmill")
def cli() -> None:
    """Turns raw web pages, PDFs and code into a reasoning model.

    Start with `reasonmill run recipes/demo.yaml`; look at the result with `reasonmill inspect runs/demo`.
    Every command can be stopped at any time and goes on where it stopped when it is run again.
    """


_running = [
    click.option(
        "--workers", type=click.IntRange(1), help="Worker processes on this machine. Default: one per core."
    ),
    click.option("--cluster", metavar="tcp://…", help="A Dask scheduler to run on instead of this machine."),
    click.option(
        "--memory-per-worker", metavar="SIZE", help='What one document\'s work may take, e.g. "4GiB".'
    ),
    click.option(
        "--seconds-per-document", type=float, help="CPU seconds after which a document counts as hung. [60]"
    ),
    click.option(
        "--failure-budget",
        type=click.FloatRange(0, 1),
        help="Share of rows that may fail before the run stops. [0.01]",
    ),
    click.option("--retry-failed", is_flag=True, help="Work again on what failed before."),
    click.option("--quiet", is_flag=True, help="Print errors only."),
]


def _with_running(function: Any) -> Any:
    for option in reversed(_running):
        function = option(function)
    return function


_student = [
    click.option(
        "--kind",
        type=click.Choice(["ngrams", "fasttext", "lm"]),
        default="ngrams",
        show_default=True,
        help="Of student.",
    ),
    click.option("--model", metavar="FOLDER", help="For lm: the language model or encoder to fine-tune."),
    click.option(
        "--share",
        type=click.FloatRange(0, 0.9, min_open=True),
        default=0.2,
        show_default=True,
        help="Of rows, held out.",
    ),
    click.option("--seed", type=int, default=0, show_default=True),
    click.option("--set", "options", multiple=True, metavar="NAME=VALUE", help="An option of the student."),
]


def _with_student(function: Any) -> Any:
    for option in reversed(_student):
        function = option(function)
    return function


@cli.command()
@click.argument("recipe")
@click.option(
    "--dry-run", is_flag=True, help="Check the recipe and print the plan with every default filled in."
)
@click.option("--until", metavar="STAGE", help="Stop after this stage.")
@click.option("--output", metavar="RUN", help="Folder of the run, instead of the recipe's.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change a field: stages.dedup.threshold=0.9.",
)
@_with_running
def run(
    recipe: str,
    dry_run: bool,
    until: str | None,
    output: str | None,
    changes: tuple[str, ...],
    **running: Any,
) -> None:
    """Run a recipe from its sources to its last stage, resuming what was begun.

    What is finished and unchanged is skipped; a changed option, file, model or line of code re-runs exactly
    the units that depend on it.
    """
    from reasonmill.recipe import load_recipe
    from reasonmill.run import run_recipe

    quiet, retry = running.pop("quiet"), running.pop("retry_failed")
    fields = dict(_change(change) for change in changes)
    fields |= {f"run.{name}": value for name, value in running.items() if value is not None}
    if output:
        fields["output"] = output
    plan = load_recipe(recipe, fields)
    names = [*(stage.name for stage in plan.stages), *plan.steps()]
    if until and until not in names:
        raise RequestError(f"--until {until}: this recipe's stages are {', '.join(names)}")
    if dry_run:
        plain = json.loads(json.dumps(plan.resolved()))  # without YAML's anchors for what stands there twice
        click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110), nl=False)
    else:
        run_recipe(plan, plan.running.options(retry_failed=retry, quiet=quiet), until=until)


@cli.command()
@click.argument("folder", metavar="RUN")
@click.option("--sql", help="Any query over the views: one per dataset, and docs, dropped, failed.")
@click.option("--csv", is_flag=True, help="Print the query's result as CSV.")
@click.option(
    "--samples", type=click.IntRange(0), default=0, show_default=True, help="Also print this many documents."
)
@click.option("--dropped-by", "stage", metavar="STAGE", help="Take the samples from what this stage dropped.")
def inspect(folder: str, sql: str | None, csv: bool, samples: int, stage: str | None) -> None:
    """Counts, reasons, samples, or any SQL over a run."""
    from reasonmill.inspect import inspect as show

    if csv and sql is None:
        raise RequestError("--csv prints the result of a query: give one with --sql")
    if samples and sql is not None:
        raise RequestError("--samples and --sql exclude each other")
    show(folder, sql=sql, samples=samples, stage=stage, csv=csv)


@cli.command()
@click.argument("model")
@click.option("--port", type=int, default=8000, show_default=True)
@click.option(
    "--mtp/--no-mtp",
    default=None,
    help="Draft tokens with the model's multi-token-prediction block. [where it has one]",
)
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of vLLM: max-model-len=4096."
)
def serve(model: str, port: int, mtp: bool | None, options: tuple[str, ...]) -> None:
    """Serve a model with vLLM until Ctrl-C (OpenAI-compatible, one server per GPU): a folder, or a known name.

    A folder that reasonmill exported may run the two small Python files in it; for any other that brings code, read
    the code first and add --option trust-remote-code=true.
    """
    from reasonmill.serving import serve_model

    serve_model(model, port, mtp=mtp, options=dict(_change(option) for option in options))


@cli.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="NAME=FILE[:COUNT]",
    help="A set of problems in a published format, or a packaged one; COUNT draws so many of it.",
)
@click.option(
    "--gym",
    "tasks",
    multiple=True,
    metavar="DATASET[:OPTION=VALUE,…]",
    help="Tasks that reasoning-gym draws: chain_sum:size=50,min_digits=1. Also NAME=DATASET:…",
)
@click.option(
    "--suite", type=click.Choice(["mimo"]), help="The benchmarks of MiMo-7B's report, as it runs them."
)
@click.option(
    "--data", default="benchmarks", show_default=True, metavar="FOLDER", help="Where the suite's files are."
)
@click.option("--only", multiple=True, metavar="NAME", help="Of the suite, only this. May be repeated.")
@click.option("--output", default="evaluation", show_default=True, metavar="FOLDER")
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Answers to each problem. A suite has its own.",
)
@click.option("--k", metavar="1,4,8", help="Also pass@k: the chance that one of k answers is right.")
@click.option("--temperature", type=click.FloatRange(0), default=0.6, show_default=True)
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=0.95, show_default=True)
@click.option(
    "--max-tokens", type=click.IntRange(1), default=32_768, show_default=True, help="Longest answer; less where the "
    "model's context cannot hold it."
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--prompt",
    metavar="NAME",
    help="Words around every problem: bare, brief, maths … [what its kind asks for]",
)
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="URL",
    help="A running server that MODEL is a name on. May be repeated. What it has answered under a name is not asked again: "
    "another model, or the same after more training, needs another name.",
)
@click.option("--api-key-env", metavar="NAME", help="Environment variable that holds the server's API key.")
@click.option(
    "--mtp/--no-mtp", default=None, help="Draft with the multi-token-prediction block. [where there is one]"
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of vLLM.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=256, show_default=True, help="Most requests in flight."
)
@click.option("--workers", type=click.IntRange(1), help="Processes that judge. [one per core]")
@click.option("--quiet", is_flag=True, help="Print errors only.")
def evaluate(
    models: tuple[str, ...],
    benchmarks: tuple[str, ...],
    tasks: tuple[str, ...],
    suite: str | None,
    data: str,
    only: tuple[str, ...],
    output: str,
    samples: int,
    max_tokens: int,
    servers: tuple[str, ...],
    options: tuple[str, ...],
    k: str | None,
    workers: int | None,
    quiet: bool,
    **asking: Any,
) -> None:
    """How often models are right: pass@1 and pass@k with intervals, and differences to the first MODEL.

    MODEL is a folder, a known name, or NAME=FOLDER to call it so in the table; with --server, a name that is served
    there.

    \b
    reasonmill evaluate runs/demo/model runs/demo/sft/model --gym chain_sum:size=50 --samples 4
    reasonmill evaluate base=BASE rl=RL --suite mimo --data benchmarks --output runs/mimo-evaluation

    Every answer and its verdict are kept in OUTPUT, below each benchmark's name. Stopped by Ctrl-C or killed, it goes on
    where it was; another model or benchmark is added by naming it as well.
    """
    from rich.console import Console

    from pipeline.cluster import default_workers
    from pipeline.runner import RunOptions
    from reasonmill import evaluate as evaluation

    found = [evaluation.parse_benchmark(text, samples, max_tokens) for text in benchmarks]
    found += [evaluation.parse_gym(text, samples, max_tokens) for text in tasks]
    if suite:
        found += evaluation.suite(suite, data, only)
    vllm = {name.replace("-", "_"): value for name, value in map(_change, options)}
    evaluation.evaluate(
        [evaluation.parse_model(text, servers) for text in models],
        found,
        output,
        evaluation.Asking(servers=servers, vllm_options=vllm, **asking),
        k=_whole_numbers(k),
        options=RunOptions(workers=workers or default_workers(), quiet=quiet),
        console=Console(quiet=quiet, highlight=False, soft_wrap=True),
    )


@cli.command()
@click.argument("recipe")
@click.option(
    "--plot", metavar="FILE", help="Where to draw it (.png, .svg or .pdf). [NAME-schedule.png, here]"
)
def schedule(recipe: str, plot: str | None) -> None:
    """Print and draw a recipe's training schedule: rate, batch, MTP weight, context and RoPE base over tokens."""
    from reasonmill.schedule import show

    show(recipe, plot or f"{Path(recipe).stem}-schedule.png")


@cli.command()
@click.argument("folder", metavar="RUN")
def report(folder: str) -> None:
    """Write RUN/report.html: one page about a run, finished or not, that needs no network."""
    from reasonmill.report import write_report

    click.echo(write_report(folder))


@cli.command("check-export")
@click.argument("model")
@click.option("--prompt", "prompts", multiple=True, help="A text to go on from; may be repeated.")
@click.option("--new-tokens", type=click.IntRange(1), default=48, show_default=True)
@click.option("--output", metavar="FILE", help="Also write the result as JSON.")
def check_export(model: str, prompts: tuple[str, ...], new_tokens: int, output: str | None) -> None:
    """Greedy answers of an exported MODEL folder: our forward pass, stock vLLM, stock vLLM with MTP."""
    from reasonmill.check_export import check_export, show

    result = check_export(model, prompts or None, new_tokens=new_tokens, output=output)
    show(result)
    if result.equal is None:
        raise RunError(f"nothing was compared: {result.missing}")
    if not result.passed:
        raise RunError("the exported model answers differently in vLLM: see above")


@cli.command("train-tagger")
@click.argument("run", required=False)
@click.option("--output", required=True, metavar="FOLDER", help="The tagger's folder, with its card.md.")
@_with_student
@click.option("--name", help="What the tagger is called. [the folder's name]")
@click.option("--sheet", metavar="FILE", help="Also write 200 held-out documents (CSV) for a person to rate.")
def train_tagger(
    run: str | None,
    output: str,
    kind: str,
    model: str | None,
    name: str | None,
    share: float,
    seed: int,
    options: tuple[str, ...],
    sheet: str | None,
) -> None:
    """Train a tagger on the labels of RUN (stages `pool` and `label`), and say honestly how good it is.

    Without RUN it learns from documents whose kind is known by where they come from (this machine's packages and
    manuals, and texts written for it): the demo's tagger, of worked reasoning, content and domain.

    \b
    reasonmill train-tagger --output runs/tagger
    reasonmill train-tagger runs/corpus --output runs/depth --kind fasttext
    reasonmill tag runs/corpus --taggers "[runs/depth]"
    """
    from filters.taxonomy.card import markdown
    from reasonmill.train_tagger import train_tagger

    given = dict(_change(option) for option in options)
    card = train_tagger(
        run, output, kind=kind, model=model, name=name, share=share, seed=seed, options=given, sheet=sheet
    )
    click.echo(markdown(card))
    click.echo(f"The tagger, and this page as card.md: {output}")


@cli.command()
@click.argument("file", metavar="SHEET")
@click.option("--tagger", metavar="FOLDER", help="Also write it onto this tagger's card.")
def sheet(file: str, tagger: str | None) -> None:
    """Say how far a person agrees with the labels and with the tagger: a sheet of `train-tagger --sheet`, filled in.

    \b
    reasonmill train-tagger runs/corpus --output runs/depth --sheet depth.csv
    reasonmill sheet depth.csv --tagger runs/depth
    """
    from filters.taxonomy.sheet import add_to_card, read, section

    found = read(file)
    if tagger:
        add_to_card(found, tagger)
    click.echo(section(found), nl=False)


@cli.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--good",
    metavar="SQL",
    help="When a document is good: a condition on scores. [score_reasoning_depth >= 2.5]",
)
@click.option(
    "--rounds", type=click.IntRange(1), default=4, show_default=True, help="Taggers to train, at most."
)
@click.option(
    "--documents", type=click.IntRange(1), default=1000, show_default=True, help="To label in each round."
)
@click.option(
    "--min-new",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="Stop when fewer of the good documents are new.",
)
@click.option(
    "--host-share",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Mine hosts of which surely more is good: the lower end of the 95 % interval counts.",
)
@_with_student
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="URL",
    help="A running server that has the labeller's model. May be repeated. [vLLM is started for each round]",
)
@click.option("--api-key-env", metavar="NAME", help="Environment variable that holds the server's API key.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=128, show_default=True, help="Most requests in flight."
)
@_with_running
def recall(
    run: str, good: str | None, servers: tuple[str, ...], options: tuple[str, ...], **given: Any
) -> None:
    """Widen the labels of RUN where good documents are, and train its tagger again, until little new is found.

    Hosts with at least 5 documents, of which surely more than --host-share is good by the tagger (the lower end of
    Wilson's 95 % interval of the share lies above it), are mined: more of their documents are labelled, as RUN's pool
    and labels were made (stages `pool` and `label` come first), and the next tagger is taught with them.

    \b
    reasonmill recall runs/corpus --server http://localhost:8000/v1
    reasonmill recall runs/corpus --good "score_reasoning_depth >= 3.5 AND score_domain = 'mathematics'"
    reasonmill tag runs/corpus --taggers "[runs/corpus/recall/tagger]"

    RUN/recall/rounds.md has the table of the rounds, RUN/recall/tagger the last tagger; RUN's scores are what it says.
    """
    from filters.taxonomy.recall import GOOD
    from reasonmill.recall import recall
    from reasonmill.recipe import Running

    quiet, retry = given.pop("quiet"), given.pop("retry_failed")
    running = _checked(Running, {k: v for k in Running.model_fields if (v := given.pop(k, None)) is not None})
    recall(
        run,
        good=good or GOOD,
        options=dict(_change(option) for option in options),
        server=list(servers) or None,
        running=running.options(retry_failed=retry, quiet=quiet),
        **given,
    )


@cli.command("demo-corpus")
@click.argument("folder")
@click.option(
    "--offline", is_flag=True, help="Write the small sample documents instead of fetching packages."
)
def demo_corpus(folder: str, offline: bool) -> None:
    """Collect the real documents of the demo: documentation packages as WARC, PDF files and source trees.

    And train its tagger, which is FOLDER/tagger: half a minute.
    """
    from reasonmill.demo_corpus import build
    from reasonmill.train_tagger import train_tagger

    tagger = build(folder, offline=offline) / "tagger"
    if not (tagger / "tagger.json").exists():
        train_tagger(None, str(tagger), name="known kinds")
        click.echo(f"tagger: {tagger}; how good it is says its card.md")


@cli.command()
@click.argument("solutions", required=False)
@click.option(
    "--problems", required=True, metavar="FILE", help="A set of problems with tests, or a packaged one."
)
@click.option("--output", metavar="FOLDER", help="Where to write. [NAME-judged, here]")
@click.option(
    "--format", "format_", metavar="NAME", help="Format of the problems, where the fields do not tell it."
)
@click.option(
    "--language",
    type=click.Choice(["python", "cpp"]),
    help="Of the solutions. [found in the text or file name]",
)
@click.option(
    "--every-test/--fail-fast", default=True, help="Run all tests of a solution, or up to the first it fails."
)
@click.option("--cpu-seconds", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True)
@click.option("--wall-seconds", type=click.FloatRange(0, min_open=True), default=20.0, show_default=True)
@click.option(
    "--memory-mb", type=click.IntRange(32), default=1024, show_default=True, help="These limit one test."
)
@click.option("--workers", type=click.IntRange(1), help="Solutions judged at a time. [one per core]")
@click.option(
    "--cluster", metavar="tcp://…", help="A Dask scheduler whose workers judge instead of this machine."
)
@click.option(
    "--unsafe", is_flag=True, help="Run programs WITHOUT isolation where there is none. They can do anything."
)
@click.option(
    "--references", is_flag=True, help="Judge the problems' own solutions instead, and refuse what fails."
)
def judge(
    solutions: str | None,
    problems: str,
    output: str | None,
    format_: str | None,
    language: str | None,
    every_test: bool,
    cpu_seconds: float,
    wall_seconds: float,
    memory_mb: int,
    workers: int | None,
    cluster: str | None,
    unsafe: bool,
    references: bool,
) -> None:
    """Run programs on the tests of their problems, in a sandbox.

    SOLUTIONS is a JSONL, CSV or Parquet file with a problem's id (problem_id or task_id, with or without the set's
    name) and a solution (solution, completion, answer, response or program; fenced code in generated text is found)
    in each row; or a program, or a folder of programs, each named as its problem: 12.py, 12.cpp.

    \b
    reasonmill judge samples.jsonl --problems HumanEval.jsonl.gz --fail-fast
    reasonmill judge --references --problems taco.parquet --output taco-checked

    Writes one row a solution (verdict, reason, what each test said) that any Parquet reader can query, and prints a
    summary. Stopped by Ctrl-C or killed, it goes on where it was. Exit code 1: some could not be judged through no
    fault of theirs.
    """
    from reasonmill.judge import Options, check_references
    from reasonmill.judge import judge as judge_all
    from synth.verify.code import Limits

    if references == bool(solutions):
        raise RequestError("give SOLUTIONS to judge, or --references to judge the problems' own; not both")
    if workers and cluster:
        raise RequestError("--workers is for this machine; workers of a cluster are started with it")
    limits = Limits(cpu_seconds=cpu_seconds, wall_seconds=wall_seconds, memory_bytes=memory_mb << 20)
    options = Options(limits, language, not every_test, workers, cluster, unsafe)
    name = Path(solutions or problems).name.split(".")[0]
    output = output or f"{name}-{'references' if references else 'judged'}"
    if solutions:
        judge_all(solutions, problems, output, options, format=format_)
    else:
        check_references(problems, output, options, format=format_)


def _stage_command(name: str) -> click.Command:
    """The command of one stage: its config's fields are the options, their descriptions the help."""
    cls = stage_class(name)

    def invoke(run: str, sources: tuple[str, ...] = (), **given: Any) -> None:
        from rich.console import Console

        from pipeline import storage
        from pipeline.runner import Runner
        from pipeline.sources import list_sources
        from reasonmill.recipe import Running
        from reasonmill.run import run_stage

        quiet, retry = given.pop("quiet"), given.pop("retry_failed")
        running = _checked(
            Running, {k: given.pop(k) for k in Running.model_fields if given.get(k) is not None}
        )
        config = {
            k: v if cls.Config.model_fields[k].annotation in (str, str | None) else _value(v)
            for k, v in given.items()
            if v is not None and v != () and k in cls.Config.model_fields
        }
        stage = cls(_checked(cls.Config, config))
        if name != "read" and cls.input and not stage.elsewhere() and not storage.exists(run):
            raise RequestError(f"there is no folder {run}: `reasonmill read` begins one")
        with Runner(run, running.options(retry_failed=retry, quiet=quiet)) as runner:
            if name == "read":
                list_sources(run, [_source(text) for text in sources])
            run_stage(runner, stage, Console(quiet=quiet, highlight=False, soft_wrap=True), None)

    parameters: list[click.Parameter] = [click.Argument(["run"])]
    if name == "read":
        parameters.append(
            click.Option(
                ["--source", "sources"],
                multiple=True,
                required=True,
                metavar="NAME=PATH",
                help="May be repeated.",
            )
        )
    for field, info in cls.Config.model_fields.items():
        default = (
            f" [{info.default}]" if info.default not in (None, "", [], {}) and not info.is_required() else ""
        )
        help_text = f"{info.description or ''}{default}"
        parameters.append(click.Option([f"--{field.replace('_', '-')}"], metavar="VALUE", help=help_text))
    running = click.command()(_with_running(lambda **_: None)).params
    return click.Command(name, callback=invoke, params=[*parameters, *running], help=cls.__doc__)


def _checked(model: Any, fields: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        problems = "; ".join(
            f"--{'.'.join(map(str, e['loc'])).replace('_', '-')}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise RequestError(problems) from None


def _source(text: str) -> Any:
    from pipeline.sources import Source

    name, equals, path = text.partition("=")
    if not equals:
        raise RequestError(f"--source {text}: write NAME=PATH, e.g. --source pages=crawl/*.warc.gz")
    return _checked(Source, {"name": name, "path": path})


def _whole_numbers(text: str | None) -> list[int]:
    try:
        found = [int(part) for part in (text or "").split(",") if part.strip()]
    except ValueError:
        found = [0]
    if any(number < 1 for number in found):
        raise RequestError(f"--k {text}: write numbers from 1 on, with commas between them: 1,4,8")
    return found


def _change(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals:
        raise RequestError(f"{text}: write FIELD=VALUE")
    return field, _value(value)


def _value(text: Any) -> Any:
    """Option values are YAML: 0.9, true, [a, b], {too_short: signal_words < 50}, or plain text."""
    if not isinstance(text, str):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def main() -> None:
    """Entry point. Errors of ours are one sentence, not a traceback."""
    try:
        sys.exit(cli(standalone_mode=False) or 0)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except ReasonmillError as error:
        click.secho(f"reasonmill: {error}", err=True, fg="red")
        sys.exit(2 if isinstance(error, RequestError) else 1)
    except (KeyboardInterrupt, click.Abort) as stop:
        click.echo(
            "\nreasonmill: stopped. What is finished is kept; the same command goes on from here.", err=True
        )
        sys.exit(getattr(stop, "code", 130))


if __name__ == "__main__":
    main()
