"""The policy: the one place where a document's worth decides. Named SQL conditions over everything said about it.

    drop:
      too_short: signal_words < 50
      near_duplicate: dedup_of IS NOT NULL
    weight: CASE WHEN signal_formula_count > 0 THEN 2 ELSE 1 END
    group:
      code: media_type LIKE 'text/x-%'
      maths: signal_formula_share > 0.05

The first condition that holds is the reason, all that hold stand in the detail. A condition that is NULL does not
drop. What is kept gets a sampling weight and a group, the first whose condition holds, which is what mixtures take
their shares of. Text is not copied: the dataset holds ids, weights and groups.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from filters.policy_rules import SQL, read_rules, what_is_wrong
from pipeline import dataset, view
from pipeline.errors import RequestError
from pipeline.stage import MapStage, Outcome, Reason, StageConfig


class Policy(MapStage):
    """Keep or drop each document by SQL over the document and all its columns; weigh and group what is kept."""

    name = "policy"
    output = "policy"
    input = ("documents",)
    columns = ("*",)
    libraries = ("duckdb",)
    aligned = False
    rows_per_call = 8192  # SQL is planned anew for every call
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("policy_weight", pa.float64()),
            pa.field("policy_group", pa.string()),
        ]
    )

    class Config(StageConfig):
        """Rules, given here or in a YAML file with the same fields."""

        file: str | None = Field(
            None, description="YAML file with `drop`, `weight` and `group`, instead of giving them here"
        )
        drop: dict[str, SQL] = Field(
            {}, description="reason: SQL condition over the columns of `docs`; true drops"
        )
        weight: SQL = Field("1.0", description="SQL expression: sampling weight of a kept document")
        group: dict[str, SQL] = Field(
            {},
            description='name: SQL condition; the first that is true is the document\'s group, else "other"',
        )

        @model_validator(mode="before")
        @classmethod
        def _load_file(cls, given: Any) -> Any:
            """The file's rules become part of the config, so that the plan shows them and workers need no file."""
            if not isinstance(given, dict) or not given.get("file"):
                return given
            if given.get("drop") or "weight" in given or given.get("group"):
                raise ValueError(
                    "give either `file` or `drop`, `weight` and `group`, not both: one place for the rules"
                )
            return read_rules(Path(str(given["file"])))

    def check(self, schema: pa.Schema | None) -> None:
        if clash := sorted(name for name in self.config.drop if "," in name):
            raise RequestError(
                f"policy rule {clash[0]!r}: a name must not hold a comma, which stands between names."
            )
        for name, rule, _ in self._rules():
            if why := what_is_wrong(self._connection, rule):
                raise RequestError(f"policy rule {name!r}: {rule.strip()}: {why}")
        if schema is not None:
            self.process(schema.empty_table())

    def files(self) -> dict[str, str]:
        """No files, but decisive as they are: the order of rules and groups, which no manifest's sorted JSON keeps."""
        return {
            f"order of {field}": json.dumps(list(getattr(self.config, field))) for field in ("drop", "group")
        }

    @functools.cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        # A rule reads the documents only: another file would be no part of what decides whether to run again.
        return duckdb.connect(config={"threads": 1, "enable_external_access": "false"})

    def process(self, batch: pa.Table) -> Outcome:
        rules = list(self.config.drop)
        said = self._evaluate(
            batch,
            [
                *(f"coalesce(CAST(({rule}\n) AS BOOLEAN), false)" for rule in self.config.drop.values()),
                f"CAST(({self.config.weight}\n) AS DOUBLE)",
                group_expression(self.config.group),
            ],
        )
        hits_RN = np.array([column.to_numpy() for column in said[: len(rules)]], dtype=bool)
        hits_RN = hits_RN.reshape(len(rules), batch.num_rows)  # there may be no rules
        gone_N = hits_RN.any(axis=0)
        kept = pa.table([batch["id"], *said[len(rules) :]], schema=self.schema).filter(pa.array(~gone_N))
        # Few combinations of rules occur: the detail is written once for each.
        combinations_CR, which_D = np.unique(hits_RN[:, gone_N].T, axis=0, return_inverse=True)
        told = [[name for name, hit in zip(rules, c, strict=True) if hit] for c in combinations_CR]
        reasons = [(names[0], ", ".join(names)) for names in told]
        ids = batch["id"].filter(pa.array(gone_N)).to_pylist()
        dropped = [Reason(id_, *reasons[c]) for id_, c in zip(ids, which_D.ravel().tolist(), strict=True)]
        return Outcome(kept, dropped)

    def _evaluate(self, batch: pa.Table, expressions: list[str]) -> list[pa.ChunkedArray]:
        """One column per expression, in row order. Raises `RequestError` naming the rule that is wrong."""
        self._connection.register("docs", batch)
        try:
            return self._answer(expressions).columns
        except duckdb.Error as error:
            columns = f"Columns: {', '.join(batch.column_names)}"
            self._name_the_wrong_one(columns)
            raise RequestError(f"policy: {str(error).splitlines()[0]}. {columns}") from None
        finally:
            self._connection.unregister("docs")

    def _answer(self, expressions: list[str]) -> pa.Table:
        # A rule sees one document at a time; SQL refuses aggregates and windows in a WHERE.
        alone = " OR ".join(f"({expression}) IS NULL" for expression in expressions)
        self._connection.execute(f"SELECT 1 FROM docs WHERE {alone} LIMIT 0")
        columns = ", ".join(f"({expression}) AS c{n}" for n, expression in enumerate(expressions))
        return self._connection.sql(f"SELECT {columns} FROM docs").to_arrow_table()

    def _rules(self) -> list[tuple[str, str, str]]:
        """All SQL of the policy: name, expression, type."""
        conditions = (*self.config.drop.items(), *self.config.group.items())
        return [*((*rule, "BOOLEAN") for rule in conditions), ("weight", self.config.weight, "DOUBLE")]

    def _name_the_wrong_one(self, columns: str) -> None:
        """Together they fail: raises `RequestError` for the first that fails alone."""
        for name, expression, kind in self._rules():
            try:
                self._answer([f"CAST(({expression}\n) AS {kind})"])
            except duckdb.Error as error:
                raise RequestError(
                    f"policy rule {name!r}: {expression}: {str(error).splitlines()[0]}. {columns}"
                ) from None


