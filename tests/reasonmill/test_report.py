"""The report: its numbers are those of the data, what was crawled cannot act on the page, and a half-finished run has one."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pytest
from lxml import html

from mixtures.table import planned_and_realised
from pipeline import storage
from pipeline.dataset import Dataset, describe, write_shard
from pipeline.errors import RequestError, RunError
from reasonmill.check_export import CheckResult, Difference
from reasonmill.inspect import inspect
from reasonmill.report import write_report
from reasonmill.report_text import formula, printable, rendered

HOSTILE = (
    "# Title <script>alert(1)</script>\n\n<img src=x onerror=alert(2)> ![pixel](http://tracker.example/p.png)\n\n"
    "[click](javascript:alert(3)) [site](http://evil.example/) <http://auto.example/>\n\n"
    "$\\text{<script>alert(4)</script>}$ $\\href{javascript:alert(5)}{x}$ $\\frac{1}{$ $x^2$\n\n"
    "$$\\text{</math></section></main><script>alert(6)</script>}$$\n\n"
    "{{ 7 * 7 }} }} {% raw %} \x00 \x1b[31m \u202eneht \ufffe\n\n"
    "```py\"><script>alert(7)</script>\n</code></pre><script>alert(8)</script>\n```\n\n" + "> " * 400 + "deep\n\n" + "word " * 200_000
)  # fmt: skip
NAME = "</title><script>alert(9)</script>$\\frac{"
ORIGIN = pa.struct([(name, pa.string()) for name in ("source", "path", "locator")])


def put(
    run,
    name,
    rows,
    *,
    stage=None,
    aligned=False,
    shape="map",
    inputs=(),
    schema=None,
    dropped=(),
    config=None,
    shard="00000",
):
    """A finished dataset as the runner leaves it. `dropped`: (id, reason, detail)."""
    folder = run / name
    table = pa.Table.from_pylist(rows, schema=schema)
    shards = [write_shard(str(folder / f"{shard}.parquet"), table)]
    reasons = {}
    if dropped:
        left_out = [
            dict(zip(("id", "stage", "reason", "detail"), (i, stage or name, r, d), strict=True))
            for i, r, d in dropped
        ]
        reasons["dropped/00000"] = write_shard(
            str(folder / "dropped" / "00000.parquet"), pa.Table.from_pylist(left_out)
        ).sha256
    words = [reason for _, reason, _ in dropped]
    manifest = {
        "version": 1,
        "stage": stage or name,
        "shape": shape,
        "aligned": aligned,
        "config": config or {},
        "counts": {
            "in": len(rows) + len(dropped),
            "kept": len(rows),
            "dropped": {w: words.count(w) for w in words},
            "failed": {},
        },
        "inputs": {source: Dataset.open(str(run / source)).digest for source in inputs},
        "schema": {field.name: str(field.type) for field in table.schema},
        "shards": describe(shards),
        "reasons": reasons,
        "files": {},
        "key": "0" * 64,
    }
    storage.write_json(str(folder / "manifest.json"), manifest)
    log = {
        "seconds": 2.5,
        "cpu_seconds": 1.25,
        "ended": "2026-01-02T03:04:05+00:00",
        "host": "h",
        "python": "3.11",
        "versions": {"pyarrow": "26"},
    }
    storage.write_json(str(folder / "run.json"), log)


def document(number, text, **more):
    origin = {"source": "web", "path": "pages.warc.gz", "locator": f"offset={number}"}
    base = {
        "id": f"d{number}",
        "origin": origin,
        "url": f"https://a.example/{number}",
        "title": f"Page {number}",
        "media_type": "text/html",
    }
    return {**base, "text": text, **more}


def data_line(run):
    """Documents, signals, near-duplicates, policy: what a run that stops after the policy has."""
    documents = [document(n, f"Text {n}. The sum is $\\frac{{{n}}}{{2}}$, so it follows.") for n in range(20)]
    documents[3] |= {"text": HOSTILE, "title": NAME, "url": "javascript:alert(10)"}
    documents[4] |= {"media_type": "text/x-python", "text": "def f():\n    return '<b>' # ```"}
    documents[5] |= {"text": None, "title": None, "url": None}
    documents[6]["text"] = documents[7]["text"] + "\n<i>copy</i>"
    schema = pa.schema(
        [
            (n, ORIGIN if n == "origin" else pa.string())
            for n in ("id", "origin", "url", "title", "media_type", "text")
        ]
    )
    put(
        run,
        "documents",
        documents,
        stage="extract",
        schema=schema,
        dropped=[("r1", "encrypted_pdf", "<u>locked</u>")],
    )
    signals = [
        {
            "id": d["id"],
            "signal_words": n * 10,
            "signal_reasoning": n / 40,
            "signal_characters": 100,
            "signal_formula_share": float("nan"),
        }
        for n, d in enumerate(documents)
    ]
    put(run, "signals", signals, aligned=True, inputs=["documents"])
    dedup = [
        {
            "id": d["id"],
            "dedup_of": "d7" if n == 6 else None,
            "dedup_jaccard": 0.9 if n == 6 else None,
            "dedup_cluster_size": 2 if n in (6, 7) else 1,
        }
        for n, d in enumerate(documents)
    ]
    put(run, "dedup", dedup, aligned=True, shape="shuffle", inputs=["documents"], config={"threshold": 0.8})
    out = {6: "near_duplicate", 3: NAME, 0: "too_short", 1: "too_short"}
    kept = [
        {"id": f"d{n}", "policy_weight": 1 + n / 20, "policy_group": "maths" if n % 2 else NAME}
        for n in range(20)
        if n not in out
    ]
    dropped = [(f"d{n}", reason, reason) for n, reason in out.items()]
    put(run, "policy", kept, inputs=["documents", "signals", "dedup"], dropped=dropped)


def model_line(run):
    """Generations, verdicts, tokens, mixture, training log."""
    texts = []
    for number in range(12):
        strategy = ("analyse", "solve", "write")[number % 3]
        check = {"kind": "math", "answer": "<42>"} if strategy == "solve" else {"kind": "text"}
        texts.append(
            {"id": f"g{number}", "request": "{}", "strategy": strategy, "source_id": f"d{number}", "model": "smollm2-135m-instruct", "query": f"Query {number} {HOSTILE[:300]}"}
            | {"answer": f"So \\boxed{{{number}}}. {HOSTILE[:900]}", "finish_reason": "length" if number == 0 else "stop", "prompt_tokens": 10}
            | {"completion_tokens": 100 + number, "check": json.dumps(check)}
        )  # fmt: skip
    put(run, "synthetic", texts, stage="synth", shape="ledger", inputs=["documents"])
    verdicts = []
    for number, text in enumerate(texts):
        passed = number in (1, 2, 3)
        words = (
            (("right", "wrong") if number < 9 else ("right", "undecided"))
            if text["strategy"] == "solve"
            else ("accepted", "rejected")
        )
        reason = None if passed else ("no_boxed_answer", "repetitive", NAME)[number % 3]
        verdicts.append(
            {
                "id": text["id"],
                "verdict": words[not passed],
                "verdict_reason": reason,
                "verdict_detail": "<s>x</s>",
                "verdict_extracted": "<43>",
                "verdict_passed": passed,
            }
        )
    put(run, "verdicts", verdicts, stage="verify", aligned=True, inputs=["synthetic"])
    lengths = {"d2": 6, "d7": 5, "d9": 4}
    groups = {"d2": "code", "d7": "maths", "d9": "maths"}
    put(
        run,
        "tokens",
        [{"id": i, "group": groups[i], "weight": 1.0, "tokens": list(range(n))} for i, n in lengths.items()],
        inputs=["documents", "policy"],
    )
    sequences = [("stage1", ["d2"], [6]), ("stage1", ["d7"], [5]), ("stage1", ["d9", "d9"], [4, 4])]
    rows = [
        {
            "id": f"stage1-00000:{n}",
            "stage": stage,
            "tokens": [0] * 8,
            "lengths": sizes,
            "documents": names,
            "groups": [groups[i] for i in names],
        }
        for n, (stage, names, sizes) in enumerate(sequences)
    ]
    stages = [{"name": "stage1", "tokens": 19, "context": 8, "factors": {}}]
    put(
        run,
        "mixture",
        rows,
        stage="mix",
        shape="shuffle",
        inputs=["tokens"],
        config={"stages": stages},
        shard="stage1-00000",
    )
    (run / "pretrain").mkdir()
    steps = [
        {"step": n, "tokens": n * 64, "step_tokens": 64, "stage": "stage1" if n < 600 else "stage2", "loss": 9 - n / 250, "mtp_loss": 9.5 - n / 250}
        | {"learning_rate": 1e-3, "mtp_weight": 0.3, "sequences": 8, "context": 8, "rope_base": 10000, "gradient_norm": 1.0, "tokens_per_second": 4321.0}
        for n in range(1000)
    ]  # fmt: skip
    steps[500]["loss"] = float("nan")
    lines = "\n".join(json.dumps(step) for step in steps)
    (run / "pretrain" / "metrics.jsonl").write_text(lines + '\n{"step": 1000, "tok')
    storage.write_json(
        str(run / "pretrain" / "run.json"),
        {"seconds": 61.0, "parameters": 7_654_321, "machine": {"host": "h"}, "versions": {"torch": "2.13"}},
    )

    answers = {"ours": [[1, 2], [3, 4]], "vllm": [[1, 2], [3, 4]], "vllm_mtp": [[1, 2], [3, 5]]}
    difference = Difference("vllm_mtp", 1, 1, 4, 5, -1.0, -1.0001, True)
    check = CheckResult(
        "model",
        "cpu",
        "float32",
        prompts=2,
        new_tokens=2,
        equal=True,
        mtp_equal=False,
        differences=[difference],
        largest_logprob_difference=2e-6,
        drafts=40,
        accepted=31,
        foretold_drafts=40,
        foretold_accepted=31,
        acceptance=0.775,
        answers=answers,
    )
    storage.write_json(str(run / "check.json"), {"passed": check.passed, **asdict(check)})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "a&b"
    data_line(folder)
    model_line(folder)
    return folder


@pytest.fixture(scope="module")
def page(run):
    return Path(write_report(str(run))).read_text()


def text_of(page, section):
    return " ".join(html.fromstring(page).get_element_by_id(section).text_content().split())


def table(page, section, number=0):
    rows = html.fromstring(page).get_element_by_id(section).xpath(f"(.//table)[{number + 1}]//tr")
    return [[" ".join(cell.text_content().split()) for cell in row.xpath("th|td")] for row in rows]


class Structure(HTMLParser):
    """Every element that is opened is closed, in order; collects attributes."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def test_page_is_well_formed_small_and_asks_for_nothing_from_outside(page):
    structure = Structure()
    structure.feed(page)
    structure.close()
    assert structure.open == []
    assert len(page) < 3_000_000
    assert not structure.tags & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "base",
        "form",
        "u",
        "i" and "s",
    }
    for tag, name, value in structure.attributes:
        assert not name.startswith("on"), (tag, name, value)
        if name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            assert value.startswith("#") or (tag == "a" and re.match(r"https?://a\.example/\d+$", value)), (
                tag,
                name,
                value,
            )
        assert "url(" not in (value or "") or value.startswith("url(#"), (tag, name, value)
    identifiers = [value for _, name, value in structure.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    referred = [
        value[1:] for _, name, value in structure.attributes if name == "href" and value.startswith("#")
    ]
    referred += re.findall(r"url\(#([^)]+)\)", page)
    assert set(referred) <= set(identifiers)
    assert "@import" not in page and "http-equiv" in page


def test_hostile_content_is_shown_and_not_obeyed(page):
    assert "<script" not in page.lower() and "{{ 7 * 7 }}" in page  # shown as it is, not 49
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ufffe\uffff]", page)
    tree = html.fromstring(page)
    assert (
        len(tree.xpath("//main")) == 1 and len(tree.xpath("//section")) == 12
    )  # nothing closed what holds it
    assert tree.xpath("//title")[0].text == "a&b – reasonmill"
    assert not tree.xpath("//*[contains(@class, 'text')]//*[@id or self::a or self::h1 or self::h2]")


