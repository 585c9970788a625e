"""The policy: SQL decides, the first true rule is the reason, every hit is told, and what each rule costs is shown."""

import random

import pyarrow as pa
import pytest
from pydantic import ValidationError

from filters.policy import Policy, effects, markdown
from filters.signals import Signals
from pipeline.errors import RequestError
from tests.mixtures.small_runs import reasons_of, rows_of, run, write_documents

DOCS = pa.table(
    {
        "id": ["long", "short", "copy", "short_copy", "unknown"],
        "signal_words": pa.array([500, 3, 400, 5, None], pa.int32()),
        "dedup_of": [None, None, "long", "long", None],
    }
)
RULES = {"too_short": "signal_words < 50", "near_duplicate": "dedup_of IS NOT NULL"}


def test_reasons_weights_and_groups():
    group = {"short_texts": "signal_words < 50", "known": "signal_words IS NOT NULL", "never_first": "true"}
    policy = Policy(Policy.Config(drop=RULES, weight="signal_words / 100.0", group=group))
    outcome = policy.process(DOCS)
    assert outcome.kept.to_pylist() == [
        {"id": "long", "policy_weight": 5.0, "policy_group": "known"},
        {"id": "unknown", "policy_weight": None, "policy_group": "never_first"},
    ]
    assert [tuple(reason) for reason in outcome.dropped] == [
        ("short", "too_short", "too_short"),
        ("copy", "near_duplicate", "near_duplicate"),
        ("short_copy", "too_short", "too_short, near_duplicate"),
    ]


def test_a_wrong_rule_is_named_with_the_columns_there_are():
    with pytest.raises(
        RequestError, match=r"policy rule 'too_short': signal_word < 50.*Columns: id, signal_words"
    ):
        Policy(Policy.Config(drop={"too_short": "signal_word < 50"})).process(DOCS)


def test_what_no_condition_fits_is_other():
    kept = Policy(Policy.Config(group={"long": "signal_words > 400"})).process(DOCS).kept
    assert kept["policy_group"].to_pylist() == ["long", "other", "other", "other", "other"]


