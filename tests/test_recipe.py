"""Recipes: what is right runs, what is wrong is one sentence with file, line, field, value and remedy."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from filters.decontaminate import Decontaminate
from filters.language import Language
from filters.policy import Policy
from filters.rights import Rights
from filters.sensitive import Sensitive
from filters.signals import Signals
from filters.taxonomy import known_kinds
from filters.taxonomy.rubric import load_rubric
from filters.taxonomy.tag import Tag
from pipeline.dedup.near import Dedup
from pipeline.documents import DOCUMENT_SCHEMA
from pipeline.errors import RequestError
from reasonmill import run
from reasonmill.command import cli
from reasonmill.model_steps import evaluated
from reasonmill.recipe import load_recipe, parse_size

GOOD = """name: small
output: runs/small
sources:
  - {name: pages, path: pages}
stages:
  read:
  extract:
    min_characters: 20
  signatures: {bands: 20}
  dedup: {threshold: 0.7}
"""


def write(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return str(path)


def test_defaults_are_filled_in_and_fields_can_be_set(tmp_path):
    recipe = load_recipe(write(tmp_path, GOOD), {"stages.dedup.threshold": 0.9, "run.workers": 3})
    plan = recipe.resolved()
    assert list(plan["stages"]) == ["read", "extract", "signatures", "dedup"]
    assert plan["stages"]["dedup"]["threshold"] == 0.9
    assert plan["stages"]["dedup"]["bucket_cap"] == 64
    assert plan["stages"]["signatures"] == {"bands": 20, "rows": 7, "ngram": 5}
    assert plan["stages"]["extract"]["min_characters"] == 20
    assert recipe.running.options().workers == 3


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "threshold",
            "treshold",
            "recipe.yaml:10: stages.dedup.treshold: unknown field; did you mean 'threshold'?",
        ),
        (
            "0.7",
            "1.7",
            "recipe.yaml:10: stages.dedup.threshold = 1.7: Input should be less than or equal to 1",
        ),
        ("0.7", "many", "recipe.yaml:10: stages.dedup.threshold = 'many': Input should be a valid number"),
        ("  extract:", "  extrakt:", "recipe.yaml:7: stages.extrakt: there is no stage 'extrakt'"),
        ("output: runs/small\n", "", "output: this field is needed"),
        (
            "{name: pages, path: pages}",
            "{name: pages}",
            "recipe.yaml:4: sources.0.path: this field is needed",
        ),
        ("{name: pages, path: pages}", "{name: a b, path: x}", "sources.0.name = 'a b'"),
        (
            "{name: pages, path: pages}",
            "{name: p, pth: x}",
            "recipe.yaml:4: sources.0.pth: unknown field; did you mean 'path'?",
        ),
        ("stages:", "stages: [read", "is not YAML"),
        ("name: small", "name: small\nruns: {}", "recipe.yaml:2: runs: unknown field; did you mean 'run'?"),
        (
            "name: small",
            "name: small\nrun: {memory_per_worker: lots}",
            "'lots' is not a size; write e.g. 4GiB",
        ),
        (
            "  dedup:",
            "  documents: {class: filters.signals.Signals}\n  dedup:",
            "the folder 'documents' belongs to another stage",
        ),
        ("  dedup:", "  extract:", "recipe.yaml:10: stages.extract stands twice, first in line 7"),
        (
            "  extract:\n    min_characters: 20\n",
            "",
            "stages.signatures: it reads documents; put extract before it",
        ),
        (
            "  dedup:",
            "  policy: {drop: {x: lang_label = 'en'}}\n  dedup:",
            "policy rule 'x': lang_label = 'en'",
        ),
        (
            "  dedup:",
            "  policy:\n  dedup:",
            "stages.dedup: it stands after policy, which would not see what it says",
        ),
        (
            "  dedup:",
            "  c4: {class: pipeline.datatrove_step.DatatroveStep, step: datatrove.pipeline.filters.NoFilter}\n  dedup:",
            "stages.c4: datatrove step datatrove.pipeline.filters.NoFilter cannot be made",
        ),
    ],
)
def test_a_mistake_names_file_line_field_and_remedy(tmp_path, old, new, expected):
    with pytest.raises(RequestError) as error:
        load_recipe(write(tmp_path, GOOD.replace(old, new)))
    assert expected in str(error.value)


WHOLE = """name: whole
output: {run}
sources:
  - {{name: pages, path: pages}}
stages:
  read:
  extract:
  policy:
  tokenizer: {{vocabulary: 300}}
  tokens:
  mix:
    stages:
      - {{name: stage1, tokens: 1K, context: 64}}
pretrain:
  model: tiny
  schedule:
    phases:
      - tokens: 1K
        stage: stage1
        context: 64
        rope_base: 10000
        sequences: 8
        learning_rate: 1.0e-3
        mtp_weight: 0.3
