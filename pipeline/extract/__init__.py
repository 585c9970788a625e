"""Extraction: the bytes of a record → a document's text and metadata.

HTML, PDF and source text each have a module; this one decides which it is and offers the stage.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from pipeline.documents import DOCUMENT_SCHEMA, METADATA, joined_reservations
from pipeline.errors import Drop
from pipeline.extract.code import extract_text, is_source_path
from pipeline.extract.content.choose import MODEL
from pipeline.extract.html import extract_html
from pipeline.extract.pdf import extract_pdf
from pipeline.models import sha256_of
from pipeline.sources import Payloads
from pipeline.stage import DocumentStage, StageConfig

HTML = frozenset(["text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"])
TEXT = frozenset(
    "application/" + name
    for name in "json ld+json x-ndjson javascript x-javascript typescript xml toml yaml x-yaml sql x-sh x-tex x-python".split()  # noqa: SIM905
)
NOT_TEXT = frozenset(
    ["text/rtf", "text/calendar", "text/vcard", "text/x-vcard"]
)  # formats that only look like text
UNSPECIFIC = frozenset(
    ["", "application/octet-stream", "binary/octet-stream", "application/unknown", "unknown/unknown"]
)
HTML_START = re.compile(
    rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html)\b",
    re.I | re.S,
)


@dataclass
class Extracted:
    """What became of one payload. `posts` are dicts as `documents.POST`; metadata is None where the input is silent."""

    text: str
    method: str  # "blocks", "blocks+discourse" (a thread, by its platform), "pypdfium2", "verbatim"
    fidelity: float  # 0…1, how much of the input survived; each module says how it counts
    title: str | None = None
    author: str | None = None
    date: str | None = None
    site: str | None = None
    licence: str | None = None
    language_hint: str | None = None
    reservations: str | None = None
    canonical_url: str | None = None  # absolute, as the page declares it
    posts: list[dict[str, Any]] | None = None


def extract(payload: bytes, media_type: str, *, url: str | None = None, path: str = "") -> Extracted:
    """The text of a web page, a PDF, a source file or a plain text, with what it says about itself.

    `media_type` may carry a charset parameter. Bytes that say what they are (PDF, an HTML doctype) beat an unspecific
    or wrong type. `url` is for extractors that know sites; none does yet. `path` becomes a source file's title.
    Raises `Drop`: unsupported_media_type, not_html, undecodable, redirect, encrypted_pdf, broken_pdf, no_text_layer,
    empty_text.

    >>> extract(b"x = 1", "text/x-python", path="a/b.py")
    Extracted(text='x = 1', method='verbatim', fidelity=1.0, title='a/b.py', ...
    """
    kind, _, parameters = media_type.partition(";")
    kind = kind.strip().lower()
    found = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", parameters, re.IGNORECASE)
    charset = found[1] if found else None
    if not payload:
        raise Drop("empty_text", "0 bytes")
    if b"%PDF-" in payload[:1024] and (
        (kind not in TEXT and not kind.startswith("text/")) or payload.startswith(b"%PDF-")
    ):
        return Extracted(method="pypdfium2", **extract_pdf(payload))  # type: ignore[arg-type]
    if kind == "application/pdf":
        raise Drop("broken_pdf", "no PDF header in the first 1,024 bytes")
    html = kind in HTML or (
        kind in UNSPECIFIC | {"text/plain", "application/xml", "text/xml"} and HTML_START.match(payload)
    )
    if html:
        if (
            path and kind == "text/plain" and is_source_path(path)
        ):  # a source file that quotes HTML, or a template
            return Extracted(method="verbatim", fidelity=1.0, **extract_text(payload, path, charset))  # type: ignore[arg-type]
        return Extracted(**extract_html(payload, charset=charset))
    if (
        (kind.startswith("text/") and kind not in NOT_TEXT)
        or kind in TEXT
        or (kind in UNSPECIFIC and is_source_path(path))
    ):
        return Extracted(method="verbatim", fidelity=1.0, **extract_text(payload, path, charset))  # type: ignore[arg-type]
    raise Drop("unsupported_media_type", f"{media_type or 'no media type'}; HTML, PDF and text are supported")


class ExtractConfig(StageConfig):
    min_characters: int = Field(1, ge=1, description="Documents with less text are dropped as empty_text.")
    max_bytes: int = Field(
        64 * 2**20, ge=1, description="Payloads larger than this are dropped as too_large."
    )


class Extract(DocumentStage):
    """Make documents of records: fetch their bytes, take out text and metadata.

    The reader's metadata wins; what HTTP reserves and what the page reserves both count.

    A page's address as it declares it goes into `extra`, JSON, as "canonical_url", beside what the reader put there.
    """

    name = "extract"
    output = "documents"
    input = ("urls", "read")
    schema = DOCUMENT_SCHEMA
    libraries = ("resiliparse", "pypdfium2", "numba")
    Config = ExtractConfig

    def files(self) -> dict[str, str]:
        return {MODEL.name: sha256_of(str(MODEL))}

    def prepare(self) -> None:
        self.payloads = Payloads(self.folder)
        # The kernels are compiled now, not within a document's time.
        extract(b"<body><p>x</p></body>", "text/html")

    def begin(self, table: pa.Table) -> None:
        self.payloads.expect(table)

    def process_document(self, row: dict[str, Any]) -> dict[str, Any]:
        return self.extract_record(row, self.payloads.fetch(row))

    def extract_record(self, row: dict[str, Any], payload: bytes) -> dict[str, Any]:
        """The document of one record, given its bytes."""
        if len(payload) > self.config.max_bytes:
            raise Drop("too_large", f"{len(payload)} bytes, {self.config.max_bytes} allowed (max_bytes)")
        extra = json.loads(row["extra"]) if row["extra"] else {}
        charset = extra.get("charset")  # what the transport said
        media_type = f"{row['media_type']}; charset={charset}" if charset else row["media_type"]
        path = _path(row["origin"])
        found = extract(payload, media_type, url=row["url"], path=path)
        if len(found.text.strip()) < self.config.min_characters:
            raise Drop("empty_text", f"{len(found.text)} characters, {self.config.min_characters} wanted")
        said = asdict(found)
        metadata = {
            f.name: row.get(f.name) if row.get(f.name) is not None else said[f.name] for f in METADATA
        }
        metadata["reservations"] = joined_reservations(row.get("reservations"), found.reservations)
        extraction = {"method": found.method, "fidelity": found.fidelity}
        document = {**row, **metadata, "text": found.text, "posts": found.posts, "extraction": extraction}
        if found.canonical_url:
            extra = {"canonical_url": found.canonical_url} | extra
            document["extra"] = json.dumps(extra, sort_keys=True, ensure_ascii=False)
        return document


def _path(origin: dict[str, Any]) -> str:
    """The path that says what the bytes are: the member's in an archive, the file's where it is one record, else ""."""
    locator: str = origin["locator"]
    if locator.startswith("member="):
        return locator.removeprefix("member=")
    return (
        "" if locator else origin["path"]
    )  # the name of a table or a crawl says nothing of its rows and pages
