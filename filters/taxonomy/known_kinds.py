"""Documents whose kind is known by where they come from: what the default taggers are trained on, made where they are.

Nobody judged these documents. Source files are code because they are source files, licences law, man pages computing;
what packages do not contain is written anew (`written_kinds`, `worked_solutions`, `no_content`). So the labels say what
a document *is like*, not how good it is:
    * `worked_reasoning`: 1 for solutions, proofs and answers with their steps written out and for documentation of
      mathematical and scientific libraries that explains itself by worked examples; 0 for everything else;
    * `content`: 0 for offers, job postings, menus, footers, lists of links and files; 1 for everything else, except
      licences and bibliographies, which may be either;
    * `domain`: fifteen subjects under names of the rubric, `science` for its sciences; not labelled where a problem is as much
      commerce, or a puzzle, as mathematics.
The same problems appear solved (1) and as exercises (0), threads that solve (1) and threads that chat (0), formulas that
are derived (1) and that are listed (0), so that neither subject nor layout gives the answer away. Menus and offers are about
what the other documents are about. Some documents have leftovers of menus and footers around them, as extraction leaves
them. All kinds are cut to the same spread of lengths, so that length does not give anything away either.

A host is a package, or a family of written pages: what is held out is unknown packages and unknown families. Near-
duplicates (licences, above all) are left out, so every cluster is one document. Nothing is downloaded; where
/usr/share/doc or the manual is missing there are fewer documents, and `build` says so. The table depends on what is
installed: it is the same for the same seed on the same machine only.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import importlib.metadata
import itertools
import random
import re
import sys
import sysconfig
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.taxonomy import no_content, worked_problems, written_kinds
from filters.taxonomy.rubric import Dimension
from filters.taxonomy.worked_solutions import solved, unsolved
from pipeline.dedup.minhash import band_keys, signatures

DOMAINS = (
    "mathematics",
    "code",
    "computing",
    "science",
    "medicine",
    "law",
    "economics",
    "history",
    "arts",
    "sport",
    "news",
    "advertising",
    "job_posting",
    "everyday_life",
)
DIMENSIONS = (
    Dimension("worked_reasoning", ("no worked steps", "worked steps"), ordinal=True, first=0),
    Dimension("content", ("an offer, a menu or a list", "a text"), ordinal=True, first=0),
    Dimension("domain", (*DOMAINS, "no_subject"), ordinal=False, first=0),
)
TARGET = (
    "worked_reasoning: whether a document resembles worked solutions, proofs and worked examples rather than exercises, "
    "formula lists, documentation, threads, news, adverts and other pages; content: whether it is a text of its own and "
    "not an offer, a posting, a menu or a list; domain: which of fifteen kinds of source it resembles (any other text bears the "
    "nearest name). All were learnt from where documents come from, not from anybody's judgement of them."
)
# Of the n-gram student. Real pages are further from these documents than held-out ones: weights that are drawn to 0 ten
# times as strongly as usual lose half as much of a corpus of documentation, and find as much that has no content.
OPTIONS = {"decay": 0.3}
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "text", "host", "cluster", "kind")),
        ("weight", pa.float64()),
        *(
            (f"{what}_{name}", pa.float32())
            for name in ("worked_reasoning", "content")
            for what in ("label", "again")
        ),
        *((f"{what}_domain", pa.string()) for what in ("label", "again")),
    ]
)

NO_CONTENT = ("advert", "job posting", "boilerplate", "link list", "file list")
UNDECIDED = ("licence", "copyright", "bibliography")  # whether they have content

SYSTEM = Path("/usr/share")
SUBJECTS = {  # folders of packages whose documentation is about a subject and not about programming
    "mathematics": r"mpmath|scipy/(special|stats|integrate|linalg|optimize)|networkx/algorithms|sympy/(calculus|"
    r"combinatorics|concrete|diffgeom|discrete|functions|geometry|holonomic|integrals|liealgebras|logic|matrices|ntheory|"
    r"polys|sets|series|simplify|solvers|stats|tensor|vector)",
    "science": r"sympy/physics|scipy/(constants|signal)",
}
A_HOST = {"mathematics": 12, "science": 12, "code": 2}  # source files of one package at most
A_FAMILY = {"solved": 20, "exercises": 16, "written": 32, "article": 20, "site": 28, "offer": 22}  # pages
MOST = {"code": 400, "api reference": 350, "worked examples": 350, "changelog": 300, "manual page": 400}
MOST |= {
    "readme": 350,
    "licence": 300,
    "copyright": 200,
    "file list": 150,
    "word problems": 120,
    "subject reference": 250,
}
LARGEST = 40_000  # bytes of a source file, five times as many of others are read
SHORTEST, LONGEST = 25, 1200  # words
WITH_LEFTOVERS = 0.15  # of the documents have some of a site's menus and footers around them
SAME = 0.7  # resemblance of MinHash signatures from which a document is a near-duplicate
MARGIN = re.compile(
    r"^[ \t]*(?:/?\*+/?|#+|//+|;+|--)[ \t]+", re.M
)  # of a comment: a licence with it is the same licence


class Document(NamedTuple):
    """A text and what is known about it."""

    kind: str
    host: str
    domain: str | None
    worked: int | None  # None where it is not known
    text: str


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def build(seed: int = 0, say: Callable[[str], object] = _to_stderr) -> pa.Table:
    """The labelled table (`SCHEMA`) of `DIMENSIONS`; some 9,000 documents of about 25 kinds on a usual machine.

    `say` gets a line about each source that is missing and one with the counts.
    """
    chance = random.Random(seed)
    documents = [*written(chance), *found(chance, say)]
    texts = [document.text for document in documents]
    documents = [
        document._replace(text=no_content.surrounded(document.text, texts, chance, WITH_LEFTOVERS))
        for document in documents
    ]
    documents += without_content(texts, chance)
    documents = [
        document for document in documents if len(document.text.split()) >= SHORTEST or _is_short(document)
    ]
    chance.shuffle(documents)
    kept = _without_copies(documents)
    ids = [
        hashlib.sha256("\0".join((doc.kind, doc.host, doc.text)).encode()).hexdigest()[:16] for doc in kept
    ]
    counts = Counter(document.kind for document in kept)
    say(
        f"{len(kept):,} documents of {len(counts)} kinds from {len({doc.host for doc in kept}):,} hosts "
        f"({len(documents) - len(kept):,} near-duplicates left out): "
        + ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
    )
    nothing = pa.nulls(len(kept))
    return pa.table(
        {
            "id": ids,
            "text": [document.text for document in kept],
            "host": [document.host for document in kept],
            "cluster": ids,
            "kind": [document.kind for document in kept],
            "weight": np.ones(len(kept)),
            "label_worked_reasoning": pa.array([document.worked for document in kept], pa.float32()),
            "again_worked_reasoning": nothing.cast(pa.float32()),
            "label_content": pa.array([_content(document.kind) for document in kept], pa.float32()),
            "again_content": nothing.cast(pa.float32()),
            "label_domain": [document.domain for document in kept],
            "again_domain": nothing.cast(pa.string()),
        },
        schema=SCHEMA,
    )


def _content(kind: str) -> int | None:
    return 0 if kind in NO_CONTENT else None if kind in UNDECIDED else 1


def _is_short(document: Document) -> bool:
    """Menus and footers are short by nature; a menu of five words is one."""
    return document.domain == "no_subject" and len(document.text.split()) >= 5


# --- written ------------------------------------------------------------------------------------------------


def written(chance: random.Random) -> Iterator[Document]:
    """Pages of our own: solutions and exercises, adverts, news, jobs, threads, menus, …"""
    for host, (domain, family) in worked_problems.FAMILIES.items():
        for _ in range(A_FAMILY["solved"]):
            text, kind = solved(family, chance, _length(chance))
            yield Document(kind, host, domain, 1, text)
        for _ in range(A_FAMILY["exercises"]):
            text, kind = unsolved(family, chance, _length(chance))
            yield Document(kind, host, domain, 0, text)
    for page in written_kinds.families():
        for _ in range(A_FAMILY.get(page["kind"], A_FAMILY["written"])):
            text = written_kinds.page(page, chance, _length(chance))
            yield Document(page["kind"], page["host"], page["domain"], 0, text)


def without_content(texts: list[str], chance: random.Random) -> Iterator[Document]:
    """Menus, footers, teasers, error pages, offers, which are about what the `texts` are about."""
    for site in no_content.sites():
        for _ in range(A_FAMILY["site"]):
            text = no_content.site_page(site, texts, chance, _length(chance))
            yield Document("boilerplate", site["host"], "no_subject", 0, text)
    for offer in no_content.offers():
        kind = "advert" if offer["domain"] == "advertising" else "job posting"
        for _ in range(A_FAMILY["offer"]):
            text = no_content.offer_page(offer, texts, chance, _length(chance))
            yield Document(kind, offer["host"], offer["domain"], 0, text)


def _length(chance: random.Random) -> int:
    """Words of a document: half of them have 60 to 250."""
    return min(LONGEST, max(SHORTEST, int(chance.lognormvariate(4.8, 0.9))))


def excerpt(text: str, chance: random.Random) -> str:
    """Whole lines of a text, about `_length` words: from its beginning in half of the cases, else from anywhere."""
    lines = text.replace("\r\n", "\n").replace("\0", "").splitlines()
    words = _length(chance)
    sizes = list(itertools.accumulate(len(line.split()) for line in lines))
    if not sizes:
        return ""
    first = 0
    if chance.random() < 0.5 and sizes[-1] > words:
        start = chance.randrange(sizes[-1] - words)
        first = next(i for i, size in enumerate(sizes) if size > start)
    before = sizes[first - 1] if first else 0
    last = next((i for i, size in enumerate(sizes) if size - before >= words), len(lines) - 1)
    return "\n".join(lines[first : last + 1]).strip("\n")


# --- found --------------------------------------------------------------------------------------------------


def found(chance: random.Random, say: Callable[[str], object]) -> Iterator[Document]:
    """Documents of the installed packages, of Python itself, of the system's documentation and manual."""
    sources: dict[str, Iterable[Document]] = {
        "Python packages": _packages(chance),
        "Python's library": _library(chance),
        f"{SYSTEM}/doc": _system_documents(chance),
        f"{SYSTEM}/man": _manual(chance),
        "reasoning-gym": _word_problems(chance),
    }
    by_kind: dict[str, list[Document]] = defaultdict(list)
    for name, documents in sources.items():
        before = sum(map(len, by_kind.values()))
        for document in documents:
            by_kind[document.kind].append(document)
        if sum(map(len, by_kind.values())) == before:
            say(f"no documents from {name}: it is not there, or nothing in it is of a known kind")
    for kind, documents in sorted(by_kind.items()):
        yield from _some(documents, MOST.get(kind, len(documents)), chance)


