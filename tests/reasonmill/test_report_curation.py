"""What the report says of taggers, policy and decontamination: the numbers of the data, and nothing that acts."""

import json
import re
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from lxml import html
from test_report import HOSTILE, ORIGIN, Structure, document, put, table, text_of

from filters.decontaminate import Decontaminate
from filters.decontamination.report import report as contamination
from filters.policy import Policy
from filters.taxonomy.card import card
from filters.taxonomy.rubric import Dimension
from pipeline import storage
from pipeline.models import sha256_of
from reasonmill.report import write_report
from reasonmill.report_policy import comparisons, thresholds
from reasonmill.report_run import Run
from tests.mixtures.small_runs import run as run_stages

SAID = "<script>alert(11)</script>"
WATER = (
    "A mill wheel with twenty-four buckets turns nine times a minute, and every bucket lifts seven litres of water "
    "into the upper channel. How many litres reach the garden in a quarter of an hour if a tenth is spilt?"
)
ROOTS = "Let $p$ and $q$ be the roots of $x^2 - 11x + 19 = 0$. Find the value of $\\frac{p^2}{q} + \\frac{q^2}{p}$."
ABSENT = (
    "Seventeen shepherds share a meadow whose fence is made of posts three paces apart; how many posts stand around it "
    "when the meadow is a square with a side of one hundred and two paces?"
)
RULES = {
    "short": "signal_words < 50",
    f"many {SAID}": "signal_words > 700 AND (signal_links BETWEEN 0.5 AND 0.9 OR NOT signal_links < 0.95)",
    "low": "score_depth <= 1.5 AND media_type = 'text/html'",
    "never": "signal_words / 2 > 1e6",
    "contaminated": "contam_share > 0.9 AND contam_match = 'words'",
}
KINDS = ("mathematics", "news", f"spam {SAID}")


def words(n):
    return n * 29 % 1000


def measured(n):
    """What the test's columns say of document n."""
    return {"words": words(n), "links": n % 20 / 20, "depth": 1 + n % 9 / 2, "domain": KINDS[n % 7 % 3]}


def hits(n, documents):
    """The rules that hold for document n, written once more."""
    m, contaminated = measured(n), documents[n]["text"].count(WATER)
    held = {
        "short": m["words"] < 50,
        f"many {SAID}": m["words"] > 700 and (0.5 <= m["links"] <= 0.9 or m["links"] >= 0.95),
        "low": m["depth"] <= 1.5 and documents[n]["media_type"] == "text/html",
        "never": False,
        "contaminated": bool(contaminated),
    }
    return [rule for rule, holds in held.items() if holds]


def texts():
    """80 documents: some with a benchmark's problem, in three dresses, and some that would like to be a page's code."""
    documents = [
        document(n, f"Page {n}. The stone {n * 7} lies beside the wall of house {n}.") for n in range(80)
    ]
    for n in range(0, 80, 4):
        documents[n] |= {"media_type": "text/x-python"}
    for n, before in ((11, "é𝔸 " * 200), (12, ""), (13, "Short. ")):
        documents[n]["text"] = f"{before}{WATER} {SAID} and so on."
    second = " ".join(WATER.split(". ")[::-1])
    documents[21]["text"] = f"Something else. {second} The end."
    documents[31]["text"] = (
        f"Exercise. {ROOTS.replace(' ', '').replace('Let$', 'Let $').replace('frac', 'dfrac')}"
    )
    documents[31]["text"] = "Exercise. " + ROOTS.replace("\\frac{p^2}{q}", "p^2/q").replace(
        "x^2 - 11x", "x^{2}-11 x"
    )
    documents[0] |= {"text": HOSTILE, "title": SAID, "url": "javascript:alert(1)"}
    return documents


def put_documents(folder, documents):
    names = ("id", "origin", "url", "title", "media_type", "text")
    schema = pa.schema([(name, ORIGIN if name == "origin" else pa.string()) for name in names])
    put(folder, "documents", documents, stage="extract", schema=schema)