def group_expression(groups: Mapping[str, str]) -> str:
    """SQL that names a document's group: the first whose condition holds, else "other".

    >>> print(group_expression({"maths": "formulas > 3"}))
    CASE WHEN CAST((formulas > 3
    ) AS BOOLEAN) THEN 'maths' ELSE 'other' END
    """
    cases = [f"WHEN CAST(({rule}\n) AS BOOLEAN) THEN {_literal(name)}" for name, rule in groups.items()]
    return f"CASE {' '.join(cases)} ELSE 'other' END" if cases else "'other'"


def effects(folder: str, by: str | None = None) -> pa.Table:
    """What each rule of a run's policy drops, by group, and what it alone drops.

    folder: of a run whose policy has been run. by: SQL expression over the columns of `docs` that says which group a
    document belongs to, such as `score_domain` or `media_type`; None: the policy's own groups.

    A row for each rule and group: rule, group, documents (of the group, before the policy), drops (documents of the
    group for which the rule holds), first (… whose reason it is), alone (… for which no other rule holds: what would
    be kept without it). Rules are in the policy's order, groups by size; a rule that drops nothing stands there with
    zeros. The null rule counts what any rule drops. Raises `RequestError` where the run has no current policy or `by`
    is wrong.
    """
    datasets = {d.name: d for d in dataset.open_all(folder)}
    if "policy" not in datasets or "documents" not in datasets:
        raise RequestError(f"{folder} holds no documents on which a policy has decided: run `policy` first.")
    config, files = datasets["policy"].manifest["config"], datasets["policy"].manifest.get("files", {})
    if "policy" in dataset.outdated(datasets) or "order of drop" not in files:
        raise RequestError(
            f"{datasets['policy'].path} is about earlier documents or columns: run `policy` again."
        )
    rules = pa.table({"rule": pa.array([*json.loads(files["order of drop"]), None], pa.string())})
    groups = {name: config["group"][name] for name in json.loads(files["order of group"])}
    rules = rules.append_column("place", pa.array(range(len(rules))))
    with contextlib.closing(view.connect(folder)) as connection:
        connection.register("rules", rules)
        group = by if by is not None else group_expression(groups)
        try:
            return connection.sql(EFFECTS.format(by=group)).to_arrow_table()
        except duckdb.Error as error:
            raise RequestError(f"policy effects by {group}: {str(error).splitlines()[0]}") from None


EFFECTS = """
WITH told AS (
    SELECT id, reason, string_split(detail, ', ') AS hits FROM dropped WHERE stage = 'policy'
), grouped AS (
    SELECT "group", reason, hits
    FROM (SELECT id, coalesce(CAST(({by}
    ) AS VARCHAR), 'unknown') AS "group" FROM docs) LEFT JOIN told USING (id)
), sizes AS (
    SELECT "group", count(*) AS documents FROM grouped GROUP BY ALL
), counted AS (
    SELECT "group", rule, count(*) AS drops, count(*) FILTER (reason = rule) AS first,
        count(*) FILTER (len(hits) = 1) AS alone
    FROM grouped, unnest(hits) AS hit(rule) GROUP BY ALL
    UNION ALL
    SELECT "group", NULL, count(hits), count(hits), count(*) FILTER (len(hits) = 1) FROM grouped GROUP BY ALL
)
SELECT rules.rule, sizes."group", documents, coalesce(drops, 0) AS drops, coalesce(first, 0) AS first,
    coalesce(alone, 0) AS alone
FROM rules CROSS JOIN sizes
LEFT JOIN counted ON counted."group" = sizes."group" AND counted.rule IS NOT DISTINCT FROM rules.rule
ORDER BY rules.place, documents DESC, sizes."group"
"""


def markdown(table: pa.Table) -> str:
    """What `effects` found as a Markdown table: a line a rule, a column a group, and in each cell what the rule drops
    and in brackets what it alone drops."""
    cells: dict[str | None, dict[str, tuple[int, int]]] = {}
    sizes: dict[str, int] = {}
    for row in table.to_pylist():
        cells.setdefault(row["rule"], {})[row["group"]] = (row["drops"], row["alone"])
        sizes[row["group"]] = row["documents"]
    lines = [
        ["rule", *(f"{group} ({size:,})" for group, size in sizes.items()), f"all ({sum(sizes.values()):,})"],
        ["---", *["---:"] * (len(sizes) + 1)],
    ]
    for rule, found in cells.items():
        pairs = [*found.values(), (sum(d for d, _ in found.values()), sum(a for _, a in found.values()))]
        lines.append([rule or "any of them", *(_cell(drops, alone, rule) for drops, alone in pairs)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(drops: int, alone: int, rule: str | None) -> str:
    return f"{drops:,} ({alone:,})" if rule and drops else f"{drops:,}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