def _some(documents: list[Document], most: int, chance: random.Random) -> list[Document]:
    """At most `most`, taken host by host in turns, so that no large package crowds out the others."""
    by_host: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_host[document.host].append(document)
    hosts = sorted(by_host)
    chance.shuffle(hosts)
    turns = itertools.zip_longest(*(by_host[host] for host in hosts))
    return [document for turn in turns for document in turn if document][:most]


def _packages(chance: random.Random) -> Iterator[Document]:
    seen = set()
    for distribution in sorted(
        importlib.metadata.distributions(), key=lambda d: str(d.metadata["Name"]).lower()
    ):
        name = str(distribution.metadata["Name"]).lower()
        if name in seen:
            continue
        seen.add(name)
        host = f"package/{name}"
        message = distribution.metadata
        description = message.get("Description") or message.get_payload()  # type: ignore[attr-defined]
        if isinstance(description, str) and len(description.split()) > 60:
            yield Document("readme", host, "code", 0, excerpt(description, chance))
        files = [file for file in distribution.files or [] if ".." not in file.parts]
        if len(files) > 30:
            names = [str(file) for file in files if "__pycache__" not in file.parts]
            yield Document("file list", host, "no_subject", 0, excerpt("\n".join(names), chance))
        for file in files:
            if re.match(r"(licen[cs]e|copying)", file.name, re.I) and file.suffix in (
                "",
                ".txt",
                ".md",
                ".rst",
            ):
                yield Document("licence", host, "law", 0, excerpt(_read(Path(str(file.locate()))), chance))
            elif re.match(r"(readme|changes|changelog|history|news)\b", file.name, re.I) and file.suffix in (
                ".md",
                ".rst",
            ):
                kind = "readme" if file.name.lower().startswith("readme") else "changelog"
                yield Document(
                    kind,
                    host,
                    "code" if kind == "readme" else "computing",
                    0,
                    excerpt(_read(Path(str(file.locate()))), chance),
                )
        largest = LARGEST * (4 if name in ("sympy", "mpmath", "scipy", "networkx") else 1)  # theirs say much
        sources = [file for file in files if file.suffix == ".py" and 1500 < (file.size or 0) < largest]
        by_host: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for file in sources:
            domain = _subject("/".join(file.parts))
            where = (
                name
                if domain == "code"
                else "/".join(file.parts[:2] if domain == "mathematics" else file.parts[:3])
            )
            by_host[where, domain].append(Path(str(file.locate())))
        for (where, domain), paths in sorted(by_host.items()):
            for path in chance.sample(sorted(paths), min(len(paths), A_HOST[domain])):
                yield from _of_source(path, f"package/{where}", domain, chance)


