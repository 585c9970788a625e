"""What a policy loses and what it stops: good technical documents, and pages without content.

Good: Debian's documentation (runs/dedup/corpus50k). Pages without content: adverts, job postings, boilerplate, link and file
lists of `filters.taxonomy.known_kinds`, of families that the tagger has not seen: it is trained here on the rest. Both go
through the columns and rules of recipes/demo-policy.yaml; nothing is a duplicate, nothing in a benchmark. Beside it what
datatrove's four default filters say of the same columns (`signals.DATATROVE`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.dedup_parts.report import Report
from benchmarks.filters_parts.signals import TOGETHER, decisions, first_texts
from filters.policy import Policy
from filters.rights import Rights
from filters.sensitive import Sensitive
from filters.signals import Signals
from filters.taxonomy import known_kinds
from filters.taxonomy.card import split
from filters.taxonomy.tag import Tag
from filters.taxonomy.train import student_of, train

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "recipes" / "demo-policy.yaml"
OF_OTHER_STAGES = {
    "dedup_of": pa.string(),
    "contam_benchmark": pa.string(),
    "lang_label": pa.string(),
    "lang_score": pa.float32(),
}


def measure(report: Report, folder: Path, work: Path, documents: int = 4000) -> None:
    """Tables by kind and by rule, and two marks."""
    table = known_kinds.build()
    taught, held_out = split(table, 0.2)
    train(
        table.take(pa.array(taught)),
        known_kinds.DIMENSIONS,
        work / "tagger",
        student_of(**known_kinds.OPTIONS),
        target=known_kinds.TARGET,
        share=0.1,
    )
    kinds = np.array(table["kind"].to_pylist())[held_out]
    empty = table.select(["id", "text"]).take(pa.array(held_out[np.isin(kinds, known_kinds.NO_CONTENT)]))
    kinds = kinds[np.isin(kinds, known_kinds.NO_CONTENT)]
    good = first_texts(folder, documents)
    columns, reasons = decided(good, work / "tagger")
    _, stopped = decided(empty, work / "tagger")
    rows: list[list[object]] = []
    for kind in sorted(set(kinds)):
        gone = [bool(found) for found, one in zip(stopped, kinds, strict=True) if one == kind]
        rows.append([kind, len(gone), sum(gone) / len(gone)])
    rows.append(["all pages without content", len(stopped), np.mean([bool(found) for found in stopped])])
    lost = float(np.mean([bool(found) for found in reasons]))
    by_filters = decisions(columns)
    rows.append(["good: Debian's documentation", len(good), lost])
    rows += [
        [f"  by datatrove's rules: {name}", len(good), float(np.mean(of))] for name, of in by_filters.items()
    ]
    report.show("Dropped by the policy", ["documents", "count", "share dropped"], rows)
    all_rules = Counter(rule for found in reasons for rule in found)
    alone = Counter(found[0] for found in reasons if len(found) == 1)
    subjects = columns["score_domain"].to_pylist()
    common = [name for name, _ in Counter(subjects).most_common(4)]
    report.show(
        "Good documents dropped, by rule",
        ["rule", "dropped", "by it alone", *common],
        [
            [
                rule,
                count,
                alone[rule],
                *(
                    sum(rule in f and s == name for f, s in zip(reasons, subjects, strict=True))
                    for name in common
                ),
            ]
            for rule, count in all_rules.most_common()
        ],
        note=f"Subjects as the tagger says them. datatrove's four filters together: {by_filters[TOGETHER].count(True):,}.",
    )
    report.mark("good technical documents dropped", lost, "≤ 0.05", lost <= 0.05)
    share = float(rows[len(set(kinds))][2])  # type: ignore[arg-type]
    report.mark("pages without content dropped", share, "≥ 0.9", share >= 0.9)


def decided(texts: pa.Table, tagger: Path) -> tuple[pa.Table, list[list[str]]]:
    """The columns that the policy sees, and of each document the rules that drop it."""
    count = len(texts)
    table = texts.append_column("media_type", pa.array(["text/html"] * count))
    for name in ("url", "licence", "reservations"):
        table = table.append_column(name, pa.nulls(count, pa.string()))
    stages = (
        Signals(),
        Tag(Tag.Config(taggers=[str(tagger)])),
        Rights(),
        Sensitive(Sensitive.Config(lists=[])),
    )
    for stage in stages:
        stage.prepare()
        kept = stage.process(table).kept
        for name in kept.column_names[1:]:
            table = table.append_column(name, kept[name])
    for name, kind in OF_OTHER_STAGES.items():
        table = table.append_column(name, pa.nulls(count, kind))
    table = table.append_column("contam_share", pa.array([0.0] * count))
    outcome = Policy(Policy.Config(file=str(POLICY))).process(table)
    rules = {reason.id: reason.detail.split(", ") for reason in outcome.dropped}
    return table, [rules.get(id_, []) for id_ in texts["id"].to_pylist()]
