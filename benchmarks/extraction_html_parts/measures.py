r"""What the extraction benchmark counts, as plain functions of two texts: words, posts, formulas and code blocks.

* Word F1 is WCXB's: bags of `\w+` words in lower case, F1 of each page, mean over pages. Markdown that a reader would
  not see (link targets, backslash escapes, emphasis) is taken off first, for every tool alike.
* F4 is that of the article-extraction benchmark: bags of four words in a row, with a Chinese, Japanese or Korean
  character as a word; F1 of the mean precision and the mean recall.
* A post is kept when 80 % of its four-word shingles are in the output.
* A formula is kept when its TeX is in the output, and delimited when it is the whole content of `$…$`, `$$…$$`,
  `\(…\)`, `\[…\]` or of an environment; white space that TeX does not see is not compared. Every output is read as it is
  and as a reader of Markdown reads it, without its backslash escapes (`\\(a\_1\\)`); what is there in either way counts.
* A code block is exact when its lines follow each other in the output with the same indentation relative to each
  other, and fenced when that happens in a code block of the output read as CommonMark.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt

LINK = re.compile(
    r"!?\[((?:[^\[\]\n]|\[[^\[\]\n]*\])*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)"
)
IMAGE = re.compile(r"!\[[^\[\]\n]*\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"\n]*\")?\)")
ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!<>|~$])")
WORD = re.compile(r"\w+")
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
WORD_OR_CHARACTER = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
KEPT = 0.8  # share of a post's shingles


@dataclass(frozen=True)
class Overlap:
    """Shared, found and wanted items of two bags."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def plain(markdown: str) -> str:
    """The text without what Markdown adds to it: link targets, images, backslash escapes."""
    return ESCAPE.sub(r"\1", LINK.sub(r"\1", IMAGE.sub("", markdown)))


def overlap(found: Iterable[object], wanted: Iterable[object]) -> Overlap:
    """Precision and recall of one bag of items against another. Two empty bags agree."""
    a, b = Counter(found), Counter(wanted)
    if not a or not b:
        return Overlap(1.0, 1.0) if not a and not b else Overlap(0.0, 0.0)
    shared = (a & b).total()
    return Overlap(shared / a.total(), shared / b.total())


def words(text: str) -> list[str]:
    return [word for raw in WORD.findall(text.lower()) if (word := raw.strip("_"))]


def word_overlap(text: str, truth: str) -> Overlap:
    """WCXB's word precision and recall of an output against the truth.

    >>> word_overlap("The [cat](http://a.b/c) sat", "The cat sat down").recall
    0.75
    """
    return overlap(words(plain(text)), words(plain(truth)))


def running_words(text: str) -> list[str]:
    """Words in order; a Chinese, Japanese or Korean character is one."""
    return WORD_OR_CHARACTER.findall(plain(text).lower())


def shingles(text: str) -> list[tuple[str, ...]]:
    """Runs of four words; a shorter text is one run."""
    tokens = running_words(text)
    if not tokens:
        return []
    return [tuple(tokens[i : i + 4]) for i in range(max(1, len(tokens) - 3))]


def shingle_overlap(text: str, truth: str) -> Overlap:
    return overlap(shingles(text), shingles(truth))


def f1_of_means(overlaps: Sequence[Overlap]) -> float:
    """The article-extraction benchmark's F1: of the mean precision and the mean recall."""
    return Overlap(mean(o.precision for o in overlaps), mean(o.recall for o in overlaps)).f1


def snippets_found(text: str, snippets: Sequence[str]) -> float:
    """Share of the snippets in a text; neither case nor the kind of white space counts."""
    flat = " ".join(plain(text).lower().split())
    return mean(" ".join(snippet.lower().split()) in flat for snippet in snippets)


def is_kept(post: str, shingles_of_output: set[tuple[str, ...]], text: str) -> bool:
    """Whether a post is in an output, given as its set of shingles and as text. Posts under four words are looked up."""
    own = shingles(post)
    if own and len(own[0]) < 4:
        return f" {' '.join(own[0])} " in f" {' '.join(running_words(text))} "
    return sum(shingle in shingles_of_output for shingle in own) >= KEPT * len(own)


def mean(values: Iterable[float]) -> float:
    """The mean; NaN of nothing."""
    values = list(values)
    return sum(values) / len(values) if values else float("nan")


# formulas