def test_rules_from_a_file_are_part_of_the_config_and_so_of_the_key(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("drop: {too_short: signal_words < 50}")
    before = Policy(Policy.Config(file=str(path)))
    assert before.config.drop == {"too_short": "signal_words < 50"}
    path.write_text("drop: {too_short: signal_words < 60}")
    assert Policy(Policy.Config(file=str(path))).key() != before.key()


@pytest.mark.parametrize(
    "rule", ["row_number() OVER () > 1", "count(*) > 1", "signal_words > avg(signal_words)"]
)
def test_rules_over_several_documents_are_refused(rule):
    with pytest.raises(RequestError, match="policy rule 'many'"):
        Policy(Policy.Config(drop={"many": rule})).process(DOCS)


def test_decisions_equal_those_of_a_plain_loop_over_the_documents():
    draw = random.Random(8)
    rows = [
        {
            "id": f"d{n}",
            "words": draw.choice([None, 10, 60, 300]),
            "links": draw.choice([None, 0.1, 0.7]),
            "language": draw.choice([None, "en", "fr"]),
        }
        for n in range(500)
    ]
    rules = {
        "not_measured": (lambda d: d["words"] is None, "words IS NULL"),
        "short": (lambda d: d["words"] is not None and d["words"] < 50, "words < 50"),
        "links": (lambda d: d["links"] is not None and d["links"] > 0.5, "links > 0.5"),
        "weight": (lambda d: d["language"] == "fr", "language = 'fr'"),  # a rule may have any name
    }
    kept, dropped = [], []
    for row in rows:
        hits = [name for name, (holds, _) in rules.items() if holds(row)]
        if hits:
            dropped.append((row["id"], hits[0], ", ".join(hits)))
        else:
            group = "it's long" if row["words"] > 100 else "other"
            kept.append({"id": row["id"], "policy_weight": row["words"] / 10, "policy_group": group})
    policy = Policy(
        Policy.Config(
            drop={name: sql for name, (_, sql) in rules.items()},
            weight="words / 10.0",
            group={"it's long": "words > 100"},
        )
    )
    outcome = policy.process(pa.Table.from_pylist(rows))
    assert outcome.kept.to_pylist() == kept
    assert [tuple(reason) for reason in outcome.dropped] == dropped
    assert 50 < len(kept) < 450


def test_a_policy_without_rules_keeps_all_and_no_documents_are_no_trouble():
    policy = Policy(Policy.Config())
    assert policy.process(DOCS).kept["policy_weight"].to_pylist() == [1.0] * 5
    assert policy.process(DOCS).dropped == []
    outcome = Policy(Policy.Config(drop=RULES)).process(DOCS.slice(0, 0))
    assert (outcome.kept.num_rows, outcome.dropped) == (0, [])


def test_a_rule_that_fails_on_one_value_is_named():
    policy = Policy(Policy.Config(drop={"fine": "false", "date": "CAST(id AS DATE) < '2020-01-01'"}))
    with pytest.raises(RequestError, match="policy rule 'date': CAST"):
        policy.process(DOCS)


def test_a_name_with_a_comma_could_not_be_told_from_two():
    with pytest.raises(RequestError, match="'a, b': a name must not hold a comma"):
        Policy(Policy.Config(drop={"a, b": "false"})).check(None)


def test_the_order_of_rules_and_of_groups_is_part_of_the_key():
    one, other = {"long": "signal_words > 400", "any": "true"}, {"any": "true", "long": "signal_words > 400"}
    keys = {
        Policy(Policy.Config(drop=drop, group=group)).key() for drop in (one, other) for group in (one, other)
    }
    assert len(keys) == 4


PROSE = "The wheel turns and the water rises in the channel beside the old mill. "
TEXTS = [
    PROSE * 20,
    PROSE * 4,
    PROSE * 2,
    "We add $1 + 1 = 2$ and we get $2 + 2 = 4$. " * 3,
    "Home. " * 3,
    "",
]


@pytest.fixture(scope="module")
def decided(tmp_path_factory):
    """A run of real signals with two thresholds for what is too short: what the runner did each time."""
    folder = tmp_path_factory.mktemp("policy")
    write_documents(folder, TEXTS, shards=2)

    def decide(words):
        rules = {
            "short": f"signal_words < {words}",
            "plain": "signal_formula_count = 0 AND signal_words < 40",
            "never": "signal_words < 0",
        }
        config = Policy.Config(drop=rules, group={"maths": "signal_formula_count > 0"})
        return run(folder, Signals(), Policy(config))

    first = decide(100), reasons_of(folder, "policy"), effects(str(folder))
    return folder, first, (decide(30), reasons_of(folder, "policy"), effects(str(folder)))


def test_a_changed_threshold_runs_the_policy_again_and_nothing_else(decided):
    folder, ((signals, policy), before, _), ((again, changed), after, _) = decided
    assert (signals.tasks_run, policy.tasks_run) == (2, 2)
    assert (again.tasks_run, changed.tasks_run) == (0, 2)
    assert before == dict.fromkeys(["0001", "0002", "0003", "0004", "0005"], "short")
    assert after == dict.fromkeys(["0002", "0003", "0004", "0005"], "short")
    assert {row["id"] for row in rows_of(folder, "policy")} == {"0000", "0001"}


def test_effects_count_what_each_rule_drops_and_what_it_alone_drops(decided):
    _, (_, _, table), _ = decided
    # words: 280, 56, 28, 12 (maths), 3, 0; `plain` holds for 28, 3 and 0, `short` for all below 100
    counted = {
        (r["rule"], r["group"]): (r["documents"], r["drops"], r["first"], r["alone"])
        for r in table.to_pylist()
    }
    assert counted == {
        ("short", "other"): (5, 4, 4, 1),
        ("short", "maths"): (1, 1, 1, 1),
        ("plain", "other"): (5, 3, 0, 0),
        ("plain", "maths"): (1, 0, 0, 0),
        ("never", "other"): (5, 0, 0, 0),
        ("never", "maths"): (1, 0, 0, 0),
        (None, "other"): (5, 4, 4, 1),
        (None, "maths"): (1, 1, 1, 1),
    }
    assert markdown(table).splitlines() == [
        "| rule | other (5) | maths (1) | all (6) |",
        "| --- | ---: | ---: | ---: |",
        "| short | 4 (1) | 1 (1) | 5 (2) |",
        "| plain | 3 (0) | 0 | 3 (0) |",
        "| never | 0 | 0 | 0 |",
        "| any of them | 4 | 1 | 5 |",
    ]


def test_effects_by_any_expression(decided):
    folder, _, _ = decided
    table = effects(str(folder), by="signal_words >= 50")
    any_of_them = {r["group"]: r["drops"] for r in table.to_pylist() if r["rule"] is None}
    assert any_of_them == {"true": 0, "false": 4}
    with pytest.raises(RequestError, match=r"policy effects by nonsense: .*nonsense"):
        effects(str(folder), by="nonsense")


def test_effects_of_a_policy_that_has_not_decided_about_these_documents(tmp_path):
    with pytest.raises(RequestError, match="run `policy` first"):
        effects(str(tmp_path))
    write_documents(tmp_path, ["one"])
    run(tmp_path, Policy(Policy.Config()))
    write_documents(tmp_path / "other", ["two"])
    (tmp_path / "other" / "documents").rename(tmp_path / "newer")
    (tmp_path / "documents").rename(tmp_path / "older")
    (tmp_path / "newer").rename(tmp_path / "documents")
    with pytest.raises(RequestError, match="run `policy` again"):
        effects(str(tmp_path))


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("signal_words < (SELECT avg(signal_words) FROM docs)", "one document at a time"),
        ("id IN (SELECT id FROM docs LIMIT 1)", "one document at a time"),
        ("random() < 0.5", "random does not say the same each time"),
        ("now() > TIMESTAMP '2026-01-01'", "now does not say the same"),
        ("current_date > DATE '2026-01-01'", "current_date does not say the same"),
        ("COLUMNS('signal_.*') > 3", "a rule is one expression"),
        ("signal_words, 1", "one expression"),
        ("signal_words < 5) OR (true", "syntax error"),
        ("signal_words < 5; SELECT true", "more than one statement"),
        ("true FROM docs", "one expression"),
        ("signal_words < 5;", "leave out the semicolon"),
        (" ", "it is empty"),
    ],
)
def test_a_rule_is_one_steady_expression_about_one_document(rule, why):
    for schema in (None, DOCS.schema):  # a stage of the command does not know its columns yet
        for given in ({"drop": {"odd": rule}}, {"group": {"odd": rule}}):
            with pytest.raises(RequestError, match=f"policy rule 'odd'.*{why}"):
                Policy(Policy.Config(**given)).check(schema)
        with pytest.raises(RequestError, match=f"policy rule 'weight'.*{why}"):
            Policy(Policy.Config(weight=rule)).check(schema)


