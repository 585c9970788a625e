"""What a site's robots.txt and tdmrep.json say of using its pages to train models.

robots.txt (RFC 9309): is a page disallowed for every robot, or for one that gathers text for training; and which
preference do `Content-Signal: ai-train=no` (Cloudflare, contentsignals.org) and `Content-Usage: train-ai=n`
(draft-ietf-aipref-attach-05) state for it. tdmrep.json: the TDM Reservation Protocol (W3C community group, 2024).

A file is first reduced to the part that can answer this, in a form that is the same for files that say the same: of
millions of sites most have one of a few such texts. Groups and preferences are read here; which rule fits a path,
wildcards and percent-encoding included, is left to Protego.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from protego import Protego

MOST_BYTES = 500 << 10  # of a robots.txt are read, as RFC 9309 asks for at least
LINE = re.compile(  # also in the spellings that Protego takes, and without the colon
    r"(?i)[ \t]*(user[- ]?agent|allow|dis{1,2}al{1,2}[oa]w|diasllow|content-signal|content-usage)(?:[ \t]*:|[ \t])"
    r"[ \t]*([^#]*)"
)
ROBOT = re.compile(
    r"\*|[a-z_-]+(?:[0-9][a-z0-9_-]*)?"
)  # the product token: of "GPTBot/1.0" all before the version
STANDS_FOR_ITSELF = re.compile(r"[^*$%]*")
TRAINING_USES = ("train-genai", "train-ai", "ai-train", "genai", "ai")  # the narrowest that is stated counts
ANSWERS = {"n": "disallow", "no": "disallow", "y": "allow", "yes": "allow"}
Rules = dict[str, list[str]]  # by robot, lines as Protego reads them


class Said(NamedTuple):
    """What a site says of one page. None: its file is not known, or says nothing of it."""

    everybody: bool | None = None  # robots.txt disallows it for "*"
    training: bool | None = None  # robots.txt disallows it for a robot that gathers for training, by name
    preference: bool | None = None  # robots.txt states that it is not (True) or is (False) for training
    mining: bool | None = None  # tdmrep.json reserves it
    because: str | None = None  # the statement that reserves it from training, the first of these three


def reduced_robots(body: bytes, robots: Sequence[str]) -> str | None:
    """A robots.txt as JSON: `rules` and `preferences`, what each robot that counts may fetch and what may be trained on.

    Of several training robots (`robots`, in lower case) with the same rules the first stands for all. None for what is
    no robots.txt: a page of HTML that a server sends for every address.
    """
    text = _in_ascii(body)
    if text.lstrip().startswith("<") and not re.search(r"(?im)^[ \t]*user[- ]?agent[ \t]*:", text):
        return None
    counted = {"*", *robots}
    rules: defaultdict[str, set[str]] = defaultdict(set)
    preferences: defaultdict[str, dict[str, str]] = defaultdict(dict)
    group: list[str] | None = None  # the robots that the lines are for; None before the first group
    in_heading = False
    for line in re.split(r"[\r\n]+", text):
        if not (found := LINE.match(line)):
            continue
        field, value = found[1].lower(), found[2].strip()
        if field.startswith("user"):
            names = [name[0] for one in value.lower().split(",") if (name := ROBOT.match(one.strip()))]
            group = [*(group or () if in_heading else ()), *(name for name in names if name in counted)]
            in_heading = True
            continue
        in_heading = False
        if field.startswith("content"):
            path, answer = _preference(value)
            for robot in ["*"] if group is None else group if answer else ():
                if answer and preferences[robot].get(path) != "disallow":  # of two for one path the stricter
                    preferences[robot][path] = answer
        elif value:
            for robot in group or ():
                rules[robot].add(f"{'allow' if field == 'allow' else 'disallow'}: {value}")
    fences = {
        robot: lines for robot, lines in rules.items() if any(line.startswith("disallow") for line in lines)
    }
    stated = {
        robot: {f"{answer}: {path}" for path, answer in of.items()} for robot, of in preferences.items()
    }
    return json.dumps({"rules": _distinct(fences, robots), "preferences": _distinct(stated, robots)})


def reduced_tdm(body: bytes) -> str | None:
    """A tdmrep.json as JSON: `mining`, its locations in order, each with 1 for reserved or 0. None if it is none.

    Read generously where the intent is plain: a rule outside a list counts as a list of one, a rule without a location is
    for the whole site, "1" is 1. Any other value of `tdm-reservation` reserves nothing, as the protocol says.
    """
    try:
        said = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    listed = said if isinstance(said, list) else [said]
    if not all(
        isinstance(rule, dict) and ("location" in rule or "tdm-reservation" in rule) for rule in listed
    ):
        return None
    rules = [(rule.get("location", "/"), rule.get("tdm-reservation")) for rule in listed]
    mining = [
        [
            re.sub(r"\s", "%20", location.strip()).replace("#", "%23"),
            int(value in ("1", 1) and value is not True),
        ]
        for location, value in rules
        if isinstance(location, str)
    ]
    return json.dumps({"mining": mining})


class Site:
    """The rules of one site, ready to be asked. `robots` and `tdm`: its reduced files, None where not known."""

    def __init__(self, robots: str | None, tdm: str | None) -> None:
        said: dict[str, Rules] = json.loads(robots) if robots else {"rules": {}, "preferences": {}}
        self.robots_known, self.tdm_known = robots is not None, tdm is not None
        self.training = {robot: _with_starts(lines) for robot, lines in said["rules"].items()}
        self.everybody = {"*": self.training.pop("*")} if "*" in self.training else {}
        self.refused = {robot: _with_starts(lines) for robot, lines in said["preferences"].items()}
        self.granted = {  # a path that no line fits is not granted: what is allowed there, Protego is asked to forbid
            robot: _with_starts([f"dis{line}" for line in lines if line.startswith("allow")])
            for robot, lines in said["preferences"].items()
        }
        mining: list[tuple[str, int]] = json.loads(tdm)["mining"] if tdm else []
        self.mining = [({at: _with_starts([f"disallow: {at}"])}, bool(reserved)) for at, reserved in mining]

    def says(self, path: str) -> Said:
        """Of the page at `path` (with its query, from the first "/" on)."""
        everybody = training = preference = mining = None
        because = []
        if self.robots_known:
            everybody = _forbidden(path, self.everybody) is not None
            robot, refused = _forbidden(path, self.training), _forbidden(path, self.refused)
            training = robot is not None
            preference = True if refused else False if _forbidden(path, self.granted) else None
            because += [f"robots.txt: {robot} disallowed"] if robot else []
            because += [f"robots.txt: no training, said to {refused}"] if refused else []
        if self.tdm_known:
            fits = ((at, reserved) for rules, reserved in self.mining if (at := _forbidden(path, rules)))
            place, mining = next(fits, ("", False))  # the first that fits is the one that counts
            because += [f"tdmrep.json: {place}"] if mining else []
        return Said(everybody, training, preference, mining, next(iter(because), None))


def _with_starts(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Beside each line the start of its path that stands for itself, up to the first character with a meaning."""
    return [(STANDS_FOR_ITSELF.match(line.partition(": ")[2])[0], line) for line in lines]  # type: ignore[index]