def put_tagger(folder):
    """A folder with the card of a tagger that guesses, made of labels that are all but its domain's."""
    random = np.random.default_rng(0)
    n, hosts = 400, random.integers(0, 40, 400)
    domains = np.array(KINDS)[random.integers(0, 3, n)]
    depth = np.where(domains == "mathematics", 3.0, 1.0) + random.integers(0, 2, n)
    labelled = pa.table(
        {
            "id": [f"r{i}" for i in range(n)],
            "text": ["word " * int(k) for k in random.integers(5, 300, n)],
            "host": [f"h{h}" for h in hosts],
            "cluster": [f"r{i}" for i in range(n)],
            "kind": ["proof" if d == "mathematics" else "forum" for d in domains],
            "weight": np.ones(n),
            "label_depth": pa.array(depth, pa.float32()),
            "again_depth": pa.nulls(n, pa.float32()),
            "label_domain": domains,
            "again_domain": pa.nulls(n, pa.string()),
        }
    )
    dimensions = [
        Dimension("depth", ("nothing", "a little", "steps", "proofs"), True, 1),
        Dimension("domain", KINDS, False, 0),
    ]
    test, train = labelled.filter(pa.array(hosts < 15)), labelled.filter(pa.array(hosts >= 15))
    predicted = {
        "depth": -np.sort(-random.random((len(test), 3)), axis=1),
        "domain": random.dirichlet(np.ones(3), len(test)),
    }
    made = card(test, predicted, dimensions, train=train, name=f"guesser {SAID}", target=SAID, resamples=50)
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps(made))
    (folder / "tagger.json").write_text(json.dumps({"kind": "ngrams"}))
    return made


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    """A run with all three: its folder, its documents, its tagger's card, its page."""
    folder = tmp_path_factory.mktemp("curated")
    run, documents = folder / "run", texts()
    put_documents(run, documents)
    signals = [
        {"id": f"d{n}", "signal_words": words(n), "signal_links": measured(n)["links"]} for n in range(80)
    ]
    put(run, "signals", signals, aligned=True, inputs=["documents"])
    language = [{"id": f"d{n}", "lang_label": "en" if n % 3 else "de"} for n in range(80)]
    put(run, "language", language, aligned=True, inputs=["documents"])
    made = put_tagger(folder / "tagger")
    scores = [
        {"id": f"d{n}", "score_depth": m["depth"], "score_domain": m["domain"], "score_domain_share": 0.5}
        for n, m in ((n, measured(n)) for n in range(80))
    ]
    taggers = {"taggers": [str(folder / "tagger")]}
    put(run, "scores", scores, stage="tag", aligned=True, inputs=["documents"], config=taggers)
    manifest = storage.read_json(str(run / "scores" / "manifest.json"))
    manifest["files"] = {f"{folder}/tagger/tagger.json": sha256_of(str(folder / "tagger" / "tagger.json"))}
    storage.write_json(str(run / "scores" / "manifest.json"), manifest)
    farm, algebra = folder / "farm.jsonl", folder / "algebra.jsonl"
    rows = [
        {"id": "wheel", "problem": WATER},
        {"id": "meadow", "problem": ABSENT},
        {"id": "why", "problem": "Why?"},
    ]
    farm.write_text("".join(json.dumps(row) + "\n" for row in rows))
    algebra.write_text(json.dumps({"id": f"roots {SAID}", "problem": ROOTS}))
    benchmarks = [str(farm), str(algebra)]
    rules = {
        "drop": RULES,
        "group": {f"long {SAID}": "signal_words > 500", "code": "media_type LIKE 'text/x-%'"},
    }
    run_stages(
        run,
        Decontaminate(Decontaminate.Config(benchmarks=benchmarks)),
        Policy(Policy.Config.model_validate(rules)),
    )
    return run, documents, made, Path(write_report(str(run))).read_text()


def cells(page, section, title):
    """Of the table below this heading: {first cell: all others}."""
    tree = html.fromstring(page).get_element_by_id(section)
    (found,) = tree.xpath(f".//h3[normalize-space()='{title}']/following::table[1]")
    rows = [
        [" ".join(" ".join(c.itertext()).split()) for c in row.xpath("th|td")] for row in found.xpath(".//tr")
    ]
    return {row[0]: row[1:] for row in rows}


def test_the_page_is_well_formed_and_nothing_on_it_acts(curated):
    page = curated[3]
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == [] and not structure.tags & {"script", "img", "iframe", "u"}
    assert "alert(11)" in page and "<script" not in page.lower()
    for tag, name, value in structure.attributes:
        assert not name.startswith("on"), (tag, name, value)
        if name == "href":
            assert re.match(r"#|https?://a\.example/\d+$", value), (tag, value)


