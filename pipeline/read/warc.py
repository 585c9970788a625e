"""Reader of WARC files: plain, `.gz`, `.lz4`, `.zst`, also with many records in one compressed member."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from fastwarc.stream_io import BrotliReader, ChunkedReader, ZstdReader

from pipeline.documents import Record, SourceFile, Unreadable, reservations
from pipeline.read import media
from pipeline.read.compressed import DAMAGE, how_it_broke
from pipeline.read.files import EMPTY_FILE, MAX_BYTES
from pipeline.read.warc_records import (
    GZIP,
    MAX_HEADER,
    ZSTD,
    ZSTD_DICTIONARY,
    Damage,
    RawRecord,
    Stream,
    header_fields,
    locator_of,
    records,
)

RESERVING = re.compile(rb"(?im)^(x-robots-tag|tdm-reservation|tdm-policy|content-usage)[ \t]*:([^\r\n]*)")


def read(
    file: SourceFile,
    wanted: Collection[str] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    verify_digests: bool = True,
) -> Iterator[Record | Unreadable]:
    """Pages of a WARC: the decoded payloads of `response`, `resource` and `conversion` records.

    Locators are "offset=N", the byte where the record (or its compressed member) starts; in a member of several
    records the later ones are "offset=N+K", K decompressed bytes on. With `wanted` the reader seeks there.
    `url`, `crawl_date`, what HTTP reserves and, in `extra`, what it said of the charset come along. Left out by rule: HTTP errors and
    redirects, robots.txt, media types without text, revisits, records over `max_bytes`. Where no gzip
    checksum has held already, a record that does not match its WARC-Block-Digest is broken (`verify_digests`).
    Raises `ReadError` if the file does not start with a WARC record.
    """
    if not file.size:
        if wanted is None or "" in wanted:
            yield EMPTY_FILE
        return
    with file.open() as handle:
        magic = handle.read(4)
        seekable = wanted is not None and magic != ZSTD_DICTIONARY
        if not seekable:
            for found in records(Stream(handle, 0, magic, file.size), max_bytes):
                if wanted is None or found.locator in wanted:
                    yield from _document(found, verify_digests)
            return
        stream = None
        for frame, skip in sorted(place for place in map(_place, wanted or ()) if place):
            if stream is None or stream.anchor[0] != frame or skip < stream.behind_anchor:
                stream = Stream(handle, frame, magic, file.size)
            found_here = None
            try:
                stream.take(skip - stream.behind_anchor, keep=False)
                found_here = next(records(stream, max_bytes), None)
            except Damage:
                stream = None  # the file was longer once: what it does not hold any more is not found
            if found_here and found_here.locator == locator_of(frame, skip):
                yield from _document(found_here, verify_digests)


def _place(locator: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"offset=(\d+)(?:\+(\d+))?", locator)
    return (int(found[1]), int(found[2] or 0)) if found else None


# --- from a WARC record to a payload


def _document(raw: RawRecord | Unreadable, verify_digests: bool) -> Iterator[Record | Unreadable]:
    if isinstance(raw, Unreadable):
        yield raw
        return
    url = raw.fields.get("warc-target-uri", "").strip("<>") or None

    def dropped(reason: str, detail: str) -> Unreadable:
        return Unreadable(raw.locator, reason, f"{detail} {url or ''}".strip(), dropped=True)

    if len(raw.block) < raw.size:
        yield dropped("too_large", f"{raw.size} bytes")
        return
    if verify_digests and not raw.checked and not _digest_holds(raw):
        detail = "the content does not match its WARC-Block-Digest; if a faulty crawler wrote it, set verify_digests to false"
        yield Unreadable(raw.locator, "bad_digest", detail)
        return
    if url and _path_of(url) == "/robots.txt":
        yield dropped("robots_txt", "")
        return
    kind, content_type = raw.fields["warc-type"].lower(), raw.fields.get("content-type", "")
    http: dict[str, str] = {}
    reserved = None
    payload = raw.block
    if kind == "response":
        if not content_type.lower().startswith("application/http") and not payload.startswith(b"HTTP/"):
            yield dropped("media_type", content_type or "no Content-Type")
            return
        head = re.search(rb"\r?\n\r?\n", payload[: MAX_HEADER * 4])
        header = payload[: head.start()] if head else payload[:MAX_HEADER]
        http = header_fields(header)
        reserved = reservations(  # from all fields of a name, `http` has the first
            (name.decode(), value.decode("utf-8", "replace")) for name, value in RESERVING.findall(header)
        )
        status = re.match(r"HTTP/[\d.]+ +(\d{3})", http[""])
        if not status:
            yield Unreadable(
                raw.locator, "bad_http", f"starts with {http[''][:80]!r}; expected an HTTP status line"
            )
            return
        if not status[1].startswith("2"):
            yield dropped("http_status", status[1])
            return
        payload = payload[head.end() :] if head else b""
        content_type = http.get("content-type", "")
        try:
            payload = http_decoded(payload, http)
        except DAMAGE as error:
            yield Unreadable(raw.locator, "bad_http_encoding", f"{how_it_broke(error)[1]} {url}")
            return
    if not payload.strip():
        yield dropped("empty_payload", "")
        return
    declared = content_type.partition(";")[0].strip().lower()
    media_type = media.PLAIN if kind == "conversion" else _media_type(declared, payload, url)
    if media_type is None:
        yield dropped(
            "media_type", f"{declared or 'undeclared'}, by its bytes {media.sniff(payload) or 'text'}"
        )
        return
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    extra = {
        "charset": charset[1].lower() if charset else None,
        "warc_truncated": raw.fields.get("warc-truncated"),
    }
    language = http.get("content-language") or raw.fields.get("warc-identified-content-language")
    yield Record(
        raw.locator,
        payload,
        media_type,
        url=url,
        crawl_date=seconds_since_epoch(raw.fields.get("warc-date", "")),
        offset=raw.offset,
        length=raw.length,
        metadata={k: v for k, v in (("language_hint", language), ("reservations", reserved)) if v},
        extra={key: value for key, value in extra.items() if value} or None,
    )


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:  # such as an unclosed "[" of an IPv6 address
        return ""


def _media_type(declared: str, payload: bytes, url: str | None) -> str | None:
    """What the payload is, the bytes having the last word; None for what holds no text we read."""
    sniffed = media.sniff(payload)
    vague = declared in (
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "unknown/unknown",
        "content/unknown",
    )
    if sniffed == media.PDF:
        return media.PDF
    if sniffed not in (None, media.HTML, "text/xml"):
        return None
    if declared in ("text/html", "application/xhtml+xml"):
        return media.HTML
    if sniffed == media.HTML and (vague or declared in (media.PLAIN, "text/xml", "application/xml")):
        return media.HTML
    if sniffed is None and (vague or declared == media.PLAIN):
        named = media.by_name(_path_of(url or ""))
        return named if named in media.LANGUAGE_OF_MEDIA_TYPE or named == media.MARKDOWN else media.PLAIN
    if declared in media.LANGUAGE_OF_MEDIA_TYPE or declared in (media.MARKDOWN, "text/x-markdown"):
        return media.MARKDOWN if "markdown" in declared else declared
    return None


def http_decoded(payload: bytes, http: dict[str, str]) -> bytes:
    """The body without its transfer and content encodings. Raises one of `DAMAGE` where it is cut short.

    Many archives store the decoded body and keep the header: a body that does not start like its encoding is taken
    as it is.
    """
    encodings = [*re.split(r"[\s,]+", http.get("content-encoding", "").lower())]
    encodings += [*re.split(r"[\s,]+", http.get("transfer-encoding", "").lower())]
    for encoding in reversed(encodings):
        if encoding == "chunked" and re.match(rb"[0-9a-fA-F]{1,8}[ \t]*(;[^\r\n]*)?\r?\n", payload):
            payload = _all_of(ChunkedReader(io.BytesIO(payload)))
        elif encoding in ("gzip", "x-gzip", "deflate") and payload.startswith(GZIP):
            payload = _inflated(payload, 31)
        elif encoding == "deflate":
            zlib_header = (
                len(payload) > 1 and payload[0] & 15 == 8 and (payload[0] * 256 + payload[1]) % 31 == 0
            )
            looks_decoded = media.sniff(payload) in (None, media.HTML, media.PDF, "text/xml")
            payload = payload if looks_decoded else _inflated(payload, 15 if zlib_header else -15)
        elif encoding == "br" and media.sniff(payload) not in (None, media.HTML, media.PDF, "text/xml"):
            payload = _all_of(BrotliReader(io.BytesIO(payload)))
        elif encoding == "zstd" and payload.startswith(ZSTD):
            payload = _all_of(ZstdReader(io.BytesIO(payload)))
    return payload


def _inflated(payload: bytes, window: int) -> bytes:
    inflate = zlib.decompressobj(window)
    data = inflate.decompress(payload, MAX_BYTES)
    if not inflate.eof:
        raise EOFError if len(data) < MAX_BYTES else ValueError(f"unpacks to more than {MAX_BYTES} bytes")
    return data


def _all_of(reader: Any) -> bytes:
    parts, size = [], 0
    while data := reader.read(1 << 18):
        parts.append(data)
        size += len(data)
        if size > MAX_BYTES:
            raise ValueError(f"unpacks to more than {MAX_BYTES} bytes")
    return b"".join(parts)


def _digest_holds(raw: RawRecord) -> bool:
    """False only if the record names a digest we know and its block has another."""
    name, _, said = raw.fields.get("warc-block-digest", "").partition(":")
    name = name.lower().replace("-", "")
    if name not in ("sha1", "sha256", "sha512", "md5") or not said:
        return True
    digest = hashlib.new(name, raw.block, usedforsecurity=False)
    return said.strip("=").lower() in (
        digest.hexdigest(),
        base64.b32encode(digest.digest()).decode().strip("=").lower(),
    )


def seconds_since_epoch(date: str) -> int | None:
    """WARC-Date as seconds since the epoch."""
    try:
        when = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", date))
    except ValueError:
        return None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
