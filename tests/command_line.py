"""The command as a user types it, in this process: the same exit code and the same words, without 1.7 s of imports.

Where signals, the environment or the end of a process matter, tests start a real one.
"""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from reasonmill.command import main

ROOT = Path(__file__).parents[1]


def reasonmill(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, from the project's folder. What it does not catch is raised here."""
    words = list(map(str, arguments))
    printed, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(said):
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", ["reasonmill", *words])
        with pytest.raises(SystemExit) as end:
            main()
    assert isinstance(end.value.code, int)
    return subprocess.CompletedProcess(words, end.value.code, printed.getvalue(), said.getvalue())
