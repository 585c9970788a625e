"""One page, one URL: the canonical form of a URL, and the stage that keeps one record of each.

Runs on records, before extraction is paid for. The rules follow RFC 3986 §6 (case, percent-encoding, dot segments)
and go beyond it where the web shows the same page under several addresses: tracking and session parameters,
mobile/AMP/print twins, `www.`, index pages. A rule that can merge different pages does not belong here.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import idna
import pyarrow as pa
from pydantic import Field

from pipeline.documents import RECORD_SCHEMA
from pipeline.stage import Outcome, Reason, Round, ShuffleStage, StageConfig, Unit

# Parameters that say where a visitor came from. `ref` and `from` are not here: on many sites they choose the content.
TRACKING = re.compile(
    r"utm_.*|mtm_.*|pk_(campaign|kwd|keyword|source|medium|content|cid)|piwik_.*|hsa_.*|oly_(anon|enc)_id"
    r"|gclid|gclsrc|dclid|gbraid|wbraid|gad_source|gad_campaignid|srsltid|fbclid|fb_(action_ids|action_types|source|ref)"
    r"|msclkid|yclid|ysclid|twclid|ttclid|li_fat_id|igsh|igshid|mc_[ce]id|mkt_tok|_ga|_gl|_hsenc|_hsmi|hsctatracking"
    r"|__hs(tc|sc|fp)|vero_(id|conv)|wickedid|rb_clickid|s_kwcid|ef_id|_openstat|wt[._]mc(_id)?|cmpid|ncid|ref_(src|url)"
    r"|spm|scm_id|share_token|trk(campaign|info)?",
    re.IGNORECASE,
)
SESSION = re.compile(r"phpsessid|jsessionid|aspsessionid\w*|oscsid|zenid|cftoken|cfid", re.IGNORECASE)
SESSION_IF_HEX = re.compile(
    r"s|sid|session|sessionid|session_id|sess", re.IGNORECASE
)  # only with a long hex value
LONG_HEX = re.compile(r"[0-9a-f]{32,64}", re.IGNORECASE)
TWIN = re.compile(r"amp|print|printable|print_view|printer_friendly|mobile|mobile_view", re.IGNORECASE)
TWIN_VALUE = re.compile(r"|1|y|yes|true|on", re.IGNORECASE)

PATH_RULES = (  # (pattern, replacement), in this order
    (re.compile(r";jsessionid=[^/?;]*", re.IGNORECASE), ""),
    (re.compile(r"/\(S\([0-9a-z]{24}\)\)(?=/)", re.IGNORECASE), ""),  # ASP.NET session without cookies
    (re.compile(r"/{2,}"), "/"),
    (re.compile(r"/(index|default)\.(html?|xhtml|php\d?|aspx?|jspx?|cfm|shtml)$", re.IGNORECASE), "/"),
    (re.compile(r"\.amp(\.html?)$", re.IGNORECASE), r"\1"),
    (re.compile(r"(?<=[^/])/amp/?$"), ""),
    (re.compile(r"/$"), ""),
)
HOST_TWINS = {"www", "m", "mobile", "amp", "wap"}
# Second-level labels under which names are registered in country domains: `m.co.uk` is a site, not a twin of `co.uk`.
SECOND_LEVEL = {"co", "com", "net", "org", "gov", "ac", "edu", "or", "ne", "go"}
DEFAULT_PORTS = {None, 80, 443}
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})|(%)|([^\x21-\x7e]|[\"<>\\^`{|}])")


def canonical_url(url: str) -> str | None:
    """The address under which all addresses of the same page meet; None when it is no usable http(s) URL.

    A key to compare, not a link to follow: the scheme is always `https`, `www.` is gone.

    >>> canonical_url("HTTP://www.Example.com:80/a/../b/index.html?utm_source=x&z=1&a=%7e#top")
    'https://example.com/b?a=~&z=1'
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    host = _host(parts.hostname)
    if host is None:
        return None
    if port not in DEFAULT_PORTS:
        host = f"{host}:{port}"
    path = _without_dot_segments(_escape(parts.path))
    for pattern, replacement in PATH_RULES:
        path = pattern.sub(replacement, path)
    query = _query(parts.query, host)
    fragment = f"#{_escape(parts.fragment)}" if parts.fragment.startswith("!") else ""
    return f"https://{host}{path}{'?' if query else ''}{query}{fragment}"


def _host(host: str) -> str | None:
    host = host.rstrip(".")
    if ":" in host:  # IPv6: urlsplit has taken the brackets off and checked it
        return f"[{host}]"
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError:
            return None
    host = host.lower()
    if not re.fullmatch(r"[a-z0-9_.-]+", host) or ".." in host:
        return None
    labels = host.split(".")
    while len(labels) > 2 and labels[0] in HOST_TWINS and not _is_public_suffix(labels[1:]):
        labels = labels[1:]
    if (
        len(labels) > 3 and labels[1] in ("m", "mobile") and not _is_public_suffix(labels[2:])
    ):  # en.m.wikipedia.org
        del labels[1]
    return ".".join(labels)


def _is_public_suffix(labels: list[str]) -> bool:
    return len(labels) == 2 and labels[0] in SECOND_LEVEL and len(labels[1]) == 2


def _escape(text: str) -> str:
    """Percent-encoding in one way: unreserved characters bare, the rest as upper-case escapes of their bytes.

    Escaped bytes are never decoded as text, so that GBK and Latin-1 URLs stay what they are.
    """

    def one(match: re.Match[str]) -> str:
        digits, percent, char = match.groups()
        if digits:
            return plain if (plain := chr(int(digits, 16))) in UNRESERVED else f"%{digits.upper()}"
        if percent:
            return "%25"
        return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))

    return ESCAPE.sub(one, text)


