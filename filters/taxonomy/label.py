"""Labels: a model rates the documents of the pool by a rubric, each once, some of them twice.

What is guarded against: a labeller that sees only a document's beginning (head, middle and end are shown), that likes
the first or the last choice of a list (half of the documents see the levels in the opposite order), whose ratings are
whole numbers though it hesitates between two (the expected level is taken from the probabilities of the level's
token), and whose answers cannot be trusted (5 % are asked again in the other order: how well it agrees with itself is
the most that a tagger can be asked for). An answer that does not fit the rubric is never a label.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from filters.taxonomy.pool import HOST
from filters.taxonomy.questions import (
    ORDERS,
    PROMPT_VERSION,
    answer_schema,
    document,
    instructions,
    read_labels,
    windows,
)
from filters.taxonomy.rubric import Rubric, load_rubric
from pipeline import dataset, view
from pipeline.asking import AskingConfig, AskingStage, decisive
from pipeline.client import json_schema
from pipeline.dedup.minhash import string_hashes
from pipeline.errors import RequestError

HASHES_FOR_ORDER, HASHES_FOR_AGAIN = 101, 102  # seeds


class Label(AskingStage):
    """Have a model rate the documents of the pool by the rubric; answers are kept and never asked for twice."""

    name = "label"
    output = "labels"
    input = ("documents",)
    columns = ("pool",)
    uses = ("pool",)
    libraries = ("numba",)

    class Config(AskingConfig):
        """Which model, which rubric, and how documents are shown."""

        model: str = Field(
            description="The model that rates: a known name (fetched and converted once), a folder as transformers "
            "saves it, or with `server` the name that the server gives it. A small one rates badly: the card says so",
        )
        rubric: str | None = Field(None, description="TOML file of dimensions and levels; default: our own")
        window_bytes: int = Field(
            9000,
            ge=300,
            description="UTF-8 bytes of a document that are shown; of a longer one head, middle and end, a third each. "
            "Three to four are a token; our own rubric takes about 2,000 tokens besides",
        )
        again_share: float = Field(
            0.05,
            ge=0,
            le=1,
            description="Share of the documents that is asked about again, in the other order",
        )
        top_logprobs: int = Field(
            20,
            ge=0,
            description="Likeliest tokens to ask for at each place: what expected levels are read off; 0 for a server "
            "that gives none, labels are then whole levels",
        )
        tries: int = Field(3, gt=0, description="How often a question is put before its answer is given up")
        max_tokens: int = Field(400, gt=0, description="Longest answer, in tokens")

    @cached_property
    def rubric(self) -> Rubric:
        return load_rubric(self.config.rubric)

    @property
    def schema(self) -> pa.Schema:  # type: ignore[override]
        """Of an ordinal dimension the `level_` that was said and the expected level, `label_`; of a nominal one its
        name, `label_`. Both are null where the labeller abstained."""
        columns = []
        for dimension in self.rubric.dimensions:
            if dimension.ordinal:
                columns.append(pa.field(f"level_{dimension.name}", pa.int8()))
            columns.append(
                pa.field(f"label_{dimension.name}", pa.float32() if dimension.ordinal else pa.string())
            )
        return pa.schema(
            [
                pa.field("source_id", pa.string(), nullable=False),
                pa.field("again", pa.bool_(), nullable=False),  # the second asking
                pa.field("order", pa.string(), nullable=False),  # "rising" or "falling"
                pa.field("tries", pa.int32(), nullable=False),
                pa.field("prompt_tokens", pa.int32(), nullable=False),
                pa.field("completion_tokens", pa.int32(), nullable=False),
                *columns,
            ]
        )

    def files(self) -> dict[str, str]:
        return {f"rubric {self.rubric.name} {self.rubric.version}": self.rubric.digest} | super().files()

    # ---- what is asked ----

    def requests(self, table: pa.Table) -> Iterable[dict[str, Any]]:
        """The drawn documents, each in one of the two orders, some again in the other one.

        Nothing in a request depends on the rest of the pool: a larger one asks only what is new.
        """
        drawn = table.filter(pc.is_valid(table["pool_probability"]))
        name, sha256 = self.model.identity
        of_order = string_hashes(drawn["id"], seed=HASHES_FOR_ORDER) % 2
        asked_again = string_hashes(drawn["id"], seed=HASHES_FOR_AGAIN) / 2**64 < self.config.again_share
        for row, order, twice in zip(
            drawn.select(["id", "text"]).to_pylist(), of_order.tolist(), asked_again.tolist(), strict=True
        ):
            for again in (False, True) if twice else (False,):
                yield {
                    "source_id": row["id"],
                    "model": name,
                    "model_sha256": sha256,
                    "vllm_options": decisive(self.config.vllm_options),
                    "prompt_version": PROMPT_VERSION,
                    "rubric": self.rubric.identity,
                    "order": ORDERS[order ^ again],
                    "again": again,
                    "top_logprobs": self.config.top_logprobs,
                    "max_tokens": self.config.max_tokens,
                    "shown": windows(row["text"], self.config.window_bytes),
                }

    # ---- asking ----

    def greeting(self) -> dict[str, Any]:
        return self._question("Hello", "rising", self.config.top_logprobs)

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises `ValueError`, which is recorded as a failure, when no try gave an answer that fits the rubric, and
        `Drop` "prompt_too_long" or "refused" when the server rejects this one request."""
        question = self._question(request["shown"], request["order"], request["top_logprobs"])
        for attempt in range(self.config.tries):
            answer = await self.model.ask(
                **question,
                # The first try takes the likeliest answer; the same again would be the same nonsense.
                temperature=0.7 if attempt else 0.0,
                seed=attempt,
                max_tokens=request["max_tokens"],
            )
            try:
                labels = read_labels(answer, self.rubric)
            except ValueError as error:
                nonsense = error
                continue
            return {
                "source_id": request["source_id"],
                "again": request["again"],
                "order": request["order"],
                "tries": attempt + 1,
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
                **labels,
            }
        raise ValueError(
            f"no answer that fits the rubric in {self.config.tries} tries; the last one: {nonsense}"
        )

    def _question(self, shown: str, order: str, top: int) -> dict[str, Any]:
        """Messages and options that are the same in every try."""
        return {
            "messages": [
                {"role": "system", "content": instructions(self.rubric, order)},
                {"role": "user", "content": document(shown)},
            ],
            "response_format": json_schema(answer_schema(self.rubric), "rating"),
            **({"logprobs": True, "top_logprobs": top} if top else {}),
        }


