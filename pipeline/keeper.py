"""Runs a command that must not outlive its parent: `python keeper.py PARENT_PID GRACE_SECONDS WHO COMMAND…`.

The keeper leads a session of its own (see `pipeline.server`) and ends every process of it when the command ends, when
the parent is gone, or on SIGTERM: first a SIGTERM to WHO ("command", or "all" for a launcher that does not hand it on),
GRACE_SECONDS later a SIGKILL to all, itself included. It says on stdout how the command ended.
A death signal (prctl) would reach the first process only, and comes when the *thread* that started it ends, which
in a pool of workers may be at once. Imports nothing of ours: it starts in 20 ms.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def keep(parent: int, grace: float, who: str, command: list[str]) -> None:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if who == "all":  # what the launcher leaves behind becomes ours to wait for
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while child.poll() is None and os.getppid() == parent and not asked:
        time.sleep(0.1)
    if who == "all" and child.poll() is None:
        os.killpg(0, signal.SIGTERM)
        _wait_for_all(child, time.monotonic() + grace)
    child.terminate()
    try:
        status = child.wait(grace)
    except subprocess.TimeoutExpired:
        status = -signal.SIGKILL
    with contextlib.suppress(OSError):  # nobody may be listening any more
        print(f"the process ended with status {status}", flush=True)
    os.killpg(0, signal.SIGKILL)


def _wait_for_all(child: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        while time.monotonic() < deadline:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child.pid:  # `wait` cannot ask for it any more
                child.returncode = os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
    except ChildProcessError:
        pass  # none is left


if __name__ == "__main__":
    keep(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:])
