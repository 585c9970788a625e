"""How the default tagger and the demo's policy do on pages of kinds that they were not made with.

* pages.jsonl: 180 pages, 100 of them without content, written for this measurement without knowledge of the filters or of
  what taggers are trained on;
* WCXB (CC-BY-4.0 annotations): what stands on 1,037 real pages beside their marked content, and that content by page type;
* GSM8K, MATH-500, CodeContests: problems with and without their solutions.
The last two are read from ../shared/data; without it they are left out.

Measured: of the written pages without content 88 % are dropped, of those with content none (AUC 1.000; the first 90 rows of
pages.jsonl were looked at while the tagger was made). Of what stands around WCXB's content 93 % is dropped, of its articles
5.4 %, of its pages of products and services two fifths and three fifths. Before there were pages put together of menus and
offers about any subject, and features of lines' shapes, 13 % of what stands around the content was dropped. Offers in running
prose, before there were articles that say "you" and "price" as well, cost a quarter of the articles. Solutions stand over
their own problems with AUC .999 (GSM8K) and .919 (MATH-500).
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from resiliparse.extract.html2text import extract_plain_text

from benchmarks.dedup_parts.report import LeftOut, Report
from benchmarks.filters_parts.policy import decided
from benchmarks.filters_parts.signals import first_texts
from filters.taxonomy import known_kinds
from filters.taxonomy.measures import draw
from filters.taxonomy.tag import open_tagger
from filters.taxonomy.train import student_of, train

PAGES = Path(__file__).with_name("pages.jsonl")
DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
SHORTEST = 60  # words: the policy drops what is shorter by length alone


def measure(report: Report, corpus: Path, work: Path) -> None:
    """The default tagger as `reasonmill train-tagger` makes it: its card's figures with their marks, and two tables."""
    found = train(
        *(known_kinds.build(), known_kinds.DIMENSIONS, work / "default-tagger"),
        student_of(**known_kinds.OPTIONS),
        target=known_kinds.TARGET,
    )
    by_card(report, found)
    dropped(report, work / "default-tagger", corpus)
    if not DATA.is_dir():
        raise LeftOut(f"{DATA} is not there")
    of_problems(report, work / "default-tagger")


def by_card(report: Report, card: Mapping[str, Any]) -> None:
    """What the honesty card says of hosts that are held out."""
    rows: list[list[object]] = []

    def row(what: str, of: Mapping[str, Any], over_length: Mapping[str, Any]) -> None:
        auc = of["auc"]
        rows.append([what, auc["value"], auc["low"], auc["high"], of["length"]["auc"]["value"]])
        gain = over_length["value"]
        report.mark(f"default tagger, {what}: AUC over length alone", gain, "≥ 0.15", gain >= 0.15)

    for name in ("worked_reasoning", "content"):
        threshold = card["dimensions"][name]["thresholds"][0]
        row(name, threshold, threshold["over_length"])
    for level in card["dimensions"]["domain"]["levels"]:
        if level["level"] in ("mathematics", "code"):
            row(level["level"], level, level["over_length"])
            found = level["auc"]["value"]
            report.mark(f"default tagger, {level['level']}: AUC", found, "≥ 0.97", found >= 0.97)
    report.show(
        "The default tagger on hosts that it has not seen (its card)",
        ["what", "AUC", "from", "to", "AUC of length alone"],
        rows,
    )


def dropped(report: Report, tagger: Path, corpus: Path) -> None:
    """Shares that the policy drops."""
    rows: list[list[object]] = []

    def look(what: str, texts: list[str]) -> tuple[float, np.ndarray]:
        ids = [str(i) for i in range(len(texts))]
        columns, reasons = decided(pa.table({"id": ids, "text": pa.chunked_array([texts])}), tagger)
        content = columns["score_content"].to_numpy()
        share = float(np.mean([bool(rules) for rules in reasons]))
        by_rule = float(np.mean(["no_content" in rules for rules in reasons]))
        rows.append([what, len(texts), share, by_rule, *np.quantile(content, [0.05, 0.5, 0.95])])
        return share, content

    pages = [json.loads(line) for line in PAGES.read_text(encoding="utf-8").splitlines()]
    without, scores = look("written: without content", [p["text"] for p in pages if not p["content"]])
    lost, others = look("written: with content", [p["text"] for p in pages if p["content"]])
    if DATA.is_dir():
        wcxb = read_wcxb(DATA / "extraction" / "wcxb_train")
        look("WCXB: around the content", [beside for _, _, beside in wcxb if len(beside.split()) >= SHORTEST])
        for kind in sorted({kind for kind, _, _ in wcxb}):
            look(
                f"WCXB: content, {kind}",
                [main for of, main, _ in wcxb if of == kind and len(main.split()) >= SHORTEST],
            )
    look("Debian's documentation", first_texts(corpus, 4000)["text"].to_pylist())
    report.show(
        "Pages of other kinds: dropped by the policy, and the tagger's P(content)",
        ["pages", "count", "dropped", "by no_content", "5 %", "median", "95 %"],
        rows,
        note=f"AUC of P(content) over the written pages: {auc(others, scores):.3f}.",
    )
    report.mark("written pages without content dropped", without, "≥ 0.9", without >= 0.9)
    report.mark("written pages with content dropped", lost, "≤ 0.05", lost <= 0.05)


