"""The class of a licence by its name: an SPDX name or expression, a Creative Commons name or address, or words.

A signal for the policy and no legal advice. In doubt it errs to the strict side: the strictest term of a name counts,
so that CC BY-NC-SA is `non_commercial`, and what is named but not known here, or denied ("not public domain"), is `other`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Literal

Licence = Literal["public_domain", "permissive", "share_alike", "non_commercial", "no_derivatives", "other"]

STRICTER: tuple[Licence, ...] = (  # of licences that all hold ("AND"), the last in this order counts
    "public_domain", "permissive", "share_alike", "non_commercial", "no_derivatives", "other",
)  # fmt: skip
NAMES: dict[Licence, str] = {
    "public_domain": "CC0 PDM PDDL UNLICENSE WTFPL 0BSD PUBLIC-DOMAIN PUBLICDOMAIN BLESSING SAX-PD",
    "share_alike": (
        "GPL AGPL LGPL MPL EPL CDDL EUPL OSL GFDL FDL ODBL CPL CECILL CERN-OHL-S CERN-OHL-W QPL SLEEPYCAT CPAL"
    ),
    "permissive": (
        "MIT MIT-0 X11 BSD BSD-2-CLAUSE BSD-3-CLAUSE BSD-4-CLAUSE APACHE ISC ZLIB PSF PYTHON BSL BOOST NCSA POSTGRESQL "
        "ARTISTIC W3C ODC-BY CDLA-PERMISSIVE OFL OPENSSL RUBY PHP HPND LIBPNG CURL BLUEOAK ECL UPL AFL MS-PL OGL TCL VIM "
        "LPPL UNICODE ETALAB EDL FTL ICU"
    ),
}
NAMED = {
    kind: re.compile(
        rf"(?:{'|'.join(map(re.escape, names.split()))})(-?V?\d[\w.]*)?(-?(LICEN[CS]E|ONLY|OR-LATER|\+))*"
    )
    for kind, names in NAMES.items()
}
# An address, "CC BY-NC", "Creative Commons BY-NC" (whose lone "by" may be followed by an author), or a bare "by-nc".
CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/licen[cs]es/([a-z-]+)"
    r"|\bcc[ /-]*((?:by|nc|sa|nd|sampling)(?:\W{1,3}(?:nc|sa|nd)\b)*)\b"
    r"|\bcreative[ -]?commons(?: licen[cs]e)?[ /-]+(by(?:(?:\W{1,3}(?:nc|sa|nd)\b)+|(?=$|[ -]*(?:v?\d|licen[cs]e))))"
    r"|(?<![\w-])(by(?:-(?:nc|sa|nd))+)\b"
)
WORDINGS: tuple[
    tuple[str, Licence], ...
] = (  # in lower case; the first that is found, and not denied, decides
    (
        r"all rights reserved|proprietary|\bno licen[cs]e\b|unlicensed|see licen[cs]e|copyright only",
        "other",
    ),
    (r"creativecommons\.org/(publicdomain/(zero|mark)|share-your-work/public-domain)", "public_domain"),
    (r"\bno[ -]?deriv|attribution[ -](nc[ -])?nd\b", "no_derivatives"),
    (r"non[ -]?commercial|\b(no|not for) commercial|attribution[ -]nc\b", "non_commercial"),
    (r"share[ -]?alike|attribution[ -]sa\b|copyleft", "share_alike"),
    (r"gnu .{0,60}(general|lesser|affero|documentation)", "share_alike"),
    (
        r"\b(lesser|affero|general) public licen[cs]e|mozilla public|eclipse public|open database",
        "share_alike",
    ),
    (r"public[ -]domain|\bcc[ -]?(0|zero)\b|unlicense\.org", "public_domain"),
    (
        r"creative commons attribution|\battribution( \d\.\d)?( international| generic| unported)?$",
        "permissive",
    ),
    (r"opensource\.org/licen[cs]es?/(mit|isc|zlib|apache|bsd)", "permissive"),
    (r"\bgnu\.org/(licenses|copyleft)/", "share_alike"),
    (r"\bapache\.org/licenses|\b(mit|bsd|apache|isc|zlib|expat)([ -]style)? licen[cs]e\b", "permissive"),
    (r"\bapache( software)? licen[cs]e|\bboost software|\bpython software foundation", "permissive"),
    (r"open government licen[cs]e|nationalarchives\.gov\.uk/doc/open-government", "permissive"),
    (r"opensource\.org/licen[cs]es?/(l?a?gpl|mpl|epl|eupl|cddl|osl)", "share_alike"),
)
# A denial reaches to the end of its clause: not over a comma, nor an "unless" ("if not otherwise stated: CC BY"). That a
# work is "not protected by copyright" denies no permission.
DENIAL = re.compile(r"\b(not|never|no longer|none|nothing|neither|nor|cannot|isnt|arent)\b|n't\b|\bnon[ -]$")
CLAUSE_END = re.compile(
    r"[,;:!?()]|\.(?= )|\b(?:except|unless|but|otherwise)\b|\bnot (?:\w+ ){0,3}copyright\w*"
)
CLAUSE = 120  # characters before a phrase that are looked at: a bound on the time, as a field may hold a whole licence

FOLDED = str.maketrans(
    dict.fromkeys("‐‑‒–—―−_", "-") | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", "") | {"’": "'"}
)  # the second are invisible
EXCEPTION = re.compile(r"(?i) with (?:[\w.+-]*exception[\w.+-]*|linux-syscall-note|gpl-cc-1\.0)(?=[\s)]|$)")
EXPRESSION = re.compile(r"[\w.+:/() -]+")
OPERATORS = ("AND", "OR", "and", "or")


@functools.lru_cache(maxsize=65536)
def licence_class(licence: str) -> Licence:
    """The class of a licence. Nothing that is written there is an error; what cannot be read is `other`.

    In an SPDX expression the most liberal side of "OR" counts and the strictest side of "AND", which binds more tightly;
    "MIT/Apache-2.0" is the older form of "OR". Of an expression whose brackets do not match the strictest name counts.

    >>> licence_class("CC-BY-NC-SA-4.0"), licence_class("GPL-2.0-only OR MIT"), licence_class("© 2020 A. Person")
    ('non_commercial', 'permissive', 'other')
    >>> licence_class("(MIT OR GPL-2.0-only) AND CC-BY-NC-4.0")
    'non_commercial'
    """
    said = EXCEPTION.sub("", " ".join(licence.translate(FOLDED).split()))
    tokens = _tokens(said)
    return _of_expression(tokens) if any(token in ("AND", "OR") for token in tokens) else _of_name(said)


def _tokens(said: str) -> list[str]:
    """Brackets, operators in capitals, and names. Of what does not look like an expression: nothing."""
    if not EXPRESSION.fullmatch(said):
        return []
    words = re.findall(r"[()]|[^ ()]+", re.sub(" ?/ ?", "/", said))
    unbracketed = [word for word in words if word not in "()"]
    # Between names of one word each "or" is an operator; else only "OR" is ("GNU GPL version 2 or later").
    alternate = all((word in OPERATORS) == bool(i % 2) for i, word in enumerate(unbracketed))
    tokens: list[str] = []
    name: list[str] = []
    for word in words:
        if word in "()" or (word.upper() if alternate else word) in ("AND", "OR"):
            tokens += [" ".join(name)] * bool(name) + [word.upper()]
            name = []
        else:
            name.append(word)
    return tokens + [" ".join(name)] * bool(name)


def _of_expression(tokens: list[str]) -> Licence:
    # of every open bracket the choices, of each choice what all holds
    opened: list[list[list[Licence]]] = [[[]]]
    name_is_due = True
    for token in tokens:
        if name_is_due and token == "(":
            opened.append([[]])
        elif name_is_due and token not in (")", "AND", "OR"):
            opened[-1][-1].append(_of_name(token))
            name_is_due = False
        elif not name_is_due and token == ")" and len(opened) > 1:
            closed = _most_liberal(map(_strictest, opened.pop()))
            opened[-1][-1].append(closed)
        elif not name_is_due and token in ("AND", "OR"):
            if token == "OR":
                opened[-1].append([])
            name_is_due = True
        else:
            break
    else:
        if not name_is_due and len(opened) == 1:
            return _most_liberal(map(_strictest, opened[0]))
    return _strictest(_of_name(token) for token in tokens if token not in ("(", ")", "AND", "OR"))


def _strictest(kinds: Iterable[Licence]) -> Licence:
    return max(kinds, key=STRICTER.index, default="other")


def _most_liberal(kinds: Iterable[Licence]) -> Licence:
    return min(kinds, key=STRICTER.index, default="other")


def _of_name(name: str) -> Licence:
    if known := _named(name):
        return known
    if "/" in name:
        sides = [_named(side) for side in re.split(" ?/ ?", name)]
        if None not in sides:
            return _most_liberal(side for side in sides if side)
    said = name.lower()
    found = [
        kind
        for one in CREATIVE_COMMONS.finditer(said)
        if (kind := _of_terms(next(filter(None, one.groups())))) and _stands(kind, said, one.start())
    ]
    return _strictest(found) if found else _of_wording(said)


def _named(name: str) -> Licence | None:
    """The class of an SPDX name as people write it ("GPLv2+", "The MIT License")."""
    said = re.sub(r"^(LICENSEREF|GNU|THE)-", "", name.strip("()").upper().replace(" ", "-"))
    return next((kind for kind, names in NAMED.items() if names.fullmatch(said)), None)


def _of_terms(said: str) -> Licence:
    terms = set(re.split(r"\W+", said))
    return (
        "no_derivatives" if "nd" in terms
        else "non_commercial" if "nc" in terms
        else "share_alike" if "sa" in terms
        else "permissive" if "by" in terms
        else "other"
    )  # fmt: skip


def _of_wording(said: str) -> Licence:
    for wording, kind in WORDINGS:
        if any(_stands(kind, said, found.start()) for found in re.finditer(wording, said)):
            return kind
    return "other"


def _stands(kind: Licence, said: str, start: int) -> bool:
    """Whether what is said from `start` on counts. What permits does not where its clause denies it; what forbids does."""
    if kind in ("non_commercial", "no_derivatives", "other"):
        return True
    return not DENIAL.search(CLAUSE_END.split(said[max(0, start - CLAUSE) : start])[-1])
