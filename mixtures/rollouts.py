"""The stages `rollouts` and `rollout_verdicts`: answers of models to problems, several each, and which are right.

Strong models show which problems can be solved, the fine-tuned model which are worth training on (`difficulty`); in an
evaluation it is the evaluated models that answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from pipeline import storage
from pipeline.asking import AskedModel, VLLMOptions
from pipeline.dataset import read_shard
from pipeline.errors import RequestError
from pipeline.models import model_file, sha256_of
from pipeline.problems.rows import Row, rows
from pipeline.stage import LedgerStage, MapStage, Outcome, StageConfig
from synth.asking import CHAT_TOKENS, drawn_number, text_of, tight
from synth.verify.check import Checked
from synth.verify.stage import LIBRARIES, CheckConfig
from synth.verify.verdict import undecided

log = logging.getLogger("rollouts")
ROLLOUTS = pa.schema(
    [
        pa.field("problem_id", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),  # the config's name of it
        pa.field("role", pa.string(), nullable=False),  # "strong", "sft", "evaluated", …
        pa.field("sample", pa.int32(), nullable=False),
        pa.field(
            "answer", pa.string(), nullable=False
        ),  # thinking that a server splits off is in <think> tags
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field(
            "prompt_tokens", pa.int32()
        ),  # this and what follows: null where the answer was made elsewhere
        pa.field("completion_tokens", pa.int32()),
        pa.field("temperature", pa.float64()),
        pa.field("top_p", pa.float64()),
        pa.field("max_tokens", pa.int32()),
        pa.field("seed", pa.int64()),
    ]
)


class RolloutModel(BaseModel):
    """One model that answers, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="How rows and reports call it")
    role: str = Field("strong", description='"strong", "sft", "evaluated" or a word of your own')
    model: str = Field(
        description="A known name, a folder as transformers saves it (below the run's folder, or anywhere), or with "
        "`server` the name it has there"
    )
    samples: int = Field(16, gt=0, description="Answers to each problem")
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(8192, gt=0, description="Longest answer")
    context: int = Field(16384, ge=256, description="Tokens that prompt and answer may take together")
    server: str | list[str] | None = Field(None, exclude=True, description="Address(es) of a running server")
    api_key_env: str | None = Field(None, exclude=True)
    vllm_options: VLLMOptions = Field({}, description="Of the vLLM that is started here")