def read_wcxb(folder: Path) -> list[tuple[str, str, str]]:
    """Of each page its type, its content as marked, and the lines that stand beside that."""
    with gzip.open(folder / "truth.jsonl.gz", "rt", encoding="utf-8") as file:
        truth = {str(page["id"]): page for page in map(json.loads, file)}
    found = []
    with tarfile.open(folder / "pages.tar") as tar:
        for member in tar:
            page = truth.get(Path(member.name).name.partition(".")[0])
            if page is None or not member.isfile():
                continue
            html = gzip.decompress(tar.extractfile(member).read()).decode("utf-8", "replace")  # type: ignore[union-attr]
            content = page["main_content"] or ""
            known = _words(content)
            lines = (line.strip() for line in extract_plain_text(html, alt_texts=False).splitlines())
            beside = "\n".join(line for line in lines if (words := _words(line)) and words not in known)
            found.append((page["page_type"], content, beside))
    return found


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def of_problems(report: Report, tagger: Path) -> None:
    """What the tagger says of problems, of their solutions and of other texts."""
    opened = open_tagger(tagger)
    texts = problems() | {
        f"WCXB: {kind}": [main for of, main, _ in read_wcxb(DATA / "extraction" / "wcxb_train") if of == kind]
        for kind in ("article", "documentation", "forum")
    }
    said = {name: opened.predict(pa.chunked_array([found])) for name, found in texts.items()}
    worked = {name: p["worked_reasoning"][:, 0] for name, p in said.items()}
    maths = {name: p["domain"][:, known_kinds.DOMAINS.index("mathematics")] for name, p in said.items()}
    others = np.concatenate([worked[name] for name in worked if name.startswith("WCXB")])
    no_maths = np.concatenate([maths[name] for name in maths if name.startswith("WCXB")])
    report.show(
        "Problems with and without their solutions",
        ["texts", "count", "worked: median", "over .5", "AUC over WCXB", "maths: median", "AUC over WCXB"],
        [
            [
                *(name, len(texts[name]), np.median(worked[name]), np.mean(worked[name] > 0.5)),
                *(auc(worked[name], others), np.median(maths[name]), auc(maths[name], no_maths)),
            ]
            for name in texts
        ],
        note="AUC of solutions over their own problems: "
        + ", ".join(
            f"{name} {auc(worked[f'{name}, solved'], worked[name]):.3f}" for name in ("GSM8K", "MATH-500")
        ),
    )


def problems() -> dict[str, list[str]]:
    """The texts of published problems."""
    folder = DATA / "problems"

    def lines(name: str) -> list[dict[str, str]]:
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    gsm8k, math = lines("gsm8k_train.jsonl.gz")[:1000], lines("math500.jsonl.gz")
    with gzip.open(folder / "code_contests_test.json.gz", "rt", encoding="utf-8") as file:
        contests = [row["problem"] for row in json.load(file)]
    answers = [re.sub(r"<<[^>]*>>", "", row["answer"]).replace("####", "Answer:") for row in gsm8k]
    return {
        "GSM8K": [row["question"] for row in gsm8k],
        "GSM8K, solved": [
            f"{row['question']}\n\n{answer}" for row, answer in zip(gsm8k, answers, strict=True)
        ],
        "MATH-500": [row["problem"] for row in math],
        "MATH-500, solved": [f"{row['problem']}\n\n{row['solution']}" for row in math],
        "CodeContests": contests,
    }


def auc(higher: np.ndarray, lower: np.ndarray) -> float:
    """Probability that one of `higher` is above one of `lower`."""
    both = np.concatenate([higher, lower]).astype(np.float64)
    all_rows = draw(np.arange(len(both)), np.ones(len(both)), 0, 0)
    return float(all_rows.auc_and_ap(both, np.arange(len(both)) < len(higher))[0][0])
