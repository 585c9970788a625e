"""Captures of robots.txt and tdmrep.json: from the files a user has to what the newest of them say of a page.

Files are WARC (Common Crawl publishes the robots.txt of each crawl so), tables (JSON lines or Parquet) with columns `url`
of the file, or `host` and `kind` (robots.txt, tdmrep.json), and `body`, with a date in `crawl_date` or none; or folders
of these, also as a mirror has them: HOST/robots.txt, HOST/.well-known/tdmrep.json.

They are read once for each set of files and kept, reduced and sorted, in the model cache, from where all processes of a
machine map the same memory: 12 bytes for a file and, once, each of the texts that differ.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin

import numpy as np
import pyarrow as pa

from filters.site_rules import Said, Site, reduced_robots, reduced_tdm
from pipeline.documents import Unreadable
from pipeline.errors import ReadError, RequestError
from pipeline.models import cache_folder, sha256_of
from pipeline.read import guess_format, tables, warc
from pipeline.read.warc_records import MAX_HEADER, RawRecord, Stream, header_fields, records
from pipeline.sources import File
from pipeline.stage import source_digest

ADDRESS = re.compile(r"(?i)\s*(https?)://(?:[^/?#@]*@)?(\[[0-9a-f:.]+\]|[^/?#:@\s]+)(?::(\d*))?([/?][^#]*)?")
ROBOTS, TDM = "/robots.txt", "/.well-known/tdmrep.json"
KINDS = {"robots.txt": ROBOTS, "robots": ROBOTS, "tdmrep.json": TDM, "tdmrep": TDM}
MOST_BYTES = 16 << 20  # of a capture; a larger one is neither file
SITES = 4096  # whose rules are held ready, some 10 kB each
HOPS = 5  # redirects that RFC 9309 asks to follow


class Capture(NamedTuple):
    """One robots.txt or tdmrep.json as somebody fetched it."""

    url: str
    body: bytes | None  # None: there was none (404 …)
    date: int = 0  # seconds since the epoch; 0: not known, older than all others
    moved_to: str = ""  # the address that a redirect gives


class SiteCaptures:
    """What the sites of a set of files say of the use of their pages."""

    def __init__(self, stored: pa.Table) -> None:
        self.keys = stored["key"].chunk(0).to_numpy() if len(stored) else np.zeros(0, np.uint64)
        self.texts = stored["text"].chunk(0) if len(stored) else None
        self.site = functools.lru_cache(SITES)(self._site)

    @classmethod
    def open(cls, paths: Sequence[str], robots: Sequence[str]) -> SiteCaptures:
        """Reads what is cached, or makes it. Raises `RequestError` with file and row for what cannot be read."""
        parts = [source_digest(__name__), *robots, *(sha256_of(path) for path in paths)]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        cached = cache_folder() / "site-rules" / f"{key[:32]}.arrow"
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            with cached.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # of the workers of a machine one reads the files
                if not cached.exists():
                    table = newest(
                        (one for path in paths for one in captures(Path(path).expanduser())), robots
                    )
                    fresh = cached.with_suffix(f".{os.getpid()}")
                    with pa.ipc.new_file(fresh, table.schema) as file:
                        file.write_table(table)
                    fresh.replace(cached)
        except OSError as error:
            raise RequestError(
                f"{cached.parent}: the cache of site rules cannot be written ({error.strerror}); set REASONMILL_CACHE "
                "to a folder of yours."
            ) from error
        return cls(pa.ipc.open_file(pa.memory_map(str(cached))).read_all())

    def say(self, url: str | None) -> Said:
        """Of a page. Rules are those of its scheme, host and port (RFC 9309, 2.3)."""
        parts = ADDRESS.match(url or "")
        if not parts:
            return Said()
        path = parts[4] or "/"
        return self.site(_origin(parts)).says(path if path[0] == "/" else f"/{path}")

    def _site(self, origin: str) -> Site:
        return Site(self._text(origin + ROBOTS), self._text(origin + TDM))

    def _text(self, address: str) -> str | None:
        for _ in range(HOPS + 1):
            key = _key(address)
            place = int(np.searchsorted(self.keys, key))
            if self.texts is None or place == len(self.keys) or self.keys[place] != key:
                return None
            text = str(self.texts[place].as_py())
            if not text.startswith("http"):
                return text
            address = text
        return None


def newest(found: Iterator[Capture], robots: Sequence[str]) -> pa.Table:
    """The newest capture of each address that can be read, as `key` (a hash, ascending) and `text` (dictionary).

    A text is a reduced file, or the address to look at instead. Of captures of the same date the last counts.
    """
    keys, dates, places = array("Q"), array("q"), array("i")
    texts: dict[str, int] = {}
    for capture in found:
        address = _address(capture.url)
        if address is None:
            continue
        if capture.moved_to:
            text = _address(urljoin(capture.url, capture.moved_to))
        elif address.endswith(ROBOTS):
            text = reduced_robots(capture.body or b"", robots)
        else:
            text = reduced_tdm(b"[]" if capture.body is None else capture.body)
        if text and text != address:
            keys.append(int(_key(address)))
            dates.append(capture.date)
            places.append(texts.setdefault(text, len(texts)))
    key, date, place = np.array(keys, np.uint64), np.array(dates, np.int64), np.array(places, np.int32)
    order = np.lexsort((np.arange(len(key)), date, key))
    key, place = key[order], place[order]
    last = np.r_[key[1:] != key[:-1], True][: len(key)]
    column = pa.DictionaryArray.from_arrays(place[last], pa.array(list(texts), pa.large_string()))
    return pa.table({"key": key[last], "text": column})


def captures(path: Path) -> Iterator[Capture]:
    """Those in a file or folder, in the order of names. Raises `RequestError` with file and row."""
    if not path.exists():
        raise RequestError(
            f"{path}: not there. Give `site_rules` the paths of WARC files, tables or folders of them."
        )
    for file in sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]:
        if file.name in ("robots.txt", "tdmrep.json") and file != path:
            host = file.parent.parent.name if file.parent.name == ".well-known" else file.parent.name
            yield from (Capture(url + KINDS[file.name], file.read_bytes()) for url in _both_schemes(host))
            continue
        opened = File(str(file.parent), file.name, file.stat().st_size)
        try:
            if not opened.size:
                raise ReadError("empty", "the file has no bytes")
            with opened.open() as handle:
                format = guess_format(file.name, handle.read(4096))
            if format not in ("warc", "tables"):
                raise ReadError("unknown_format", "neither a WARC nor a table of JSON lines or Parquet")
            yield from (_of_warc if format == "warc" else _of_table)(opened, file)
        except ReadError as error:
            raise RequestError(
                f"{file}: {error.detail.partition(';')[0] or error.reason}. `site_rules` takes WARC files with captures of robots.txt and "
                "tdmrep.json, JSON lines or Parquet with the columns url (or host and kind) and body, and folders of these."
            ) from error


def _of_warc(opened: File, path: Path) -> Iterator[Capture]:
    with opened.open() as handle:
        for found in records(Stream(handle, 0, handle.read(4), opened.size), MOST_BYTES):
            if isinstance(found, Unreadable):
                if found.dropped:  # a revisit: the same as an earlier capture
                    continue
                raise RequestError(f"{path}, {found.locator}: {found.detail}.")
            if len(found.block) == found.size and (capture := _of_record(found)):
                yield capture


def _of_record(record: RawRecord) -> Capture | None:
    """None where it is neither file, its body is damaged, or the server failed and so said nothing."""
    url = record.fields.get("warc-target-uri", "").strip("<>")
    if _address(url) is None or record.fields["warc-type"].lower() == "conversion":
        return None
    date = warc.seconds_since_epoch(record.fields.get("warc-date", "")) or 0
    if record.fields["warc-type"].lower() == "resource":
        return Capture(url, record.block, date)
    head = re.search(rb"\r?\n\r?\n", record.block[: MAX_HEADER * 4])
    http = header_fields(record.block[: head.start()] if head else record.block[:MAX_HEADER])
    status = re.match(r"HTTP/[\d.]+ +(\d)", http[""])
    match status and status[1]:
        case "2":
            try:
                return Capture(
                    url, warc.http_decoded(record.block[head.end() :] if head else b"", http), date
                )
            except warc.DAMAGE:
                return None
        case "3" if http.get("location"):
            return Capture(url, None, date, http["location"])
        case "4":  # "unavailable": everything may be fetched
            return Capture(url, None, date)
    return None


def _of_table(opened: File, path: Path) -> Iterator[Capture]:
    for row in tables.read(opened, text_column="body", max_bytes=MOST_BYTES):
        if isinstance(row, Unreadable):
            if row.dropped:  # nothing in it
                continue
            raise RequestError(f"{path}, {row.locator}: {row.detail or row.reason}.")
        extra: dict[str, Any] = row.extra or {}
        if row.url:
            urls = [row.url]
        elif extra.get("host") and extra.get("kind") in KINDS:
            urls = [url + KINDS[extra["kind"]] for url in _both_schemes(str(extra["host"]))]
        else:
            urls = []
        if not urls or not all(map(_address, urls)):
            given = {"url": row.url} if row.url else {name: extra.get(name) for name in ("host", "kind")}
            raise RequestError(
                f"{path}, {row.locator}: {json.dumps(given)[:200]}. Expected `url`, the address of a robots.txt or of a "
                f".well-known/tdmrep.json, or `host` with `kind`, one of {', '.join(KINDS)}."
            )
        yield from (Capture(url, row.payload, row.crawl_date or 0) for url in urls)


def _both_schemes(host: str) -> list[str]:
    return [f"https://{host}", f"http://{host}"]


def _address(url: str) -> str | None:
    """The address of a robots.txt or tdmrep.json in its one spelling; None for any other."""
    parts = ADDRESS.match(url)
    return _origin(parts) + parts[4] if parts and parts[4] in (ROBOTS, TDM) else None


def _origin(address: re.Match[str]) -> str:
    """Scheme, host and port, in lower case, the host in its DNS form, without a port that goes without saying."""
    scheme, host, port = address[1].lower(), address[2].lower().rstrip("."), address[3]
    if not host.isascii():
        with contextlib.suppress(UnicodeError):  # no host there is
            host = host.encode("idna").decode()
    return f"{scheme}://{host}" + (
        f":{port}" if port and port != {"http": "80", "https": "443"}[scheme] else ""
    )


def _key(address: str) -> np.uint64:
    return np.frombuffer(
        hashlib.blake2b(address.encode("utf-8", "surrogatepass"), digest_size=8).digest(), np.uint64
    )[0]