launch: [--cpu]
export:
check:
report: true
"""


def test_steps_that_are_named_without_options_are_wanted(tmp_path):
    recipe = load_recipe(write(tmp_path, WHOLE.format(run=tmp_path / "run")))
    assert recipe.steps() == ["pretrain", "export", "check", "report"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "stage: stage1",
            "stage: stage7",
            ":19: pretrain.schedule.phases[0].stage = 'stage7': `mix` makes stage1",
        ),
        (
            "        context: 64",
            "        context: 32",
            ":20: pretrain.schedule.phases[0].context = 32: sequences of stage1 have 64 tokens by `mix`",
        ),
        ("model: tiny", "model: tinny", ":15: pretrain.model: size 'tinny' is unknown; expected one of tiny"),
        ("model: tiny", "model: 7", ":15: pretrain.model = 7: name a size"),
        ("mtp_weight", "mtp_wait", ":24: pretrain.schedule.phases[0].mtp_wait: unknown field"),
        ("rope_base: 10000", "rope_base: big", ":21: pretrain.schedule.phases[0].rope_base = 'big'"),
        ("export:\n", "", ":26: check: it compares the exported model; add `export: {}`"),
        ("policy:", "signals:", "stages.tokenizer: it needs policy; put policy before it"),
        ("name: whole", "name: 2026-13-45", "is not YAML: month must be in 1..12"),
        ("tokens: 1K, context: 64", "tokens: 1K, context: 64, like: one", "stages.mix = {'stages': [{"),
    ],
)
def test_a_mistake_in_what_follows_the_stages_is_one_sentence_too(tmp_path, old, new, expected):
    text = WHOLE.format(run=tmp_path / "run")
    assert old in text
    with pytest.raises(RequestError) as error:
        load_recipe(write(tmp_path, text.replace(old, new, 1)))
    assert expected in str(error.value) and len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400


LEARNING = """name: learning
output: {run}
sources:
  - {{name: pages, path: pages}}
stages:
  read:
  extract:
  policy:
  tokenizer: {{vocabulary: 300}}
  answer_files: {{files: [{sums}]}}
  answers:
  verify_answers:
  sft_mix: {{context: 64, benchmarks: [{sums}]}}
launch: [--cpu]
sft: {{model: {base}}}
rl_data:
  problems:
    sets: {{{sums}: 5}}
  rollouts:
    models: [{{name: sft, role: sft, model: sft/model, max_tokens: 64, context: 512}}]
  rollout_verdicts:
  difficulty:
rl: {{iterations: 1}}
evaluate:
  models: {{Base: {base}, RL: rl/model}}
  benchmarks: [sums={sums}]
  samples: 4
"""


@pytest.fixture
def learning(tmp_path):
    """A recipe that fine-tunes a given model; its files are there."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    row = {"id": "a", "query": "1 + 1?", "problem": "1 + 1?", "answer": "2"}
    (tmp_path / "sums.jsonl").write_text(json.dumps(row) + "\n")
    places = {"run": tmp_path / "run", "base": tmp_path / "base", "sums": tmp_path / "sums.jsonl"}
    return LEARNING.format(**places)


