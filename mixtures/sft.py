r"""Supervised fine-tuning data: queries with answers, in chat form, filtered and packed (MiMo-7B report, section 3.1).

Left out, by the first reason that applies:
    another strategy         of `synthetic`, which is not asked for here: "analyse"
    the verdict's reason     the answer did not pass: "not_equal", "tests_failed", … or "not_verified"
    empty                    no query or no answer
    contaminated             the query has a run of 16 words in common with a benchmark's problem, all of a shorter one,
                             or one in another form (see `mixtures.known_problems`)
    incomplete               cut off, a code fence or thoughts left open, nothing after the thoughts, or no \boxed{}
                             where the query wants one
    mixed_language           see `mixtures.one_language`
    too_long                 more tokens than the context
    duplicate_answer         the same answer to the same query, but for white space
    over_cap                 more than 8 answers to a query; a hash of query and answer decides which stay

A query is the same if its text is, but for case and white space. The result is a function of the set of rows and the
seed: shards and workers play no part.

A row is a packed sequence as in `mixture` with `trained` beside `tokens`: whether a token is to be predicted. Answers
are, with their <|im_end|>; queries and the end-of-text token behind each conversation are not.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from mixtures.chat import Chat
from mixtures.known_problems import KnownProblems, digests, folded
from mixtures.mix import Mix
from mixtures.one_language import OneLanguage
from mixtures.packing import best_fit
from mixtures.tokenizer import open_tokenizer
from pipeline.dedup.minhash import ALGORITHM, string_hashes
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from pipeline.stage import Outcome, Reason, Round, ShuffleStage, StageConfig, Unit
from synth.verify.answers import boxed, final_part

STAGE = "sft"  # the name by which training asks for these sequences
FENCE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})(?P<rest>[^\n]*)$", re.MULTILINE)
ROWS_AT_ONCE = 512  # whose texts are looked at together


class SFTConfig(StageConfig):
    strategies: list[str] = Field(
        ["solve", "write"], description='which of the answers: "solve", "write", "analyse"'
    )
    benchmarks: list[str] = Field(
        [], description="files of problems whose queries must not occur, as `decontaminate` reads them"
    )
    ngram: int = Field(16, ge=5, description="words in a row that a query may not share with a benchmark")
    answers_per_query: int = Field(8, ge=1, description="at most so many answers to a query")
    one_language: bool = Field(True, description="leave out answers that mix languages")
    language_model: str = Field(
        "lid.176.ftz", description="fastText language model: a name in the model cache, or a path"
    )
    context: int = Field(32_768, ge=2, description="tokens in a sequence; longer conversations are left out")
    shards: int = Field(
        4, ge=1, description="of the result; making one takes some 40 bytes of memory for each of its tokens"
    )
    seed: int = Field(
        0, ge=0, lt=1 << 63, description="another seed, another order, and others above the cap"
    )


class SFT(ShuffleStage):
    """answers, synthetic → packed sequences of conversations that are worth learning from."""

    name = "sft_mix"
    output = "sft_mixture"
    input = ("synthetic", "answers")
    more = ("answers",)
    columns = ("answer_verdicts", "verdicts")
    uses = ("tokenizer",)
    reads = ("id", "strategy", "query", "answer", "finish_reason")
    libraries = ("numpy", "numba", "tokenizers", "fasttext-community")
    patience = 30.0
    aligned = False
    schema = Mix.schema.insert(3, pa.field("trained", pa.list_(pa.bool_()), nullable=False))
    Config: ClassVar[type[StageConfig]] = SFTConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        shards = self.config.shards
        self.rounds = (
            Round("judge", "shards", shards),
            Round("choose", "partitions", shards),
            Round("pack", "partitions", None),
        )

    def check(self, schema: pa.Schema | None) -> None:
        if schema is not None and not {"verdict_passed", "verdict_reason"} <= set(schema.names):
            raise RequestError("it takes verified answers only: put verify_answers before it (and verify)")

    def files(self) -> dict[str, str]:
        model = {"language model": sha256_of(self.config.language_model)} if self.config.one_language else {}
        return model | digests(self.config.benchmarks) | {"hash algorithm": str(ALGORITHM)}

    def prepare(self) -> None:
        self.chat = Chat(*open_tokenizer(self.used("tokenizer")))
        self.known = KnownProblems(self.config.benchmarks, self.config.ngram)
        self.languages = OneLanguage(self.config.language_model) if self.config.one_language else None

    def shard_name(self, index: int) -> str:
        return f"{STAGE}-{index:05d}"

    def judge(self, unit: Unit) -> pa.Table:
        """Each row of a shard as tokens, or with the reason why not, to where its query's other answers go."""
        assert unit.table is not None  # the runner's promise for rounds over shards
        self.check(unit.table.schema)
        parts = [_table(self._judged(part.to_pylist())) for part in unit.table.to_batches(ROWS_AT_ONCE)]
        found = pa.concat_tables([_table([]), *parts])
        partition = found["query"].to_numpy() % np.uint64(self.config.shards)
        return found.append_column("partition", pa.array(partition.astype(np.int32)))

    def _judged(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        queries = [row["query"] or "" for row in rows]
        reasons = [self._unwanted(row) for row in rows]
        left = [n for n, reason in enumerate(reasons) if reason is None]
        for n, problem in zip(left, self.known.find([queries[n] for n in left]), strict=True):
            reasons[n] = ("contaminated", problem) if problem else None
        for n, row in enumerate(rows):
            if reasons[n] is None and (what := incomplete(row["query"], row["answer"], row["finish_reason"])):
                reasons[n] = ("incomplete", what)
        left = [n for n, reason in enumerate(reasons) if reason is None]
        if self.languages is not None:
            mixed = self.languages.mixed([queries[n] for n in left], [rows[n]["answer"] for n in left])
            for n, foreign in zip(left, mixed, strict=True):
                reasons[n] = ("mixed_language", foreign) if foreign else None
        hashes = string_hashes(pa.array([folded(query) for query in queries], pa.large_string()))
        answers = [" ".join((row["answer"] or "").split()) for row in rows]
        answer_hashes = string_hashes(pa.array(answers, pa.large_string()))
        return [
            self._tokens(row, reason) | {"query": hashes[n], "answer": answer_hashes[n]}
            for n, (row, reason) in enumerate(zip(rows, reasons, strict=True))
        ]

    def _unwanted(self, row: dict[str, Any]) -> tuple[str, str] | None:
        if row["strategy"] not in self.config.strategies:
            return "another_strategy", row["strategy"]
        if not row["verdict_passed"]:
            return row["verdict_reason"] or "not_verified", ""
        blank = not (row["query"] or "").strip() or not (row["answer"] or "").strip()
        return ("empty", "") if blank else None

    def _tokens(self, row: dict[str, Any], reason: tuple[str, str] | None) -> dict[str, Any]:
        said = {"id": row["id"], "group": row["strategy"], "tokens": [], "answer_begins": 0}
        if reason is None:
            query, answer = self.chat.query(row["query"]), self.chat.answer(row["answer"])
            tokens = np.concatenate([query, answer, np.array([self.chat.end_of_text], np.int32)])
            if len(tokens) <= self.config.context:
                return said | {"tokens": tokens, "answer_begins": len(query)}
            reason = ("too_long", f"{len(tokens)} tokens")
        return said | dict(zip(("reason", "detail"), reason, strict=True))

    def choose(self, unit: Unit) -> pa.Table:
        """Of all answers to a query different ones, as many as the cap allows; each to a shard that its hash says."""
        rows = _routed(unit).sort_by([("query", "ascending"), ("answer", "ascending"), ("id", "ascending")])
        query, answer, ids = rows["query"].to_pylist(), rows["answer"].to_pylist(), rows["id"].to_pylist()
        seed = self.config.seed
        place = string_hashes(pa.array([f"{seed} {q} {a}" for q, a in zip(query, answer, strict=True)]))
        reasons, details = rows["reason"].to_pylist(), rows["detail"].to_pylist()
        first: dict[tuple[int, int], str] = {}  # who gave this answer to this query first
        taken: dict[int, int] = {}  # answers that this query has
        for n in np.argsort(place, kind="stable"):
            if reasons[n] is not None:
                continue
            if (other := first.setdefault((query[n], answer[n]), ids[n])) != ids[n]:
                reasons[n], details[n] = "duplicate_answer", f"of {other}"
            elif taken.setdefault(query[n], 0) >= self.config.answers_per_query:
                reasons[n], details[n] = "over_cap", f"{self.config.answers_per_query} others are there"
            else:
                taken[query[n]] += 1
        rank = string_hashes(pa.array([f"{seed} {id}" for id in ids], pa.string()))
        columns = {
            "id": rows["id"],
            "group": rows["group"],
            "tokens": rows["tokens"],
            "answer_begins": rows["answer_begins"],
            "reason": pa.array(reasons, pa.string()),
            "detail": pa.array(details, pa.string()),
            "rank": pa.array(rank),
            "partition": pa.array((rank % np.uint64(self.config.shards)).astype(np.int32)),
        }
        return pa.table(columns)

    def pack(self, unit: Unit) -> Outcome:
        """The sequences of a shard in hash order, as are the conversations in them; and what was left out."""
        rows = _routed(unit).sort_by([("rank", "ascending"), ("id", "ascending")])
        out = rows.filter(pc.is_valid(rows["reason"])).select(["id", "reason", "detail"]).to_pylist()
        dropped = [Reason(row["id"], row["reason"], row["detail"]) for row in out]
        rows = rows.filter(pc.is_null(rows["reason"]))
        tokens = [row.values.to_numpy() for row in rows["tokens"]]
        ids, groups = rows["id"].to_pylist(), rows["group"].to_pylist()
        begins = rows["answer_begins"].to_pylist()
        members: dict[int, list[int]] = {}  # of each sequence; it stands where its first conversation does
        for row, sequence in enumerate(best_fit(np.array([len(t) for t in tokens]), self.config.context)):
            members.setdefault(int(sequence), []).append(row)
        packed = []
        for number, together in enumerate(members.values()):
            end = 0
            sequence_tokens = np.full(self.config.context, self.chat.end_of_text, np.int32)
            trained = np.zeros(self.config.context, np.bool_)
            for row in together:
                start, end = end, end + len(tokens[row])
                sequence_tokens[start:end] = tokens[row]
                trained[start + begins[row] : end - 1] = True  # all but the end-of-text token
            packed.append(
                {
                    "id": f"{self.shard_name(unit.index)}:{number}",
                    "stage": STAGE,
                    "tokens": sequence_tokens,
                    "trained": trained,
                    "lengths": [len(tokens[row]) for row in together],
                    "documents": [ids[row] for row in together],
                    "groups": [groups[row] for row in together],
                    "starts": [0] * len(together),
                }
            )
        return Outcome(pa.Table.from_pylist(packed, schema=self.schema), dropped)


def incomplete(query: str, answer: str, finish_reason: str | None) -> str:
    r"""What is missing of an answer, in a few words; "" if it is whole.

    >>> incomplete("Sort a list.", "```python\nx.sort()", "stop")
    'a code fence is left open'
    """
    if finish_reason == "length":
        return "cut off at its greatest length"
    final = final_part(answer)
    if not final.strip():
        return "nothing after the thoughts"
    fence = ""
    for line in FENCE.finditer(final):
        mark, rest = line["mark"], line["rest"].strip()
        if not fence:
            fence = mark if mark[0] == "~" or "`" not in rest else ""  # ```x``` on one line is no fence
        elif mark.startswith(fence) and not rest:
            fence = ""
    if fence:
        return "a code fence is left open"
    return r"no \boxed{}" if r"\boxed" in query and boxed(final) is None else ""


def _routed(unit: Unit) -> pa.Table:
    assert unit.routed is not None  # the runner's promise for every round but the first
    return unit.routed


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [
                pa.field("id", pa.string()),
                pa.field("query", pa.uint64()),  # hashes
                pa.field("answer", pa.uint64()),
                pa.field("group", pa.string()),
                pa.field("tokens", pa.list_(pa.int32())),
                pa.field("answer_begins", pa.int32()),  # its first token
                pa.field("reason", pa.string()),  # why it is left out
                pa.field("detail", pa.string()),
            ]
        ),
    )
