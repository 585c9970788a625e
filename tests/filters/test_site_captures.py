"""Captures of robots.txt and tdmrep.json in the forms they come in: WARC, tables, mirrors; and which of several counts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.rights import TRAINING_ROBOTS, Rights, RightsConfig
from filters.site_captures import Capture, SiteCaptures, newest
from filters.site_rules import Said
from pipeline.errors import RequestError
from tests.patience import in_time

CLOSED = b"User-agent: GPTBot\nDisallow: /private/\n"
OPEN = b"User-agent: *\nDisallow:\n"
RESERVED = b'[{"location": "/", "tdm-reservation": 1}]'
CLOSED_SAID = Said(False, True, because="robots.txt: gptbot disallowed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REASONMILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "site-rules"


def opened(*paths: Path) -> SiteCaptures:
    return SiteCaptures.open([str(path) for path in paths], TRAINING_ROBOTS)


def response(
    url: str, body: bytes, date: str = "2026-01-01T00:00:00Z", status: str = "200 OK", *headers: str
) -> bytes:
    http = (
        "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: text/plain", *headers]).encode()
        + b"\r\n\r\n"
        + body
    )
    return record("response", url, date, http, "application/http; msgtype=response")


def record(kind: str, url: str, date: str, block: bytes, content_type: str) -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def warc(path: Path, *written: bytes) -> Path:
    path.write_bytes(b"".join(gzip.compress(one) if path.suffix == ".gz" else one for one in written))
    return path


def jsonl(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_warc(tmp_path: Path, name: str) -> None:
    packed = gzip.compress(CLOSED)
    sites = opened(
        warc(
            tmp_path / name,
            record("warcinfo", "", "2026-01-01T00:00:00Z", b"software: x", "application/warc-fields"),
            record(
                "request",
                "https://a.org/robots.txt",
                "2026-01-01T00:00:00Z",
                b"GET / HTTP/1.1\r\n\r\n",
                "application/http",
            ),
            response("https://a.org/robots.txt", CLOSED),
            response("https://a.org/.well-known/tdmrep.json", RESERVED),
            response("https://a.org/page", OPEN),
            response(
                "https://b.org/robots.txt", packed, "2026-01-01T00:00:00Z", "200 OK", "Content-Encoding: gzip"
            ),
            response(
                "https://c.org/robots.txt",
                packed[:20],
                "2026-01-01T00:00:00Z",
                "200 OK",
                "Content-Encoding: gzip",
            ),
            response(
                "https://d.org/robots.txt",
                b"7\r\nUser-ag\r\n7\r\nent: *\n\r\nc\r\nDisallow: /\n\r\n0\r\n\r\n",
                "2026-01-01T00:00:00Z",
                "200 OK",
                "Transfer-Encoding: chunked",
            ),
            response("https://e.org/robots.txt", b"busy", "2026-01-01T00:00:00Z", "503 Busy"),
            record(
                "revisit",
                "https://a.org/robots.txt",
                "2026-03-01T00:00:00Z",
                b"HTTP/1.1 200 OK\r\n\r\n",
                "application/http",
            ),
            record("resource", "https://f.org/robots.txt", "2026-01-01T00:00:00Z", CLOSED, "text/plain"),
            response("https://g.org/robots.txt", b"x" * (17 << 20)),
        )
    )
    assert sites.say("https://a.org/private/x") == CLOSED_SAID._replace(mining=True)
    assert sites.say("https://a.org/x") == Said(False, False, mining=True, because="tdmrep.json: /")
    assert sites.say("https://b.org/private/x") == sites.say("https://f.org/private/x") == CLOSED_SAID
    assert sites.say("https://d.org/x") == Said(True, False)
    for url in (
        "https://c.org/",
        "https://e.org/",
        "https://g.org/",
        "https://x.org/",
        "http://a.org/",
        "not a url",
        None,
    ):
        assert sites.say(url) == Said(), url


def test_the_newest_counts(tmp_path: Path) -> None:
    old, new = "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
    first = warc(
        tmp_path / "1.warc",
        response("https://a.org/robots.txt", OPEN, new),
        response("https://b.org/robots.txt", CLOSED, old),
        response("https://c.org/robots.txt", CLOSED, old),
        response("https://d.org/robots.txt", CLOSED, old),
        response("https://e.org/.well-known/tdmrep.json", RESERVED, old),
    )
    second = warc(
        tmp_path / "2.warc",
        response("https://a.org/robots.txt", CLOSED, old),
        response("https://b.org/robots.txt", OPEN, new),
        response("https://c.org/robots.txt", b"gone", new, "404 Not Found"),
        response("https://d.org/robots.txt", b"<html>Please log in</html>", new),
        response("https://e.org/.well-known/tdmrep.json", b"", new, "410 Gone"),
    )
    for sites in (opened(first, second), opened(second, first)):
        for name in "abc":  # that c has none any more is known: all is allowed
            assert sites.say(f"https://{name}.org/private/") == Said(False, False)
        assert sites.say("https://d.org/private/").training  # a page of HTML says nothing new
        assert sites.say("https://e.org/").mining is False
    table = jsonl(tmp_path / "t.jsonl", {"url": "https://a.org/robots.txt", "body": CLOSED.decode()})
    assert not opened(first, table).say("https://a.org/private/").training  # without a date: older than all
    dated = jsonl(
        tmp_path / "u.jsonl",
        {"url": "https://a.org/robots.txt", "body": CLOSED.decode(), "crawl_date": "2026-02-01"},
    )
    assert opened(first, dated).say("https://a.org/private/").training


def test_redirects(tmp_path: Path) -> None:
    def moved(url: str, to: str) -> bytes:
        return response(url, b"", "2026-01-01T00:00:00Z", "301 Moved", f"Location: {to}")

    sites = opened(
        warc(
            tmp_path / "a.warc",
            moved("http://a.org/robots.txt", "https://a.org/robots.txt"),
            moved("https://a.org/robots.txt", "//www.a.org/robots.txt"),
            response("https://www.a.org/robots.txt", CLOSED),
            moved("https://b.org/robots.txt", "https://b.org/login"),
            moved("https://c.org/robots.txt", "https://d.org/robots.txt"),
            moved("https://d.org/robots.txt", "https://c.org/robots.txt"),
            moved("https://e.org/robots.txt", "/robots.txt"),
        )
    )
    for url in ("http://a.org", "https://a.org", "https://www.a.org"):
        assert sites.say(f"{url}/private/") == CLOSED_SAID
    for url in ("https://b.org/", "https://c.org/", "https://e.org/"):
        assert sites.say(url) == Said()


def test_tables_folders_and_mirrors(tmp_path: Path) -> None:
    rows = [
        {"url": "https://a.org/robots.txt", "body": CLOSED.decode()},
        {"host": "B.org", "kind": "robots.txt", "body": CLOSED.decode()},
        {"host": "b.org:8080", "kind": "robots", "body": OPEN.decode()},
        {"host": "b.org", "kind": "tdmrep", "body": RESERVED.decode()},
    ]
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    jsonl(folder / "rows.jsonl", *rows[:2])
    pq.write_table(pa.Table.from_pylist(rows[2:]), folder / "deep" / "rows.parquet")
    for host in ("c.org", "d.org:81"):
        (folder / host / ".well-known").mkdir(parents=True)
        (folder / host / "robots.txt").write_bytes(CLOSED)
        (folder / host / ".well-known" / "tdmrep.json").write_bytes(RESERVED)
    sites = opened(folder)
    assert sites.say("https://a.org/private/") == CLOSED_SAID
    for scheme in ("http", "https"):
        assert sites.say(f"{scheme}://b.org/private/") == CLOSED_SAID._replace(mining=True)
        assert sites.say(f"{scheme}://b.org:8080/private/") == Said(False, False)
        assert sites.say(f"{scheme}://c.org/private/") == CLOSED_SAID._replace(mining=True)
        assert sites.say(f"{scheme}://d.org:81/") == Said(False, False, mining=True, because="tdmrep.json: /")


def test_addresses(tmp_path: Path) -> None:
    rows = [
        {"url": "HTTPS://Example.ORG:443/robots.txt", "body": CLOSED.decode()},
        {"url": "http://müller.de/robots.txt", "body": CLOSED.decode()},
        {"url": "http://[2001:DB8::1]/robots.txt", "body": CLOSED.decode()},
    ]
    sites = opened(jsonl(tmp_path / "a.jsonl", *rows))
    for url in (
        "https://example.org/private/?x#y",
        "https://user:pw@EXAMPLE.org./private/",
        " https://example.org:443/%70rivate/",
        "http://xn--mller-kva.de:80/private/",
        "http://MÜLLER.de/private/",
        "http://[2001:db8::1]/private/",
    ):
        assert sites.say(url).training, url
    for url in (
        "https://example.org:8443/private/",
        "https://www.example.org/private/",
        "ftp://example.org/private/",
    ):
        assert sites.say(url) == Said(), url
    assert (
        sites.say("https://example.org") == sites.say("https://example.org?a=/private/") == Said(False, False)
    )


def test_bad_files_are_named_with_their_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"url": "https://a.org/robots.txt", "body": "x"}
    cases = {
        r"a\.jsonl, row=1: .*\"https://a.org/\".*Expected `url`": [
            good,
            {"url": "https://a.org/", "body": "x"},
        ],
        r"a\.jsonl, row=0: .*\"kind\": \"humans.txt\"": [
            {"host": "a.org", "kind": "humans.txt", "body": "x"}
        ],
        r"a\.jsonl, row=0: .*\"host\": null": [{"kind": "robots", "body": "x"}],
        r"a\.jsonl, row=0: .*\"host\": \"a b\"": [{"host": "a b", "kind": "robots", "body": "x"}],
        r"a\.jsonl: .*body.*columns url": [{"url": "https://a.org/robots.txt"}],
    }
    for expected, rows in cases.items():
        with pytest.raises(RequestError, match=expected):
            opened(jsonl(tmp_path / "a.jsonl", *rows))
    (tmp_path / "a.jsonl").write_text(json.dumps(good) + "\n{broken\n")
    with pytest.raises(RequestError, match=r"a\.jsonl, row=1: .*one JSON object a line"):
        opened(tmp_path / "a.jsonl")
    cut = warc(
        tmp_path / "a.warc",
        response("https://a.org/robots.txt", CLOSED),
        response("https://b.org/robots.txt", CLOSED)[:-30],
    )
    with pytest.raises(RequestError, match=r"a\.warc, offset=\d+: .*too early"):
        opened(cut)
    (tmp_path / "b.warc").write_text("no WARC")
    with pytest.raises(RequestError, match=r"b\.warc: .*does not start with a WARC record"):
        opened(tmp_path / "b.warc")
    (tmp_path / "list.txt").write_text("hello")
    with pytest.raises(RequestError, match=r"list\.txt: neither a WARC nor a table.*site_rules"):
        opened(tmp_path / "list.txt")
    (tmp_path / "empty.warc").touch()
    with pytest.raises(RequestError, match=r"empty\.warc: the file has no bytes"):
        opened(tmp_path / "empty.warc")
    with pytest.raises(RequestError, match=r"site rules .*none: not there"):
        Rights(RightsConfig(site_rules=[str(tmp_path / "none")])).check(None)
    monkeypatch.setenv("REASONMILL_CACHE", "/proc/none")
    with pytest.raises(RequestError, match="REASONMILL_CACHE"):
        opened(jsonl(tmp_path / "a.jsonl", good))


def test_files_are_read_once(tmp_path: Path, cache: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"url": "https://a.org/robots.txt", "body": CLOSED.decode()})
    opened(path)
    (made,) = cache.glob("*.arrow")
    before = made.stat().st_mtime_ns
    assert opened(path).say("https://a.org/private/").training
    assert made.stat().st_mtime_ns == before
    jsonl(path, {"url": "https://a.org/robots.txt", "body": OPEN.decode()})
    assert not opened(path).say("https://a.org/private/").training  # another content, another key
    SiteCaptures.open([str(path)], ["somebot"])
    assert len(list(cache.glob("*.arrow"))) == 3 and not list(cache.glob("*.[0-9]*"))


def test_many_sites_take_little_memory() -> None:
    """As many sites as say the same cost a key and an index each, and looking one up does not walk over them."""
    bodies = [
        f"User-agent: *\nDisallow: /a{i}/\nUser-agent: GPTBot\nDisallow: /\n".encode() for i in range(50)
    ]
    sites = 20_000
    table = in_time(
        2,
        lambda: newest(
            (Capture(f"https://s{i}.org/robots.txt", bodies[i % 50]) for i in range(sites)), TRAINING_ROBOTS
        ),
    )
    assert len(table) == sites and table.nbytes < 13 * sites
    captures = SiteCaptures(table)
    wanted = Said(True, True, because="robots.txt: gptbot disallowed")
    said = in_time(0.5, lambda: [captures.say(f"https://s{i}.org/a{i % 50}/x") for i in range(0, sites, 10)])
    assert said == [wanted] * len(said)


def test_stage(tmp_path: Path) -> None:
    rules = jsonl(
        tmp_path / "a.jsonl",
        {
            "url": "https://a.org/robots.txt",
            "body": CLOSED.decode() + "\nUser-agent: *\nDisallow: /crawl/\nContent-Signal: search=yes\n",
        },
        {
            "url": "https://b.org/robots.txt",
            "body": "User-agent: *\nContent-Signal: ai-train=no\nContent-Usage: /ok/ train-ai=y\n",
        },
        {
            "url": "https://a.org/.well-known/tdmrep.json",
            "body": '[{"location": "/news/", "tdm-reservation": 1}]',
        },
    )
    stage = Rights(RightsConfig(site_rules=[str(rules)]))
    stage.check(None)
    stage.prepare()
    said: dict[str, tuple[str | None, tuple[object, ...]]] = {  # url: reservations; opt out, by, training, all, preference, tdm
        "https://a.org/private/1": (None, (True, "robots.txt: gptbot disallowed", True, False, None, False)),
        "https://a.org/private/2": ("noai", (True, "page: noai", True, False, None, False)),
        "https://a.org/crawl/": (None, (False, None, False, True, None, False)),
        "https://a.org/news/1": ("noindex", (True, "tdmrep.json: /news/", False, False, None, True)),
        "https://b.org/": (None, (True, "robots.txt: no training, said to *", False, False, True, None)),
        "https://b.org/ok/": (None, (False, None, False, False, False, None)),
        "https://c.org/": ("gptbot: noindex", (True, "page: gptbot: noindex", None, None, None, None)),
    }  # fmt: skip
    rows = {
        "id": list(said),
        "url": list(said),
        "licence": pa.nulls(len(said), pa.string()),
        "reservations": [reserved for reserved, _ in said.values()],
    }
    kept = stage.process(pa.table(rows)).kept
    assert kept.schema.equals(Rights.schema)
    names = ["opt_out", "opt_out_by", "robots_training", "robots_all", "robots_preference", "tdm"]
    found = kept.select([f"rights_{name}" for name in names]).to_pylist()
    assert [tuple(row.values()) for row in found] == [expected for _, expected in said.values()]
    assert list(stage.files()) == ["0: a.jsonl"]
