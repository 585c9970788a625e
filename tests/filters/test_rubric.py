"""The rubric file: what ours says, what another may say, and what is told of one that does not fit."""

import json

import pytest

from filters.taxonomy.rubric import Dimension, load_rubric
from pipeline.errors import RequestError

SMALL = """
name = "small"
version = "7"  # a comment

[[dimension]]
name = "depth"
question = "How deep?"
first = 1
abstain = "nothing to judge"
level = [{meaning = "shallow", examples = ["a list", "a price"]}, {meaning = "deep"}]

[[dimension]]
name = "domain"
question = "What about?"
level = [{name = "maths", meaning = "numbers"}, {name = "code", meaning = "programs"}]
"""


def written(tmp_path, text):
    path = tmp_path / "rubric.toml"
    path.write_text(text)
    return path


def test_a_rubric_by_hand(tmp_path):
    rubric = load_rubric(written(tmp_path, SMALL))
    depth, domain = rubric.dimensions
    assert depth == Dimension("depth", ("shallow", "deep"), ordinal=True, first=1)
    assert depth.values == (1, 2)
    assert domain == Dimension("domain", ("maths", "code"), ordinal=False)
    assert domain.values == ("maths", "code")
    assert rubric.questions["depth"].examples == (("a list", "a price"), ())
    assert rubric.questions["depth"].abstain == "nothing to judge"
    assert rubric.questions["domain"].meanings == ("numbers", "programs")
    assert (rubric.identity["name"], rubric.identity["version"]) == ("small", "7")
    assert [Dimension.from_dict(json.loads(json.dumps(d.to_dict()))) for d in (depth, domain)] == [
        depth,
        domain,
    ]


def test_the_digest_follows_the_words_and_not_the_layout(tmp_path):
    digest = load_rubric(written(tmp_path, SMALL)).digest
    assert (
        load_rubric(written(tmp_path, SMALL.replace("# a comment", "").replace(", ", ",   "))).digest
        == digest
    )
    for old, new in (("shallow", "flat"), ("a list", "a table"), ('"7"', '"8"'), ("How deep?", "How far?")):
        assert load_rubric(written(tmp_path, SMALL.replace(old, new))).digest != digest


def test_ours_has_what_taggers_are_to_say():
    dimensions = {dimension.name: dimension for dimension in load_rubric().dimensions}
    assert {"mathematics", "code", "engineering", "news", "advertising", "job_posting"} < set(
        dimensions["domain"].levels
    )
    assert 22 <= len(dimensions["domain"].levels) <= 26
    assert dimensions["reasoning_depth"].values == (1, 2, 3, 4, 5)
    assert dimensions["technical_correctness"].values == (1, 2, 3, 4, 5)
    assert set(dimensions) == {
        *("domain", "reasoning_depth", "reasoning_density", "knowledge_density", "technical_correctness"),
        *("educational_level", "extraction_artefacts", "missing_content"),
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "small"', "", r"rubric\.toml: name: expected a text, found None"),
        ('version = "7"', "version = 7", r"rubric\.toml: version: expected a text, found 7"),
        ('question = "How deep?"', "", r"dimension 1 \(depth\): question: expected a text"),
        ('name = "depth"', 'name = "Depth!"', r"dimension 1: name = 'Depth!': expected small letters"),
        ('name = "domain"', 'name = "depth"', r"rubric\.toml: depth: given twice"),
        ("first = 1", 'first = "1"', r"\(depth\): first = '1': levels must be single digits"),
        ("first = 1", "first = 9", r"\(depth\): first = 9: levels must be single digits"),
        ('{meaning = "deep"}', '{meaning = "shallow"}', r"\(depth\): level: two are the same"),
        (', {meaning = "deep"}', "", r"\(depth\): level: expected at least two"),
        ('{meaning = "deep"}', '{meening = "deep"}', r"\(depth\), level 2: meening: not known here"),
        ('["a list", "a price"]', '"a list"', r"\(depth\), level 1: examples: expected a list"),
        ('name = "code", ', "", r"dimension 2 \(domain\), level 2: name: expected a text"),
        ("abstain", "abstains", r"\(depth\): abstains: not known here; expected abstain, first"),
        ("[[dimension]]", "[dimension]", r"cannot read the rubric .*rubric\.toml: "),
    ],
)
def test_what_does_not_fit_is_named_with_file_and_field(tmp_path, old, new, told):
    with pytest.raises(RequestError, match=told):
        load_rubric(written(tmp_path, SMALL.replace(old, new)))


def test_a_file_that_is_not_there_or_without_dimensions(tmp_path):
    with pytest.raises(RequestError, match=r"cannot read the rubric .*gone\.toml"):
        load_rubric(tmp_path / "gone.toml")
    with pytest.raises(RequestError, match=r"expected at least one \[\[dimension\]\]"):
        load_rubric(written(tmp_path, 'name = "n"\nversion = "1"\ndimension = []'))