@pytest.mark.parametrize("by", ["domain", "groups of the policy"])
def test_rules_by_group_count_what_the_conditions_say(curated, by):
    _, documents, _, page = curated

    def group(n):
        if by == "domain":
            return measured(n)["domain"]
        code = documents[n]["media_type"].startswith("text/x-")
        return f"long {SAID}" if words(n) > 500 else "code" if code else "other"

    shown = cells(page, "policy", f"Rules by {by}")
    heads = shown.pop("rule")
    held = {n: hits(n, documents) for n in range(80)}
    for head in heads:
        name, size = head.rsplit(" ", 1)
        inside = [n for n in range(80) if name == "all" or group(n).startswith(name.removesuffix("…"))]
        assert int(size) == len(inside)
        for rule in RULES:
            drops = sum(rule in held[n] for n in inside)
            alone = sum(held[n] == [rule] for n in inside)
            assert shown[rule][heads.index(head)] == (f"{drops} ({alone})" if drops else "")
        lost = sum(bool(held[n]) for n in inside)
        assert shown["any of them"][heads.index(head)] == f"{lost} {lost / len(inside):.1%}"
    assert len(heads) == 4


def test_before_and_after_are_duckdbs_counts(curated):
    run, _, _, page = curated
    tree = html.fromstring(page).get_element_by_id("policy")
    for title, column, dataset in (
        ("domain", "score_domain", "scores"),
        ("media type", "media_type", "documents"),
        ("language", "lang_label", "language"),
    ):
        expected = duckdb.sql(
            f"""SELECT part.{column}, count(*), count(kept.id), sum(signal_words),
                    coalesce(sum(signal_words) FILTER (kept.id IS NOT NULL), 0)
                FROM '{run}/{dataset}/*.parquet' part JOIN '{run}/signals/*.parquet' USING (id)
                LEFT JOIN '{run}/policy/*.parquet' kept USING (id) GROUP BY ROLLUP (1)"""
        ).fetchall()
        (found,) = tree.xpath(f".//table[.//th[normalize-space()='{title}']]")
        rows = [[c.text_content().strip() for c in row.xpath("td")] for row in found.xpath(".//tbody/tr")]
        shown = {row[0]: [int(row[i].replace(",", "")) for i in (1, 2, 5, 6)] for row in rows}
        assert shown == {name or "all": [int(n) for n in numbers] for name, *numbers in expected}


def test_small_groups_stand_in_one_column_and_one_row(tmp_path):
    documents = [document(n, "text", media_type=f"text/{n * n // 60:02d}") for n in range(60)]
    put_documents(tmp_path, documents)
    run_stages(tmp_path, Policy(Policy.Config(drop={"odd": "id LIKE '%1'"})))
    page = Path(write_report(str(tmp_path))).read_text()
    sizes = duckdb.sql(
        f"SELECT count(*) FROM '{tmp_path}/documents/*.parquet' GROUP BY media_type ORDER BY count(*) DESC, media_type"
    ).fetchall()
    heads = cells(page, "policy", "Rules by media type")["rule"]
    assert [int(head.rsplit(" ", 1)[1]) for head in heads] == [
        *(n for (n,) in sizes[:8]),
        sum(n for (n,) in sizes[8:]),
        60,
    ]
    assert heads[8].startswith(f"{len(sizes) - 8} others")
    rows = cells(page, "policy", "Before and after")
    assert list(rows)[-2:] == [f"{len(sizes) - 8} others", "all"] and rows["all"][:2] == ["60", "54"]


def test_examples_are_dropped_by_their_rule_those_first_that_nothing_else_drops(curated):
    _, documents, _, page = curated
    held = {n: hits(n, documents) for n in range(80)}
    shown = html.fromstring(page).get_element_by_id("policy").xpath(".//details")
    assert len(shown) == len(RULES)
    for rule, part in zip(RULES, shown, strict=True):
        told = [[c.text_content() for c in row.xpath("td")] for row in part.xpath(".//tr")]
        drops = [n for n in held if rule in held[n]]
        alone = [n for n in drops if len(held[n]) == 1]
        assert len(told) == min(5, len(drops)) and part.xpath(".//pre")[0].text == RULES[rule]
        assert [row[2] == "it alone" for row in told] == [i < len(alone) for i in range(len(told))]
        for identity, text, others in told:
            n = int(re.match(r"d(\d+)", identity)[1])
            assert n in drops and (documents[n]["title"] in text)
            assert others == (
                f"also {', '.join(r for r in held[n] if r != rule)}" if held[n] != [rule] else "it alone"
            )