def test_every_picture_is_xml_with_text_that_can_be_read(page):
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) >= 6
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("aria-label") and root.get("viewBox")
        assert [t for t in root.iter("{http://www.w3.org/2000/svg}text") if t.text]
        assert not list(root.iter("{http://www.w3.org/2000/svg}style"))  # it would be the whole page's


def test_numbers_are_those_of_the_data(run, page):
    rows = {row[0]: row for row in table(page, "funnel")}
    for stage, dataset, dropped in (
        ("policy", "policy", "4"),
        ("extract", "documents", "1"),
        ("verify", "verdicts", ""),
    ):
        n = duckdb.sql(f"SELECT count(*) FROM '{run}/{dataset}/*.parquet'").fetchall()[0][0]
        assert rows[stage][4:6] == [f"{n:,}", dropped]
    counted = duckdb.sql(
        f"SELECT reason, count(*) FROM '{run}/policy/dropped/*.parquet' GROUP BY ALL"
    ).fetchall()
    shown = {row[2]: int(row[3]) for row in table(page, "reasons")[1:] if row[1] == "policy"}
    assert shown == {" ".join(reason.split()): n for reason, n in counted}
    groups = {row[0]: (row[1], row[4]) for row in table(page, "scores")[1:]}
    assert groups == {
        "maths": ("8", "800"),
        NAME: ("8", "800"),
    }  # ten odd numbers but 1 and 3, ten even but 0 and 6
    assert table(page, "duplicates")[1][:4] == ["2", "1", "2", "1"]
    assert "1 of 20 documents" in text_of(page, "duplicates")
    strategies = {row[0]: row[1:] for row in table(page, "synthesis")[1:]}
    assert strategies["analyse"] == ["4", "75%", "40", "418", "104"]  # 100 + 103 + 106 + 109; one was cut off
    assert strategies["together"][3] == "1,266"
    assert "3 of them (25.0%)" in text_of(page, "synthesis") and "135M parameters" in text_of(
        page, "synthesis"
    )
    verdicts = {tuple(row[:3]): row[3] for row in table(page, "synthesis", 1)[1:]}
    assert verdicts[("solve", "right", "")] == "1" and verdicts[("solve", "undecided", "repetitive")] == "1"
    mixture = {tuple(row[:2]): row for row in table(page, "mixture")[1:]}
    assert mixture[("stage1", "maths")][4] == f"{13 / 19:.1%}" and mixture[("stage1", "maths")][6:9] == [
        "13",
        "2",
        "1.44",
    ]
    assert mixture[("stage1", "all, in 3 sequences")][-1] == f"{5 / 24:.2%}"