ENVIRONMENTS = r"(?:equation|align|alignat|gather|multline|eqnarray|flalign|displaymath|math)\*?"
CODE = re.compile(
    r"^([ \t]*)(`{3,}|~{3,})[^\n]*\n.*?^[ \t]*\2[`~]*[ \t]*$|(?<!`)(`+)(?!`)[^\n]*?(?<!`)\3(?!`)", re.M | re.S
)
# Pandoc's rule for a single dollar, so that amounts open nothing: no space inside, no digit behind, no blank line.
SPAN = re.compile(
    r"(?<!\\)\$\$(?P<a>.+?)(?<!\\)\$\$"
    r"|(?<![\\$])\$(?P<b>(?![\s$])(?:(?!\n\s*\n)[^$\\]|\\.)+?)(?<!\s)\$(?![\d$])"
    r"|(?<!\\)\\\((?P<c>.+?)\\\)|(?<!\\)\\\[(?P<d>.+?)\\\]"
    rf"|(?P<e>\\begin\{{(?P<name>{ENVIRONMENTS})\}}.+?\\end\{{(?P=name)\}})",
    re.DOTALL,
)
WRAPPERS = (
    re.compile(r"\{(.*)\}", re.DOTALL),
    re.compile(r"\\(?:display|text)style\b(.*)", re.DOTALL),
    re.compile(r"\\inline\b(.*)", re.DOTALL),
)
NEEDED_SPACE = re.compile(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])")


def tidy_tex(tex: str) -> str:
    r"""TeX in one spelling: only white space that ends a command is left, and no `{\displaystyle …}` around the whole.

    >>> tidy_tex(r"{\displaystyle \alpha  x + \frac{1} {2}}")
    '\\alpha x+\\frac{1}{2}'
    """
    tex = tex.strip()
    while True:
        for wrapper in WRAPPERS:
            found = wrapper.fullmatch(tex)
            if found and _balanced(found[1]):
                tex = found[1].strip()
                break
        else:
            break
    return "".join(NEEDED_SPACE.sub("\\1\0", tex).split()).replace("\0", " ")


def _balanced(tex: str) -> bool:
    """Whether no brace in it closes one that was opened before it."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def formulas_in(text: str) -> list[str]:
    """What stands between delimiters of mathematics in a text, as it is written there; code is not looked at."""
    return [
        next(found[g] for g in "abcde" if found[g] is not None)
        for found in SPAN.finditer(CODE.sub(" ", text))
    ]


def without_formulas(text: str) -> str:
    return SPAN.sub(" ", CODE.sub(" ", text))


def readings(text: str) -> tuple[str, str]:
    """An output as it is, and as a reader of Markdown reads it: many writers escape what TeX needs."""
    return text, ESCAPE.sub(r"\1", text)


def spans_of(text: str, normal: Callable[[str], str | None] = tidy_tex) -> Counter[str | None]:
    """How often each delimited formula is in a text, in its normal form; of two readings the one with more."""
    as_it_is, unescaped = (Counter(map(normal, formulas_in(reading))) for reading in readings(text))
    return as_it_is | unescaped


def formulas_kept(text: str, truth: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """For each true formula: is its TeX in the text, and is it one of the delimited ones. Each span serves one formula."""
    flat = [tidy_tex(reading) for reading in readings(text)]
    wanted = [tidy_tex(formula) for formula in truth]
    delimited = served(wanted, spans_of(text))
    kept = [there or any(tex in one for one in flat) for tex, there in zip(wanted, delimited, strict=True)]
    return kept, delimited


def served(wanted: Iterable[str | None], found: Counter[str | None]) -> list[bool]:
    """Which of the wanted are found, where one that is found once serves one of the wanted; None is never found."""
    left, there = Counter(found), []
    for one in wanted:
        there.append(one is not None and left[one] > 0)
        left[one] -= 1
    return there


# code

COMMONMARK = MarkdownIt("commonmark")


def code_in(markdown: str) -> list[str]:
    """The code blocks of a text read as CommonMark, those in lists and quotes included."""
    return [token.content for token in COMMONMARK.parse(markdown) if token.type in ("fence", "code_block")]


@dataclass(frozen=True)
class CodeKept:
    """One true code block in an output: share of its lines, whether it is exact, whether it is so in a fence."""

    lines: float
    exact: bool
    fenced: bool


def code_kept(text: str, blocks: Sequence[str]) -> list[CodeKept]:
    """What became of each code block. Trailing white space is not compared."""
    written = _lines(text)
    stripped = {line.strip() for line in written}
    fences = [_lines(content) for content in code_in(text)]
    kept = []
    for block in blocks:
        wanted = _lines(block)
        filled = [line.strip() for line in wanted if line]
        fenced = any(_holds(lines, wanted) for lines in fences)
        kept.append(
            CodeKept(mean(line in stripped for line in filled), fenced or _holds(written, wanted), fenced)
        )
    return kept


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\xa0", " ").expandtabs(8).split("\n")]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _holds(lines: list[str], wanted: list[str]) -> bool:
    """Whether the wanted lines follow each other, all indented by the same amount more or less than wanted."""
    if not wanted:
        return True
    first = wanted[0].strip()
    for start in range(len(lines) - len(wanted) + 1):
        if lines[start].strip() != first:
            continue
        shift = _indent(lines[start]) - _indent(wanted[0])
        pairs = zip(lines[start : start + len(wanted)], wanted, strict=True)
        if all(a.strip() == b.strip() and (not b or _indent(a) - _indent(b) == shift) for a, b in pairs):
            return True
    return False


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