def test_thresholds_stand_where_the_rules_put_them(curated):
    run, documents, _, _ = curated
    pictures = thresholds(Run(str(run)), RULES)
    many = f"many {SAID}"
    assert [p.title for p in pictures] == ["short", many, many, many, "low", "never", "contaminated"]
    short, long, between, outside, depth, half, share = pictures
    assert short.logarithmic and short.thresholds == (pytest.approx(np.log10(51)),)
    assert between.thresholds == (0.5, 0.9) and not between.logarithmic
    assert outside.note == "signal_links < 0.95" and share.note == "contam_share > 0.9"
    held = {n: hits(n, documents) for n in range(80)}
    for picture, rows in ((short, 80), (long, 80), (between, 80), (depth, 80), (half, 80), (share, 80)):
        assert sum(picture.kept) + sum(picture.dropped) == rows
        assert sum(picture.dropped) == sum(picture.title in h for h in held.values())
    # no document that `short` drops is in a bin that begins above its threshold, none that passes in one that ends below
    below = np.array(short.edges[1:]) <= short.thresholds[0]
    above = np.array(short.edges[:-1]) > short.thresholds[0]
    assert not np.array(short.kept)[below].any() and not np.array(short.dropped)[above].any()
    # nothing reaches the threshold of `never`, and still it is in the picture
    assert half.edges[0] <= half.thresholds[0] <= half.edges[-1] + 1e-9
    assert max(half.edges) == pytest.approx(np.log10(1 + 1e6))


@pytest.mark.parametrize(
    "rule, found",
    [
        ("signal_words < 50", [("signal_words < 50", "signal_words", (50,))]),
        ("50 > docs.signal_words", [("50 > docs.signal_words", "docs.signal_words", (50,))]),
        ("NOT (a.b >= -0.5)", [("a.b >= -0.5", "a.b", (-0.5,))]),
        ("x < 2 * 3 AND x < 6.0 AND x < 2 * 3", [("x < (2 * 3)", "x", (6,)), ("x < 6.0", "x", (6,))]),
        ("len(list_filter(x, lambda y: y > 3)) = 2", [(None, None, (2,))]),
        ("CASE WHEN a THEN b > 1 END", [("b > 1", "b", (1,))]),
        ("title = 'it''s 5' OR lang LIKE '3' OR kept = true OR day > DATE '2020-01-01'", []),
        ("x > y OR x IS NULL OR 1 < 2 OR x < 'inf'::DOUBLE", []),
        ("x IN (SELECT id FROM docs WHERE y > 3)", []),
    ],
)
def test_comparisons_with_numbers_are_read_as_duckdb_reads_them(curated, rule, found):
    told = comparisons(Run(str(curated[0])), rule)
    assert [numbers for _, _, numbers in told] == [numbers for _, _, numbers in found]
    assert (
        [said for said in told if found[0][0]] == [said for said in found if said[0]] if found else not told
    )


def test_what_is_no_number_is_not_drawn(curated):
    rules = {"list": "[signal_words] > 3", "chance": "signal_words * random() > 3", "text": "title > 3"}
    assert thresholds(Run(str(curated[0])), rules) == []


def test_contamination_is_told_as_the_contamination_report_tells_it(curated):
    run, _, _, page = curated
    shown = {row[0]: row[1:] for row in table(page, "decontamination")[1:]}
    for row in contamination(str(run)).to_pylist():
        kept = duckdb.sql(
            f"""SELECT count(*) FROM '{run}/decontaminate/*.parquet' JOIN '{run}/policy/*.parquet' USING (id)
                WHERE contam_benchmark = '{row["benchmark"]}'"""
        ).fetchall()[0][0]
        numbers = [row["documents"], row["words"], row["formulas"], row["rearranged"], kept]
        short = 1 if row["benchmark"] == "farm" else 0
        assert shown[row["benchmark"]] == [
            *(str(n) for n in (row["problems"], short, row["problems_found"])),
            "",
            *(str(n) for n in numbers),
        ]
    assert shown["farm"][0] == "3" and shown["farm"][4] == "4" and shown["algebra"][6] == "1"
    text = text_of(page, "decontamination")
    assert "Looked for in 80 documents were 4 problems" in text and "5 documents have a problem" in text
    assert "nothing is known about them: 1 of 4 problems" in text


def test_a_matching_stretch_is_marked_where_the_dataset_says(curated):
    run, documents, _, page = curated
    articles = html.fromstring(page).get_element_by_id("decontamination").xpath(".//article")
    assert [a.xpath(".//h4")[0].text_content() for a in articles] == ["farm, wheel", f"algebra, roots {SAID}"]
    found = duckdb.sql(f"SELECT id, contam_start, contam_end FROM '{run}/decontaminate/*.parquet'").fetchall()
    spans = {int(i[1:]): (start, end) for i, start, end in found if start is not None}
    for article in articles:
        n = int(article.xpath(".//code")[0].text[1:])
        start, end = spans[n]
        assert article.xpath(".//mark")[0].text == documents[n]["text"][start:end]
    wheel = articles[0].xpath(".//div[@dir]")
    assert wheel[0].text_content().removeprefix("the problem") == WATER
    assert wheel[1].xpath(".//mark")[0].text == WATER.removesuffix("?")
    assert f"? {SAID} and so on." in wheel[1].text_content()


