"""The demo corpus: some 1,500 real documents that a Debian or Ubuntu machine can fetch in a minute.

`reasonmill demo-corpus FOLDER` takes documentation packages of the machine's package archive (mathematics,
Python, R), unpacks them without installing anything, and lays them out as raw data come in real life: pages
in WARC files, PDF files, source trees. Low-value pages (indexes, search forms, changelogs) are left in, and
some pages appear twice, as a crawl would have them. The sample documents (`reasonmill.sample_documents`) are
always among them; where there is no archive to fetch from, they are all there is.

    web/            one WARC file a package, and pages.warc.gz of the sample documents
    pdf/            PDF files, one folder a package
    packages/       source files of Python libraries that are installed here, one folder each
    books/ tables/  from the sample documents; likewise benchmark.jsonl, for decontamination
    arithmetic/     additions: answers.jsonl for the mixture and fine-tuning, problems.jsonl for RL, test.jsonl
    mirrors.csv     which pages are copies of which: url, copy, kind
    sources.json    name, path, format and licence of every source, as a recipe wants them
    licences/       copyright notices of the packages; README.txt says what is from where
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import importlib.metadata
import json
import math
import os
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import RequestError, RunError
from pipeline.models import cache_folder
from pipeline.stage import source_digest
from reasonmill import demo_arithmetic, package_archive, sample_documents
from reasonmill.package_archive import Package, Unavailable
from reasonmill.sample_documents import Page, mirrored, write_mirrors, write_warc

SIZES = {"demo": 1.0, "small": 0.1}  # share of the numbers below
DOCUMENTATION = {  # package, as a regular expression: (pages, PDF files, licence)
    "python-sympy-doc": (260, 3, "BSD-3-Clause"),
    "python-mpmath-doc": (40, 0, "BSD-3-Clause"),
    "libflint-doc": (100, 0, "LGPL-2.1-or-later"),
    r"python3\.\d+-doc": (300, 0, "PSF-2.0"),
    "gap-doc": (200, 2, "GPL-2.0-or-later"),
    "r-doc-pdf": (10, 7, "GPL-2.0-or-later"),
}
LIBRARIES = {  # Python distribution: (files, folders, licence); those not installed here are left out
    "click": (20, ("click",), "BSD-3-Clause"),
    "toolz": (40, ("toolz",), "BSD-3-Clause"),
    "httpx": (40, ("httpx",), "BSD-3-Clause"),
    "rich": (100, ("rich",), "MIT"),
    "fsspec": (60, ("fsspec",), "BSD-3-Clause"),
    "dask": (120, ("dask",), "BSD-3-Clause"),
    "sympy": (120, ("sympy/ntheory", "sympy/sets", "sympy/geometry", "sympy/combinatorics"), "BSD-3-Clause"),
    "networkx": (60, ("networkx/algorithms",), "BSD-3-Clause"),
}
LOW_VALUE = re.compile(  # by name: indexes, search forms, tables of contents, changelogs
    r"(^|/)(genindex[^/]*|search|(py-)?modindex|contents|chap(Ind|Bib|0)(_mj)?|[^/]*changelog[^/]*)\.(html|txt)$"
)
LOW_VALUE_SHARE = 1 / 6  # of a package's pages at most
MAX_PDF_BYTES = 1_500_000  # leaves out reference manuals of thousands of pages
MIRRORED_SHARE = 0.03  # of the pages: by turns on a mirror with words changed, and with tracking parameters
MIRRORED_BYTES = range(8_000, 300_000)  # of the pages to be mirrored: long enough to be recognised
SITE, MIRROR = "https://docs.example", "https://mirror.example/docs"
TRACKING = "utm_source=newsletter&utm_medium=email"
MARKER = "demo-corpus.json"


@dataclass
class Part:
    """What one package or library contributes."""

    name: str
    origin: str  # for people
    licence: str
    counts: dict[str, int]  # "pages", "PDF files", …: documents
    sources: list[dict[str, str]]  # rows of sources.json
    mirrors: list[tuple[str, str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.origin}: {', '.join(f'{n:,} {what}' for what, n in self.counts.items() if n)}"


def build(
    out: Path | str,
    *,
    say: Callable[[str], object] = print,
    cache: Path | str | None = None,
    size: str = "demo",
    offline: bool = False,
) -> Path:
    """Collect the demo corpus in `out` and return that path. What is finished and up to date is left alone.

    `cache` keeps package lists and packages for the next time (default: a folder in the user's cache),
    `size` is "demo" (about 1,500 documents) or "small" (about 200), with `offline` nothing is fetched and
    the sample documents are all there is. `say` gets one line of progress at a time. The folder appears when
    it is complete; what an interrupted build leaves behind is cleared away by the next.

    Raises `RequestError` if `out` holds something else or `size` is unknown, `RunError` if it cannot be
    written.
    """
    out = Path(out).absolute()
    if size not in SIZES:
        raise RequestError(f"there is no demo corpus of the size {size!r}; choose {' or '.join(SIZES)}")
    if out.exists() and not (out / MARKER).exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RequestError(
            f"{out} exists and is not a demo corpus; name another folder, or remove it yourself"
        )
    cache = Path(cache).absolute() if cache else cache_folder() / "demo-corpus"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(out.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of two builds at a time, the second finds the work done
            return _build(out, say, cache, SIZES[size], offline)
        finally:
            os.close(lock)
    except OSError as error:
        raise RunError(
            f"the demo corpus cannot be written: {error}. Is there room, may you write there?"
        ) from error


def _build(out: Path, say: Callable[[str], object], cache: Path, share: float, offline: bool) -> Path:
    inputs = _digest_of_inputs(share)
    if done := _finished(out, inputs, offline):
        say(f"{out} is finished and up to date: {done:,} documents.")
        return out
    if own := _strangers(out):
        raise RequestError(f"{out} is out of date, but {own[0]} in it is not ours; move it before it is lost")
    temporary = out.with_name(f".{out.name}.building")
    shutil.rmtree(temporary, ignore_errors=True)  # of a build that was interrupted
    temporary.mkdir()
    try:
        if offline:
            raise Unavailable("the request was to stay offline")
        packages = _fetch(cache, say)
    except Unavailable as reason:
        packages = []
        say(f"No packages were fetched: {reason}.")
        say("The corpus is the sample documents alone. They show every format, but are too few to train on.")
    parts = [_samples(temporary)]
    for pattern, package, deb in packages:
        parts.append(_documentation(temporary, pattern, package, deb, share))
        say(str(parts[-1]))
    for name in LIBRARIES if packages else ():
        if part := _library(temporary, name, share):
            parts.append(part)
            say(str(part))
        else:
            say(f"{name} is not installed here; its source files are left out")
    additions = demo_arithmetic.write(temporary / "arithmetic")
    say(f"additions, made by rule: {', '.join(f'{n:,} {name}' for name, n in additions.items())}")
    documents = _describe(temporary, parts)
    marker = {
        "inputs": inputs,
        "fetched": bool(packages),
        "documents": documents,
        "packages": {package.name: [package.version, package.sha256] for _, package, _ in packages},
        "files": {file.relative_to(temporary).as_posix(): file.stat().st_size for file in _files(temporary)},
    }
    (temporary / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)  # an older corpus: `build` has made sure of that
    temporary.rename(out)
    say(f"{out} is ready: {documents:,} documents.")
    return out


def _digest_of_inputs(share: float) -> str:
    """Digest of what decides on the content, the archive's packages excepted: code, texts, libraries."""
    inputs = {
        "code": source_digest(__name__),
        "texts": {
            file.relative_to(sample_documents.TEXTS).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in _files(sample_documents.TEXTS)
            if "__pycache__" not in file.parts
        },
        "libraries": {name: installed.version for name in LIBRARIES if (installed := _installed(name))},
        "share": share,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _finished(out: Path, inputs: str, offline: bool) -> int:
    """How many documents the corpus in `out` has if it is complete and made from `inputs`, else 0.

    Sample documents alone are good enough only for who wants to stay offline.
    """
    try:
        marker = json.loads((out / MARKER).read_text("utf-8"))
        complete = all((out / name).stat().st_size == size for name, size in marker["files"].items())
    except (FileNotFoundError, ValueError, KeyError):
        return 0
    current = marker["inputs"] == inputs and (marker["fetched"] or offline)
    return marker["documents"] if complete and current else 0


def _strangers(out: Path) -> list[str]:
    """Files in an older corpus that somebody else has put there."""
    try:
        ours = {MARKER, *json.loads((out / MARKER).read_text("utf-8"))["files"]}
    except (FileNotFoundError, ValueError, KeyError):
        return []
    return [name for file in _files(out) if (name := file.relative_to(out).as_posix()) not in ours]


def _fetch(cache: Path, say: Callable[[str], object]) -> list[tuple[str, Package, Path]]:
    """(key in `DOCUMENTATION`, package, .deb file) of all packages that the archive offers."""
    say("Asking the package archive of this machine …")
    offered = package_archive.offered(DOCUMENTATION, cache)
    for pattern in DOCUMENTATION:
        if pattern not in offered:
            say(f"{pattern} is not offered here; its documents are left out")
    megabytes = sum(package.bytes for package in offered.values()) / 1e6
    say(f"{', '.join(package.name for package in offered.values())}: {megabytes:.0f} MB")
    return [(pattern, package, package_archive.fetch(package, cache)) for pattern, package in offered.items()]


def _samples(folder: Path) -> Part:
    sample_documents.write(folder)
    return Part(
        name="sample documents",
        origin="sample documents, written for reasonmill",
        licence="CC-BY-4.0; packages/primes: MIT",
        counts=sample_documents.COUNTS,
        sources=sample_documents.SOURCES,
        mirrors=sample_documents.MIRRORS,
    )


def _documentation(folder: Path, pattern: str, package: Package, deb: Path, share: float) -> Part:
    """Write pages, mirrored pages and PDF files of a documentation package."""
    page_count, pdf_count, licence = DOCUMENTATION[pattern]
    pages, pdf, notice = _unpack(package, deb)
    _write(folder / "licences" / f"{package.name}.txt", notice)

    low_value = [url for url in pages if LOW_VALUE.search(url)]
    limit = _scaled(page_count, share)
    chosen = _draw(low_value, math.ceil(limit * LOW_VALUE_SHARE))
    chosen += _draw(pages.keys() - low_value, limit - len(chosen))
    mirrors = []
    long = [url for url in chosen if len(pages[url]) in MIRRORED_BYTES and url not in low_value]
    for number, url in enumerate(_draw(long, round(limit * MIRRORED_SHARE))):
        if number % 2:
            mirrors.append((url, f"{url}?{TRACKING}", "url"))
        else:
            mirrors.append((url, url.replace(SITE, MIRROR), "near"))
    bodies = {url: pages[url] for url in chosen}
    bodies |= {copy: mirrored(pages[url]) if kind == "near" else pages[url] for url, copy, kind in mirrors}
    crawl = [Page(url, bodies[url], _media_type(url)) for url in _draw(bodies, len(bodies))]

    figures = _draw(pdf, _scaled(pdf_count, share))
    for path in figures:
        _write(folder / "pdf" / package.name / path.replace("/", "-"), pdf[path])

    sources = []
    if crawl:
        path = f"web/{package.name}.warc.gz"
        write_warc(folder / path, crawl)
        sources.append({"name": package.name, "path": path, "format": "warc", "licence": licence})
    if figures:
        name, path = f"{package.name}-files", f"pdf/{package.name}"
        sources.append({"name": name, "path": path, "format": "files", "licence": licence})
    counts = {"pages": len(chosen), "mirrored pages": len(mirrors), "PDF files": len(figures)}
    origin = f"{package.name} {package.version}, documentation package"
    return Part(package.name, origin, licence, counts, sources, mirrors)


def _unpack(package: Package, deb: Path) -> tuple[dict[str, bytes], dict[str, bytes], bytes]:
    """A package's pages by the URL they get, its PDF files by path, and its copyright notice."""
    pages, pdf, notice = dict[str, bytes](), dict[str, bytes](), b""
    wanted = re.compile(r"\.(html|pdf)(\.gz)?$|changelog[^/]*\.gz$|/copyright$")
    for path, data in package_archive.members(deb, lambda path: bool(wanted.search(path))).items():
        if path.endswith(".gz"):
            path, data = path.removesuffix(".gz"), gzip.decompress(data)
        for root in (f"usr/share/doc/{package.name}/", "usr/share/doc/", "usr/share/"):
            path = path.removeprefix(root)
        if path == "copyright":
            notice = data
        elif path.endswith(".pdf"):
            if len(data) <= MAX_PDF_BYTES:
                pdf[path] = data
        else:
            name = path if path.endswith(".html") else f"{path}.txt"
            pages[f"{SITE}/{package.name}/{urllib.parse.quote(name)}"] = data
    return pages, pdf, notice


def _media_type(url: str) -> str:
    return "text/plain" if urllib.parse.urlsplit(url).path.endswith(".txt") else "text/html"


def _library(folder: Path, name: str, share: float) -> Part | None:
    """Write Python files of an installed library, and its licence beside them."""
    count, folders, licence = LIBRARIES[name]
    library = _installed(name)
    files = (
        {str(file): Path(str(library.locate_file(file))) for file in (library.files or ())} if library else {}
    )
    python = [
        path
        for path, file in files.items()
        if path.endswith(".py") and path.startswith(tuple(f"{f}/" for f in folders)) and file.stat().st_size
    ]
    if not library or not python:
        return None
    root = f"packages/{name}-{library.version}"
    chosen = _draw(python, _scaled(count, share))
    for path in chosen:
        _write(folder / root / path, files[path].read_bytes())
    for path, file in files.items():
        if re.search(r"\.dist-info/(licenses/)?(LICEN[CS]E|COPYING|NOTICE)[^/]*$", path):
            _write(folder / root / file.name, file.read_bytes())
    return Part(
        name,
        f"{name} {library.version}, Python library as installed",
        licence,
        {"files": len(chosen)},
        [{"name": name, "path": root, "format": "files", "licence": licence}],
    )


def _describe(folder: Path, parts: list[Part]) -> int:
    """Write mirrors.csv, sources.json and README.txt; returns the number of documents."""
    write_mirrors(folder / "mirrors.csv", [mirror for part in parts for mirror in part.mirrors])
    sources = [source for part in parts for source in part.sources]
    (folder / "sources.json").write_text(json.dumps(sources, indent=1) + "\n", encoding="utf-8")
    documents = sum(sum(part.counts.values()) for part in parts)
    lines = [
        f"The demo corpus of reasonmill: {documents:,} documents, collected by `reasonmill demo-corpus`.",
        "Each part is under its own licence; notices are in licences/ and beside the source files.",
        "",
    ]
    for part in parts:
        where = ", ".join(source["path"] for source in part.sources)
        lines += [f"{part}", f"    licence: {part.licence}", f"    where: {where}", ""]
    lines += ["additions in arithmetic/, made by rule", "    licence: CC0-1.0", ""]
    (folder / "README.txt").write_text("\n".join(lines), encoding="utf-8")
    return documents


def _scaled(count: int, share: float) -> int:
    return math.ceil(count * share)


def _draw(names: Iterable[str], count: int) -> list[str]:
    """`count` of the names, chosen and ordered by hash: every name has the same chance wherever it stands."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count]


def _installed(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