def _without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


def _query(query: str, host: str) -> str:
    if not query:
        return ""
    pairs = []
    for part in query.split("&"):
        name, _, value = (_escape(part.replace("+", "%20"))).partition("=")
        if not (name or value) or TRACKING.fullmatch(name) or SESSION.fullmatch(name):
            continue
        if SESSION_IF_HEX.fullmatch(name) and LONG_HEX.fullmatch(value):
            continue
        if TWIN.fullmatch(name) and TWIN_VALUE.fullmatch(value):
            continue
        if (name, value) == ("m", "1") and ".blogspot." in host:
            continue
        if (name.lower(), value.lower()) == ("outputtype", "amp"):
            continue
        pairs.append((name, value))
    pairs.sort(key=lambda pair: pair[0])  # stable: repeated names keep their order, which can carry meaning
    return "&".join(f"{name}={value}" if value else name for name, value in pairs)


class UrlsConfig(StageConfig):
    keep: Literal["earliest", "latest"] = Field(
        "earliest", description="Which record of a URL to keep, by crawl date; then the smallest id."
    )
    records_per_partition: Annotated[int, Field(ge=1)] = Field(
        100_000, description="How many records' URLs a worker holds at a time, about 1 kB each."
    )


class Urls(ShuffleStage):
    """Keeps one record of each canonical URL. Records without a usable URL pass.

    Which one is kept depends on crawl dates and ids only, never on order. Equal bytes under different URLs are left
    alone: that is a matter of text, not of addresses.
    """

    name = "urls"
    output = "urls"
    input = ("read",)
    schema = RECORD_SCHEMA
    aligned = False
    libraries = ("idna",)
    Config = UrlsConfig

    @property
    def rounds(self) -> tuple[Round, ...]:  # type: ignore[override]
        parts = -(-max(1, self.rows) // self.config.records_per_partition)
        return (
            Round("keys", over="shards", to=parts, reads=("id", "url", "origin")),
            Round("choose", over="partitions", to="shards"),
            Round("align", over="shards", to=None),
        )

    def keys(self, unit: Unit) -> pa.Table:
        """The canonical URL of every record that has one, sent to the partition of its hash."""
        assert unit.table is not None
        urls = unit.table["url"].to_pylist()
        canonical = [canonical_url(url) if url else None for url in urls]
        rows = pa.array([i for i, key in enumerate(canonical) if key is not None], pa.int64())
        keys = [key for key in canonical if key is not None]
        table = unit.table.take(rows)
        origin = table["origin"].combine_chunks()
        return pa.table(
            {
                "partition": pa.array([_partition(key, unit.to) for key in keys], pa.int32()),
                "key": pa.array(keys, pa.string()),
                "id": table["id"],
                "shard": pa.array([unit.index] * len(keys), pa.int32()),
                "crawl_date": _field(origin, "crawl_date"),
                "payload_sha256": _field(origin, "payload_sha256"),
            }
        )

    def choose(self, unit: Unit) -> pa.Table:
        """Per key, everyone but the record kept is sent home with the name of that record."""
        assert unit.routed is not None
        columns: list[list] = [
            unit.routed[name].to_pylist() for name in ("key", "id", "shard", "payload_sha256")
        ]
        seconds = unit.routed["crawl_date"].cast(pa.int64()).to_pylist()  # in the column's own unit, seconds
        sign = 1 if self.config.keep == "earliest" else -1
        # No date ranks last: a dated copy says more.
        order = sorted(
            range(len(seconds)),
            key=lambda i: (columns[0][i], seconds[i] is None, sign * (seconds[i] or 0), columns[1][i]),
        )
        out: list[dict[str, object]] = []
        kept = -1
        for i in order:
            key, row_id, shard, digest = (column[i] for column in columns)
            if kept < 0 or columns[0][kept] != key:
                kept = i
            elif row_id != columns[1][kept]:
                same = digest == columns[3][kept]
                out.append(
                    {"partition": shard, "id": row_id, "dup_of": columns[1][kept], "key": key, "same": same}
                )
        return pa.Table.from_pylist(out, schema=CHOSEN)

    def align(self, unit: Unit) -> Outcome:
        """The shard without the records that were sent home as duplicates."""
        assert unit.table is not None
        duplicates = {row["id"]: row for row in unit.routed.to_pylist()} if unit.routed is not None else {}
        ids = unit.table["id"].to_pylist()
        kept = unit.table.filter(pa.array([row_id not in duplicates for row_id in ids], pa.bool_()))
        dropped = [
            Reason(
                row_id,
                "duplicate_url",
                f"kept {(row := duplicates[row_id])['dup_of']}, canonical {row['key']}, "
                f"{'same' if row['same'] else 'other'} bytes",
            )
            for row_id in ids
            if row_id in duplicates
        ]
        return Outcome(kept, dropped)


CHOSEN = pa.schema(
    [
        pa.field("partition", pa.int32()),
        pa.field("id", pa.string()),
        pa.field("dup_of", pa.string()),
        pa.field("key", pa.string()),
        pa.field("same", pa.bool_()),  # the same payload bytes as the record kept
    ]
)


def _field(struct: pa.StructArray | pa.ChunkedArray, name: str) -> pa.Array:
    array = struct.combine_chunks() if isinstance(struct, pa.ChunkedArray) else struct
    return array.field(name)


def _partition(key: str, count: int) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % count