class Rollouts(LedgerStage):
    """Have models answer every problem several times; a model's server runs while it is its turn."""

    name = "rollouts"
    output = "rollouts"
    input = ("problems",)
    reads = ("id", "problem_id", "prompt")
    schema = ROLLOUTS

    class Config(StageConfig):
        models: list[RolloutModel] = Field(
            [],
            description="Models that answer, one after the other, each with name, model (a folder or known name), role, "
            "samples [16], temperature [1.0], top_p [1.0], max_tokens [8192], context [16384]; server: the address of a "
            "running one instead of vLLM on this machine, which vllm_options are for",
        )
        files: list[str] = Field(
            [],
            description="Answers made elsewhere: JSONL or Parquet with problem_id, model, role, sample, answer, "
            "finish_reason. They are taken as they are, and nobody is asked",
        )
        limit: int | None = Field(
            None, gt=0, description="Only so many problems, drawn by the seed; null: all there are"
        )
        seed: int = Field(0, ge=0, description="Changes every sample's own seed")
        concurrency: int = Field(
            256, gt=0, exclude=True, description="Most requests in flight; vLLM works on them as one batch"
        )

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.concurrency = self.config.concurrency
        self._prompts: dict[str, str] = {}
        self._imported: dict[tuple[str, str, int], Row] = {}
        self._models = {
            model.name: AskedModel(
                self,
                model.model,
                server=model.server,
                api_key_env=model.api_key_env,
                vllm_options=model.vllm_options,
                context=model.context,
                concurrency=self.concurrency,
            )
            for model in self.config.models
        }
        self._turn: str | None = None  # whose server is running
        self._in_flight = 0
        self._turns: asyncio.Condition | None = None

    # ---- before anything runs ----

    def check(self, schema: pa.Schema | None) -> None:
        models = self.config.models
        if not models and not self.config.files:
            raise RequestError("rollouts: nobody is there to answer; give `models`, `files` or both.")
        if len(self._models) < len(models):
            raise RequestError("models: two have the same name; every row says by it who answered.")
        for model in models:
            if model.max_tokens > model.context - CHAT_TOKENS:
                raise RequestError(
                    f"models: {model.name}: max_tokens ({model.max_tokens}) leaves less than {CHAT_TOKENS} tokens of the "
                    f"context ({model.context}) for the problem."
                )
        self.files()
        if not (self.folder and storage.exists(storage.join(self.folder, self.output, "_book"))):
            for asked in self._models.values():
                asked.check()

    def files(self) -> dict[str, str]:
        found = {file: sha256_of(str(model_file(file))) for file in self.config.files}
        known = {f"model {name}": asked.identity[1] for name, asked in self._models.items()}
        return found | {name: sha256 for name, sha256 in known.items() if sha256 is not None}

    # ---- what is asked ----

    def requests(self, table: pa.Table) -> Iterable[dict[str, Any]]:
        """Remembers the problems; they are asked about model by model when all are seen, in `own_requests`."""
        self._prompts |= dict(zip(table["problem_id"].to_pylist(), table["prompt"].to_pylist(), strict=True))
        return ()

    def own_requests(self) -> Iterator[dict[str, Any]]:
        names = sorted(self._prompts, key=lambda name: drawn_number(self.config.seed, name))
        names = names[: self.config.limit]
        yield from self._imports(set(names))
        for model in self.config.models:
            asked = self._models[model.name]
            model_name, sha256 = asked.identity
            about = {
                name: tight(_messages(self._prompts[name]), model.max_tokens, model.context)
                | asked.options()
                | {"problem_id": name, "prompt": _digest(self._prompts[name])}
                for name in names
            }
            for sample in range(model.samples):
                for name in names:
                    seed = drawn_number(self.config.seed, model.name, name, sample) % 2**31
                    yield about[name] | {
                        "model": model.name,
                        "model_name": model_name,
                        "model_sha256": sha256,
                        "role": model.role,
                        "sample": sample,
                        "sampling": {
                            "temperature": model.temperature,
                            "top_p": model.top_p,
                            "max_tokens": model.max_tokens,
                            "seed": seed,
                        },
                    }

    def _imports(self, names: set[str]) -> Iterator[dict[str, Any]]:
        """A request for each answer in `files` to one of these problems."""
        self._imported = {}
        unknown = 0
        for file in self.config.files:
            for row in rows(model_file(file)):
                key = row.text("problem_id"), row.text("model"), _sample(row)
                if key[0] not in names:
                    unknown += 1
                    continue
                if key in self._imported or key[1] in self._models:
                    raise row.wrong("sample", f"each answer once, found sample {key[2]} of {key[1]} again")
                self._imported[key] = row
                answer = row.get("answer")
                if not isinstance(answer, str):
                    raise row.wrong("answer", f"a text, found {type(answer).__name__}")
                yield {
                    "problem_id": key[0],
                    "model": key[1],
                    "sample": key[2],
                    "role": row.text("role"),
                    "answer": _digest(answer),
                    "finish_reason": row.get("finish_reason") or "stop",
                }
        if unknown:
            log.warning("files: %d answers are to problems that are not asked here", unknown)
        if self.config.files and not self._imported and not self._models:
            raise RequestError(
                f"files: none of their answers has the problem_id of one of the {len(names)} problems here."
            )

    # ---- asking ----

    def prepare(self) -> None:
        """Servers are started by `answer`, each when its first request comes."""
        self._turn, self._in_flight, self._turns = None, 0, None

    def release(self) -> None:
        for asked in self._models.values():
            asked.stop()

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises `Drop` "prompt_too_long" or "refused" where the server rejects this one request."""
        said = {name: request[name] for name in ("problem_id", "model", "role", "sample")}
        if "sampling" not in request:
            row = self._imported[request["problem_id"], request["model"], request["sample"]]
            return said | {"answer": row.get("answer"), "finish_reason": request["finish_reason"]}
        asked, sampling = self._models[request["model"]], request["sampling"]
        messages = _messages(self._prompts[request["problem_id"]])
        await self._take_turn(request["model"], sampling)
        try:
            answer = await asked.ask(messages, **sampling)
        finally:
            await self._end_turn()
        return {
            **said,
            "answer": text_of(answer),
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            **sampling,
        }

    async def _take_turn(self, name: str, sampling: dict[str, Any]) -> None:
        """Wait until this model's server runs. Requests come model by model, so the one before has had all of its."""
        self._turns = self._turns or asyncio.Condition()
        async with self._turns:
            if self._turn != name:
                await self._turns.wait_for(lambda: self._turn == name or self._in_flight == 0)
            if self._turn != name:
                if self._turn is not None:
                    await asyncio.to_thread(self._models[self._turn].stop)
                self._turn = name
                await asyncio.to_thread(self._models[name].start)
                await self._models[name].greet(temperature=sampling["temperature"], top_p=sampling["top_p"])
            self._in_flight += 1

    async def _end_turn(self) -> None:
        assert self._turns is not None
        async with self._turns:
            self._in_flight -= 1
            self._turns.notify_all()


