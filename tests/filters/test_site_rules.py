"""robots.txt and tdmrep.json: the examples of their specifications, files as servers send them, a slow second reading."""

from __future__ import annotations

import json
import random
import re

import pytest

from filters.rights import TRAINING_ROBOTS
from filters.site_rules import MOST_BYTES, Said, Site, reduced_robots, reduced_tdm

UNKNOWN = Said()


def robots(body: str | bytes, path: str) -> Said:
    return Site(reduced_robots(body.encode() if isinstance(body, str) else body, TRAINING_ROBOTS), None).says(
        path
    )


def all_robots(body: str | bytes, path: str) -> bool | None:
    return robots(body, path).everybody


def tdm(rules: object, path: str) -> Said:
    return Site(None, reduced_tdm(json.dumps(rules).encode())).says(path)


# --- RFC 9309

SIMPLE = """User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: gptbot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: ccbot
User-Agent: claudebot
Disallow: /example/page.html

User-Agent: bytespider

"""  # section 5.1, the robots renamed


@pytest.mark.parametrize(
    ("path", "everybody", "robot"),
    [
        ("/", False, "gptbot"),
        ("/a.gif", True, "gptbot"),
        ("/a.gifs", False, "gptbot"),
        ("/publications/a.gif", False, "gptbot"),  # the longer rule counts
        ("/example/", True, "gptbot"),
        ("/example/page.html", True, "ccbot"),
        ("/example/allowed.gif", True, None),
        ("/publications/", False, "gptbot"),
    ],
)
def test_simple_example_of_the_rfc(path: str, everybody: bool, robot: str | None) -> None:
    said = robots(SIMPLE, path)
    assert (said.everybody, said.training) == (everybody, robot is not None)
    assert said.because == (f"robots.txt: {robot} disallowed" if robot else None)


def test_longest_match_of_the_rfc() -> None:
    body = "User-Agent: *\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
    assert all_robots(body, "/example/page/disallowed.gif")
    assert not all_robots(body, "/example/page/other.gif")
    assert not all_robots(
        "user-agent: *\nallow: /a\ndisallow: /a", "/a"
    )  # of two equal ones the one that allows


@pytest.mark.parametrize(
    ("rule", "path"),  # the table in 2.2.2, either side on either side
    [
        ("/foo/bar?baz=quz", "/foo/bar?baz=quz"),
        ("/foo/bar/ツ", "/foo/bar/%E3%83%84"),
        ("/foo/bar/%E3%83%84", "/foo/bar/ツ"),
        ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
        ("/foo/bar/baz", "/foo/bar/%62%61%7A"),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html"),  # 2.2.3
        ("/path/foo-%24", "/path/foo-$"),
        ("/a/*/c", "/a/b/b/c"),
        ("/a*$", "/abc"),
        ("*", "/"),
    ],
)
def test_paths_that_match(rule: str, path: str) -> None:
    assert all_robots(f"User-agent: *\nDisallow: {rule}", path)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("", "/"),
        ("/a$", "/ab"),
        ("/Fish", "/fish"),
        ("/fish/", "/fish"),
        ("/a*b", "/a"),
        ("# /", "/"),
        ("a", "/a"),
    ],
)
def test_paths_that_do_not_match(rule: str, path: str) -> None:
    assert all_robots(f"User-agent: *\nDisallow: {rule}", path) is False


def test_groups() -> None:
    body = "user-agent: CCBot\nsitemap: http://e.org/s\n\nUSER-AGENT : GPTBot/1.1 # ours\ndisallow: /a\nuser-agent: ccbot\ndisallow: /b"
    assert robots(body, "/a").because == "robots.txt: gptbot disallowed"  # groups of one robot are joined
    assert robots(body, "/b").because == "robots.txt: ccbot disallowed"
    assert robots("user-agent: GPTBot, CCBot\ndisallow: /", "/").training
    assert robots("user-agent: *\ndisallow: /", "/") == Said(
        True, False
    )  # said to everybody: a question of crawling
    # a product token is matched as a whole: neither a robot's parent nor its kin is the robot
    for name in ("Applebot", "GPT", "GPTBot-User", "Google", "Claude", "OAI-SearchBot", "Meta", ""):
        assert robots(f"user-agent: {name}\ndisallow: /", "/") == Said(False, False), name
    assert (
        robots("disallow: /\nuser-agent: gptbot\ndisallow: /x", "/").training is False
    )  # a rule without a group


# --- files as servers send them


