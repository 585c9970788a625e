"""Canonical URLs: a table of pairs that are one page and pairs that are not; and the stage, against plain Python."""

import random
from collections import defaultdict

import pyarrow as pa
import pytest

from pipeline.dedup.urls import Urls, canonical_url
from pipeline.documents import RECORD_SCHEMA
from pipeline.stage import Unit

SAME = """
http://example.com/a                            https://example.com/a
HTTP://EXAMPLE.com/a                            http://example.com/a
http://example.com./a                           http://example.com/a
http://example.com:80/a                         http://example.com/a
https://example.com:443/a                       http://example.com/a
http://user:word@example.com/a                  http://example.com/a
http://bücher.example/a                         http://xn--bcher-kva.example/a
http://BÜCHER.example/a                         http://bücher.example/a
http://例え.テスト/                              http://xn--r8jz45g.xn--zckzah/
http://www.example.com/a                        http://example.com/a
http://m.example.com/a                          http://www.example.com/a
http://mobile.example.com/a                     http://example.com/a
http://amp.example.com/a                        http://example.com/a
https://en.m.wikipedia.org/wiki/Prime           https://en.wikipedia.org/wiki/Prime
http://www.m.example.com/a                      http://example.com/a
http://example.com                              http://example.com/
http://example.com/a/                           http://example.com/a
http://example.com/a/index.html                 http://example.com/a
http://example.com/index.php                    http://example.com
http://example.com/Default.aspx                 http://example.com/
http://example.com/index.php?id=3               http://example.com/?id=3
http://example.com/a#part                       http://example.com/a
http://example.com/a?                           http://example.com/a
http://example.com/a?&&x=1&                     http://example.com/a?x=1
http://example.com/a?utm_source=n&utm_medium=m  http://example.com/a
http://example.com/a?x=1&gclid=Cj0KC            http://example.com/a?x=1
http://example.com/a?fbclid=IwAR&x=1            http://example.com/a?x=1
http://example.com/a?mc_cid=1&mc_eid=2          http://example.com/a
http://example.com/a?UTM_Campaign=z             http://example.com/a
http://example.com/a;jsessionid=0A1B?x=1        http://example.com/a?x=1
http://example.com/a?PHPSESSID=q1w2e3           http://example.com/a
http://example.com/a?sid=0123456789abcdef0123456789abcdef&t=2  http://example.com/a?t=2
http://example.com/(S(lit3py55t21z5v55vlm25s55))/a  http://example.com/a
http://example.com/a/amp                        http://example.com/a
http://example.com/a/amp/                       http://example.com/a/
http://example.com/a.amp.html                   http://example.com/a.html
http://example.com/a?amp=1                      http://example.com/a
http://example.com/a?amp                        http://example.com/a
http://example.com/a?outputType=amp             http://example.com/a
http://example.com/a?print=1                    http://example.com/a
http://example.com/a?printable=yes&x=2          http://example.com/a?x=2
http://x.blogspot.com/2010/01/a.html?m=1        http://x.blogspot.com/2010/01/a.html
http://example.com/%7euser/%61                  http://example.com/~user/a
http://example.com/%e4%bd%a0                    http://example.com/你
http://example.com/a%2fb                        http://example.com/a%2Fb
http://example.com/?q=a+b                       http://example.com/?q=a%20b
http://example.com/?b=2&a=1                     http://example.com/?a=1&b=2
http://example.com/?a=                          http://example.com/?a
http://example.com/a/./b/../c                   http://example.com/a/c
http://example.com/../a                         http://example.com/a
http://example.com//a///b                       http://example.com/a/b
http://example.com/100%                         http://example.com/100%25
http://[2001:DB8::1]:80/a                       http://[2001:db8::1]/a
"""

DIFFERENT = """
http://example.com/a                            http://example.com/b
http://example.com/a                            http://example.com/A
http://example.com/a                            http://example.org/a
http://example.com:8080/a                       http://example.com/a
http://blog.example.com/                        http://example.com/
http://m.com/a                                  http://example.com/a
http://m.co.uk/a                                http://co.uk/a
http://amp.dev/a                                http://dev/a
http://example.com/?id=1                        http://example.com/?id=2
http://example.com/?id=1                        http://example.com/
http://example.com/?a=1&a=2                     http://example.com/?a=2&a=1
http://example.com/?ref=main                    http://example.com/?ref=dev
http://example.com/?sid=12                      http://example.com/?sid=13
http://example.com/?print=12                    http://example.com/?print=13
http://example.com/?m=1                         http://example.com/
http://example.com/?q=a%26b                     http://example.com/?q=a&b
http://example.com/?q=a%2Bb                     http://example.com/?q=a+b
http://example.com/a%2Fb                        http://example.com/a/b
http://example.com/a%3Fb                        http://example.com/a?b
http://example.com/a.html                       http://example.com/a.htm
http://example.com/index                        http://example.com/
http://example.com/a/index.html/b               http://example.com/a/b
http://example.com/amp                          http://example.com/
http://example.com/a/amplifier                  http://example.com/a
http://example.com/print/a                      http://example.com/a
http://example.com/#!/a                         http://example.com/#!/b
http://example.com/#!/a                         http://example.com/
http://example.com/%E4%BD%A0                    http://example.com/%C4%E3
http://example.com/a;v=1                        http://example.com/a;v=2
http://faß.example/                             http://fass.example/
"""


