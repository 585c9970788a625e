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

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml
from pydantic import Field, model_validator

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
        drop: dict[str, str] = Field(
            {}, description="reason: SQL condition over the columns of `docs`; true drops"
        )
        weight: str = Field("1.0", description="SQL expression: sampling weight of a kept document")
        group: dict[str, str] = Field(
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
            path = Path(str(given["file"]))
            try:
                rules = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (OSError, yaml.YAMLError) as error:
                raise ValueError(f"cannot read policy file {path}: {error}") from None
            if not isinstance(rules, dict) or set(rules) - {"drop", "weight", "group"}:
                raise ValueError(
                    f"policy file {path} must hold `drop` (reason: condition) and may hold `weight` and `group`"
                )
            return rules

    def check(self, schema: pa.Schema | None) -> None:
        if schema is not None:
            self.process(schema.empty_table())

    def process(self, batch: pa.Table) -> Outcome:
        connection = duckdb.connect(config={"threads": 1})
        connection.register("docs", batch)
        rules = self.config.drop
        hits = _evaluate(connection, rules, batch.column_names)
        weights = _evaluate(
            connection, {"weight": f"CAST(({self.config.weight}) AS DOUBLE)"}, batch.column_names
        )
        groups = _evaluate(connection, self.config.group, batch.column_names)
        dropped, kept = [], []
        for index, document in enumerate(batch["id"].to_pylist()):
            reasons = [name for name in rules if hits[name][index]]
            if reasons:
                dropped.append(Reason(document, reasons[0], ", ".join(reasons)))
            else:
                group = next((name for name in groups if groups[name][index]), "other")
                kept.append(
                    {"id": document, "policy_weight": weights["weight"][index], "policy_group": group}
                )
        return Outcome(pa.Table.from_pylist(kept, schema=self.schema), dropped)


def _evaluate(
    connection: duckdb.DuckDBPyConnection, expressions: dict[str, str], columns: list[str]
) -> dict[str, list[Any]]:
    """One value per row and expression, in row order. Raises `RequestError` naming the rule that is wrong."""
    values = {}
    for name, expression in expressions.items():
        try:
            # A rule sees one document at a time; SQL refuses aggregates and windows in a WHERE, so we need not look.
            connection.execute(f"SELECT 1 FROM docs WHERE (({expression}) IS NULL) LIMIT 0")
            values[name] = [
                row[0] for row in connection.execute(f"SELECT ({expression}) FROM docs").fetchall()
            ]
        except duckdb.Error as error:
            first_line = str(error).splitlines()[0]
            raise RequestError(
                f"policy rule {name!r}: {expression}: {first_line}. Columns: {', '.join(columns)}"
            ) from None
    return values
