"""What a mixture was to be and what it is: the plan computed again from the manifest, the rest counted in the shards."""

from __future__ import annotations

from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from mixtures.mix import MixConfig
from mixtures.shares import plan
from pipeline import storage
from pipeline.dataset import Dataset, open_all, outdated
from pipeline.errors import RequestError
from pipeline.view import connect


@dataclass(frozen=True)
class MixtureRow:
    """A group in a stage; `group` None: the whole stage."""

    stage: str
    group: str | None
    asked_share: float  # by the recipe
    planned_share: float  # of the planned tokens, after the caps on repetition
    realised_share: float  # of the tokens that are there
    planned_tokens: int
    realised_tokens: int
    documents: int  # different ones
    epochs: float  # realised tokens ÷ tokens the group has
    sequences: int  # that hold at least one segment of it
    padding: float | None  # share of the sequences' room; of the whole stage only


def planned_and_realised(run: str) -> list[MixtureRow]:
    """Rows of each stage, its groups first.

    Raises `RequestError` if the run has no finished mixture, or one of tokens that are no longer there: a plan made
    of other tokens would be another plan.
    """
    mixture = Dataset.open(storage.join(run, "mixture"))
    manifest = mixture.manifest
    if mixture.name in outdated({d.name: d for d in open_all(run)}):
        raise RequestError(f"{mixture.path} is outdated: run `mix` again")
    config = MixConfig(**manifest["config"])
    with connect(run) as database:
        views = {
            name
            for (name,) in database.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        }
        sources = [
            name for name in ("tokens", "answer_tokens") if name in manifest["inputs"] and name in views
        ]
        rows = " UNION ALL ".join(
            f'SELECT "group", len(tokens) AS n FROM "{s}" WHERE weight > 0' for s in sources
        )
        natural = dict(
            database.sql(f'SELECT "group", sum(n)::BIGINT FROM ({rows}) GROUP BY 1').fetchall()
            if rows
            else []
        )
        realised = (
            database.sql(
                "WITH segments AS (SELECT stage, id, unnest(lengths) AS n, unnest(documents) AS document, "
                'unnest(groups) AS "group" FROM mixture) '
                'SELECT stage, "group", sum(n)::BIGINT, count(DISTINCT document), count(DISTINCT id) FROM segments '
                'GROUP BY GROUPING SETS ((stage, "group"), (stage))'
            ).fetchall()
            if "mixture" in views
            else []
        )
    found = {(stage, group): counts for stage, group, *counts in realised}
    planned = (
        plan(config.stages, natural, {group: config.epochs(group) for group in natural}) if natural else []
    )
    table = []
    for stage, groups in zip(config.stages, planned, strict=False):
        tokens, documents, sequences = found.get((stage.name, None), (0, 0, 0))
        total = sum(group.tokens for group in groups.values())
        for name, group in groups.items():
            part = found.get((stage.name, name), (0, 0, 0))
            if group.asked or part[0]:
                shares = group.asked, group.tokens / max(1, total), part[0] / max(1, tokens)
                epochs = part[0] / natural[name]
                table.append(
                    MixtureRow(
                        stage.name, name, *shares, group.tokens, part[0], part[1], epochs, part[2], None
                    )
                )
        padding = 1 - tokens / max(1, sequences * stage.context) if sequences else 0.0
        epochs = tokens / sum(natural.values())
        table.append(
            MixtureRow(stage.name, None, 1.0, 1.0, 1.0, total, tokens, documents, epochs, sequences, padding)
        )
    return table


def mixture_table(run: str) -> Table:
    """The same for a terminal."""
    table = Table(title="Mixture: planned and realised", title_justify="left")
    table.add_column("stage")
    table.add_column("group")
    for name in (
        "asked",
        "planned",
        "realised",
        "tokens planned",
        "tokens realised",
        "documents",
        "epochs",
        "padding",
    ):
        table.add_column(name, justify="right")
    for row in planned_and_realised(run):
        shares = [f"{share:.1%}" for share in (row.asked_share, row.planned_share, row.realised_share)]
        if row.group is None:
            shares = ["", "", ""]
        table.add_row(
            row.stage,
            escape(row.group) if row.group is not None else f"all, in {row.sequences:,} sequences",
            *shares,
            f"{row.planned_tokens:,}",
            f"{row.realised_tokens:,}",
            f"{row.documents:,}",
            f"{row.epochs:.2f}",
            "" if row.padding is None else f"{row.padding:.1%}",
            style="bold" if row.group is None else None,
            end_section=row.group is None,
        )
    return table