def pairs(table: str) -> list[tuple[str, str]]:
    return [(first, second) for first, second in (line.split() for line in table.strip().splitlines())]


@pytest.mark.parametrize(("first", "second"), pairs(SAME))
def test_same_page(first, second):
    assert canonical_url(first) == canonical_url(second) is not None


@pytest.mark.parametrize(("first", "second"), pairs(DIFFERENT))
def test_different_pages(first, second):
    assert canonical_url(first) != canonical_url(second)


def test_canonical_form_is_stable():
    for url in {url for pair in pairs(SAME) + pairs(DIFFERENT) for url in pair}:
        canonical = canonical_url(url)
        assert canonical_url(canonical) == canonical, url


@pytest.mark.parametrize(
    "url",
    ["", "about:blank", "mailto:a@example.com", "ftp://example.com/a", "/a/b", "www.example.com", "http://", "http:///a",
     "http://exa mple.com/", "http://example.com:port/", "http://a..b/", "http://[::1/", "http://\u2028.com/"],
)  # fmt: skip
def test_no_page(url):
    assert canonical_url(url) is None


def records(rows: list[tuple[str, str | None, int | None]]) -> pa.Table:
    """Records from (id, url, crawl date in seconds)."""
    return pa.Table.from_pylist(
        [
            {
                "id": key, "parent_ids": ["f"], "url": url, "media_type": "text/html",
                "origin": {"source": "s", "path": "p", "locator": key, "payload_sha256": f"sha of {key[:1]}", "crawl_date": date},
            }
            for key, url, date in rows
        ],
        schema=RECORD_SCHEMA,
    )  # fmt: skip


def run(shards: list[pa.Table], keep: str) -> tuple[list[list[str]], dict[str, str]]:
    """The stage's three rounds as the runner calls them, one unit after the other: kept ids and dropped id → detail."""
    stage = Urls(Urls.Config(keep=keep))
    emitted = pa.concat_tables([stage.keys(Unit(i, table, None, to=3)) for i, table in enumerate(shards)])
    chosen = []
    for partition in range(3):
        routed = emitted.filter(pa.compute.equal(emitted["partition"], partition))
        if routed.num_rows:
            chosen.append(stage.choose(Unit(partition, None, routed)))
    home = pa.concat_tables(chosen)
    kept, dropped = [], {}
    for i, table in enumerate(shards):
        outcome = stage.align(Unit(i, table, home.filter(pa.compute.equal(home["partition"], i))))
        assert outcome.kept.schema == table.schema and not outcome.failed
        assert outcome.kept.num_rows + len(outcome.dropped) == table.num_rows
        assert {reason.reason for reason in outcome.dropped} <= {"duplicate_url"}
        kept.append(outcome.kept["id"].to_pylist())
        dropped |= {reason.id: reason.detail for reason in outcome.dropped}
    return kept, dropped


def test_one_record_of_each_url_is_kept():
    first = records(
        [("a1", "http://example.com/x", 200), ("b1", None, 1), ("c1", "http://other.com/?utm_source=q", None)]
    )
    second = records(
        [
            ("a2", "https://www.example.com/x/", 100),
            ("b2", None, 1),
            ("a3", "http://example.com/x", 300),
            ("c2", "http://other.com", 5),
        ]
    )
    kept, dropped = run([first, second], "earliest")
    assert kept == [["b1"], ["a2", "b2", "c2"]]
    assert dropped["a1"] == "kept a2, canonical https://example.com/x, same bytes"
    assert dropped["c1"].startswith("kept c2,")  # a date is better than none
    kept, _ = run([first, second], "latest")
    assert kept == [["b1"], ["b2", "a3", "c2"]]


@pytest.mark.parametrize("keep", ["earliest", "latest"])
def test_the_choice_does_not_depend_on_order_or_shards(keep):
    generator = random.Random(3)
    variants = [
        "http://example.com/{}",
        "https://www.example.com/{}/",
        "http://m.example.com/{}?utm_source=a",
    ]
    rows = []
    for _ in range(600):
        url = (
            generator.choice(variants).format(generator.randrange(150)) if generator.random() < 0.9 else None
        )
        rows.append((f"{generator.getrandbits(64):016x}", url, generator.choice([None, 10, 20, 30])))
    groups = defaultdict(list)  # by the number in the address: the answer is known without any URL code
    for key, url, date in rows:
        if url:
            groups[url.split("?")[0].rstrip("/").rsplit("/", 1)[1]].append((key, date))

    def best(group):
        dated = [(date, key) for key, date in group if date is not None]
        wanted = (min if keep == "earliest" else max)(date for date, _ in dated) if dated else None
        return min(key for key, date in group if date == wanted)

    expected = {best(group) for group in groups.values()} | {key for key, url, _ in rows if not url}
    for seed in (1, 2):
        random.Random(seed).shuffle(rows)
        size = 100 * seed
        kept, _ = run([records(rows[i : i + size]) for i in range(0, len(rows), size)], keep)
        assert {key for shard in kept for key in shard} == expected
        assert [key for shard in kept for key in shard] == [key for key, *_ in rows if key in expected]


def test_no_urls_at_all():
    stage = Urls()
    table = records([("a", None, None)])
    assert stage.keys(Unit(0, table, None)).num_rows == 0
    assert stage.align(Unit(0, table, None)).kept.equals(table)