def _subject(path: str) -> str:
    return next((domain for domain, folders in SUBJECTS.items() if re.match(rf"({folders})\b", path)), "code")


def _library(chance: random.Random) -> Iterator[Document]:
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.glob("*.py")):
        yield from _of_source(path, f"python/{path.stem}", "code", chance)


def _of_source(path: Path, host: str, domain: str, chance: random.Random) -> Iterator[Document]:
    """A source file as code, or what its docstrings say as documentation."""
    text = _read(path)
    if chance.random() < 0.5 and domain == "code":
        if ">>>" not in text:  # docstrings with examples are no plain code
            part = excerpt(text, chance)
            yield Document(
                "code", host, "code", 0, f"```python\n{part}\n```" if chance.random() < 0.5 else part
            )
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's files
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    said = []
    inside = (node for part in tree.body if isinstance(part, ast.ClassDef) for node in part.body)
    for node in itertools.chain(tree.body, inside):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (doc := ast.get_docstring(node)):
            name = node.name if isinstance(node, ast.ClassDef) else f"{node.name}({ast.unparse(node.args)})"
            said.append(f"{chance.choice(['', '## ', '.. function:: '])}{name}\n\n{doc}")
    explained = [part for part in said if _explains(part)]
    if domain != "code":
        for part in explained[:3]:
            yield Document("worked examples", host, domain, 1, excerpt(part, chance))
        brief = "\n\n".join(part for part in said if part not in explained)
        if len(brief.split()) > 80:  # definitions, formulas, perhaps a step here and there
            yield Document("subject reference", host, domain, None, excerpt(brief, chance))
        return
    plain = [part for part in said if ">>>" not in part]
    if len(plain) >= 3:
        yield Document("api reference", host, domain, 0, excerpt("\n\n".join(plain), chance))


