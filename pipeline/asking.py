"""Stages that ask a model: at addresses they are given, or on servers of their own that are started and stopped.

What all of them have in common: how a model is named in a request, so that the key of a request does not depend on
where the model lies or runs; how the server is greeted; which refusals are about one request only.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field, PlainSerializer

from pipeline import storage
from pipeline.client import Answer, ModelClient, Refused
from pipeline.errors import Drop, RequestError
from pipeline.models import FOLDERS, cache_folder, model_folder, sha256_of
from pipeline.server import Server, context_of, devices, start_servers
from pipeline.stage import LedgerStage, Stage, StageConfig

PATIENCE = 3600.0  # seconds for one answer: a busy machine without a GPU is slow, not broken
TOO_LONG = (
    "maximum context length",
    "context length",
    "too long",
    "max_tokens",
)  # words of a server's refusal
# Not as generation_config.json of the model's folder says: a top-k in there is in no request and in no report.
SAMPLING_AS_SAID = {"generation_config": "vllm"}
ONLY_HOW = {  # options of vLLM that say where and how fast, not what is answered; each request has a seed of its own
    *("host", "port", "seed", "served_model_name", "api_key", "max_model_len", "download_dir", "load_format"),
    *("gpu_memory_utilization", "kv_cache_memory_bytes", "swap_space", "cpu_offload_gb", "block_size"),
    *("max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching"),
    *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "distributed_executor_backend"),
    *("speculative_config", "worker_extension_cls", "trust_remote_code", "enforce_eager"),
    *("compilation_config", "disable_log_stats", "disable_log_requests", "uvicorn_log_level"),
}
HELLO = ({"role": "user", "content": "Hello"},)


def decisive(vllm_options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of vLLM that may change what is answered, and so belong to a request.

    >>> decisive({"quantization": "fp8", "max-num-seqs": 8})
    {'quantization': 'fp8'}
    """
    said = {name.replace("-", "_"): value for name, value in sorted(vllm_options.items())}
    return {name: value for name, value in said.items() if name not in ONLY_HOW}


VLLMOptions = Annotated[dict[str, Any], PlainSerializer(decisive)]  # of a config, whose key holds these only


class AskedModel:
    """One model, for as long as it is asked.

    stage: who asks, in messages and in the name of the server's log. model: a known name, a folder as transformers
    saves it (a relative path is below the run's folder if it is there), or with `server` (one address or several) the
    name that the server gives it. context: tokens that prompt and answer may take together; None: what the model has.
    """

    def __init__(
        self,
        stage: Stage,
        model: str,
        *,
        server: str | Sequence[str] | None,
        api_key_env: str | None,
        vllm_options: Mapping[str, Any],
        context: int | None,
        concurrency: int,
    ) -> None:
        self.stage, self.model, self.server, self.api_key_env = stage, model, server, api_key_env
        self.vllm_options, self.context, self.concurrency = vllm_options, context, concurrency
        self._servers: list[Server] = []
        self._client: ModelClient | None = None

    @property
    def place(self) -> str:
        """The model's folder, or its name where it is known by one."""
        if self.server is not None or self.model in FOLDERS or not self.stage.folder:
            return self.model
        below = Path(self.stage.folder, self.model)
        return str(below) if below.is_dir() or str(below.absolute()) in self.stage.coming else self.model

    @property
    def identity(self) -> tuple[str, str | None]:
        """Name that the model is served under, and its digest if the model is known here."""
        folder = Path(self.place).expanduser()
        if self.model in FOLDERS:
            return self.model, sha256_of(self.model)
        return (folder.resolve().name, sha256_of(str(folder))) if folder.is_dir() else (self.model, None)

    @property
    def is_coming(self) -> bool:
        """Whether the model will be made before it is asked: nothing can be said of it yet."""
        return self.server is None and str(Path(self.place).absolute()) in self.stage.coming

    def check(self) -> None:
        """Raises `RequestError` where no server is given and none can be started here."""
        if self.server is not None or self.is_coming:
            return
        try:
            devices()
        except RequestError as error:
            raise RequestError(
                f"{self.stage.name}: {self.model}: {error} In a recipe: `server:` beside `model:`."
            ) from None
        if self.model in FOLDERS:  # need not be fetched to be named
            return
        most = context_of(str(model_folder(self.place)))  # of a path, says whether it is there
        if most is not None and (self.context or 0) > most:
            raise RequestError(
                f"{self.stage.name}: context = {self.context:,}: {self.model} has one of {most:,} tokens; set at most "
                "that."
            )

    def start(self) -> None:
        """Start a server on every device, unless there are addresses. Takes minutes."""
        addresses, name = self.server, self.identity[0]
        if addresses is None:
            self.check()
            folder = model_folder(self.place)
            size = {"max_num_seqs": min(256, self.concurrency)}
            if self.context is not None:
                size["max_model_len"] = self.context
            options = SAMPLING_AS_SAID | size | dict(self.vllm_options)
            log = cache_folder() / "logs" / f"vllm-{self.stage.name}.log"
            print(
                f"{self.stage.name}: starting vLLM for {name}; its log is {log}", file=sys.stderr, flush=True
            )
            self._servers = start_servers(str(folder), options=options, log=log)
            addresses, name = [server.base_url for server in self._servers], self._servers[0].model
        self._client = ModelClient(
            addresses, name, self.api_key_env, concurrency=self.concurrency, timeout=PATIENCE
        )

    async def greet(self, messages: Sequence[Mapping[str, Any]] = HELLO, **sampling: Any) -> None:
        """Have it answer with one token: a wrong name, key or option is an error here and not the refusal of every
        request."""
        assert self._client is not None, "start() comes first"
        try:
            await self._client.chat(messages, **(sampling | {"max_tokens": 1}))
        finally:
            await self._client.aclose()

    async def ask(self, messages: Sequence[Mapping[str, Any]], **sampling: Any) -> Answer:
        """One answer. Raises `Drop` "prompt_too_long" or "refused" where the server rejects this one request."""
        assert self._client is not None, "start() comes first"
        try:
            return await self._client.chat(messages, **sampling)
        except Refused as refused:
            if refused.status not in (400, 413, 422):
                raise  # key, address or model: the same for every request
            too_long = refused.status == 413 or any(words in str(refused) for words in TOO_LONG)
            raise Drop("prompt_too_long" if too_long else "refused", str(refused)) from None

    def stop(self) -> None:
        """End the servers that were started here. Harmless when there are none."""
        for server in self._servers:
            server.stop()
        self._servers, self._client = [], None

    def options(self) -> dict[str, Any]:
        """What a request says of vLLM's options."""
        found = decisive(self.vllm_options)
        return {"vllm_options": found} if found else {}


