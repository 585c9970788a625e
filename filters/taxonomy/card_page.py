"""A tagger's card in words: what must be known before it is used, and the page of tables that a person reads."""

from __future__ import annotations

from typing import Any

FEW = 10  # positives or groups below which a number says little

Table = dict[str, Any]


def to_know(card: Table) -> list[str]:
    """What a reader must know before using the tagger: sentences that follow from the numbers, worst news first."""
    said: list[str] = []
    groups = card["held_out"]["groups"]
    if groups < 3 * FEW:
        said.append(
            f"The intervals rest on only {groups} independent groups of held-out sites; read them as too narrow."
        )
    for name, part in card["dimensions"].items():
        if not part["rows"]:
            said.append(f"`{name}`: no held-out row has a label, so nothing is known about it.")
            continue
        said += _about_ordinal(name, part) if part["ordinal"] else _about_nominal(name, part)
    once = [f"`{name}`" for name, part in card["dimensions"].items() if part["rows"] and not part["labeller"]]
    if once:
        said.append(
            f"No held-out row was labelled twice for {', '.join(once)}: how much could be learnt is not known."
        )
    return said


def _about_ordinal(name: str, part: Table) -> list[str]:
    said = []
    for row in part["thresholds"]:
        what = f"`{name}` ≥ {row['at_least']}"
        if row["auc"]["value"] is None:
            said.append(f"{what}: held-out rows are all on one side, so nothing is known about it.")
            continue
        if row["positives"] < FEW:
            said.append(f"{what}: only {row['positives']} held-out rows reach it; its numbers say little.")
        for other in ("length", "domain"):
            gain = row.get(f"over_{other}")
            if gain and gain["low"] is not None and gain["low"] <= 0:
                said.append(f"{what} does not beat {other} alone: the gain in AUC is {with_interval(gain)}.")
        if (row["calibration_error"]["low"] or 0) > 0.1:
            error = row["calibration_error"]["value"]
            said.append(f"{what}: its probabilities are off by {error:.2f} on average; use their order only.")
        if row["auc"]["value"] > 0.995 and row["positives"] >= FEW:
            said.append(
                f"{what} has an AUC of {row['auc']['value']:.3f}: the held-out rows are easy; expect less of the open web."
            )
    ceiling = part["labeller"]
    if ceiling and part["kappa"]["value"] is not None and ceiling["kappa"]["value"] is not None:
        said.append(
            f"`{name}`: agreement with the labeller is κ {part['kappa']['value']:.2f}; the labeller's with itself is "
            f"{ceiling['kappa']['value']:.2f}."
        )
    if cut := part["cut"]:
        for what in ("domains", "kinds"):
            worst = [
                f"{row['name']} ({row['good_dropped']['value']:.0%} of {row['good']})"
                for row in sorted(cut[what], key=lambda row: -(row["good_dropped"]["value"] or 0))
                if row["good"] >= FEW and (row["good_dropped"]["low"] or 0) > 1 - cut["asked_recall"]
            ]
            if worst:
                said.append(
                    f"`{name}` ≥ {cut['at_least']} at its cut loses more good documents than elsewhere among the {what} "
                    f"{', '.join(worst)}."
                )
    return said


def _about_nominal(name: str, part: Table) -> list[str]:
    said = []
    if (part["over_length"]["low"] or 0) <= 0:
        said.append(
            f"`{name}` does not beat length alone: the gain in accuracy is {with_interval(part['over_length'])}."
        )
    missing = [row["level"] for row in part["levels"] if row["positives"] == 0]
    few = [row["level"] for row in part["levels"] if 0 < row["positives"] < FEW]
    single = [row["level"] for row in part["levels"] if row["groups"] == 1]
    weak = [
        f"{row['level']} ({row['recall']['value']:.0%} found)"
        for row in part["levels"]
        if row["positives"] >= FEW and (row["recall"]["value"] or 0) < 0.7
    ]
    if missing:
        said.append(f"`{name}`: no held-out row is {', '.join(missing)}; nothing is known about them.")
    if few:
        said.append(
            f"`{name}`: fewer than {FEW} held-out rows are {', '.join(few)}; their numbers say little."
        )
    if single:
        said.append(
            f"`{name}`: held-out rows of {', '.join(single)} come from one group each; others may differ."
        )
    if weak:
        said.append(f"`{name}` misses many of {', '.join(weak)}.")
    ceiling = part["labeller"]
    if ceiling:
        said.append(
            f"`{name}`: accuracy is {part['accuracy']['value']:.2f}; the labeller's with itself is "
            f"{ceiling['accuracy']['value']:.2f}."
        )
    return said