def _messages(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _sample(row: Row) -> int:
    number = row.get("sample")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise row.wrong("sample", f"a number from 0 on, found {number!r}")
    return number


# ---- verdicts ------------------------------------------------------------------------------------------------------


class RolloutVerdictsConfig(CheckConfig):
    every_test: bool = Field(
        True,
        description="run all tests of a program, which `difficulty` needs; false: up to the first that fails",
    )


class RolloutVerdicts(MapStage):
    """rollouts → the verdict on each answer, and what each test of a program or digit of a number gave."""

    name = "rollout_verdicts"
    output = "rollout_verdicts"
    input = ("rollouts",)
    uses = ("problems",)
    reads = ("id", "problem_id", "answer", "finish_reason")
    libraries = LIBRARIES
    rows_per_call = 4
    patience: ClassVar[float] = 20.0  # programs that each use up their time on many tests
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("rollout_verdict", pa.string()),  # right, wrong, undecided
            pa.field("rollout_reason", pa.string()),
            pa.field("rollout_extracted", pa.string()),
            pa.field("rollout_passes", pa.list_(pa.bool_())),  # of each test or digit; null: undecided
        ]
    )
    Config: ClassVar[type[StageConfig]] = RolloutVerdictsConfig

    def prepare(self) -> None:
        self.checker = self.config.checker()
        self.checks: dict[str, str] = {}

    def close(self) -> None:
        """End the verifiers' processes. They also end by themselves with the process that this stage runs in."""
        self.checker.close()

    def begin(self, table: pa.Table) -> None:
        """Read the checks of this shard's problems only: tests of all problems in code may be larger than the memory."""
        wanted = pc.unique(table["problem_id"])
        self.checks = {}
        problems = self.used("problems")
        for shard in problems.shards:
            found = read_shard(problems.shard_path(shard.name), ["problem_id", "check"])
            found = found.filter(pc.is_in(found["problem_id"], wanted))
            self.checks |= dict(zip(found["problem_id"].to_pylist(), found["check"].to_pylist(), strict=True))

    def process(self, batch: pa.Table) -> Outcome:
        found = [self.judge(row) for row in batch.to_pylist()]
        columns = {
            "id": batch["id"],
            "rollout_verdict": [checked.verdict.verdict for checked in found],
            "rollout_reason": [checked.verdict.reason for checked in found],
            "rollout_extracted": [_storable(checked.verdict.extracted) for checked in found],
            "rollout_passes": [list(checked.passes) for checked in found],
        }
        return Outcome(pa.table(columns, schema=self.schema))

    def judge(self, row: dict[str, Any]) -> Checked:
        """One row of `rollouts`."""
        if row["problem_id"] not in self.checks:
            return Checked(undecided("no_problem", "the problem is not there any more"), (None,))
        check = json.loads(self.checks[row["problem_id"]])
        return self.checker.check(
            row["answer"], check, row["finish_reason"], every_test=self.config.every_test
        )


def _storable(value: str | None) -> str | None:
    """Without lone surrogates, which Arrow refuses, and not longer than a page or two."""
    return value[:4000].encode("utf-8", "replace").decode() if value is not None else None