def _forbidden(path: str, rules: dict[str, list[tuple[str, str]]]) -> str | None:
    """The first name of rules that forbid the path.

    Protego parses those only that start as the path does: of a site's dozens mostly none, and the same for many pages.
    """
    plain, escape, _ = path.partition("%")
    for name, lines in rules.items():
        near = tuple(
            line for start, line in lines if plain.startswith(start[: len(plain)] if escape else start)
        )
        if near and not _parsed(near).can_fetch(f"http://site{path}", "*"):
            return name
    return None


@functools.lru_cache(8192)
def _parsed(lines: tuple[str, ...]) -> Protego:
    return Protego.parse("\n".join(["user-agent: *", *lines]))


def _in_ascii(body: bytes) -> str:
    """What is read of a robots.txt, bytes outside ASCII percent-encoded: whatever its charset, paths keep their octets."""
    if len(body) > MOST_BYTES:
        body = body[:MOST_BYTES]
        body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]  # no rule that was cut short
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        body = body.decode("utf-16", "replace").encode()
    body = re.sub(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", b"", body.removeprefix(b"\xef\xbb\xbf"))
    return re.sub(rb"[\x80-\xff]", lambda byte: b"%%%02X" % byte[0][0], body).decode("ascii")


def _preference(value: str) -> tuple[str, str | None]:
    """Path and answer ("allow", "disallow", or None: not of training) of a Content-Signal or Content-Usage line."""
    path = "/"
    if value.startswith(("/", "*")):
        path, _, value = value.replace("\t", " ").partition(" ")
    stated = {}
    for part in value.lower().split(","):
        use, _, answer = part.partition("=")
        stated[use.strip()] = ANSWERS.get(answer.partition(";")[0].strip())  # parameters may follow
    return path, next((said for use in TRAINING_USES if (said := stated.get(use))), None)


def _distinct(rules: dict[str, set[str]], robots: Sequence[str]) -> Rules:
    """The rules that disallow or answer something, "*" first; of training robots with the same ones the first."""
    found: Rules = {}
    for robot in ("*", *robots):
        lines = sorted(rules.get(robot, ()))
        if lines and (robot == "*" or lines not in [of for name, of in found.items() if name != "*"]):
            found[robot] = lines
    return found