def test_training_tells_stages_losses_and_what_it_could_not_read(page):
    text = text_of(page, "training")
    assert (
        "1,000 steps over 64,000 tokens with 7,654,321 parameters in 1 min 1 s, 4,321 tokens a second" in text
    )
    assert (
        "5.022 for the next token and 5.522" in text
    )  # the mean of 9 − n/250 over the last ten n is 9 − 994.5/250
    assert "could not be read and are left out: 1." in text
    stages = table(page, "training")[1:]
    assert [row[:3] for row in stages] == [["stage1", "38,400", "600"], ["stage2", "25,600", "400"]]


def test_export_check_says_which_answers_are_the_same(page):
    facts = dict(table(page, "check"))
    assert facts["result"] == "passed" and facts["drafts accepted"] == "31 of 40: 77.5%"
    assert facts["tokens that differ"].startswith("1, 1 of them ties")
    assert facts["drafts foretold by our forward pass"] == "31 of 40"
    assert [row[2:4] for row in table(page, "check", 1)[1:]] == [["yes", "yes"], ["yes", "no"]]
    assert "77.5%" in html.fromstring(page).xpath("//ul[@class='tiles']")[0].text_content()


def test_the_same_run_gives_the_same_page(run, page):
    assert Path(write_report(str(run))).read_text() == page