def test_trainings_without_pre_training_are_launched_as_said(tmp_path, learning):
    recipe = load_recipe(write(tmp_path, learning))
    assert recipe.launch == ["--cpu"]
    stages = ["problems", "rollouts", "rollout_verdicts", "difficulty"]
    assert recipe.steps() == ["sft", *stages, "rl", "evaluate"]
    only = learning[: learning.index("sft: {model")]
    with pytest.raises(RequestError, match="launch: it says how trainings are started; add one"):
        load_recipe(write(tmp_path, only))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rl_data.problems.sets": {"nowhere.jsonl": None}}, ":17: rl_data.problems: nowhere.jsonl: no such file"),
        ({"rl_data.problems.check": {"sum": "digits"}}, "rl_data.problems: check: sum is neither in `sets`"),
        ({"rl_data.rollouts.models": []}, ":19: rl_data.rollouts: rollouts: nobody is there to answer"),
        ({"rl_data.rollouts.models.0.max_tokens": 500}, "rl_data.rollouts: models: sft: max_tokens (500) leaves"),
        ({"rl_data.rollouts.models.0.model": "sft/modell"}, "rl_data.rollouts: sft/modell: no such folder"),
        ({"evaluate.benchmarks": ["sums=nowhere.jsonl"]}, ":24: evaluate: benchmark sums: there is no file nowhere"),
        ({"evaluate.benchmarks": ["nowhere.jsonl"]}, "write NAME=FILE"),
        ({"evaluate.gym": ["chain_som"]}, "no dataset chain_som"),
        ({"evaluate.prompt": "bear"}, "expected one of bare, brief"),
        ({"evaluate.k": [8]}, "pass@8 needs as many samples"),
        ({"evaluate.models.RL": "rl/modell"}, ":25: evaluate.models.RL: there is no model in rl/modell"),
        ({"evaluate": None}, "evaluate: there is nothing to evaluate on"),
        ({"rl": None}, "rl.iterations: this field is needed"),
        ({"rl.problems": "elsewhere"}, ":23: rl.problems: there is no dataset elsewhere"),
        ({"rl_zero": {"iterations": 1}}, "rl_zero.model: there is no model in"),
        ({"sft.model": "nowhere"}, ":15: sft.model: there is no model in nowhere"),
        ({"sft.data": "elsewhere"}, "sft: there is no dataset elsewhere/sft_mixture"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_follows_a_training_is_told_before_it(tmp_path, learning, changes, expected):
    with pytest.raises(RequestError) as error:
        load_recipe(write(tmp_path, learning), changes)
    assert expected in str(error.value)


def test_a_machine_without_vllm_is_told_before_anything_is_trained(tmp_path, learning, monkeypatch):
    def missing():
        raise RequestError("vLLM is not installed.")

    monkeypatch.setattr(run, "devices", missing)
    recipe = load_recipe(write(tmp_path, learning))
    with pytest.raises(RequestError, match=r"rollouts: .*vLLM is not installed\..*--until problems"):
        run.run_recipe(recipe, recipe.running.options(quiet=True))
    assert not (tmp_path / "run").exists()
    for until in ("policy", "problems"):
        run._check_servers(recipe, until)
    served = {"rl_data.rollouts.models.0.server": "http://gpu:8000/v1"}
    with pytest.raises(RequestError, match=r"evaluate: .*--until rl"):
        run._check_servers(load_recipe(write(tmp_path, learning), served), None)


def describe_tagger(folder: Path, dimensions) -> None:
    """As much of a tagger as says which columns it writes."""
    folder.mkdir()
    said = {"kind": "ngrams", "files": {}, "dimensions": [one.to_dict() for one in dimensions]}
    (folder / "tagger.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("file", "dimensions"),
    [
        ("demo-policy.yaml", known_kinds.DIMENSIONS),
        ("mimo-7b-policy.yaml", load_rubric(None).dimensions),
    ],
)
def test_a_recipe_s_policy_fits_the_columns_and_its_rules_decide(tmp_path, file, dimensions):
    describe_tagger(tmp_path / "tagger", dimensions)
    tag = Tag(Tag.Config(taggers=[str(tmp_path / "tagger")]))
    stages = (Language, Signals, Rights, Sensitive, Dedup, Decontaminate)
    fields = [*DOCUMENT_SCHEMA, *(f for s in stages for f in s.schema), *tag.schema]
    schema = pa.schema({field.name: field for field in fields}.values())
    policy = Policy(Policy.Config(file=str(Path(__file__).parents[1] / "recipes" / file)))
    policy.check(schema)  # binds every rule, the groups and the weight
    good = {"id": "good", "signal_words": 400, "media_type": "text/html", "signal_formula_count": 5}
    good |= {f"signal_{name}": 0 for name in ("link_density", "duplicate_line_share", "characters")}
    good |= {"signal_formula_share": 0.01, "signal_code_share": 0.0, "signal_reasoning": 0.2}
    good |= {"score_domain": "mathematics", "score_domain_share": 0.9, "rights_opt_out": False}
    good |= {f"sensitive_{what}": 0 for what in ("keys", "cards", "ibans")}
    good["contam_share"] = 0.0
    good |= {
        field.name: 3.0 for field in tag.schema if field.name.startswith("score_") and field.type == "float"
    }
    good |= dict.fromkeys(("score_extraction_artefacts", "score_missing_content"), 0.0)
    bad = {
        "near_duplicate": {"dedup_of": "good"},
        "contaminated": {"contam_benchmark": "math500"},
        "not_measured": {"contam_share": None},
        "opted_out": {"rights_opt_out": True},
        "too_short": {"signal_words": 10},
        "no_content": {"score_content": 0.1, "score_domain": "no_subject"},
        "repeated_lines": {"signal_duplicate_line_share": 0.9},
    }
    rows = [good, *(good | change | {"id": name} for name, change in bad.items())]
    table = pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for row in rows], schema=nullable(schema)
    )
    outcome = policy.process(table)
    assert outcome.kept["id"].to_pylist() == ["good"]
    assert outcome.kept["policy_group"].to_pylist() == ["maths"]
    assert outcome.kept["policy_weight"][0].as_py() > 1
    assert {reason.id: reason.reason for reason in outcome.dropped} == {name: name for name in bad}


def nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def test_the_real_recipe_is_right_once_its_files_are_there(tmp_path, monkeypatch):
    recipes = Path(__file__).parents[1] / "recipes"
    (tmp_path / "recipes").symlink_to(recipes)
    suite = ["math500", "aime2024", "aime2025", "livecodebench_v5", "livecodebench_v6"]
    suite += ["gpqa_diamond", "supergpqa", "mmlu_pro"]
    row = {"id": "a", "problem": "What is 1 + 1?", "query": "What is 1 + 1?", "answer": "2"}
    for name in (*(f"benchmarks/{name}" for name in suite), "problems/maths", "problems/code", "answers/a"):
        path = tmp_path / "data" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row | {"id": name}) + "\n")
    (tmp_path / "data" / "queries.yaml").write_text("one: Write a poem.\n")
    (tmp_path / "data" / "tokenizer.json").write_text("{}")
    describe_tagger(tmp_path / "data" / "tagger", load_rubric(None).dimensions)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("recipes/mimo-7b.yaml")
    for stage in (*recipe.stages, *recipe.rl_data):
        stage.key()
    assert "--use_fsdp" in recipe.launch
    benchmarks, _ = evaluated(recipe.evaluate)
    assert [benchmark.name for benchmark in benchmarks] == suite
    assert {b.name: b.samples for b in benchmarks}["aime2024"] == 32
    guarded = {b.file for b in benchmarks}  # what is evaluated is kept out of all that is trained on
    where = [*recipe.stages, *recipe.rl_data]
    names = ("decontaminate", "answer_tokens", "sft_mix", "problems")
    assert [set(s.config.benchmarks) for s in where if s.name in names] == [guarded] * 4


def test_training_beside_a_store_is_refused_before_anything_runs(tmp_path):
    text = WHOLE.format(run="memory://recipe-test/run").replace(
        "model: tiny", f"model: tiny\n  output: {tmp_path}"
    )
    with pytest.raises(RequestError, match=r"recipe.yaml:2: output = 'memory://.*local or mounted folder"):
        load_recipe(write(tmp_path, text))


def test_a_recipe_that_the_run_would_overwrite_is_refused(tmp_path):
    with pytest.raises(RequestError, match="give this file another name"):
        load_recipe(write(tmp_path, GOOD.replace("runs/small", str(tmp_path))))


def test_all_mistakes_are_reported_at_once(tmp_path):
    text = GOOD.replace("threshold: 0.7", "threshold: 7").replace("min_characters: 20", "min_characters: few")
    with pytest.raises(RequestError) as error:
        load_recipe(write(tmp_path, text))
    assert len(str(error.value).splitlines()) == 2


def test_missing_recipe_and_missing_source_list(tmp_path):
    with pytest.raises(RequestError, match="cannot read recipe"):
        load_recipe(str(tmp_path / "none.yaml"))
    with pytest.raises(RequestError, match=r"sources = 'nowhere.json'.*demo-corpus"):
        load_recipe(write(tmp_path, GOOD.replace("\n  - {name: pages, path: pages}", " nowhere.json")))


def test_policy_file_with_a_wrong_field(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("dropp: {short: signal_words < 5}")
    with pytest.raises(RequestError, match="must hold `drop`"):
        load_recipe(write(tmp_path, GOOD + f"  policy: {{file: {policy}}}\n"))


def test_rules_have_one_place(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("drop: {short: length(text) < 5}")
    with pytest.raises(RequestError, match="not both"):
        load_recipe(write(tmp_path, GOOD + f"  policy: {{file: {policy}, drop: {{a: true}}}}\n"))


def test_fields_in_lists_can_be_set_and_missing_ones_are_refused(tmp_path):
    assert load_recipe(write(tmp_path, GOOD), {"sources.0.path": "elsewhere"}).sources[0].path == "elsewhere"
    with pytest.raises(RequestError, match=r"--set sources\.3\.path"):
        load_recipe(write(tmp_path, GOOD), {"sources.3.path": "elsewhere"})


def test_sizes():
    assert parse_size("512MiB") == 512 * 2**20
    assert parse_size("1.5 GB") == 1_500_000_000
    assert parse_size(77) == 77


def test_text_options_of_a_stage_s_command_are_taken_as_they_are():
    """`--weight 2` is SQL text, not the number 2; the folder is looked for once the options are right."""
    with pytest.raises(RequestError, match="there is no folder /nowhere"):
        cli.main(
            ["policy", "/nowhere", "--weight", "2", "--drop", "{short: signal_words < 5}"],
            standalone_mode=False,
        )
    with pytest.raises(RequestError, match="--drop: Input should be a valid dictionary"):
        cli.main(["policy", "/nowhere", "--drop", "short"], standalone_mode=False)
