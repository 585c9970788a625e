"""Pages without content of their own, put together anew: menus, footers, teasers, file lists, error pages, offers, spam.

`no_content_sites.toml` holds the blocks that sites put around their texts, `no_content_offers.toml` the sentences of
adverts and job postings. What menus, teasers and offers are about is taken from the other documents: a menu of
mathematics is a menu, an offer of algebra an offer, so no subject may give them away.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from filters.taxonomy.written_kinds import MONTHS, expand, paragraphs

SITES = Path(__file__).with_name("no_content_sites.toml")
OFFERS = Path(__file__).with_name("no_content_offers.toml")
BORROWED = re.compile(r"\{(Topic|Headline|Month)\}")
WORD = re.compile(r"[^\W\d_]{2,14}")
BEFORE = ("skip", "menu", "breadcrumb", "byline", "share")
AFTER = ("share", "tags", "related", "newsletter", "comments", "footer")
KNOWN = 0.6  # of the sentences that are common to offers, each host knows these
REPEATED = 0.25  # of pages show a menu again: for wide and for narrow screens


@cache
def _read(file: Path) -> dict[str, Any]:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def sites() -> list[dict[str, Any]]:
    """Each with its host and the names of the blocks that its pages have, in about their order."""
    return _read(SITES)["site"]


def offers() -> list[dict[str, Any]]:
    """Each with host, domain and sentences: its own, and of those common to its domain the ones that it knows."""
    found = []
    for offer in _read(OFFERS)["offer"]:
        common = _read(OFFERS)["common"][offer["domain"]]
        known = random.Random(offer["host"]).sample(common, round(KNOWN * len(common)))
        found.append(
            {"host": offer["host"], "domain": offer["domain"], "own": offer["lines"], "common": known}
        )
    return found


def site_page(site: Mapping[str, Any], texts: Sequence[str], chance: random.Random, words: int) -> str:
    """A page of about `words` words; `texts` are the documents that its topics and headlines are taken from."""
    names = [name for name in site["has"] if chance.random() < 0.7] or list(site["has"])
    mean = max(4, words // len(names))
    parts = [block(name, texts, chance, chance.randint(2, 2 * mean)) for name in names]
    if chance.random() < REPEATED:
        parts.append(parts[chance.randrange(len(parts))])
    return chance.choice(["\n\n", "\n", "\n"]).join(parts)


def offer_page(offer: Mapping[str, Any], texts: Sequence[str], chance: random.Random, words: int) -> str:
    """An advert or a posting of about `words` words, some with a menu before and a footer after it."""
    topics = [_filled("{Topic}", texts, chance) for _ in range(chance.randint(1, 4))]  # what it is all about
    lines: list[str] = []
    written, own_share = 0, chance.uniform(0.2, 0.8)
    while written < words:
        line = chance.choice(offer["own" if chance.random() < own_share else "common"])
        line = re.sub(r"\{Topic\}", lambda _: chance.choice(topics), expand(line, chance))
        lines.append(line if chance.random() < 0.2 else line[:1].upper() + line[1:])
        written += len(line.split())
    form = chance.random()
    if form < 0.5:
        text = paragraphs(lines, chance, longest=chance.choice([2, 6, 12]))
    elif form < 0.6:
        text = " ".join(lines)
    else:
        text = _list(lines, {}, chance)
    title = chance.choice(["", "# ", "## "]) + chance.choice([topics[0], lines[0].rstrip(".!")])
    return "\n\n".join([title, surrounded(text, texts, chance, 0.3)] if chance.random() < 0.6 else [text])


def surrounded(text: str, texts: Sequence[str], chance: random.Random, share: float = 1.0) -> str:
    """The text of a page with some of what its site shows on every page; `share` of the texts, others as they are."""
    if chance.random() >= share:
        return text
    room = max(3, min(40, len(text.split()) // 8))
    before = [block(name, texts, chance, room) for name in BEFORE if chance.random() < 0.3]
    after = [block(name, texts, chance, room) for name in AFTER if chance.random() < 0.3]
    return "\n\n".join([*before, text, *after])


def block(name: str, texts: Sequence[str], chance: random.Random, words: int) -> str:
    """One block of about `words` words, in one of the ways that sites show it."""
    described = _read(SITES)["block"][name]
    lines: list[str] = []
    if title := chance.choice(described.get("titles", [""])):
        lines.append(chance.choice(["", "", "## ", "### "]) + _filled(title, texts, chance))
    room = words
    fresh: list[str] = []
    while room > 0:
        fresh = fresh or chance.sample(described["lines"], len(described["lines"]))
        line = _filled(fresh.pop(), texts, chance)
        lines.append(line)
        room -= max(1, len(line.split()))
    form: Callable[[list[str], Mapping[str, Any], random.Random], str] = FORMS[described["form"]]
    return form(lines, described, chance)


def _filled(template: str, texts: Sequence[str], chance: random.Random) -> str:
    def borrowed(match: re.Match[str]) -> str:
        if match[1] == "Month":
            return chance.choice(MONTHS)
        low, high = (1, 3) if match[1] == "Topic" else (4, 12)
        found = _words(texts, chance, chance.randint(low, high))
        if match[1] == "Topic" or chance.random() < 0.4:
            return " ".join(word if word.isupper() else word.capitalize() for word in found)
        return " ".join([found[0].capitalize(), *found[1:]])

    # Alternatives first: a borrowed text may contain brackets.
    return BORROWED.sub(borrowed, expand(template, chance))


def _words(texts: Sequence[str], chance: random.Random, count: int) -> list[str]:
    """Successive words of any text."""
    for _ in range(20):
        text = chance.choice(texts)
        start = chance.randrange(max(1, len(text) - 200))
        found = WORD.findall(text[start : start + 200])[1:]  # the first may be cut
        if len(found) >= count:
            return found[:count]
    return ["more"]


def _lines(lines: list[str], described: Mapping[str, Any], chance: random.Random) -> str:
    return chance.choice(["\n", "\n", "\n", "\n\n", " ", " | "]).join(lines)


def _list(lines: list[str], described: Mapping[str, Any], chance: random.Random) -> str:
    bullet = chance.choice(["- ", "* ", "• ", "", "", "\t", "- [{}](/{})", "[{}](https://site.example/{})"])
    if "{}" in bullet:
        return "\n".join(bullet.format(line, re.sub(r"\W+", "-", line.lower()).strip("-")) for line in lines)
    return chance.choice(["\n", "\n", "\n", "\n\n", " "]).join(bullet + line for line in lines)


def _line(lines: list[str], described: Mapping[str, Any], chance: random.Random) -> str:
    return chance.choice(described["separators"]).join(lines)


def _prose(lines: list[str], described: Mapping[str, Any], chance: random.Random) -> str:
    return chance.choice([" ", "\n", "\n\n"]).join(lines)


def _teasers(lines: list[str], described: Mapping[str, Any], chance: random.Random) -> str:
    """Each with a date, a place to go on or nothing."""
    after = chance.choice(
        [
            "",
            "",
            "\n[Read more|Continue reading|Learn more|More →|View|Details]",
            "\n<date>",
            " – <date>",
            " (<small>)",
            "\nby <Name> <Name>",
        ]
    )
    before = chance.choice(["", "", "- ", "### ", "* ", "{}. "])
    gap = chance.choice(["\n", "\n", "\n\n"])
    return gap.join(before.format(n) + line + expand(after, chance) for n, line in enumerate(lines, 1))


FORMS = {"lines": _lines, "list": _list, "line": _line, "prose": _prose, "teasers": _teasers}