def test_histograms_count_every_document_once(run):
    from reasonmill.report_documents import histogram
    from reasonmill.report_run import Run

    found = histogram(Run(str(run)), "signal_words", "words", False)
    assert (sum(found.kept), sum(found.dropped)) == (16, 4)
    assert found.edges[0] == 0 and found.edges[-1] == 190
    assert histogram(Run(str(run)), "signal_formula_share", "nothing finite", False) is None


def test_a_run_that_stopped_after_the_policy_says_what_is_missing(tmp_path):
    data_line(tmp_path / "run")
    page = Path(write_report(str(tmp_path / "run"))).read_text()
    for section, stage in (
        ("synthesis", "synth"),
        ("mixture", "mix"),
        ("training", "metrics.jsonl"),
        ("check", "check.json"),
    ):
        assert stage in text_of(page, section)
    assert len(re.findall("<svg", page)) == 3  # funnel, scores, weights


def test_documents_without_anything_said_about_them_are_enough(tmp_path):
    put(tmp_path, "documents", [document(1, "One.")], stage="extract")
    page = Path(write_report(str(tmp_path))).read_text()
    assert "no policy" not in text_of(page, "samples") and "One." in text_of(page, "samples")
    assert "have not run" in text_of(page, "scores")


def test_a_mixture_of_tokens_that_have_changed_is_not_shown_beside_a_plan_of_the_new_ones(tmp_path):
    data_line(tmp_path)
    model_line(tmp_path)
    tokens = [{"id": "d2", "group": "another", "weight": 1.0, "tokens": [1]}]
    put(tmp_path, "tokens", tokens, inputs=["documents", "policy"])
    page = Path(write_report(str(tmp_path))).read_text()
    assert "The mixture is outdated" in text_of(page, "mixture")
    with pytest.raises(RequestError, match=r"mixture is outdated: run `mix` again"):
        planned_and_realised(str(tmp_path))


