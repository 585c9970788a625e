"""Blocklists in the forms they come in, against a slow reading of the same rules, and in the size they come in."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from filters.blocklist import BLOCK, Blocklist, BlocklistConfig
from pipeline.errors import RequestError
from tests.patience import in_time


def stage(*lists: Path) -> Blocklist:
    stage = Blocklist(BlocklistConfig(lists=[str(path) for path in lists]))
    stage.check(None)
    stage.prepare()
    return stage


def blocked(stage: Blocklist, *urls: str | None) -> list[str | None]:
    batch = pa.table({"id": [str(i) for i in range(len(urls))], "url": pa.array(urls, pa.string())})
    kept = stage.process(batch).kept
    assert kept.schema.equals(Blocklist.schema) and kept["id"].to_pylist() == batch["id"].to_pylist()
    return kept["blocked_by"].to_pylist()


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("entry", "yes", "no"),
    [
        (
            "example.org",
            "http://example.org http://example.org/ https://sub.example.org/a?b https://A.B.EXAMPLE.ORG:8080/x "
            "http://user:pass@example.org/ http://example.org. http://example.org?x http://www.example.org#top",
            "http://notexample.org http://example.org.evil.net/ http://example.com/example.org http://org/ "
            "http://e.net/?u=http://example.org ftp://example.org/ example.org",
        ),
        (
            "sub.example.org",
            "http://sub.example.org/ http://x.sub.example.org/",
            "http://example.org/ http://bus.example.org/",
        ),
        (
            "example.org/~bad",
            "http://example.org/~bad http://www.example.org/~bad/x.html https://EXAMPLE.org/~Bad?x=1 http://example.org/~bad#a",
            "http://example.org/ http://example.org/~badly http://sub.example.org/~bad http://example.org/x/~bad",
        ),
        ("www.example.org/a/", "http://example.org/a http://www.example.org/a/b", "http://example.org/ab"),
        (
            "example.org/x?id=1",
            "http://example.org/x?id=1 http://example.org/x?id=1&b=2",
            "http://example.org/x?id=12",
        ),
        ("https://example.org/  # why", "http://a.example.org/", "http://example.com/"),
        ("0.0.0.0 ads.example.org # ads", "http://ads.example.org/", "http://example.org/"),
        ("127.0.0.1\tads.example.org", "http://ads.example.org/", "http://example.org/"),
        ("||ads.example.org^", "http://ads.example.org/", "http://example.org/"),
        ("*.Example.ORG.", "http://ads.example.org/", "http://org/"),
        ("93.184.216.34", "http://93.184.216.34/x", "http://93.184.216.35/ http://184.216.34/"),
        ("müller.de", "http://xn--mller-kva.de/ http://www.müller.de/x", "http://muller.de/"),
        ("xn--mller-kva.de", "http://MÜLLER.de/", "http://mueller.de/"),
    ],
)
def test_entries(tmp_path: Path, entry: str, yes: str, no: str) -> None:
    found = stage(
        written(
            tmp_path / "some.txt",
            f"# a list\n\n127.0.0.1 localhost\n::1 localhost\n{entry}\r\nunrelated.test\n",
        )
    )
    assert blocked(found, *yes.split()) == ["some"] * len(yes.split())
    assert blocked(found, *no.split()) == [None] * len(no.split())


def test_the_first_list_that_blocks_is_named(tmp_path: Path) -> None:
    narrow = written(tmp_path / "narrow.txt", "a.example.org\nb.test/x")
    written(tmp_path / "adult" / "domains", "example.org\nb.test\n")
    written(tmp_path / "adult" / "urls", "c.test/bad\n")
    both = stage(narrow, tmp_path / "adult")
    urls = (
        "http://a.example.org",
        "http://example.org",
        "http://b.test/x/y",
        "http://b.test/z",
        "http://c.test/bad",
        None,
        "",
        "http://[::1",
    )
    assert blocked(both, *urls) == ["narrow", "adult", "narrow", "adult", "adult", None, None, None]
    assert blocked(stage(tmp_path / "adult", narrow), *urls)[:5] == ["adult"] * 5
    assert blocked(stage(), *urls) == [None] * 8
    assert list(both.files()) == ["0: narrow narrow.txt", "1: adult domains", "1: adult urls"]
    assert blocked(both) == []


def test_agrees_with_a_slow_reading(tmp_path: Path) -> None:
    random_ = random.Random(0)
    labels = ["a", "b", "ab", "x-1", "org", "net"]
    host = lambda n: ".".join(random_.choices(labels, k=random_.randint(2, n)))  # noqa: E731
    path = lambda: "".join("/" + random_.choice(labels) for _ in range(random_.randint(0, 3)))  # noqa: E731
    entries = {host(3) for _ in range(12)} | {
        f"{host(4)}/{random_.choice(labels)}{path()}" for _ in range(150)
    }
    found = stage(written(tmp_path / "list", "\n".join(sorted(entries))))
    urls = [f"http://{host(5)}{path()}" for _ in range(4000)]

    def slow(url: str) -> str | None:
        parts = urlsplit(url)
        for entry in entries:
            host, _, path = entry.partition("/")
            if path:
                hit = parts.netloc == host and (parts.path + "/").startswith(f"/{path}/")
            else:
                hit = parts.netloc == host or parts.netloc.endswith("." + host)
            if hit:
                return "list"
        return None

    expected = [slow(url) for url in urls]
    assert 200 < sum(e is not None for e in expected) < 3800
    assert blocked(found, *urls) == expected


def test_a_million_entries(tmp_path: Path) -> None:
    random_ = random.Random(0)
    hosts = [f"{random_.getrandbits(64):x}.example{i % 97}.net" for i in range(1_000_000)]
    path = written(tmp_path / "many.txt", "\n".join(hosts))
    assert path.stat().st_size > BLOCK  # entries lie across blocks
    found = in_time(4, lambda: stage(path))
    assert len(found.blocks.hashes) == len(set(hosts))
    assert found.blocks.hashes.nbytes + found.blocks.lists.nbytes == 10 * len(set(hosts))
    asked = random_.sample(hosts, 2000)
    assert blocked(found, *(f"https://w.{host}/x" for host in asked)) == ["many"] * 2000
    assert blocked(found, *(f"https://w{host}/x" for host in asked)) == [None] * 2000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.org\n\ncom\n", r"bad\.txt, line 3: 'com' is neither a host of two labels"),
        ("a.org\nb.org c.org\n", r"bad\.txt, line 2: 'b\.org c\.org' is neither"),
        (f"#{'-' * 200}\n" * 100_000 + "what is this", r"bad\.txt, line 100001: 'what is this'"),
        ("a..org", r"bad\.txt, line 1: 'a\.\.org' is neither"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        stage(written(tmp_path / "bad.txt", text))


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"a.org\nm\xfcller.de\n")
    with pytest.raises(RequestError, match=r"bad\.txt, line 2: not UTF-8"):
        stage(tmp_path / "bad.txt")
    with pytest.raises(RequestError, match=r"none\.txt: not there"):
        Blocklist(BlocklistConfig(lists=["none.txt"])).check(None)
    with pytest.raises(RequestError, match="a folder without `domains` or `urls`"):
        Blocklist(BlocklistConfig(lists=[str(tmp_path)])).check(None)