def _explains(docstring: str) -> bool:
    """Whether prose and examples take turns at least three times."""
    paragraphs = [part for part in docstring.split("\n\n") if part.strip()]
    turns = [part.lstrip().startswith(">>>") for part in paragraphs]
    return sum(a and not b for a, b in itertools.pairwise(turns)) >= 2 and len(docstring.split()) >= 80


def _system_documents(chance: random.Random) -> Iterator[Document]:
    for folder in sorted((SYSTEM / "doc").glob("*")):
        host = f"system/{_stem(folder.name)}"
        for path in sorted(folder.glob("*")) if folder.is_dir() and not folder.is_symlink() else ():
            name = path.name.lower().removesuffix(".gz")
            if name == "copyright":
                yield Document("copyright", host, "law", 0, excerpt(_read(path), chance))
            elif re.match(r"(changelog|news|changes)", name) and not name.endswith((".html", ".css")):
                yield Document("changelog", host, "computing", 0, excerpt(_read(path), chance))
            elif re.match(r"readme", name) and not name.endswith((".html", ".css")):
                yield Document("readme", host, "computing", 0, excerpt(_read(path), chance))


def _manual(chance: random.Random) -> Iterator[Document]:
    for section, domain in (
        ("1", "computing"),
        ("5", "computing"),
        ("8", "computing"),
        ("2", "code"),
        ("3", "code"),
    ):
        paths = sorted((SYSTEM / "man" / f"man{section}").glob("*.gz"))
        for path in chance.sample(paths, min(len(paths), 80)):
            text = plain_manual(_read(path))
            if len(text.split()) > 40:
                yield Document("manual page", f"manual/{_stem(path.name)}", domain, 0, excerpt(text, chance))