# ---- what came of it ----


def labelled(folder: str) -> pa.Table:
    """The labelled documents of a run, by id: what taggers are trained on.

    id, text, host (of the URL, without "www."; the id where there is none), cluster (of near-duplicates; the id of one
    that has none), kind (null), weight (inverse of the probability of being drawn, mean 1), and of every dimension
    `label_` (float32 or string; null = the labeller abstained) and `again_` (of the second asking; null = none).
    Raises `RequestError` where the run has no labels, or labels of an earlier state.
    """
    datasets = {d.name: d for d in dataset.open_all(folder)}
    if "labels" not in datasets or not datasets["labels"].shards:
        raise RequestError(f"{folder} holds no labels: run `pool` and `label` first.")
    if "labels" in dataset.outdated(datasets):
        raise RequestError(f"{datasets['labels'].path} is about an earlier pool: run `label` again.")
    with contextlib.closing(view.connect(folder)) as connection:
        known, said = (
            [row[0] for row in connection.execute(f"DESCRIBE {name}").fetchall()]
            for name in ("docs", "labels")
        )
        columns = [name for name in said if name.startswith("label_")]
        cluster = "coalesce(dedup_cluster_id, id)" if "dedup_cluster_id" in known else "id"
        names = ", ".join(f'"{name}"' for name in columns)
        seconds = ", ".join(f'"{name}" AS "again_{name.removeprefix("label_")}"' for name in columns)
        try:
            return connection.sql(
                LABELLED.format(host=HOST, cluster=cluster, names=names, seconds=seconds)
            ).to_arrow_table()
        except duckdb.Error as error:
            raise RequestError(f"{folder}: labels cannot be read: {str(error).splitlines()[0]}") from None


LABELLED = """
WITH once AS (
    SELECT source_id AS id, {names} FROM labels WHERE NOT again
), twice AS (
    SELECT source_id AS id, {seconds} FROM labels WHERE again
), told AS (
    SELECT id, text, coalesce({host}, id) AS host, {cluster} AS cluster, NULL::VARCHAR AS kind, 1 / pool_probability AS weight
    FROM docs
)
SELECT told.* REPLACE (told.weight / avg(told.weight) OVER () AS weight),
    once.* EXCLUDE (id), twice.* EXCLUDE (id)
FROM once JOIN told USING (id) LEFT JOIN twice USING (id)
ORDER BY id
"""
