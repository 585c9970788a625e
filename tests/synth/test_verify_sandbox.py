"""What the sandbox shows of the machine: the folders it is given, wherever they lie, and to whom they are open."""

import os

import pytest

from synth.verify import sandbox

LOOK = """
import os, sys
folder = sys.argv[1]
try:
    open(folder + "/written", "w")
    written = True
except OSError:
    written = False
answer = '{"text": "%s", "written": %d, "around": %d}' % (
    open(folder + "/file").read(), written, os.path.exists(os.path.dirname(folder) + "/secret"))
os.write(0, answer.encode() + b"\\n")
"""


@pytest.mark.skipif(sandbox.unavailable() is not None, reason=f"no sandbox here: {sandbox.unavailable()}")
@pytest.mark.parametrize("closed", [False, True])
def test_a_folder_is_seen_read_only_and_nothing_around_it(tmp_path, closed):
    """Below /tmp, of which the sandbox has one of its own; and below a folder that only its owner may enter."""
    if closed and os.geteuid() != 0:
        pytest.skip("an ordinary user stays who they are in the sandbox")
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "file").write_text("here")
    (tmp_path / "secret").write_text("not for you")
    tmp_path.chmod(0o700 if closed else 0o755)
    peer = sandbox.start(LOOK, [str(folder)], [folder])
    try:
        assert peer.receive(20) == {"text": "here", "written": 0, "around": 0}
    finally:
        peer.kill()