def plain_manual(text: str) -> str:
    r"""A man page's words without their roff: requests become their arguments, escapes what they print.

    >>> plain_manual('.SH NAME\nls \\- list\n.B \\-a\nall')
    'NAME\nls - list\n-a\nall'
    """
    lines = []
    for line in text.splitlines():
        if line.startswith(
            (".\\", "'\\", ".de", ".if", ".ie", ".el", ".ds", ".nr", ".TH", ".tr", "..", ".ad", ".nh")
        ):
            continue
        if line.startswith("."):
            line = line.partition(" ")[2].replace('"', "")
        line = re.sub(r"\\(f(\(..|\[[^\]]*\]|.)|s[-+]?\d+|&|\||\^|c|/|,)", "", line)
        line = re.sub(r"\\\((em|en|hy)", "-", line).replace("\\-", "-").replace("\\e", "\\")
        line = re.sub(r"\\\((..)|\\\[[^\]]*\]", "'", line).replace("\\ ", " ")
        if line.strip():
            lines.append(line)
    return "\n".join(lines)


def _word_problems(chance: random.Random) -> Iterator[Document]:
    """School problems with their steps, sheets of reasoning-gym's GSM-symbolic; eighths of its templates are hosts."""
    try:
        import reasoning_gym
    except ImportError:
        return
    problems = reasoning_gym.create_dataset("gsm_symbolic", size=400, seed=chance.randrange(2**31))
    decks: dict[int, list[str]] = defaultdict(list)
    for template, problem in zip(problems.task_indices, problems, strict=True):  # type: ignore[attr-defined]
        question = problem["question"].partition("Give the result")[0]
        decks[template % 8].append(f"{question.strip()}\n\n{problem['metadata']['answer_cot'].strip()}")
    for part, deck in sorted(decks.items()):
        while deck:
            sheet, words = [deck.pop()], _length(chance)
            while deck and len(" ".join(sheet).split()) < words:
                sheet.append(deck.pop())
            yield Document("word problems", f"reasoning-gym/{part}", "mathematics", 1, "\n\n".join(sheet))


def _read(path: Path) -> str:
    """The beginning of a text file, unpacked; empty where it cannot be read (a broken link, a missing right)."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(5 * LARGEST)
    except (OSError, EOFError, zlib.error):
        return ""
    return data.decode("utf-8", "replace")


def _stem(name: str) -> str:
    """The project that a system package or man page belongs to, as near as its name tells.

    >>> [_stem(name) for name in ("gcc-12-base", "git-commit.1.gz", "libssl3")]
    ['gcc', 'git', 'ssl']
    """
    found = re.match(r"(?:lib)?([A-Za-z]+)", name)
    return found[1].lower() if found else name


def _without_copies(documents: list[Document]) -> list[Document]:
    """Without those that resemble an earlier one."""
    marks = signatures(pa.array([MARGIN.sub("", document.text) for document in documents]))
    earlier: dict[int, list[int]] = defaultdict(list)  # band → kept documents
    kept = []
    for i, keys in enumerate(band_keys(marks).tolist()):
        same = {j for key in keys for j in earlier.get(key, ())}
        if any((marks[i] == marks[j]).mean() >= SAME for j in same):
            continue
        kept.append(documents[i])
        for key in keys:
            earlier[key].append(i)
    return kept