def test_inspect_shows_any_name_and_leaves_out_what_is_outdated(tmp_path, capsys):
    data_line(tmp_path)
    model_line(tmp_path)
    documents = [document(number, "text") for number in range(3)]
    put(tmp_path, "more", documents, dropped=[("d7", "[/strange]", "[/detail]")])
    inspect(str(tmp_path), sql=None, samples=0, stage=None, csv=False)
    printed = capsys.readouterr().out
    assert "[/strange]" in printed and "no_boxed_answer" in printed and "planned and realised" in printed
    for name, rows in (("tokens", 1), ("synthetic", 2)):
        row = {"id": "g0", "group": "[/another]", "weight": 1.0, "tokens": [1], "strategy": "solve"}
        put(tmp_path, name, [row] * rows, inputs=[])
    inspect(str(tmp_path), sql=None, samples=0, stage=None, csv=False)
    printed = capsys.readouterr().out
    assert "no_boxed_answer" not in printed and "planned and realised" not in printed
    assert printed.count("outdated") == 3  # verdicts, mixture, and what the word means


def test_a_run_on_an_object_store_gets_its_page(run):
    store = fsspec.filesystem("memory")
    store.put(str(run), "/report-test/run", recursive=True)
    path = write_report("memory://report-test/run")
    assert (
        path == "memory://report-test/run/report.html" and store.size("/report-test/run/report.html") > 10_000
    )


def test_what_is_no_run_or_is_damaged_is_one_message(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="no dataset"):
        write_report(str(tmp_path / "empty"))
    put(tmp_path, "documents", [document(1, "One.")], stage="extract")
    (tmp_path / "documents" / "00000.parquet").write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(RunError, match="cannot be read"):
        write_report(str(tmp_path))


@pytest.mark.parametrize(
    "tex, holds",
    [
        (r"\frac{1}{x}", "<mfrac><mrow><mn>1</mn></mrow><mrow><mi>x</mi></mrow></mfrac>"),
        (r"a \leq b", "<mo>≤</mo>"),
        (r"x<y", "<mo>&lt;</mo>"),
        (r"\text{<b>}", "<mtext>&lt;b&gt;</mtext>"),
        (r"\frac{1}{", '<code class="tex">\\frac{1}{</code>'),
        (r"\nosuchcommand{<b>}", '<code class="tex">\\nosuchcommand{&lt;b&gt;}</code>'),
        ("{" * 400 + "}" * 400, '<code class="tex">'),
        ("x" * 5000, '<code class="tex">'),
    ],
)
def test_formulas_become_mathml_or_stay_source(tex, holds):
    assert holds in formula(tex)


def test_formulas_carry_no_attribute_that_acts():
    for tex in (
        r"\href{javascript:alert(1)}{x}",
        r"\class{a\" onclick=\"b}{x}",
        r"\style{position:fixed}{x}",
        r"\hspace{9999em}x",
    ):
        markup = formula(tex)
        assert not re.search(
            r"href|onclick=|position:fixed(?!.*</code>)|9999em(?!.*</code>)",
            re.sub(r"<code.*</code>", "", markup),
        ), markup


def test_markdown_is_cut_where_a_word_ends_and_says_how_much_is_left():
    text = "word " * 100
    shown = html.fromstring(f"<div>{rendered(text, 52)}</div>").text_content()
    assert shown.split("…")[0].split() == ["word"] * 10
    assert re.search(r"… (\d+) more characters", shown)[1] == str(500 - len("word " * 10) + 1)


def test_honest_text_of_all_scripts_stays():
    for text in ("naïve – “x” ≤ y", "中文，日本語 한국어", "می‌خواهم", "👩‍🔬"):
        assert printable(text) == text
