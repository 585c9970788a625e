"""The pool: which documents of a corpus a labeller is asked about, and how likely each of them was to be drawn.

Good documents are rare, and a labeller that sees a random sample sees hardly any. So most of the pool is spread evenly
over strata (kind × length × whether the usual rules would drop it × decile of the reasoning signal) and the rest is
drawn at random. Every drawn document keeps its probability of being drawn; weighted by its inverse (Horvitz and
Thompson 1952) the pool speaks for the whole corpus.

A third draw takes a number of documents of each host in a list: how active recall (filters.taxonomy.recall) widens
the pool. It comes on top of the others and takes the lowest hashes first, so that a longer list, or higher numbers in
it, only add documents: labels that are paid for stay in use.

All draws go by hashes of the ids, so the pool is a function of the set of documents alone, whatever the shards.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json, parquet
from pydantic import Field

from pipeline.dedup.minhash import string_hashes
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from pipeline.stage import Outcome, Round, ShuffleStage, StageConfig, Unit

# SQL: the host of a document's URL in lower case, without user, "www." and port; null where there is none.
HOST = (
    r"nullif(regexp_extract(lower(url), '^[a-z]+://(?:[^/?#@]*@)?(?:www\.)?(\[[^\]/]*\]|[^/?#:]+)', 1), '')"
)
HASHES_IN_HOST = 1 << 32  # seeds from here on; those of the other draws are below


class Pool(ShuffleStage):
    """Draw documents for labelling, evenly over strata and partly at random, with their inclusion probabilities.

    The rounds: `describe` each document by stratum and reasoning (about 30 bytes each), `draw` over all of them at
    once, `mark` the documents that were drawn.
    """

    name = "pool"
    output = "pool"
    input = ("documents",)
    columns = ("signals", "language", "dedup", "scores")
    libraries = ("duckdb", "numba")
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("pool_probability", pa.float64()),  # of being drawn; null = was not
            pa.field("pool_stratum", pa.string()),
        ]
    )

    class Config(StageConfig):
        """How many documents, and what they are spread over. SQL over the documents' columns and their signals."""

        documents: int = Field(
            2000, gt=0, description="About how many documents to draw; two draws overlap by chance"
        )
        random_share: float = Field(
            0.25,
            gt=0,
            le=1,
            description="Share of them that is drawn at random, so that every document can be drawn",
        )
        strata: dict[str, str] = Field(
            {
                "kind": "CASE WHEN media_type LIKE 'text/x-%' OR signal_code_share > 0.3 THEN 'code' "
                "WHEN signal_formula_count >= 3 THEN 'maths' WHEN posts IS NOT NULL THEN 'thread' ELSE 'prose' END",
                "length": "CAST(log2(greatest(signal_words, 1)) / 2 AS INTEGER)",
                "dropped": "signal_words < 50 OR signal_mean_word_length NOT BETWEEN 3 AND 10 OR "
                "signal_symbol_ratio > 0.1 OR signal_bullet_line_share > 0.9 OR signal_ellipsis_line_share > 0.3 OR "
                "signal_alphabetic_share < 0.8 OR signal_stop_words < 2",
            },
            description="name: SQL expression; documents of which all values are equal are one stratum. `dropped` is "
            "what Gopher's quality rules would do",
        )
        deciles_of: str = Field(
            "signal_reasoning", description="SQL number; each stratum is split by its deciles in the corpus"
        )
        hosts: str | None = Field(
            None,
            description="Parquet or JSONL file of `host` (in lower case, without www.) and `documents`: how many of "
            "each of these hosts are drawn besides",
        )
        seed: int = Field(0, ge=0, description="Another seed draws other documents")

    @property
    def rounds(self) -> tuple[Round, ...]:  # type: ignore[override]
        expressions = [*self.config.strata.values(), self.config.deciles_of]
        words = {word for expression in expressions for word in re.findall(r"\w+", expression)}
        words |= {"url"} if self.config.hosts else set()
        return (
            Round("describe", "shards", "all", reads=("id", *sorted(words))),
            Round("draw", "all", "shards"),
            Round("mark", "shards", None, reads=("id",)),
        )

    def check(self, schema: pa.Schema | None) -> None:
        if self.config.hosts:
            self._hosts  # noqa: B018 - says what is wrong with the file
        if schema is not None:
            self._described(schema.empty_table())

    def files(self) -> dict[str, str]:
        return {"hosts": sha256_of(self.config.hosts)} if self.config.hosts else {}

    @cached_property
    def _hosts(self) -> pa.Table:
        return read_hosts(self.config.hosts)

    def describe(self, unit: Unit) -> pa.Table:
        """Of every document its place, stratum, number and hashes; with `hosts` which of these is its host."""
        assert unit.table is not None
        described = self._described(unit.table)
        rows, ids, seed = len(unit.table), unit.table["id"], self.config.seed
        of_host = {}
        if self.config.hosts:
            of_host = {
                "host": pc.index_in(described["host"], self._hosts["host"]),
                "in_host": pa.array(string_hashes(ids, seed=HASHES_IN_HOST + seed)),
            }
        return pa.table(
            {
                "partition": pa.array(np.zeros(rows, np.int32)),
                "shard": pa.array(np.full(rows, unit.index, np.int32)),
                "row": pa.array(np.arange(rows, dtype=np.int32)),
                "stratum": described["stratum"],
                "number": described["number"],
                "at_random": pa.array(string_hashes(ids, seed=2 * seed + 1)),
                "in_stratum": pa.array(string_hashes(ids, seed=2 * seed + 2)),
                **of_host,
            }
        )

    def draw(self, unit: Unit) -> pa.Table:
        """The documents that are drawn, sent back to their shards with probability and stratum."""
        assert unit.routed is not None
        rows = unit.routed
        strata, stratum = _strata(rows["stratum"], rows["number"].to_numpy())
        drawn, probability = inclusion(
            stratum,
            rows["at_random"].to_numpy(),
            rows["in_stratum"].to_numpy(),
            self.config.documents,
            self.config.random_share,
        )
        if self.config.hosts:
            unlisted = len(self._hosts)  # a group of its own, of which none is taken
            host = rows["host"].fill_null(unlisted).to_numpy()
            taken = np.append(self._hosts["documents"].to_numpy(), 0)
            drawn, probability = either((drawn, probability), lowest(host, rows["in_host"].to_numpy(), taken))
        chosen = np.flatnonzero(drawn)
        return pa.table(
            {
                "partition": rows["shard"].take(chosen),
                "row": rows["row"].take(chosen),
                "pool_probability": pa.array(probability[chosen]),
                "pool_stratum": pa.array(strata).take(pa.array(stratum[chosen])),
            }
        )

    def mark(self, unit: Unit) -> Outcome:
        """A row for every document of the shard."""
        assert unit.table is not None and unit.routed is not None
        place = np.full(len(unit.table), -1)
        place[unit.routed["row"].to_numpy()] = np.arange(len(unit.routed))
        which = pa.array(place, mask=place < 0)
        said = [unit.routed[name].take(which) for name in ("pool_probability", "pool_stratum")]
        return Outcome(pa.table([unit.table["id"], *said], schema=self.schema))

    def _described(self, documents: pa.Table) -> pa.Table:
        """stratum (the values of all expressions, as text), number and, with `hosts`, host.

        Raises `RequestError` naming what is wrong.
        """
        texts = {
            name: f"coalesce(CAST(({rule}) AS VARCHAR), '-')" for name, rule in self.config.strata.items()
        }
        named = ", ' ', ".join(f"'{name}=', {text}" for name, text in texts.items()) or "'all'"
        queries = {f"strata.{name}": text for name, text in texts.items()}
        queries["deciles_of"] = f"CAST(({self.config.deciles_of}) AS FLOAT)"
        if self.config.hosts:
            queries["hosts"] = HOST
        host = f", {HOST} AS host" if self.config.hosts else ""
        connection = duckdb.connect(config={"threads": 1})
        connection.register("docs", documents)
        for name, query in queries.items():
            try:  # SQL refuses aggregates and windows in a WHERE: a stratum must not depend on the shard
                connection.execute(f"SELECT 1 FROM docs WHERE ({query}) IS NULL LIMIT 0")
            except duckdb.Error as error:
                raise RequestError(
                    f"pool: {name}: {str(error).splitlines()[0]} Columns: {', '.join(documents.column_names)}"
                ) from None
        try:
            return connection.sql(
                f"SELECT concat({named}) AS stratum, {queries['deciles_of']} AS number{host} FROM docs"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise RequestError(f"pool: strata: {str(error).splitlines()[0]}") from None


def inclusion(
    stratum_N: np.ndarray, at_random_N: np.ndarray, in_stratum_N: np.ndarray, wanted: int, random_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which of N documents are drawn, about `wanted` of them, and each one's probability of being drawn.

    stratum_N: numbers 0, 1, … at_random_N, in_stratum_N: independent hashes; the lowest are drawn.
    p = 1 − (1 − n/N)(1 − n_s/N_s).
    """
    total = len(stratum_N)
    wanted = min(wanted, total)
    randomly = round(wanted * random_share)
    passed_over = 1 - randomly / max(1, total)
    in_strata = round((wanted - randomly) / passed_over) if passed_over else 0  # some are drawn already
    at_random = lowest(np.zeros(total, np.int64), at_random_N, np.array([randomly]))
    return either(at_random, lowest(stratum_N, in_stratum_N, spread(np.bincount(stratum_N), in_strata)))


Draw = tuple[np.ndarray, np.ndarray]  # of each document: is it drawn, and how likely was that


def lowest(group_N: np.ndarray, hash_N: np.ndarray, taken_G: np.ndarray) -> Draw:
    """Of each of G groups as many documents as `taken_G` says, those with the lowest hashes, or all there are.

    A larger number adds documents to those that a smaller one draws.
    """
    sizes_G = np.bincount(group_N, minlength=len(taken_G))
    order_N = np.lexsort((hash_N, group_N))
    rank_N = np.arange(len(group_N)) - np.repeat(np.cumsum(sizes_G) - sizes_G, sizes_G)
    drawn_N = np.zeros(len(group_N), dtype=bool)
    drawn_N[order_N[rank_N < taken_G[group_N[order_N]]]] = True
    return drawn_N, np.minimum(1, taken_G / np.maximum(1, sizes_G))[group_N]


def either(one: Draw, other: Draw) -> Draw:
    """What two independent draws come to: a document stays out only if both pass it over."""
    return one[0] | other[0], 1 - (1 - one[1]) * (1 - other[1])


def spread(sizes: np.ndarray, total: int) -> np.ndarray:
    """How many to take of each stratum: as equal as their sizes allow, `total` together if there are so many.

    >>> spread(np.array([3, 100, 50]), 33)
    array([ 3, 15, 15])
    """
    taken = np.zeros(len(sizes), dtype=np.int64)
    left = total
    for done, which in enumerate(np.argsort(sizes, kind="stable")):
        taken[which] = min(sizes[which], left // (len(sizes) - done))
        left -= taken[which]
    return taken


def _strata(named: pa.ChunkedArray, numbers: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names of the strata that occur, and each document's: what it is called and the decile of its number."""
    coded = named.combine_chunks().dictionary_encode()
    names, rank = np.unique(np.array(coded.dictionary.to_pylist(), dtype=str), return_inverse=True)
    known = np.isfinite(numbers)
    edges = np.quantile(numbers[known], np.arange(1, 10) / 10) if known.any() else np.empty(0)
    decile = np.where(known, np.searchsorted(edges, numbers, side="right"), 10)
    found, stratum = np.unique(rank[coded.indices.to_numpy()] * 11 + decile, return_inverse=True)
    return [f"{names[code // 11]} decile={code % 11 if code % 11 < 10 else '-'}" for code in found], stratum


def read_hosts(path: str) -> pa.Table:
    """A list of hosts, `host` and `documents` (int64); other columns are left out.

    Raises `RequestError` that names the file and, where it is one row's fault, the row.
    """
    file = Path(path).expanduser()
    try:
        found = parquet.read_table(file) if file.suffix == ".parquet" else json.read_json(file)
        if absent := [name for name in ("host", "documents") if name not in found.column_names]:
            raise RequestError(f"{file}: no field {absent[0]}; expected host and documents in every row.")
        hosts = found["host"].cast(pa.string()).combine_chunks()
        documents = found["documents"].cast(pa.int64()).combine_chunks()
    except FileNotFoundError:
        raise RequestError(
            f"cannot read the hosts {file}: there is no such file. Give Parquet or JSON lines with host and documents."
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise RequestError(f"cannot read the hosts {file}: {str(error).splitlines()[0]}") from None
    _, first, which = np.unique(hosts.fill_null("").to_numpy(False), return_index=True, return_inverse=True)
    wrong = {
        "host: expected a name": pc.equal(hosts.fill_null(""), ""),
        "documents: expected 0 or more": pc.less(documents.fill_null(-1), 0),
        "host: it is given in an earlier row": pa.array(first[which] != np.arange(len(hosts))),
    }
    for problem, rows in wrong.items():
        if pc.any(rows).as_py():
            row = pc.index(rows, True).as_py()
            raise RequestError(f"{file}, row {row + 1} ({hosts[row]}, {documents[row]}): {problem}.")
    return pa.table({"host": hosts, "documents": documents})
