"""Pages that software packages do not contain, written anew each time: articles, news, threads, recipes, adverts, jobs, …

`written_kinds.toml` and `written_articles_*.toml` hold families of sentences with alternatives; a page draws from one.
Names of people, towns and brands are made up of syllables, so that no word of a page needs to come again in the next.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FAMILIES = Path(__file__).with_suffix(".toml")
ALTERNATIVES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")  # innermost
POOL = re.compile(r"<([A-Za-z]+)>")
ONSETS = [
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "pr",
    "r",
    "s",
    "sh",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "z",
]
VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "ou", "ie", "y"]
CODAS = ["", "", "l", "n", "r", "s", "m", "th", "ck", "nd", "rt", "x", "ll"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


@cache
def _file() -> dict[str, Any]:
    return tomllib.loads(FAMILIES.read_text(encoding="utf-8"))


def families() -> list[dict[str, Any]]:
    """Each with kind, host, domain, titles, sentences and perhaps a layout (menu, list, links, thread; else prose)."""
    common = _file()["common"]
    articles = [
        family
        for path in sorted(FAMILIES.parent.glob("written_articles_*.toml"))
        for family in tomllib.loads(path.read_text(encoding="utf-8"))["family"]
    ]
    return [
        family | {"sentences": [*family["sentences"], *common.get(family["kind"], ())]}
        for family in [*_file()["family"], *articles]
    ]


def expand(template: str, chance: random.Random, pools: Mapping[str, list[str]] | None = None) -> str:
    """One reading of a template: of each `[a|b]` one side (innermost first), of each `<pool>` one of its words.

    >>> expand("[no|no] <small> left", random.Random(1))
    'no 4 left'
    """
    while ALTERNATIVES.search(template):
        template = ALTERNATIVES.sub(lambda match: chance.choice(match[1].split("|")), template)
    return POOL.sub(
        lambda match: _word(match[1], chance, _file()["pools"] if pools is None else pools), template
    )


def made_up_name(chance: random.Random) -> str:
    """A proper name that means nothing."""
    syllables = chance.choice((2, 2, 2, 3))
    return "".join(
        chance.choice(part) for _ in range(syllables) for part in (ONSETS, VOWELS, CODAS)
    ).capitalize()


def _word(name: str, chance: random.Random, pools: Mapping[str, list[str]]) -> str:
    match name:
        case "Name":
            return made_up_name(chance)
        case "small":
            return str(chance.randint(2, 19))
        case "number":
            return chance.choice(["{:,}", "{}"]).format(chance.randint(20, 10 ** chance.randint(2, 5)))
        case "year":
            return str(chance.randint(1890, 2026))
        case "percent":
            return f"{chance.randint(3, 80)}{chance.choice(['%', ' %', ' per cent', ' percent'])}"
        case "price":
            amount = chance.choice(
                [f"{chance.randint(3, 999)}", f"{chance.randint(3, 99)}.{chance.randint(10, 99)}"]
            )
            amount += chance.choice(["", "", ",000"]) if "." not in amount else ""
            return chance.choice(["${}", "€{}", "£{}", "{} euros", "{} EUR", "USD {}"]).format(amount)
        case "time":
            hour, minute = chance.randint(1, 12), chance.choice(["", ":15", ":30", ":45"])
            return f"{hour}{minute} {chance.choice(['am', 'pm', 'a.m.', 'p.m.'])}"
        case "date":
            day, month, year = chance.randint(1, 28), chance.randint(1, 12), chance.randint(2004, 2026)
            name = MONTHS[month - 1]
            forms = (
                f"{day} {name}",
                f"{name} {day}, {year}",
                f"{day}/{month}/{year}",
                f"{year}-{month:02}-{day:02}",
            )
            return chance.choice(forms)
        case "site":
            return f"{made_up_name(chance).lower()}.{chance.choice(['example', 'test', 'invalid'])}"
    return chance.choice(pools[name])


def page(family: Mapping[str, Any], chance: random.Random, words: int) -> str:
    """A page of about `words` words of one family: one item (an offer, a report, a thread) after the other."""
    parts: list[str] = []
    written = 0
    layout = LAYOUTS.get(family.get("layout", ""), _prose)
    while written < words:
        lines: list[str] = []
        for sentence in chance.sample(family["sentences"], chance.randint(4, len(family["sentences"]))):
            line = expand(sentence, chance)
            lines.append(line[:1].upper() + line[1:] if chance.random() < 0.97 else line)
            written += len(line.split())
            if written >= words:
                break
        if title := expand(chance.choice(family["titles"]), chance):
            parts.append(chance.choice(["# ", "## ", "", ""]) + title)
        parts.append(layout(lines, chance))
    return "\n\n".join(parts)


def _prose(lines: list[str], chance: random.Random) -> str:
    if chance.random() < 0.15:
        return _list(lines, chance)
    return paragraphs(lines, chance)


def paragraphs(sentences: list[str], chance: random.Random, longest: int = 4) -> str:
    """Sentences in paragraphs of one to `longest`."""
    found, at = [], 0
    while at < len(sentences):
        end = at + chance.randint(1, longest)
        found.append(" ".join(sentences[at:end]))
        at = end
    return "\n\n".join(found)


def _list(lines: list[str], chance: random.Random) -> str:
    bullet = chance.choice(["- ", "* ", "• ", "", "{}. ", "({}) "])
    gap = chance.choice(["\n", "\n", "\n\n"])
    return gap.join(bullet.format(n) + line for n, line in enumerate(lines, 1))


def _menu(lines: list[str], chance: random.Random) -> str:
    separator = chance.choice([" | ", " · ", " / ", "\n", "\n- ", " > ", "  ", ", "])
    return separator.join(lines)


def _links(lines: list[str], chance: random.Random) -> str:
    form = chance.choice(
        ["[{0}](https://{1}/{2})", "{0} – {1}", "https://{1}/{2} {0}", "{0}", "{0} ({1})", "[{0}](/{2})"]
    )
    links = [
        form.format(
            line, expand("<site>", chance), re.sub(r"\W+", chance.choice("-_/"), line.lower()).strip("-_/")
        )
        for line in lines
    ]
    return _list(links, chance)


def _thread(lines: list[str], chance: random.Random) -> str:
    return thread([lines[at : at + 2] for at in range(0, len(lines), 2)], chance)


def thread(posts: list[list[str]], chance: random.Random) -> str:
    """Posts, each of a few sentences or paragraphs, under their authors' names."""
    head = chance.choice(
        [
            "**{0}**",
            "{0} wrote:",
            "{0}, {1}:",
            "> {0}",
            "#{2} {0} ({1})",
            "Posted by {0} on {1}",
            "@{0}",
            "{1} | {0}",
        ]
    )
    names = [made_up_name(chance) + chance.choice(["", "", str(chance.randint(1, 99))]) for _ in posts]
    if chance.random() < 0.5:
        names = [name.lower() for name in names]
    gap = chance.choice(["\n", "\n\n"])
    return "\n\n".join(
        head.format(name, expand("<date>", chance), n) + gap + chance.choice([" ", "\n"]).join(post)
        for n, (name, post) in enumerate(zip(names, posts, strict=True), 1)
    )


LAYOUTS = {"list": _list, "menu": _menu, "links": _links, "thread": _thread}
