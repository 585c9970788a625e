"""Which document of a cluster is kept: SQL expressions over one document's columns, compared one after the other."""

from __future__ import annotations

import re
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.errors import RequestError

Rule = tuple[str, Literal["highest", "lowest"]]
# What is kept unless the request says otherwise, as far as the columns are there.
DEFAULT: list[Rule] = [
    ("quality", "highest"),
    ("extraction.fidelity", "highest"),
    ("minhash_words", "highest"),
    ("epoch(origin.crawl_date)", "lowest"),
]
NOT_OF_ONE_ROW = re.compile(r"\b(?:select|over|unnest|random|uuid|now|today|current_\w+)\b", re.IGNORECASE)


class Keep:
    """The rules in order; the first that differs decides, null is worst. None: the default ones."""

    def __init__(self, rules: list[Rule] | None) -> None:
        self.rules = DEFAULT if rules is None else rules
        self.may_lack = rules is None  # the columns of the default ones
        self._database: duckdb.DuckDBPyConnection | None = None

    def check(self) -> None:
        """Raises `RequestError` for what could look at other documents, or at the clock."""
        for expression, _ in self.rules:
            if NOT_OF_ONE_ROW.search(expression):
                raise RequestError(
                    f"dedup: the keep expression {expression!r} must give a number from one document's columns alone"
                )

    def names(self) -> list[str]:
        """All words of the expressions: those that are columns are needed."""
        return [name for expression, _ in self.rules for name in re.findall(r"\w+", expression)]

    def values(self, documents: pa.Table) -> np.ndarray:
        """Of every document what the rules give, float64 [documents, rules], turned so that smaller is better.

        Raises `RequestError` naming the expression that is wrong.
        """
        if self._database is None:
            self._database = duckdb.connect(config={"threads": 1})
        if not self.rules:
            return np.empty((len(documents), 0))
        queries = [f"CAST(({self._present(rule, documents)}) AS DOUBLE)" for rule, _ in self.rules]
        # Times in UTC, without saying so: DuckDB would read a zone's in that of this machine.
        schema = pa.schema([field.with_type(_without_zone(field.type)) for field in documents.schema])
        self._database.register("documents", documents.cast(schema))
        try:
            columns = (
                self._database.sql(f"SELECT {', '.join(queries)} FROM documents").to_arrow_table().columns
            )
        except duckdb.Error:
            for (rule, _), query in zip(self.rules, queries, strict=True):
                self._try(rule, query, documents.column_names)
            raise
        finally:
            self._database.unregister("documents")
        if any(len(column) != len(documents) for column in columns):
            raise RequestError(
                "dedup: every keep expression must give one number a document, from that document alone: "
                f"{[rule for rule, _ in self.rules]}"
            )
        signs = np.array([-1 if which == "highest" else 1 for _, which in self.rules])
        values = np.column_stack([column.to_numpy() for column in columns]) * signs
        return np.where(np.isnan(values), np.inf, values)

    def _present(self, rule: str, documents: pa.Table) -> str:
        gone = self.may_lack and rule.isidentifier() and rule not in documents.column_names
        return "NULL" if gone else rule

    def _try(self, rule: str, query: str, columns: list[str]) -> None:
        assert self._database is not None
        try:
            self._database.sql(f"SELECT {query} FROM documents").fetchall()
        except duckdb.Error as error:
            raise RequestError(
                f"dedup: the keep expression {rule!r} gives no number over the columns {', '.join(columns)}: "
                f"{str(error).splitlines()[0]}"
            ) from error


def _without_zone(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp(kind.unit)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_zone(field.type)) for field in kind])
    return kind