def test_the_tagger_is_told_with_its_cards_figures_and_warnings(curated):
    _, _, made, page = curated
    text = text_of(page, "taggers")
    assert made["to_know"]
    for sentence in made["to_know"]:
        assert " ".join(sentence.replace("`", "").split()) in text
    figures = {row[0]: row[1:] for row in table(page, "taggers")[1:]}
    depth = made["dimensions"]["depth"]["thresholds"][1]
    gain = depth["over_length"]
    assert figures["depth ≥ 3"][1:4] == [
        f"{depth['auc']['value']:.3f} {depth['auc']['low']:.3f} to {depth['auc']['high']:.3f}",
        f"{depth['length']['auc']['value']:.3f}",
        f"{gain['value']:.3f} {gain['low']:.3f} to {gain['high']:.3f}",
    ]
    assert set(figures) == {"depth ≥ 2", "depth ≥ 3", "depth ≥ 4", *(f"domain: {kind}" for kind in KINDS)}
    cut = made["dimensions"]["depth"]["cut"]
    lost = {row[1]: row[4:] for row in table(page, "taggers", 1)[1:]}
    for row in (*cut["domains"], *cut["kinds"]):
        if row["good"]:
            share = row["good_dropped"]
            between = f" {share['low']:.0%} to {share['high']:.0%}" if share["low"] is not None else ""
            assert lost[row["name"]] == [str(row["good"]), f"{share['value']:.0%}{between}"]


def test_taggers_and_benchmarks_that_have_changed_or_are_gone_are_said_to_be(curated):
    run = curated[0]
    described, farm = run.parent / "tagger" / "tagger.json", run.parent / "farm.jsonl"
    before = described.read_bytes(), farm.read_bytes()
    try:
        described.write_text(json.dumps({"kind": "fasttext"}))
        farm.write_bytes(before[1] + json.dumps({"id": "new", "problem": ABSENT[::-1]}).encode())
        page = Path(write_report(str(run))).read_text()
        assert f"{farm} has changed since" in text_of(page, "decontamination")
        text = text_of(page, "taggers")
        assert "is not the one that gave these scores" in text and "AUC" not in text
        farm.unlink()
        (run.parent / "tagger").rename(run.parent / "moved")
        page = Path(write_report(str(run))).read_text()
        assert "no card.json" in text_of(page, "taggers")
        assert "farm.jsonl cannot be opened" in text_of(page, "decontamination")
        shown = {row[0]: row[1:] for row in table(page, "decontamination")[1:]}
        assert shown["farm"][:3] == ["–", "–", "1"] and shown["farm"][4] == "4"
    finally:
        (run.parent / "moved").rename(run.parent / "tagger")
        described.write_bytes(before[0])
        farm.write_bytes(before[1])


def test_nothing_found_and_nothing_looked_for_are_not_the_same(tmp_path):
    put_documents(tmp_path, [document(n, f"Page {n} about stones.") for n in range(3)])
    page = Path(write_report(str(tmp_path))).read_text()
    assert "`decontaminate` has not run" in text_of(page, "decontamination")
    assert "`policy` has not run" in text_of(page, "policy")
    assert not html.fromstring(page).xpath("//*[@id='taggers']")
    run_stages(tmp_path, Decontaminate(Decontaminate.Config()), Policy(Policy.Config()))
    page = Path(write_report(str(tmp_path))).read_text()
    assert "No benchmark was given, so nothing was looked for" in text_of(page, "decontamination")
    assert cells(page, "policy", "Rules by media type")["any of them"] == ["", ""]
    (tmp_path / "farm.jsonl").write_text(json.dumps({"problem": ABSENT}))
    benchmarks = [str(tmp_path / "farm.jsonl")]
    run_stages(tmp_path, Decontaminate(Decontaminate.Config(benchmarks=benchmarks, other_forms=False)))
    page = Path(write_report(str(tmp_path))).read_text()
    text = text_of(page, "decontamination")
    assert "No document has one of the problems" in text and "13 words in a row" in text
    assert "1 problem" in text and "rearranged)" not in text
    assert table(page, "decontamination")[1] == ["farm", "1", "0", "0", "", "0", "0", "0", "0", "0"]
