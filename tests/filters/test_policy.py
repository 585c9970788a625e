"""The policy: SQL decides, the first true rule is the reason, every hit is told."""

import pyarrow as pa
import pytest

from filters.policy import Policy
from pipeline.errors import RequestError

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