class AskingConfig(StageConfig):
    """Which model is asked, and where."""

    model: str = Field(
        description="The model that answers: a known name (fetched and converted once), a folder as transformers "
        "saves it, or with `server` the name that the server gives it",
    )
    server: str | list[str] | None = Field(
        None,
        exclude=True,
        description="Address of a running OpenAI-compatible server, or a list of several that serve the model; "
        "without one, vLLM is started here on every device and stopped afterwards",
    )
    api_key_env: str | None = Field(
        None, exclude=True, description="Environment variable that holds the server's API key"
    )
    vllm_options: VLLMOptions = Field(
        {}, description="Options of the vLLM that is started here, e.g. {tensor_parallel_size: 2}"
    )
    concurrency: int = Field(
        128, gt=0, exclude=True, description="Most requests in flight; vLLM works on them as one batch"
    )


class AskingStage(LedgerStage):
    """A ledger whose questions go to one model. `answer` asks `self.model`; its config is an `AskingConfig`."""

    Config: ClassVar[type[StageConfig]] = AskingConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.concurrency = self.config.concurrency
        self.model = AskedModel(
            self,
            self.config.model,
            server=self.config.server,
            api_key_env=self.config.api_key_env,
            vllm_options=self.config.vllm_options,
            context=self.context,
            concurrency=self.concurrency,
        )

    @property
    def context(self) -> int | None:
        """Tokens that prompt and answer may take together; None: as many as the model has."""
        return None

    def check(self, schema: pa.Schema | None) -> None:
        self.files()
        book = bool(self.folder) and storage.exists(storage.join(self.folder, self.output, "_book"))
        if not book:  # with one, all answers may be there, and no model be needed: `prepare` will see
            self.model.check()

    def files(self) -> dict[str, str]:
        name, sha256 = self.model.identity
        return {f"model {name}": sha256} if sha256 else {}

    def greeting(self) -> dict[str, Any]:
        """Messages and options of `AskedModel.greet`: what the server must be able to do for every request."""
        return {}

    def prepare(self) -> None:
        """Connects to the server, or starts one on every device, and has it answer with one token."""
        self.model.start()
        asyncio.run(self.model.greet(**self.greeting()))

    def release(self) -> None:
        self.model.stop()
