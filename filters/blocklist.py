"""Which documents come from hosts or addresses that the user's lists name.

A host is blocked with all its subdomains: `example.org` blocks `sub.example.org`, never `notexample.org`. An address with a
path blocks what lies below it on that host (with or without `www.`): `example.org/~x` blocks `example.org/~x/a.html`, not
`example.org/~xyz`. Entries are kept as sorted 64-bit hashes: 10 bytes each in memory, whatever their length (two
different ones fall together once in 10¹² look-ups in ten million).

Lists are files of one entry a line, `#` comments; also hosts files (`0.0.0.0 ads.example.org`), and folders as the
Blacklists of Université Toulouse have them: `adult/domains` and `adult/urls` are the list `adult`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from filters.words import Texts, texts_of
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from pipeline.stage import MapStage, Outcome, StageConfig

BLOCK = 1 << 24  # bytes of a list read at a time
OF_FOLDERS = ("domains", "urls")  # files of a folder that are lists
THIS_MACHINE = re.compile(  # what every hosts file begins with
    r"localhost|localhost\.localdomain|local|broadcasthost|ip6-\w+|0\.0\.0\.0|127\.0\.0\.1|::1|255\.255\.255\.255|fe80::\S+|ff0\S+"
)
# Applied to a column of lines, lower case and trimmed, one after the other.
CLEANED = (
    (r"(^|\s)#.*$", ""),
    (
        r"^(0\.0\.0\.0|127\.0\.0\.1|255\.255\.255\.255|::1?|fe80::1%lo0|ff0[0-9]::[0-9])\s+(\S)",
        r"\2",
    ),  # of a hosts file
    (r"^(\|\|)?([^\^|]*)\^?$", r"\2"),  # "||example.org^" of advertising filters
    (r"^(https?:)?//", ""),
    (r"^(\*\.|\.)", ""),
    (r"^([^/?]*?)\.?(:[0-9]+)?/*$", r"\1"),
)
HOST = r"^[a-z0-9_-]+(\.[a-z0-9_-]+)+$"
PREFIX = r"^(?:www\.)?(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)+)(?::[0-9]+)?(?P<path>[/?]\S*)$"
ADDRESS = r"^(?i:https?)://(?:[^/?#@]*@)?(?P<host>[^/?#:@]+)(?::[0-9]*)?(?P<path>[/?][^#]*)?"


class Blocks(NamedTuple):
    """Hashes of the entries, sorted, and beside each the index of its list."""

    hashes: np.ndarray  # uint64
    lists: np.ndarray  # uint16


class BlocklistConfig(StageConfig):
    lists: list[str] = Field(
        [],
        description="files of hosts and addresses, or folders with `domains` and `urls`; the first that blocks is named",
    )


class Blocklist(MapStage):
    """documents → `blocked_by`: the list (file name without suffix, or folder) that names the document's address, or null."""

    name = "blocklist"
    output = "blocklist"
    input = ("documents",)
    reads = ("id", "url")
    libraries = ("numpy",)
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("blocked_by", pa.string())])
    Config: ClassVar[type[StageConfig]] = BlocklistConfig

    def files(self) -> dict[str, str]:
        return {f"{i}: {name} {path.name}": sha256_of(str(path)) for i, name, path in self._files()}

    def check(self, schema: pa.Schema | None) -> None:
        for _ in self._files():
            pass

    def prepare(self) -> None:
        self.names = [Path(path).expanduser().stem for path in self.config.lists]
        self.blocks = load((i, path) for i, _, path in self._files())

    def process(self, batch: pa.Table) -> Outcome:
        found = blocked(batch["url"], self.blocks)
        names = pa.array(self.names, pa.string()).take(pa.array(found, mask=found < 0))
        return Outcome(pa.table({"id": batch["id"], "blocked_by": names}, schema=self.schema))

    def _files(self) -> Iterator[tuple[int, str, Path]]:
        """Index and name of each list, and its files."""
        for i, given in enumerate(self.config.lists):
            path = Path(given).expanduser()
            parts = (
                [path / part for part in OF_FOLDERS if (path / part).is_file()] if path.is_dir() else [path]
            )
            if not path.exists() or not parts:
                there = "a folder without `domains` or `urls`" if path.is_dir() else "not there"
                raise RequestError(
                    f"blocklist {given}: {there}. Give `lists` the paths of files or of such folders."
                )
            for part in parts:
                yield i, path.stem, part


def load(files: Iterator[tuple[int, Path]]) -> Blocks:
    """The entries of numbered files. Raises `RequestError` with file and line for what is no host and no address."""
    hashes, lists = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint16)]
    for i, path in files:
        for entries in _entries(path):
            hashes.append(entries)
            lists.append(np.full(len(entries), i, np.uint16))
    every, of = np.concatenate(hashes), np.concatenate(lists)
    order = np.argsort(every, kind="stable")  # the first list of those that have an entry stays first
    every, of = every[order], of[order]
    first = np.r_[True, every[1:] != every[:-1]] if len(every) else np.zeros(0, np.bool_)
    return Blocks(every[first], of[first])


def _entries(path: Path) -> Iterator[np.ndarray]:
    """Hashes of a file's entries, block by block of lines."""
    number, rest = 0, b""
    with path.open("rb") as file:
        while data := file.read(BLOCK):
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            if cut:
                yield _hashed(data[:cut], path, number)
                number += data.count(b"\n", 0, cut)
    if rest:
        yield _hashed(rest, path, number)