def markdown(card: Table) -> str:
    """The card as a page."""
    held, train = card["held_out"], card["train"]
    lines = [
        f"# {card['name']}",
        "",
        *([f"It says: {card['target']}", ""] if card["target"] else []),
        f"Trained on {train['rows']:,} documents of {train['hosts']:,} hosts; measured on {held['rows']:,} documents of "
        f"{held['hosts']:,} others, no near-duplicate on both sides. Brackets hold the middle 95 % of "
        f"{card['intervals']['resamples']:,} draws of {held['groups']:,} {card['intervals']['of']}.",
        "",
        "## To know before use",
        "",
        *(f"* {sentence}" for sentence in card["to_know"] or ["Nothing beyond the tables."]),
    ]
    ordinal = {name: part for name, part in card["dimensions"].items() if part["ordinal"] and part["rows"]}
    if ordinal:
        lines += ["", "## Levels", ""]
        lines += table_rows(
            ["", "good rows", "AUC", "of length", "of domain", "over length", "AP", "calibration error"],
            [
                [
                    f"{name} ≥ {row['at_least']}",
                    f"{row['positives']} of {part['rows']}",
                    with_interval(row["auc"]),
                    _plain(row["length"]["auc"]),
                    _plain(row["domain"]["auc"]) if "domain" in row else "",
                    with_interval(row["over_length"]),
                    with_interval(row["ap"]),
                    _plain(row["calibration_error"]),
                ]
                for name, part in ordinal.items()
                for row in part["thresholds"]
            ],
        )
        lines += [""]
        lines += table_rows(
            ["", "Spearman", "quadratic κ", "labeller with itself: Spearman", "κ", "asked twice"],
            [
                [name, with_interval(part["spearman"]), with_interval(part["kappa"])]
                + (
                    [_plain(twice["spearman"]), _plain(twice["kappa"]), str(twice["rows"])]
                    if (twice := part["labeller"])
                    else ["", "", "0"]
                )
                for name, part in ordinal.items()
            ],
        )
    for name, part in card["dimensions"].items():
        if part["ordinal"] or not part["rows"]:
            continue
        twice = part["labeller"]
        lines += [
            "",
            f"## {name}",
            "",
            f"Accuracy {with_interval(part['accuracy'])}, macro-F1 {with_interval(part['macro_f1'])}; of length alone "
            f"{_plain(part['length']['accuracy'])} and {_plain(part['length']['macro_f1'])}; calibration error "
            f"{_plain(part['calibration_error'])}."
            + (f" The labeller agrees with itself on {_plain(twice['accuracy'])}." if twice else ""),
            "",
            *table_rows(
                ["", "rows", "found", "right", "AUC", "of length", "AP"],
                [
                    [row["level"], str(row["positives"])]
                    + [with_interval(row[what]) for what in ("recall", "precision", "auc")]
                    + [_plain(row["length"]["auc"]), _plain(row["ap"])]
                    for row in part["levels"]
                    if row["positives"]
                ],
            ),
        ]
    for name, part in ordinal.items():
        if not (cut := part["cut"]):
            continue
        lines += [
            "",
            f"## What a cut loses: {name} ≥ {cut['at_least']}",
            "",
            f"Kept are probabilities from {cut['probability']:.3f}, the highest cut that finds {cut['asked_recall']:.0%} of "
            f"the good: {_plain(cut['kept'], '.0%')} of all documents, of which {_plain(cut['precision'], '.0%')} are good.",
        ]
        for what in ("domains", "kinds"):
            if cut[what]:
                lines += [
                    "",
                    *table_rows(
                        [f"{what[:-1]}", "rows", "dropped", "good", "good but dropped"],
                        [
                            [
                                row["name"],
                                str(row["rows"]),
                                _plain(row["dropped"], ".0%"),
                                str(row["good"]),
                                with_interval(row["good_dropped"], ".0%") if row["good"] else "",
                            ]
                            for row in cut[what]
                        ],
                    ),
                ]
        reliability = next(row for row in part["thresholds"] if row["at_least"] == cut["at_least"])["bins"]
        lines += ["", "Said and true, by probability:", ""]
        lines += table_rows(
            ["said", *(f"{row['said']:.2f}" for row in reliability)],
            [
                ["true", *(f"{row['true']:.2f}" for row in reliability)],
                ["rows", *(str(row["rows"]) for row in reliability)],
            ],
        )
    return "\n".join(lines) + "\n"


def table_rows(head: list[str], body: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body]]


def _plain(measure: Table, how: str = ".3f") -> str:
    return "–" if measure["value"] is None else format(measure["value"], how)


def with_interval(measure: Table, how: str = ".3f") -> str:
    """`measures.estimate` as value [low, high], – where undefined."""
    if measure["value"] is None or measure["low"] is None:
        return _plain(measure, how)
    return f"{measure['value']:{how}} [{measure['low']:{how}}, {measure['high']:{how}}]"
