"""The extractors that are compared, each in a process of its own that is held to a limit of CPU time and memory.

`python benchmarks/extraction_html_parts/tools.py TOOL PEERS SECONDS` serves one tool: pages come in on standard input, answers go out on
standard output, both pickled. A page that takes too long kills only this process (the kernel's profiling timer counts
CPU time, so a busy machine changes nothing); it is started again for the next page.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

ROOT = Path(__file__).parents[2]
PAGE_SECONDS = 20.0  # of CPU, for one page
PAGE_MEMORY = 4 << 30

Function = Callable[[bytes, str | None], "str | tuple[str, Any]"]


@dataclass(frozen=True)
class Page:
    """A page to extract, and whatever its measure knows to be true of it."""

    name: str
    payload: bytes
    url: str | None = None
    truth: Any = None

    @property
    def key(self) -> str:
        return hashlib.sha256((self.url or "").encode() + b"\0" + self.payload).hexdigest()[:24]


@dataclass(frozen=True)
class Answer:
    """What a tool made of a page. `posts` is ours alone; `failed` says why the text is empty."""

    text: str
    cpu_seconds: float
    failed: str = ""
    posts: list[dict[str, Any]] | None = None


# the tools, each imported where it is used


def ours() -> Function:
    from pipeline.extract import extract

    def run(payload: bytes, url: str | None) -> tuple[str, Any]:
        found = extract(payload, "text/html", url=url)
        return found.text, found.posts

    return run


def trafilatura(output_format: str = "txt") -> Function:
    import trafilatura as library

    return lambda payload, url: library.extract(payload, url=url, output_format=output_format) or ""


def resiliparse() -> Function:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import detect_encoding
    from resiliparse.parse.html import HTMLTree

    def run(payload: bytes, _: str | None) -> str:
        tree = HTMLTree.parse_from_bytes(payload, detect_encoding(payload, from_html_meta=True))
        return extract_plain_text(tree, main_content=True)

    return run


def readability() -> Function:
    import html2text
    from readability import Document

    def run(payload: bytes, _: str | None) -> str:
        writer = html2text.HTML2Text(bodywidth=0)
        writer.ignore_links = True  # images stay: their alternative text may be a formula
        return writer.handle(Document(_decoded(payload)).summary())

    return run


def html_to_markdown() -> Function:
    from html_to_markdown import convert

    return lambda payload, _: str(getattr(answer := convert(_decoded(payload)), "content", answer) or "")


def _decoded(payload: bytes) -> str:
    """For tools that take only str."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    return bytes_to_str(payload, detect_encoding(payload, from_html_meta=True))


TOOLS: dict[str, tuple[Callable[[], Function], tuple[str, ...]]] = {  # the function's maker, and its packages
    "ours": (ours, ("resiliparse", "numpy", "numba")),
    "trafilatura": (trafilatura, ("trafilatura",)),
    "trafilatura-md": (lambda: trafilatura("markdown"), ("trafilatura",)),
    "resiliparse": (resiliparse, ("resiliparse",)),
    "readability": (readability, ("readability-lxml", "html2text", "resiliparse")),
    "html-to-markdown": (html_to_markdown, ("html-to-markdown", "resiliparse")),
}


def version_of(name: str) -> str:
    """What the answers of a tool depend on: versions, how it is called (this file); for ours its sources and weights."""
    versions = [importlib.metadata.version(package) for package in TOOLS[name][1]]
    digest = hashlib.sha256(repr(versions).encode() + Path(__file__).read_bytes())
    if name == "ours":
        from pipeline.extract import MODEL
        from pipeline.stage import source_digest

        digest.update(source_digest("pipeline.extract").encode() + MODEL.read_bytes())
    return f"{versions[0]}-{digest.hexdigest()[:16]}"


# the process of a tool, from inside


def serve(name: str, peers: str, page_seconds: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a tool that prints does not disturb
    sys.path[:0] = [str(ROOT)]
    sys.path.append(peers)
    try:
        function, version = TOOLS[name][0](), version_of(name)
        function(
            b"<!doctype html><title>t</title><body><p>What is loaded when first needed is loaded now.</p>",
            None,
        )
    except ImportError as error:
        pickle.dump(str(error), answers)
        return
    except Exception:  # an extractor may find nothing in the page
        pass
    pickle.dump((version,), answers)
    answers.flush()
    resource.setrlimit(resource.RLIMIT_DATA, (PAGE_MEMORY, resource.RLIM_INFINITY))
    while True:
        try:
            payload, url = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        started = cpu_seconds()
        signal.setitimer(signal.ITIMER_PROF, float(page_seconds))  # SIGPROF ends the process
        text, posts, failed = "", None, ""
        try:
            found = function(payload, url)
            text, posts = found if isinstance(found, tuple) else (found, None)
        except BaseException as error:
            failed = f"{type(error).__name__}: {error}"[:300]
        signal.setitimer(signal.ITIMER_PROF, 0)
        pickle.dump(Answer(text, cpu_seconds() - started, failed, posts), answers)
        answers.flush()


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# and from outside


class LeftOut(Exception):
    """Something that is measured, or a tool, is not there; `str` of it says what."""


class Tool:
    """One extractor: its process, and what it said about the pages it has seen, kept in a file of the work folder."""

    def __init__(self, name: str, peers: str, work: Path, page_seconds: float = PAGE_SECONDS) -> None:
        self.name, self.peers, self.page_seconds = name, peers, page_seconds
        self.version = self.start()
        self.file = work / "answers" / f"{name}-{self.version}.jsonl"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, Answer] = {}
        if self.file.exists():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                if line.endswith("}"):  # a run that was stopped may leave half a line
                    row = json.loads(line)
                    page = row.pop("page")
                    self.known[page] = Answer(**row)

    def start(self) -> str:
        command = [sys.executable, __file__, self.name, self.peers, str(self.page_seconds)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        said = self._receive()
        if not isinstance(said, tuple):
            raise LeftOut(f"{self.name} is left out: {said or 'its process ended'}")
        return said[0]

    def extract(self, page: Page) -> Answer:
        """The answer for a page, measured now."""
        pages = cast("IO[bytes]", self.process.stdin)
        try:
            pickle.dump((page.payload, page.url), pages)
            pages.flush()
            answer = self._receive()
        except BrokenPipeError:  # it ended between two pages, or while it was being given this one
            answer = None
        if answer is not None:
            return answer
        ended = -self.process.wait()
        self.start()
        if ended == signal.SIGPROF:
            return Answer("", self.page_seconds, f"more than {self.page_seconds:g} CPU seconds")
        # How long it ran is not known: a tool must not get faster by dying.
        return Answer("", self.page_seconds, f"the process was ended by signal {ended}")

    def answers(self, pages: Iterable[Page]) -> list[Answer]:
        """The answers for pages, from the work folder where this version has seen them."""
        found = []
        with self.file.open("a", encoding="utf-8") as file:
            for page in pages:
                answer = self.known.get(page.key)
                if answer is None:
                    answer = self.known[page.key] = self.extract(page)
                    file.write(json.dumps({"page": page.key, **asdict(answer)}, default=str) + "\n")
                    file.flush()
                found.append(answer)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _receive(self) -> Any:
        try:
            return pickle.load(cast("IO[bytes]", self.process.stdout))
        except (EOFError, pickle.UnpicklingError):
            return None


if __name__ == "__main__":
    # As a module of its package, so that what is pickled has the same name on both sides.
    sys.path.insert(0, str(ROOT))
    from benchmarks.extraction_html_parts import tools

    tools.serve(*sys.argv[1:])