def test_encodings() -> None:
    assert all_robots(b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /a\r\n", "/a")
    assert all_robots("User-agent: *\rDisallow: /a\r", "/a")
    assert all_robots("User-agent: *\nDisallow: /a".encode("utf-16"), "/a")
    latin = "# für alle\nUser-agent: *\nDisallow: /übung\nDisallow: /a".encode("latin-1")
    assert all_robots(latin, "/a") and all_robots(latin, "/%FCbung")
    assert all_robots(b"\x00User-agent: *\x00\nDis\x0callow: /a\x1c\nAllow: /b", "/a")


def test_what_is_no_robots_txt() -> None:
    page = "<!DOCTYPE html>\n<html><body>Allow us to say: not found</body></html>"
    assert reduced_robots(page.encode(), TRAINING_ROBOTS) is None
    assert robots(page, "/") == UNKNOWN
    assert robots(
        f"<pre>\nuser-agent: *\ndisallow: /a\n</pre>{page}", "/a"
    ).everybody  # lines that can be read count
    for body in ("", "\n\n", "# nothing", "Sitemap: https://e.org/s.xml", "\x89PNG\r\n"):
        assert robots(body, "/") == Said(False, False)


def test_only_the_first_500_kib_count() -> None:
    filler = "# " + "x" * 97 + "\n"
    before = filler * (MOST_BYTES // 100 - 1)
    assert all_robots(f"user-agent: *\n{before}disallow: /a\n", "/a")
    assert not all_robots(f"user-agent: *\n{before}{filler}disallow: /a\n", "/a")
    edge = f"user-agent: *\n{'#' * (MOST_BYTES - 40)}\ndisallow: /long/path/that/is/cut"
    assert not all_robots(edge, "/long/path/that/")


def test_texts_that_say_the_same_are_one() -> None:
    one = reduced_robots(
        b"User-agent: *\nDisallow: /a\nAllow: /a/b\nUser-agent: GPTBot\nDisallow: /\nCrawl-delay: 3",
        TRAINING_ROBOTS,
    )
    other = reduced_robots(
        b"# e.org\nuser-agent:GPTBot\nuser-agent: CCBot\ndisallow: /\n\nUSER-AGENT: *\nallow: /a/b\ndisallow: /a\nSitemap: x\n"
        b"user-agent: somebody\ndisallow: /",
        TRAINING_ROBOTS,
    )
    assert one == other


# --- preferences

AIPREF = """User-Agent: *
Allow: /
Disallow: /never/
Content-Usage: train-ai=n
Content-Usage: /ai-ok/ train-ai=y

User-Agent: ExampleBot
Allow: /
Content-Usage: train-ai=y
"""  # draft-ietf-aipref-attach-05, figure 2


def test_preferences() -> None:
    assert robots(AIPREF, "/test") == Said(False, False, True, None, "robots.txt: no training, said to *")
    assert robots(AIPREF, "/ai-ok/test") == Said(False, False, False)
    cloudflare = "User-agent: *\nContent-Signal: search=yes,ai-train=no\nAllow: /\n\nUser-agent: Amazonbot\nDisallow: /\n"
    assert (
        robots(cloudflare, "/x").preference
        and robots(cloudflare, "/x").because == "robots.txt: amazonbot disallowed"
    )
    assert robots("content-signal: ai-train=no", "/").preference  # before any group: for all


@pytest.mark.parametrize(
    ("line", "preference"),
    {
        "Content-Signal: ai-train=yes, search=yes": False,
        "Content-Signal: search=yes, ai-input=no": None,
        "Content-signal: AI-TRAIN = NO": True,
        "Content-Signal: ai-train=maybe": None,
        "Content-Usage: ai=n": True,
        "Content-Usage: ai=n, train-ai=y": False,
        "Content-Usage: train-ai=n;p=1": True,
        "Content-Usage: /b train-ai=n": None,
        "Content-Usage: /*/c$\ttrain-ai=n": True,
        "Content-Usage: train-ai=y\nContent-Signal: ai-train=no": True,
        "Content-Usage: / train-ai=y\nContent-Usage: /a/ train-ai=n\nContent-Usage: /a/c train-ai=y": False,
        "Content-Usage:": None,
    }.items(),
)
def test_preference_lines(line: str, preference: bool | None) -> None:
    assert robots(f"User-agent: *\n{line}\n", "/a/c").preference is preference
    assert robots(f"User-agent: somebody\n{line}\n", "/a/c").preference is None
    assert robots(f"User-agent: CCBot\n{line}\n", "/a/c").preference is preference


# --- a second reading


def slow(body: str, robot: str, path: str) -> bool:
    """Whether the rules for a robot, of all groups that name it, disallow the path: RFC 9309 word for word."""
    names, heading, rules = [], True, []
    for line in body.splitlines():
        field, _, value = line.partition(":")
        if field == "User-agent":
            names, heading = [*(names if heading else ()), value.strip().lower()], True
        elif field in ("Allow", "Disallow"):
            heading = False
            if robot in names and value.strip():
                rules.append((field, value.strip()))
    path = path.replace("%61", "a")
    rules = [(field, rule.replace("%61", "a")) for field, rule in rules]
    matching = [
        (len(rule), field == "Allow")
        for field, rule in rules
        if re.match(re.escape(rule).replace(r"\*", ".*").replace(r"\$", "$"), path)
    ]
    return not max(matching, default=(0, True))[1]


def test_the_same_as_a_slow_reading() -> None:
    random_ = random.Random(3)
    parts = ["/", "/a", "/b", "/a/", "/a/b", "*", "b", "/*/", "c", "/%61"]
    seen = set()
    for _ in range(300):
        lines = []
        for _ in range(random_.randrange(1, 12)):
            if random_.random() < 0.4:
                lines.append(f"User-agent: {random_.choice(('*', 'GPTBot', 'CCBot', 'SomeBot'))}")
            else:
                rule = random_.choice(("/", "*", "")) + "".join(
                    random_.choices(parts, k=random_.randrange(3))
                )
                lines.append(
                    f"{random_.choice(('Allow', 'Disallow'))}: {rule}{random_.choice(('', '', '$')) if rule else ''}"
                )
        body = "\n".join(lines)
        for path in ("/", "/a", "/a/b", "/a/b/c", "/b/a", "//", "/c", "/%61/b", "/a%2Fb"):
            said = robots(body, path)
            expected = slow(body, "*", path), slow(body, "gptbot", path) or slow(body, "ccbot", path)
            assert (said.everybody, said.training) == expected, f"{path}\n{body}"
            seen.add(expected)
    assert len(seen) == 4  # every answer came up


# --- TDMRep


def test_the_examples_of_tdmrep() -> None:
    rules = [
        {"location": "/directory-a/", "tdm-reservation": 1},
        {
            "location": "/directory-b/html/",
            "tdm-reservation": 1,
            "tdm-policy": "https://provider.com/policies/policy.json",
        },
        {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0},
    ]
    assert tdm([{"location": "/", "tdm-reservation": 1}], "/any?x") == Said(
        mining=True, because="tdmrep.json: /"
    )
    found = [
        tdm(rules, f"/directory-{path}").mining
        for path in ("a/x.pdf", "b/html/x", "b/images/x.jpg", "b/", "a")
    ]
    assert found == [True, True, False, False, False]


def test_the_first_rule_that_fits_counts() -> None:
    open_, all_ = {"location": "/open/", "tdm-reservation": 0}, {"location": "/", "tdm-reservation": 1}
    assert [tdm([open_, all_], path).mining for path in ("/open/a", "/a")] == [False, True]
    assert [tdm([all_, open_], path).mining for path in ("/open/a", "/a")] == [True, True]
    assert tdm([{"location": "/a$", "tdm-reservation": 1}], "/ab").mining is False
    assert tdm([{"location": "/caf%C3%A9 #1", "tdm-reservation": 1}], "/café%20%231").mining is True


@pytest.mark.parametrize(
    ("said", "mining"),
    [
        ([], False),
        ({"location": "/", "tdm-reservation": 1}, True),
        ({"tdm-reservation": 1, "tdm-policy": "https://e.org/p"}, True),
        ([{"location": "/", "tdm-reservation": "1"}], True),
        ([{"location": "/", "tdm-reservation": True}], False),
        ([{"location": "/", "tdm-reservation": 2}, {"location": "/", "tdm-reservation": 1}], False),
        ([{"location": 3, "tdm-reservation": 1}], False),
        ([{"location": "/"}], False),
        ([1], None),
        ({"error": "not found"}, None),
        ("text", None),
        (None, None),
    ],
)
def test_other_forms_of_tdmrep(said: object, mining: bool | None) -> None:
    assert tdm(said, "/a").mining is mining


def test_what_is_no_tdmrep() -> None:
    for body in (b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'[{"location": "/"'):
        assert reduced_tdm(body) is None
    assert reduced_tdm(b'\xef\xbb\xbf[{"location": "/", "tdm-reservation": 1}]') is not None
