"""What a record and a document are: the schemas every stage reads and writes.

A *record* is one piece of raw input (a WARC response, a file, an archive member, a table row): where its bytes
lie and their digest, not the bytes. A *document* is what `extract` makes of a record: text and metadata, written once.
Everything said about a document later lives in column datasets that share its `id`, shard and row order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Protocol

import pyarrow as pa

ORIGIN = pa.struct(
    [
        pa.field("source", pa.string(), nullable=False),  # name of the source in the recipe
        pa.field("path", pa.string(), nullable=False),  # file, relative to the source's root
        pa.field(
            "locator", pa.string(), nullable=False
        ),  # place in the file: "offset=1234", "member=a/b.py", ""
        pa.field("offset", pa.int64()),  # byte range in the file, where a range exists
        pa.field("length", pa.int64()),
        pa.field("payload_sha256", pa.string(), nullable=False),
        pa.field("crawl_date", pa.timestamp("s", tz="UTC")),
    ]
)

METADATA = [  # filled by the reader where the container says it, by `extract` otherwise; null = unknown
    pa.field("title", pa.string()),
    pa.field("author", pa.string()),
    pa.field("date", pa.string()),  # ISO 8601, as precise as the source says it
    pa.field("site", pa.string()),
    pa.field("licence", pa.string()),
    pa.field("language_hint", pa.string()),  # what the source declares, not what we measured
    pa.field("reservations", pa.string()),  # what the page asks machines not to do; see `reservations`
]

RECORD_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("parent_ids", pa.list_(pa.string()), nullable=False),  # the source file's id
        pa.field("origin", ORIGIN, nullable=False),
        pa.field("url", pa.string()),
        pa.field("media_type", pa.string(), nullable=False),
        *METADATA,
        pa.field("extra", pa.string()),  # other columns of a table row, as JSON
    ]
)

COMMENT = pa.struct(
    [
        pa.field("author", pa.string()),
        pa.field("date", pa.string()),
        pa.field("score", pa.int64()),
        pa.field("text", pa.string(), nullable=False),
    ]
)
POST = pa.struct(
    [
        pa.field("author", pa.string()),
        pa.field("date", pa.string()),
        pa.field("score", pa.int64()),
        pa.field("accepted", pa.bool_()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("comments", pa.list_(COMMENT)),
    ]
)

DOCUMENT_SCHEMA = pa.schema(
    [
        *RECORD_SCHEMA,
        pa.field("text", pa.string(), nullable=False),  # Markdown, LaTeX maths in $…$ / $$…$$, fenced code
        pa.field("posts", pa.list_(POST)),  # for threads
        pa.field(
            "extraction",
            pa.struct(
                [
                    pa.field("method", pa.string(), nullable=False),  # e.g. "blocks", "pypdfium2", "verbatim"
                    pa.field("fidelity", pa.float32(), nullable=False),  # 0…1, how much of the input survived
                ]
            ),
            nullable=False,
        ),
    ]
)

REASON_SCHEMA = pa.schema(  # of the shards in `dropped/` and `failed/`
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # countable: one of few
        pa.field("detail", pa.string(), nullable=False),  # what a person wants to know about this one
    ]
)


def document_id(source: str, path: str, locator: str, payload_sha256: str) -> str:
    """Identity of a record and of the document made of it: 32 hex digits.

    It depends on where the bytes came from and what they are, never on the extracted text,
    so it survives a better extractor; and not on where the source's root is mounted today.
    """
    parts = "\0".join((source, path, locator, payload_sha256))
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]


ASKING = re.compile(r"(?i)no[a-z]+|max-(snippet|image-preview|video-preview) ?: ?(0|none)")
ROBOT = re.compile(
    r"(?i)((?!max-)[a-z][\w-]*) ?: ?(?=no|all|index|follow)"
)  # "googlebot: noindex"; a directive with a value is none


def reservations(said: Iterable[tuple[str, str]]) -> str | None:
    """What header fields or meta tags, as (name, value), ask machines not to do; None where they ask nothing.

    Statements in lower case, sorted, joined by "; ": a bare robots directive is for every robot ("noai"), one for a
    single robot bears its name ("googlebot: noindex"); "tdm-reservation: 1" and "tdm-policy: ADDRESS" as in
    W3C's TDM Reservation Protocol (2024), "content-usage: train-ai=n" as in the IETF drafts of AI preferences.
    What allows something ("index", "tdm-reservation: 0") is no reservation.

    >>> reservations([("X-Robots-Tag", "GPTBot: noindex, nosnippet"), ("robots", "all,NoAI"), ("TDM-Reservation", "1")])
    'gptbot: noindex; gptbot: nosnippet; noai; tdm-reservation: 1'
    """
    found = set()
    for name, value in said:
        name, value = name.strip().lower(), " ".join(value.split())
        if name == "tdm-reservation":
            found |= {"tdm-reservation: 1"} if value == "1" else set()
        elif name == "tdm-policy":
            found |= {f"tdm-policy: {value.replace(';', '%3B')}"} if value else set()
        elif name == "content-usage":
            found |= {
                f"{name}: {part.strip().lower()}" for part in value.split(",") if part.strip().endswith("=n")
            }
        else:
            robot = "" if name in ("robots", "x-robots-tag") else f"{name}: "
            for directive in value.split(","):
                if addressed := ROBOT.match(directive.strip()):  # it and those after it are for this robot
                    robot = f"{addressed[1].lower()}: "
                    directive = directive.strip()[addressed.end() :]
                if ASKING.fullmatch(directive.strip()):
                    found.add(robot + directive.strip().lower().replace(" ", ""))
    return "; ".join(sorted(found)) or None


def joined_reservations(first: str | None, second: str | None) -> str | None:
    """What either asks for: a reservation in the header is not lifted by a page that is silent, nor the reverse."""
    both = {statement for said in (first, second) if said for statement in said.split("; ")}
    return "; ".join(sorted(both)) or None


def printable(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 file can hold (they become "?")."""
    return text.encode("utf-8", "replace").decode()


class SourceFile(Protocol):
    """One file of a source, as the readers see it."""

    @property
    def path(self) -> str:
        """Relative to the source's root, "/"-separated."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    def open(self) -> IO[bytes]:
        """A fresh, seekable binary handle from the start of the file (not decompressed)."""
        ...


@dataclass
class Record:
    """One raw record as a reader yields it: the bytes and what the container says about them."""

    locator: str
    payload: bytes
    media_type: str
    url: str | None = None
    crawl_date: int | None = None  # seconds since the epoch, UTC
    offset: int | None = None
    length: int | None = None
    metadata: dict[str, str | None] = field(default_factory=dict)  # keys of METADATA
    extra: dict[str, object] | None = None

    def sha256(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()


@dataclass(frozen=True)
class Unreadable:
    """A part of a source file that could not be read; the rest of the file still counts.

    `dropped=True` marks what is left out by rule (a redirect, a robots.txt, an image), `False` what is broken.
    """

    locator: str
    reason: str
    detail: str = ""
    dropped: bool = False


class Reader(Protocol):
    """A reader module offers this function.

    With `wanted`, only those locators are yielded (the reader seeks where the format allows it). Order is that of
    the file and is the same at every call. Raises `ReadError` when the file as a whole is unusable; a file that
    breaks halfway yields what came before and then one `Unreadable`.
    """

    def __call__(
        self, file: SourceFile, wanted: Collection[str] | None = None, **options: object
    ) -> Iterator[Record | Unreadable]: ...
