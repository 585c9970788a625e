r"""Formulas in running text, between the delimiters that a page's settings of MathJax and KaTeX name.

`\(…\)`, `\[…\]`, `$$…$$`, LaTeX environments, `$…$` and others where the page says so, tags of BBCode, AsciiMath.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from pipeline.extract.census import Census
from pipeline.extract.dom import mentions
from pipeline.extract.formulas.asciimath import asciimath_to_tex
from pipeline.extract.protect import Protected

DELIMITED = re.compile(
    r"\s*(?:\\\((.*)\\\)|\\\[(.*)\\\]|\$\$(.*)\$\$|\$`(.*)`\$|\$(.*)\$|\[/?(?:latex|math|tex)\](.*)\[/\w+\])\s*",
    re.DOTALL,
)
DISPLAY_GROUPS = (2, 3)
LOOKS_LIKE_TEX = re.compile(r"\\[A-Za-z]{2,}|[_^]\{|[\w)}\]'][_^]\s?[\w\\*+'-]|\\[,;!|{}%&#\\]")
FEW_LETTERS = re.compile(r"(?![\d\s.,]*$)[^A-Za-z\s$]?(?:[A-Za-z](?![A-Za-z])|[\s\d+\-*/=<>(),.'|!\[\]:])+")
WRAPPER = re.compile(r"\s*\{\s*\\displaystyle(?![a-zA-Z])\s*(.*)\}\s*", re.DOTALL)
CDATA = re.compile(r"\A(?:%\s*)?<!\[CDATA\[|(?:(?<!\\)%\s*)?\]\]>\Z")  # XHTML, Kramdown
DOCUMENT = re.compile(r"\\documentclass.*?\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)
GROUP = r"\{(?:[^{}\\]|\\.)*+\}"
for _ in range(5):  # groups within groups
    GROUP = rf"\{{(?:[^{{}}\\]|\\.|{GROUP})*+\}}"
DEFINITIONS = re.compile(  # and nothing else; a formula often begins with one
    rf"(?:\s|(?<!\\)%[^\n]*(?:\n|\Z)|\\(?:require|definecolor|newenvironment)\*?(?:\s*(?:\[[^\]]*\]|{GROUP})){{1,4}}"
    rf"|\\(?:newcommand|renewcommand|providecommand|DeclareMathOperator)\*?\s*(?:{GROUP}|\\(?:[A-Za-z]+|.))"
    rf"\s*(?:\[[^\]]*\]\s*){{0,2}}(?:{GROUP}|\\[A-Za-z]+|\w)"
    rf"|\\(?:global\s*\\)?g?def\s*\\(?:[A-Za-z]+|.)[^{{}}\\]{{0,40}}{GROUP}"
    r"|\\let\s*\\(?:[A-Za-z]+|.)\s*=?\s*(?:\\(?:[A-Za-z]+|.)|\S))*+",
    re.DOTALL,
)
REQUIRE = re.compile(r"\\require\s*\{[^{}]*\}\s*")
RUNNING = ("mathjax", "katex", "math-container", "mathinelement")
MARKED_PAGE = ('class="math', "asciimath")
CLOSING_TAG = re.compile(rb"\[/(\w{2,13})\]")
BBCODE = {  # tag → display
    "tex": True, "itex": False, "latex": False, "math": False, "imath": False, "dmath": True, "inlinemath": False,
    "mathjaxinline": False, "mathjax": True, "katex": False, "eqn": True,
}  # fmt: skip
ENVIRONMENT = r"\\begin\{((?:equation|align|alignat|gather|multline|eqnarray|flalign|aligned|gathered|split|array|cases|[pbvVB]?matrix)\*?)\}"
LONGEST = 8000  # characters of a formula
BLANK_LINE = re.compile(r"\n[ \t]*\n")
PAIR = re.compile(r"""\s*\[\s*(["'`])(.{1,20}?)\1\s*,\s*(["'`])(.{1,20}?)\3\s*\]\s*,?""")
SKIPPED = re.compile(r"(?:\s|//[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
SETTING = re.compile(
    r"""(inlinemath|displaymath|delimiters)["']?\s*[:=]\s*(?:\{\s*["']?\[\+\]["']?\s*:\s*)?\["""
)
KATEX_PAIR = re.compile(
    r"""left["']?\s*:\s*(["'`])(.{1,20}?)\1\s*,\s*["']?right["']?\s*:\s*(["'`])(.{1,20}?)\3\s*(?:,\s*["']?display["']?\s*:\s*(\w+|!\d))?"""
)
AMOUNT = re.compile(r"(?<![\\$])\$(?=\d[\d,]*(?:\.\d+)?(?:[\s.,;:)?!]|$))", re.MULTILINE)
AMOUNTS = re.compile(r"\d[\d.,]*[,;]\s*")  # between the dollars of "$10, $20"
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}(?:[\s,.;:]+[A-Za-z]{2,}){2}")
ASCIIMATH_PAGES = (
    "asciimath.js",
    "asciimathml",
    "asciimath2jax",
    "input/asciimath",
    "mml-am_",
    "=am_html",
    "/am_html",
)


@dataclass(frozen=True)
class Delimiters:
    """How a page marks formulas in its text. False where it marks none."""

    opening: re.Pattern[str] | None = None  # groups: environment, tag
    # What closes a formula and its kind (inline, display, dollar, ascii), by what opens it.
    closing: dict[str, tuple[re.Pattern[str], str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.opening is not None


def delimiters_of(census: Census) -> Delimiters:
    r"""What a page says of formulas in running text.

    A page that loads MathJax or KaTeX, or marks formulas, has `\(…\)`, `\[…\]`, `$$…$$` and LaTeX environments;
    `$…$` and others if its settings of MathJax (2 to 4) or KaTeX auto-render name them; BBCode has its tags.
    """
    lowered, said = census.lowered, census.math_words
    running = mentions(said, RUNNING) or (bool(said) and mentions(lowered, MARKED_PAGE))
    names = CLOSING_TAG.findall(lowered) if mentions(lowered, ("[/",)) else []
    tags = sorted({name.decode() for name in names} & BBCODE.keys())
    if not running and not tags:
        return Delimiters()
    pairs: dict[tuple[str, str], str] = {}
    if running:
        pairs = {
            (r"\[", r"\]"): "display",
            ("$$", "$$"): "display",
            (r"\(", r"\)"): "inline",
            ("$`", "`$"): "inline",
        }
        for left, right, kind in _settings(lowered):
            pairs[left, right] = kind
        pairs.setdefault(("$", "$"), "dollar")
        if mentions(lowered, ASCIIMATH_PAGES):
            pairs.setdefault(("`", "`"), "ascii")
    closing = {left: (_closing(right), kind) for (left, right), kind in pairs.items()}
    closing |= {
        name: (re.compile(rf"\[/{name}\]", re.I), "display" if BBCODE[name] else "inline") for name in tags
    }
    # The longest first: $$ before $.
    openings = [ENVIRONMENT] if running else ["(?!)()"]
    openings += [rf"\[((?i:{'|'.join(tags)}))\b[^\]]{{0,40}}\]"] if tags else ["(?!)()"]
    for left, right in sorted(pairs, key=lambda pair: -len(pair[0])):
        # Of a row of one sign (a rule, a fence) only the last opens anything: between two there is nothing.
        openings.append(
            re.escape(left) + (f"(?!{re.escape(left)})" if left == right and len(left) == 1 else "")
        )
    return Delimiters(re.compile("|".join(openings)), closing)


def _closing(right: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\\)\$(?!\$)" if right == "$" else re.escape(right))


def _settings(lowered: bytes) -> list[tuple[str, str, str]]:
    """Left, right and kind of the delimiters that the page's scripts set."""
    found: list[tuple[str, str, str]] = []
    for start in _places(lowered, (b"inlinemath", b"displaymath", b"delimiters")):
        page = lowered[start : start + 2000].decode("utf-8", "replace")
        setting = SETTING.match(page)
        if setting is None:
            continue
        kind = {"inlinemath": "inline", "displaymath": "display"}.get(setting[1], "")
        if not kind and b"asciimath" in lowered[max(0, start - 100) : start]:
            kind = "ascii"
        place = setting.end()
        for _ in range(20):
            place = SKIPPED.match(page, place).end()  # type: ignore[union-attr]
            pair = PAIR.match(page, place)
            if pair is None:
                break
            place = pair.end()
            if kind:
                found.append((_unescaped(pair[2]), _unescaped(pair[4]), kind))
        if not kind:  # KaTeX auto-render
            for pair in KATEX_PAIR.finditer(page, setting.end(), setting.end() + 1500):
                mode = "display" if pair[5] in ("true", "!0") else "inline"
                found.append((_unescaped(pair[2]), _unescaped(pair[4]), mode))
    return [(left, right, kind) for left, right, kind in found if left.strip() and right.strip()]


def _places(lowered: bytes, words: tuple[bytes, ...]) -> list[int]:
    found: list[int] = []
    for word in words:
        start = lowered.find(word)
        while start >= 0 and len(found) < 50:
            found.append(start)
            start = lowered.find(word, start + 1)
    return found


def _unescaped(literal: str) -> str:
    """A JavaScript string, often escaped once more or once less than it should be: `\\\\(` is `\\(`."""
    literal = re.sub(r"\\+", r"\\", literal)
    return re.sub(r"\\(?=[$@#`\"'])", "", literal)


def replace_delimited(text: str, protected: Protected, delimiters: Delimiters) -> str:
    r"""Formulas between the page's delimiters in extracted text → words.

    What holds another word (code, an image) or an empty line is no formula; macro definitions, which no reader sees,
    go. Single dollars that the page's settings do not name have to hold what looks like TeX. On pages with delimiters
    and formulas the dollar of an amount ($5) is escaped, so that it opens none.
    """
    if delimiters.opening is None:
        return text
    out: list[str] = []
    place = start = 0
    following = _Following(text)
    while opened := delimiters.opening.search(text, start):
        start = opened.end()
        if text[opened.start() - 1 : opened.start()] == "\\":
            continue
        found = _delimited(opened, following, delimiters)
        word = _word(*found, protected) if found is not None else None
        if found is None or word is None:
            continue
        out += text[place : opened.start()], word
        place = start = start + found[2]
    text = "".join([*out, text[place:]])
    return AMOUNT.sub(r"\\$", text) if protected.items else text


class _Following:
    """What stands next in a text, for places that only grow: a text of brackets that nothing closes is read once, and
    not once for each of them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._known: dict[re.Pattern[str], re.Match[str] | None] = {}

    def next(self, pattern: re.Pattern[str], start: int) -> re.Match[str] | None:
        """The first match that begins at `start` or later."""
        if pattern not in self._known or ((known := self._known[pattern]) and known.start() < start):
            known = self._known[pattern] = pattern.search(self.text, start)
        return known


def _delimited(
    opened: re.Match[str], following: _Following, delimiters: Delimiters
) -> tuple[str, str, int] | None:
    """TeX, kind and length (with what closes it) of the formula that begins behind a match; None if it is none."""
    start, text = opened.end(), following.text
    if opened[1]:
        pattern, kind = _end_of(opened[1]), "display"
    else:
        pattern, kind = delimiters.closing[opened[2].lower() if opened[2] else opened[0]]
    closed = following.next(pattern, start)
    if closed is None or closed.end() > start + LONGEST:
        return None
    blank = following.next(BLANK_LINE, start)
    if blank is not None and blank.start() < closed.end():
        return None
    tex = text[start : closed.start()]
    if opened[1]:
        return opened[0] + tex + closed[0], kind, closed.end() - start
    if not tex.strip():
        return None
    after = text[closed.end() : closed.end() + 1]
    if opened[0] == "$" and not _in_dollars(tex, after, said=kind == "inline"):
        return None
    return tex, kind, closed.end() - start


@cache
def _end_of(environment: str) -> re.Pattern[str]:
    return re.compile(re.escape(f"\\end{{{environment}}}"))


def _word(tex: str, kind: str, length: int, protected: Protected) -> str | None:
    if protected.prefix in tex or (kind == "ascii" and ("\n" in tex or length > 500)):
        return None
    if DEFINITIONS.fullmatch(tex):
        return ""
    tex = undelimited(asciimath_to_tex(tex) if kind == "ascii" else tex)[0]
    return protected.add("display" if kind == "display" else "inline", tex) if tex else None


def _in_dollars(tex: str, after: str, *, said: bool) -> bool:
    """Whether what stands between two dollars is a formula rather than words between two amounts or variables."""
    if not _balanced(tex) or AMOUNTS.fullmatch(tex):
        return False
    if LOOKS_LIKE_TEX.search(tex) is None:
        # Prices and shell variables: words, and the dollars hug only one of their ends.
        if PROSE.search(tex):
            return False
        if WORD.search(tex) and (tex[0].isdigit() or tex[0].isspace() != tex[-1].isspace()):
            return False
        if not said and FEW_LETTERS.fullmatch(tex) is None:
            return False
    return said or (tex == tex.strip() and not after.isalnum())


def undelimited(tex: str) -> tuple[str, bool | None]:
    """TeX without delimiters, wrappers and empty lines (they end a formula), and whether the delimiters mean display.

    One line unless it has a comment.
    """
    tex = CDATA.sub("", tex.strip()).strip()
    if found := DOCUMENT.search(tex):
        tex = found[1].strip()
    display: bool | None = None
    if found := DELIMITED.fullmatch(tex):
        inner = found[found.lastindex or 0]
        if ("$" not in inner.replace(r"\$", "") and r"\(" not in inner) or found.lastindex in DISPLAY_GROUPS:
            tex, display = inner, found.lastindex in DISPLAY_GROUPS
    tex = REQUIRE.sub("", tex)  # what MathJax has to load
    if (found := WRAPPER.fullmatch(tex)) and _balanced(found[1]):
        tex = found[1]  # MediaWiki wraps every formula: {\displaystyle …}
    if re.search(r"(?<!\\)%", tex):
        return re.sub(r"\n\s*\n", "\n", tex).strip(), display
    return " ".join(tex.split()), display


def _balanced(tex: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0
