"""Synthetic text from a reasoning model: MiMo-7B's three strategies (technical report, arXiv 2505.07608, section 2.1).

    analyse  documents with the deepest reasoning are put to the model, which is to think them through
    solve    problems whose answers can be checked, several samples each
    write    general queries, creative writing above all

What is asked is decided before anything is asked, from the config and the documents alone: shard order, workers, the
machine and the server do not matter. `verify` later says which answers are worth keeping.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml
from pydantic import Field

from pipeline.asking import AskingConfig, AskingStage
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from pipeline.stage import StageConfig
from synth import problems, prompts
from synth.asking import CHAT_TOKENS, drawn_number, text_of, tight
from synth.windows import tokens, window

log = logging.getLogger("synth")
QUERIES = Path(__file__).with_name("queries.yaml")


class Synth(AskingStage):
    """Let a model analyse documents, solve problems and write; every answer is kept with what was asked."""

    name = "synth"
    output = "synthetic"
    input = ("documents",)
    columns = ("*",)
    selected_by = "policy"
    libraries = ("duckdb", "reasoning-gym")
    schema = pa.schema(
        [
            pa.field("strategy", pa.string(), nullable=False),  # "analyse", "solve" or "write"
            pa.field("source_id", pa.string(), nullable=False),  # of the document, problem or query
            pa.field("model", pa.string(), nullable=False),
            pa.field("query", pa.string(), nullable=False),  # the last message of the user
            pa.field(
                "answer", pa.string(), nullable=False
            ),  # thinking that a server splits off is in <think> tags
            pa.field("finish_reason", pa.string(), nullable=False),
            pa.field("prompt_tokens", pa.int32(), nullable=False),
            pa.field("completion_tokens", pa.int32(), nullable=False),
            pa.field("temperature", pa.float64(), nullable=False),
            pa.field("top_p", pa.float64(), nullable=False),
            pa.field("max_tokens", pa.int32(), nullable=False),
            pa.field("seed", pa.int64(), nullable=False),
            pa.field("check", pa.string(), nullable=False),  # JSON: how `verify` is to judge the answer
        ]
    )

    class Config(AskingConfig):
        """Which model, what it is asked, and how much. The defaults fit a laptop: some 40,000 generated tokens."""

        model: str = Field(
            "smollm2-135m-instruct",
            description="The model that answers: a known name (fetched and converted once), a folder as transformers "
            "saves it, or with `server` the name that the server gives it",
        )
        context: int = Field(
            2048,
            ge=256,
            description="Tokens that prompt and answer may take together; documents are cut to fit. The server must allow "
            "for it: a prompt it finds too long is left out for good, and one that hardly fits is asked again only "
            "with another context",
        )
        temperature: float = Field(
            0.6, ge=0, description="0 always takes the likeliest token; samples of a problem would be equal"
        )
        top_p: float = Field(
            0.95, gt=0, le=1, description="Draw from the likeliest tokens that have this share together"
        )
        seed: int = Field(
            0, ge=0, description="Changes which tasks and problems are drawn, and every sample's own seed"
        )
        max_generated_tokens: int | None = Field(
            70_000,
            gt=0,
            description="Bound that holds for all answers together: requests are made, evenly over all kinds, while "
            "the sum of their `max_tokens` stays below it. Answers mostly end earlier; about 60 % is used",
        )
        words: int | None = Field(
            150,
            gt=0,
            description="Ask for analyses and answers to queries of fewer words than this: a small model loses "
            "itself in longer ones, and what does not end is of no use; null: as long as it takes",
        )
        analyse_documents: int = Field(
            24, ge=0, description="How many documents to analyse, the best of the whole run; 0: none"
        )
        analyse_where: str = Field(
            "lang_label = 'en' AND signal_words >= 150 AND signal_formula_count >= 3",
            description="SQL condition over a kept document and its columns: which documents may be analysed",
        )
        analyse_order: str = Field(
            "signal_reasoning", description="SQL expression; the documents with the highest value are taken"
        )
        analyse_window: int = Field(
            800,
            gt=0,
            description="Tokens of a document that the model is shown, estimated; a longer one is cut to its head and "
            "a piece of its middle. A small model loses the thread of more",
        )
        analyse_max_tokens: int = Field(320, gt=0, description="Longest analysis, in tokens")
        tasks: dict[str, dict[str, Any]] = Field(
            {
                "chain_sum": {"size": 12, "max_terms": 2, "min_digits": 1, "max_digits": 1},
                "products": {"size": 12, "min_digits": 1, "max_digits": 1},
                "gcd": {"size": 8, "max_value": 12},
                "lcm": {"size": 8, "min_value": 2, "max_value": 9},
                "prime_factorization": {"size": 8, "max_value": 12},
                "letter_counting": {"size": 4, "min_words": 2, "max_words": 3},
                "syllogism": {"size": 4},
                "leg_counting": {"size": 4, "min_animals": 1, "max_animals": 1, "max_instances": 3},
            },
            description="Tasks that reasoning-gym draws: dataset → its options (size: how many; the others make it "
            "easy or hard)",
        )
        problems: dict[str, int | None] = Field(
            {"champ-v0.json": 6, "HumanEval.jsonl.gz": 6},
            description="Sets of problems: file (or packaged set) → how many of it, null: all. Leave out what you "
            "mean to evaluate on",
        )
        check_references: bool = Field(
            True, description="Leave out problems in code whose own solution fails their tests"
        )
        solve_samples: int = Field(2, gt=0, description="Answers to each task and problem")
        solve_max_tokens: int = Field(192, gt=0, description="Longest solution, in tokens")
        worked_examples: int = Field(
            len(prompts.WORKED_EXAMPLES),
            ge=0,
            le=len(prompts.WORKED_EXAMPLES),
            description="Solved problems shown before each task, which teach a small model the form of an answer; "
            "0 for a model that reasons",
        )
        queries: str | None = Field(
            None, description="YAML file of queries, id: text; default: our own, creative writing above all"
        )
        write_queries: int | None = Field(None, ge=0, description="How many of the queries; default: all")
        write_max_tokens: int = Field(448, gt=0, description="Longest answer to a query, in tokens")

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self._best: list[tuple[float, str, str]] = []  # score, id, text of the documents to analyse, a heap

    @property
    def context(self) -> int:
        return self.config.context

    # ---- before anything runs ----

    def check(self, schema: pa.Schema | None) -> None:
        self._queries()
        config = self.config
        asked = {
            "analyse_max_tokens": config.analyse_documents,
            "solve_max_tokens": config.tasks or config.problems,
            "write_max_tokens": config.write_queries != 0,
        }
        for name in (name for name, any_ in asked.items() if any_):
            if getattr(self.config, name) > self.config.context // 2:
                raise RequestError(
                    f"{name} is more than half of the context ({self.config.context}): too little is left for the question."
                )
        if unknown := set(self.config.tasks) - set(problems.gym_datasets() if self.config.tasks else ()):
            raise RequestError(
                f"tasks: reasoning-gym has no dataset {', '.join(sorted(unknown))}; it has {', '.join(problems.gym_datasets())}."
            )
        if schema is not None and self.config.analyse_documents:
            self._candidates(schema.empty_table())
        super().check(schema)

    def files(self) -> dict[str, str]:
        queries = {"queries": sha256_of(self.config.queries or str(QUERIES))}
        return super().files() | queries | {file: sha256_of(file) for file in self.config.problems}

    # ---- what is asked ----

    def requests(self, table: pa.Table) -> Iterable[dict[str, Any]]:
        """Remembers the best documents so far; they are asked about when all are seen, in `own_requests`."""
        for candidate in self._candidates(table) if self.config.analyse_documents else ():
            heapq.heappush(self._best, candidate)
            if len(self._best) > self.config.analyse_documents:
                heapq.heappop(self._best)
        return ()

    def own_requests(self) -> Iterable[dict[str, Any]]:
        self._identity = self.model.identity
        kinds = [list(self._analyses()), *map(list, self._solutions()), list(self._compositions())]
        self._best = []
        # The n-th of N requests stands at n/N, so that any beginning of the list has every kind in proportion.
        placed = sorted(
            ((n + 0.5) / len(kind), k, n) for k, kind in enumerate(kinds) for n in range(len(kind))
        )
        wanted = [kinds[k][n] for _, k, n in placed]
        spent = itertools.accumulate(request["sampling"]["max_tokens"] for request in wanted)
        most = self.config.max_generated_tokens or math.inf
        made = [request for request, sum_ in zip(wanted, spent, strict=True) if sum_ <= most]
        if len(made) < len(wanted):
            log.warning(
                "synth: max_generated_tokens = %d lets %d of %d requests be made",
                most,
                len(made),
                len(wanted),
            )
        return made

    def _candidates(self, table: pa.Table) -> list[tuple[float, str, str]]:
        """Documents of a shard that may be analysed, and their scores."""
        where, order = self.config.analyse_where, self.config.analyse_order
        connection = duckdb.connect(config={"threads": 1})
        connection.register("docs", table)
        try:
            # Both stand in the WHERE, where SQL refuses aggregates: a document's score must not depend on its shard.
            return connection.execute(
                f"SELECT CAST(({order}) AS DOUBLE) AS score, id, text FROM docs "
                f"WHERE ({where}) AND isfinite(CAST(({order}) AS DOUBLE))"
            ).fetchall()
        except duckdb.Error as error:
            raise RequestError(
                f"analyse_where and analyse_order: {str(error).splitlines()[0]} Columns: {', '.join(table.column_names)}"
            ) from None

    def _analyses(self) -> Iterator[dict[str, Any]]:
        for _, document, text in sorted(self._best, key=lambda c: (-c[0], c[1])):
            names = sorted(prompts.ANALYSE)
            prompt = names[drawn_number("prompt", document) % len(names)]
            frame = "\n\n".join([prompts.ANALYSE[prompt], *self._length()])
            taken = tokens(frame) + CHAT_TOKENS + self.config.analyse_max_tokens
            shown = window(text, min(self.config.analyse_window, self.config.context - taken))
            yield self._request(
                "analyse",
                document,
                prompt,
                [{"role": "user", "content": frame.format(text=shown)}],
                self.config.analyse_max_tokens,
                {"kind": "text"},
                cut=shown != text,
            )

    def _solutions(self) -> Iterator[Iterator[dict[str, Any]]]:
        """One stream of requests for each source of problems."""
        for name, options in self.config.tasks.items():
            yield self._samples(list(problems.from_gym(name, options, self.config.seed)))
        for file, count in self.config.problems.items():
            check = self.config.check_references
            yield self._samples(problems.from_file(file, count, self.config.seed, check))

    def _samples(self, questions: list[problems.Question]) -> Iterator[dict[str, Any]]:
        for sample, question in itertools.product(range(self.config.solve_samples), questions):
            shown = prompts.WORKED_EXAMPLES[
                : self.config.worked_examples if question.prompt == "maths" else 0
            ]
            turns = [
                {"role": role, "content": content}
                for problem, solution in shown
                for role, content in (
                    ("user", prompts.SOLVE["maths"].format(problem=problem)),
                    ("assistant", solution),
                )
            ]
            messages = [*turns, {"role": "user", "content": question.text}]
            most = self.config.solve_max_tokens
            yield self._request("solve", question.id, question.prompt, messages, most, question.check, sample)

    def _compositions(self) -> Iterator[dict[str, Any]]:
        for name, query in list(self._queries().items())[: self.config.write_queries]:
            messages = [{"role": "user", "content": " ".join([query, *self._length()])}]
            most = self.config.write_max_tokens
            yield self._request("write", f"query/{name}", "query", messages, most, {"kind": "text"})

    def _length(self) -> list[str]:
        return [prompts.LENGTH.format(words=self.config.words)] if self.config.words else []

    def _request(
        self,
        strategy: str,
        source_id: str,
        prompt: str,
        messages: list[dict[str, str]],
        max_tokens: int,
        check: dict[str, Any],
        sample: int = 0,
        cut: bool = False,
    ) -> dict[str, Any]:
        name, sha256 = self._identity
        return tight(messages, max_tokens, self.context) | {
            **self.model.options(),
            "strategy": strategy,
            "source_id": source_id,
            "model": name,
            "model_sha256": sha256,
            "prompt": f"{prompt}@{prompts.VERSION}",
            "messages": messages,
            "sampling": {
                "temperature": self.config.temperature,
                "top_p": self.config.top_p,
                "max_tokens": max_tokens,
                "seed": drawn_number(self.config.seed, strategy, source_id, sample) % 2**31,
            },
            "check": check,
            "cut": cut,  # whether the model sees only a part of the document
        }

    def _queries(self) -> dict[str, str]:
        path = Path(self.config.queries).expanduser() if self.config.queries else QUERIES
        try:
            queries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RequestError(f"cannot read the queries {path}: {error}") from None
        if not isinstance(queries, dict) or not all(isinstance(q, str) and q for q in queries.values()):
            raise RequestError(f"{path}: expected one query a line, as `id: text`.")
        return {str(name): query for name, query in queries.items()}

    # ---- asking ----

    def greeting(self) -> dict[str, Any]:
        return {"temperature": self.config.temperature, "top_p": self.config.top_p, "seed": 0}

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises `Drop` "prompt_too_long" or "refused" where the server rejects this one request."""
        sampling = request["sampling"]
        answer = await self.model.ask(request["messages"], **sampling)
        return {
            "strategy": request["strategy"],
            "source_id": request["source_id"],
            "model": request["model"],
            "query": request["messages"][-1]["content"],
            "answer": text_of(answer),
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            **sampling,
            "check": json.dumps(request["check"], sort_keys=True, ensure_ascii=False),
        }
