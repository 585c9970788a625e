"""Files on any filesystem fsspec knows: whole-file reads, atomic writes, listings.

Everything is written under a temporary name and renamed (local disks) or put in one piece (object stores), so a
reader never sees half a file and a crash leaves at most a `.tmp` that the next run sweeps away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import RequestError, RunError

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is mounted read-only",
    errno.EACCES: "there is no permission to write",
    errno.EPERM: "there is no permission to write",
    errno.EFBIG: "the file is larger than this process may write",
    errno.EIO: "the disk reports an input/output error",
}


def split(path: str | os.PathLike[str]) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of a path or URL, and the path in its own terms."""
    try:
        fs, inner = fsspec.core.url_to_fs(os.fspath(path))
    except (ImportError, ValueError) as error:
        raise RequestError(
            f"cannot open {path}: {error}. Install the extra it needs, e.g. reasonmill[s3]."
        ) from None
    return fs, inner


def is_local(path: str | os.PathLike[str]) -> bool:
    return isinstance(split(path)[0], LocalFileSystem)


def join(folder: str | os.PathLike[str], *parts: str) -> str:
    return "/".join([os.fspath(folder).rstrip("/"), *parts])


def exists(path: str) -> bool:
    fs, inner = split(path)
    return bool(fs.exists(inner))


def size(path: str) -> int | None:
    """Bytes of a file, None when there is none."""
    fs, inner = split(path)
    try:
        return int(fs.size(inner))
    except FileNotFoundError:
        return None


def read_bytes(path: str) -> bytes:
    fs, inner = split(path)
    return bytes(fs.cat_file(inner))


def read_range(path: str, start: int, size: int) -> bytes:
    """`size` bytes of a file from byte `start` on. Raises `OSError`, also when there are fewer."""
    fs, inner = (
        split(path) if "://" in path else (None, path)
    )  # a local path needs no filesystem: it is read often
    if fs is None or isinstance(fs, LocalFileSystem):
        with Path(inner).open("rb") as handle:  # buffered: one call of the kernel gives 2 GiB at most
            handle.seek(start)
            data = handle.read(size)
    else:
        data = bytes(fs.cat_file(inner, start=start, end=start + size))
    if len(data) < size:
        raise OSError(f"{path} ends after {start + len(data)} bytes, too early")
    return data


def read_json(path: str) -> Any:
    return json.loads(read_bytes(path))


def list_files(folder: str, suffix: str = "") -> list[str]:
    """Names (not paths) of the files right below a folder, sorted; empty when there is no such folder."""
    fs, inner = split(folder)
    try:
        entries = fs.ls(inner, detail=True, refresh=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = [e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "file"]
    return sorted(n for n in names if n.endswith(suffix))


def remove(path: str) -> None:
    """Remove a file or a folder; it is fine if there is none."""
    fs, inner = split(path)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(inner, recursive=True)


def write_bytes(path: str, data: bytes | memoryview) -> None:
    """Write a whole file atomically. Raises `RunError` in the user's terms when the disk refuses."""
    fs, inner = split(path)
    try:
        if isinstance(fs, LocalFileSystem):
            _write_local(Path(inner), data)
        else:
            fs.pipe_file(inner, bytes(data))
    except OSError as error:
        raise explain_disk_error(error, path) from error


def write_json(path: str, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def make_folder(path: str) -> None:
    fs, inner = split(path)
    try:
        fs.makedirs(inner, exist_ok=True)
    except OSError as error:
        raise explain_disk_error(error, path) from error


def explain_disk_error(error: OSError, path: str) -> RunError:
    why = DISK_ERRORS.get(error.errno or 0, error.strerror or str(error))
    return RunError(
        f"cannot write {path}: {why}. What is finished is kept; free space or correct the rights, "
        "then run the same command again: it goes on where it stopped."
    )


def sweep_temporary(folder: str, older_than: float = 3600.0) -> None:
    """Remove what a killed process left half-written. Younger files may belong to a worker still writing."""
    fs, inner = split(folder)
    if isinstance(fs, LocalFileSystem) and Path(inner).is_dir():
        for leftover in Path(inner).rglob(".*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > older_than:
                    leftover.unlink()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_local(path: Path, data: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())  # a shard counted as finished must survive a power cut
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