def test_no_rule_reads_a_file(tmp_path):
    (tmp_path / "ids.csv").write_text("id\nlong\n")
    with pytest.raises(RequestError, match="policy rule 'listed'"):
        Policy(Policy.Config(drop={"listed": f"'{tmp_path}/ids.csv' IN (SELECT 1)"})).check(DOCS.schema)
    with pytest.raises(RequestError, match="policy rule 'listed'"):
        Policy(Policy.Config(drop={"listed": f"read_text('{tmp_path}/ids.csv') IS NULL"})).process(DOCS)


def test_a_rule_may_end_in_a_comment():
    rules = {"too_short": "signal_words < 50 -- stubs"}
    policy = Policy(Policy.Config(drop=rules, weight="2.0 -- each", group={"all": "true -- of them"}))
    policy.check(DOCS.schema)
    outcome = policy.process(DOCS)
    assert [reason.id for reason in outcome.dropped] == ["short", "short_copy"]
    assert outcome.kept.to_pylist()[0] == {"id": "long", "policy_weight": 2.0, "policy_group": "all"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            b"drop:\n  a: signal_words < 5\n  a: signal_words > 4\n",
            "policy.yaml:3: a stands twice, first in line 2",
        ),
        (b"drop: {}\ngroup:\n  x: 'true'\ndrop: {a: 'true'}\n", "policy.yaml:4: drop stands twice"),
        (b"drop: {a: [1, 2]}", r"policy.yaml: drop.a must be SQL, not list: write it in quotes"),
        (b"drop: [signal_words]", "policy.yaml: `drop` must be a mapping"),
        ("drop: {a: \"x = 'ä'\"}".encode("latin-1"), "policy.yaml: it is not UTF-8 text"),
        (b"drop: {a", "cannot read policy file .*policy.yaml"),
        (b"drops: {}", "policy.yaml must hold `drop`"),
    ],
)
def test_a_file_that_is_no_policy_is_named(tmp_path, text, told):
    (tmp_path / "policy.yaml").write_bytes(text)
    with pytest.raises(ValidationError, match=told):
        Policy.Config(file=str(tmp_path / "policy.yaml"))


def test_what_yaml_reads_as_a_number_or_a_truth_is_sql(tmp_path):
    (tmp_path / "policy.yaml").write_text("drop:\n  # none yet\ngroup: {all: true}\nweight: 2")
    config = Policy.Config(file=str(tmp_path / "policy.yaml"))
    assert (config.drop, config.group, config.weight) == ({}, {"all": "true"}, "2")
    assert Policy.Config(group={"all": True}).group == {"all": "true"}