def _hashed(data: bytes, path: Path, before: int) -> np.ndarray:
    lines = data.split(b"\n")
    if data.endswith(b"\n"):
        lines.pop()
    try:
        text = pa.array(lines, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        n = next(n for n, line in enumerate(lines) if "�" in line.decode(errors="replace"))
        raise RequestError(f"{path}, line {before + n + 1}: not UTF-8. Save the list as UTF-8.") from None
    text = pc.utf8_trim_whitespace(pc.utf8_lower(text))
    plain = pc.match_substring_regex(text, HOST)  # most lines of most lists need no more
    places = pc.indices_nonzero(pc.and_not(pc.not_equal(text, ""), plain))
    places = places.filter(pc.invert(pc.starts_with(text.take(places), "#")))
    hosts, text = text.filter(plain), text.take(places)
    for pattern, replacement in CLEANED:
        text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, pattern, replacement))
    text = _in_ascii(text)
    parts = pc.extract_regex(text, PREFIX)
    is_host, is_prefix = pc.match_substring_regex(text, HOST), pc.is_valid(parts)
    for i in pc.indices_nonzero(pc.invert(pc.or_(is_host, is_prefix))).to_pylist():
        entry, n = text[i].as_py(), places[i].as_py()
        if entry and not THIS_MACHINE.fullmatch(entry):
            raise RequestError(
                f"{path}, line {before + n + 1}: {lines[n].decode()[:80]!r} is neither a host of two labels or more nor an "
                "address. Write one host (example.org) or address (example.org/path) a line, comments after #."
            )
    hosts = pa.concat_arrays([hosts, text.filter(is_host)])
    prefixes = parts.filter(is_prefix)
    whole = pc.binary_join_element_wise(_field(prefixes, "host"), _field(prefixes, "path"), "")
    whole = pc.replace_substring_regex(whole, "/$", "")
    return np.concatenate([_hashes(texts_of(hosts), True), _hashes(texts_of(whole), False)])


def blocked(urls: pa.ChunkedArray | pa.Array, blocks: Blocks) -> np.ndarray:
    """For each URL the index of the first list that blocks it, −1 for none or no http(s) URL (int32)."""
    if isinstance(urls, pa.ChunkedArray):
        urls = urls.combine_chunks()
    parts = pc.extract_regex(pc.utf8_trim_whitespace(urls), ADDRESS)
    host = _in_ascii(pc.utf8_rtrim(pc.utf8_lower(_field(parts, "host")), "."))
    path = pc.utf8_lower(_field(parts, "path"))
    found = np.full(len(urls), -1, np.int32)
    bare = pc.fill_null(pc.replace_substring_regex(host, r"^www\.", ""), "")
    whole = pc.binary_join_element_wise(bare, pc.fill_null(path, ""), "")
    _look_up(*texts_of(host), True, *blocks, found)
    _look_up(*texts_of(whole), False, *blocks, found)
    return found


def _field(struct: pa.StructArray, name: str) -> pa.Array:
    return pc.struct_field(struct, name)  # unlike .field, with the nulls of the struct


def _in_ascii(names: pa.Array) -> pa.Array:
    """Hosts and addresses with international names in their DNS form ("müller.de" → "xn--mller-kva.de")."""
    foreign = pc.invert(pc.fill_null(pc.string_is_ascii(names), True))
    if not pc.any(foreign).as_py():
        return names

    def one(name: str) -> str:
        host, slash, path = name.partition("/")
        try:
            return host.encode("idna").decode() + slash + path
        except UnicodeError:
            return name

    return pc.replace_with_mask(
        names, foreign, pa.array([one(n) for n in names.filter(foreign).to_pylist()], names.type)
    )


# --- kernels ------------------------------------------------------------------------------------------------
# FNV-1a with a finaliser. Hosts are hashed from their end, so that one pass gives all suffixes; addresses from their
# beginning, so that one gives all prefixes. The two begin differently and never meet.


def _hashes(texts: Texts, backwards: bool) -> np.ndarray:
    hashes = np.empty(len(texts.offsets) - 1, np.uint64)
    _hash_all(texts.data, texts.offsets, backwards, hashes)
    return hashes


FORWARDS, BACKWARDS = np.uint64(0xCBF29CE484222325), np.uint64(0x9AE16A3B2F90404F)
DOT, SLASH, QUESTION, AND = 46, 47, 63, 38


@numba.njit(cache=True)
def _finish(hash_):
    hash_ = (hash_ ^ (hash_ >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_ = (hash_ ^ (hash_ >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_ ^ (hash_ >> np.uint64(31))


@numba.njit(cache=True)
def _hash_all(data, offsets, backwards, hashes):
    for d in range(len(offsets) - 1):
        a, b = offsets[d], offsets[d + 1]
        hash_ = BACKWARDS if backwards else FORWARDS
        for k in range(b - a):
            byte = data[b - 1 - k] if backwards else data[a + k]
            hash_ = (hash_ ^ np.uint64(byte)) * np.uint64(0x100000001B3)
        hashes[d] = _finish(hash_)


@numba.njit(cache=True)
def _look_up(data, offsets, backwards, entries, lists, found):
    """The lowest list index of any suffix that starts a label, or prefix that ends a segment, goes to `found`."""
    for d in range(len(offsets) - 1):
        a, b = offsets[d], offsets[d + 1]
        hash_ = BACKWARDS if backwards else FORWARDS
        for k in range(b - a):
            byte = data[b - 1 - k] if backwards else data[a + k]
            hash_ = (hash_ ^ np.uint64(byte)) * np.uint64(0x100000001B3)
            if k + 1 < b - a:
                after = data[b - 2 - k] if backwards else data[a + k + 1]
                if backwards and after != DOT:
                    continue
                if not backwards and after != SLASH and after != QUESTION and after != AND:
                    continue
            wanted = _finish(hash_)
            place = np.searchsorted(entries, wanted)
            if (
                place < len(entries)
                and entries[place] == wanted
                and (found[d] < 0 or lists[place] < found[d])
            ):
                found[d] = lists[place]
