"""Server processes: real process trees that must be gone, a real vLLM that answers, one that must fail."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import httpx
import pytest

from pipeline.errors import RequestError, RunError
from pipeline.server import (
    Server,
    devices,
    gpus,
    group_members,
    parse_gpus,
    start_group,
    start_server,
    stop_group,
)

ROOT = Path(__file__).parents[2]
# A tree as an engine makes it: a leader and a child, neither of which minds SIGTERM.
STUBBORN = [
    "bash",
    "-c",
    "trap '' TERM; bash -c 'trap \"\" TERM; while true; do sleep 1; done' & wait; while true; do sleep 1; done",
]


def wait_until(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def test_stop_ends_every_process_of_the_group(tmp_path):
    keeper = start_group(STUBBORN, tmp_path / "log", os.environ, grace=0.5)
    assert wait_until(lambda: len(group_members(keeper.pid)) >= 4)  # the keeper, two shells, a sleep
    stop_group(keeper)
    assert group_members(keeper.pid) == []
    stop_group(keeper)
    assert "ended with status -9" in (tmp_path / "log").read_text()


def test_stop_ends_the_group_even_when_its_keeper_was_killed(tmp_path):
    keeper = start_group(STUBBORN, tmp_path / "log", os.environ, grace=0.5)
    assert wait_until(lambda: len(group_members(keeper.pid)) >= 4)
    keeper.kill()
    keeper.wait()
    assert len(group_members(keeper.pid)) >= 2
    stop_group(keeper)
    assert group_members(keeper.pid) == []


def test_the_group_dies_with_its_parent(tmp_path):
    """The parent is killed with SIGKILL, so nothing in it can clean up."""
    code = textwrap.dedent(f"""
        import os, time
        from pathlib import Path
        from pipeline.server import start_group
        keeper = start_group({STUBBORN!r}, Path({str(tmp_path / "log")!r}), os.environ, grace=0.5)
        print(keeper.pid, flush=True)
        time.sleep(60)
    """)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    group = int(parent.stdout.readline())
    assert wait_until(lambda: len(group_members(group)) >= 4)
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: group_members(group) == [])


def test_the_group_outlives_the_thread_that_started_it(tmp_path):
    """A worker pool's threads come and go; a death signal set with prctl would end the server with its thread."""
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(
        target=lambda: started.append(start_group(["sleep", "60"], tmp_path / "log", os.environ))
    )
    thread.start()
    thread.join()
    assert wait_until(lambda: len(group_members(started[0].pid)) == 2)
    time.sleep(0.3)
    assert started[0].poll() is None
    stop_group(started[0])


def test_the_group_ends_with_its_command(tmp_path):
    """An orphan of the command does not stay behind."""
    keeper = start_group(["bash", "-c", "sleep 60 & exit 7"], tmp_path / "log", os.environ, grace=0.5)
    assert wait_until(lambda: keeper.poll() is not None and group_members(keeper.pid) == [])
    assert "ended with status 7" in (tmp_path / "log").read_text()


def test_gpus_as_nvidia_smi_lists_them(monkeypatch):
    listing = (
        "GPU 0: NVIDIA H200 (UUID: GPU-6a1b)\n"
        "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-7c2d)\n"
        "  MIG 3g.20gb     Device  0: (UUID: MIG-11-22)\n"
        "  MIG 2g.10gb     Device  1: (UUID: MIG-33-44)\n"
        "GPU 2: NVIDIA H200 (UUID: GPU-8e3f)\n"
    )
    assert parse_gpus(listing) == ["0", "MIG-11-22", "MIG-33-44", "2"]
    assert parse_gpus("") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert gpus() == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []


def test_requests_that_cannot_work_are_refused_before_anything_starts(tmp_path, monkeypatch):
    log = tmp_path / "log"
    with pytest.raises(RequestError, match=r"no/such/model: no such folder"):
        start_server("no/such/model", log=log)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(RequestError, match=r"org/name: no such folder.*HF_HUB_OFFLINE=0"):
        start_server("org/name", log=log)
    with pytest.raises(RequestError, match=r"no config\.json in it"):
        start_server(str(tmp_path), log=log)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "vllm", None)  # what an import of a missing package looks like
    with pytest.raises(RequestError, match=r"vLLM is not installed.*or give the address.*--server URL"):
        start_server(str(tmp_path), log=log)
    assert not log.exists()


@pytest.fixture
def cpu_build() -> None:
    try:
        if devices() != ["cpu"]:
            pytest.skip("vLLM's CPU build is not what is installed")
    except RequestError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("cpu_build")
def test_port_log_and_device_must_be_usable(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RequestError, match=r"is the CPU build, device 'cuda:0' asks for a GPU"):
        devices("cuda:0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"port {port} on 127.0.0.1 cannot be used"):
            start_server(str(tmp_path), port=port, log=tmp_path / "log")
    with pytest.raises(RequestError, match="cannot be written"):
        start_server(str(tmp_path), log=tmp_path)


@pytest.mark.vllm
def test_the_server_answers_under_the_name_of_its_folder(vllm_server: Server):
    served = httpx.get(vllm_server.base_url + "/models", timeout=30).json()["data"]
    assert [entry["id"] for entry in served] == ["tiny-llama"] == [vllm_server.model]
    assert served[0]["max_model_len"] == 512  # an option arrived
    assert vllm_server.device == "cpu" or vllm_server.device in gpus()


@pytest.mark.vllm
def test_a_server_that_dies_says_why(tiny_llama: Path, tmp_path):
    """The tiny model knows 1,024 positions; vLLM refuses more, some 20 s after its start."""
    try:
        devices()
    except RequestError as error:
        pytest.skip(str(error))
    seen: list[tuple[float, str]] = []
    log = tmp_path / "logs" / "server.log"
    with pytest.raises(RunError, match=r"vLLM died \d+ s after its start") as failure:
        start_server(
            str(tiny_llama),
            options={"max_model_len": 99_999},
            log=log,
            progress=lambda seconds, line: seen.append((seconds, line)),
        )
    assert "max_model_len (99999) is greater than the derived max_model_len" in str(failure.value)
    assert str(log) in str(failure.value)
    assert [seconds for seconds, _ in seen] == sorted(seconds for seconds, _ in seen)


@pytest.mark.vllm
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_stops_cleanly_while_starting(tiny_llama: Path, tmp_path, number):
    try:
        devices()
    except RequestError as error:
        pytest.skip(str(error))
    code = (
        "import sys; from pathlib import Path; from pipeline.server import serve\n"
        "serve(sys.argv[1], port=0, log=Path(sys.argv[2]), echo=lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", code, str(tiny_llama), str(tmp_path / "log")]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell job ignores it
    )
    children: list[int] = []

    def vllm_is_up() -> bool:
        listing = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
        children[:] = [int(pid) for pid in listing.stdout.split()]
        return bool(children) and len(group_members(children[0])) >= 2

    assert wait_until(vllm_is_up)
    process.send_signal(number)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert said.splitlines()[-1] == "stopping"
    assert group_members(children[0]) == []
