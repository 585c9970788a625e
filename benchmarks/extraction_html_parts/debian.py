"""Real documents with their sources: Debian's packages of Sphinx documentation, whose `_sources` hold the reStructuredText.

The source says what code blocks and formulas a page has. What the rendered page does not hold (a branch of `only`, an
included file, a quirk of the short parser here) is not asked for: it is looked up in the text of the parsed page.
Licences of what is downloaded: python3.11-doc PSF-2.0, python-sympy-doc BSD-3, libflint-doc LGPL-2.1+.
"""

from __future__ import annotations

import gzip
import re
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lxml import html as lxml_html

from benchmarks.extraction_html_parts.tools import LeftOut, Page

PACKAGES = {"python3.11-doc": "code", "python-sympy-doc": "code", "libflint-doc": "formulas"}
CODE_DIRECTIVE = re.compile(r"\.\. (?:code-block|code|sourcecode|doctest|testcode)::")
DIRECTIVE = re.compile(r"\.\. [\w:+-]+ ?::")
BULLET = re.compile(r"(?:[*-]|#\.|\d+\.)\s+(?=\.\. )")
OPTION = re.compile(r":[\w-]+:")
DOCTEST_FLAG = re.compile(r"\s*#\s*doctest:.*$", re.MULTILINE)
ROLE = re.compile(
    r"(?:(?<![\w`:])|:math:)`([^`<>]+)`(?![`_])"
)  # without a name it is mathematics in both packages


@dataclass(frozen=True)
class Document:
    """What a page must give: code blocks of two lines and more, and formulas."""

    code: list[str] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)


def unpacked(package: str, work: Path) -> Path:
    """The folder with a package's files, downloaded with apt-get where they are not there yet."""
    folder = work / "debian" / package
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", package], cwd=folder.parent, capture_output=True, text=True)
    archives = sorted(folder.parent.glob(f"{package}_*.deb"))
    if done.returncode or not archives:
        raise LeftOut(
            f"{package} is left out: {(done.stderr.strip().splitlines() or ['apt-get failed'])[-1]}"
        )
    subprocess.run(["dpkg", "-x", str(archives[-1]), str(folder)], check=True)
    archives[-1].unlink()
    return folder


def documents(package: str, work: Path) -> list[Page]:
    """The pages of a package that have a source with code or formulas in it."""
    folder = unpacked(package, work)
    pages = []
    for source in sorted(folder.rglob("_sources/**/*.txt*")):
        root = next(parent for parent in source.parents if parent.name == "_sources")
        name = re.sub(r"(\.rst)?\.txt(\.gz)?$", "", str(source.relative_to(root)))
        page = root.parent / f"{name}.html"
        if not page.is_file() or not source.is_file():
            continue
        raw = source.read_bytes()
        text = (gzip.decompress(raw) if source.suffix == ".gz" else raw).decode("utf-8", "replace")
        payload = page.read_bytes()
        root = lxml_html.fromstring(payload)
        there = squeezed(root.text_content())
        marked = [
            *root.xpath("//img[@class='math']/@alt"),
            *(node.text_content() for node in root.find_class("math")),
        ]
        shown = Counter(re.sub(r"^\\[(\[]|\\[)\]]$", "", squeezed(str(tex))) for tex in marked)
        truth = Document(
            [block for block in code_blocks(text) if squeezed(block) in there],
            _as_often(formulas(text), shown),
        )
        if truth.code or truth.formulas:
            pages.append(Page(f"{package} {name}", payload, None, truth))
    return pages


def _as_often(formulas: list[str], shown: Counter[str]) -> list[str]:
    """The formulas that a page shows, each no more often than there."""
    left = Counter(shown)
    found = []
    for tex in formulas:
        key = squeezed(tex)
        if left[key] > 0:
            found.append(tex)
        left[key] -= 1
    return found


def long_pages(package: str, work: Path, count: int) -> list[Page]:
    """The longest pages of a package under a megabyte."""
    files = [
        file for file in unpacked(package, work).rglob("*.html") if file.is_file() and not file.is_symlink()
    ]
    files = sorted(
        (file for file in files if file.stat().st_size < 1 << 20), key=lambda file: -file.stat().st_size
    )
    return [Page(file.stem, file.read_bytes()) for file in files[:count]]


def squeezed(text: str) -> str:
    return "".join(text.split())


def code_blocks(rst: str) -> list[str]:
    """Literal blocks, code directives and doctest blocks of reStructuredText, of two lines and more, without indentation.

    >>> code_blocks("Try this::\\n\\n  for x in y:\\n      print(x)\\n\\nDone.")
    ['for x in y:\\n    print(x)']
    """
    lines = rst.expandtabs(8).split("\n")
    blocks: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        stripped = BULLET.sub("", line.strip())
        if stripped.startswith(">>> "):
            start = i
            while i < len(lines) and lines[i].strip():
                i += 1
            blocks.append(_dedented(lines[start:i], skip_options=False))
            continue
        i += 1
        directive = DIRECTIVE.match(stripped)
        code = CODE_DIRECTIVE.match(stripped) is not None
        comment = stripped.startswith(".. ") and not re.match(r"\.\. (?:[\w:+-]+ ?::|_|\[|\|)", stripped)
        if code or comment or (stripped.endswith("::") and not directive):
            body = _indented(lines, i, _indent(line))
            if not comment:
                blocks.append(_dedented(lines[i:body], skip_options=code))
            i = body
        elif directive and re.match(
            r"\.\. (?:parsed-literal|productionlist|math|toctree|plot|graphviz|raw) ?::", stripped
        ):
            i = _indented(lines, i, _indent(line))
    return [DOCTEST_FLAG.sub("", block) for block in blocks if "\n" in block]


def formulas(rst: str) -> list[str]:
    """Formulas of `:math:` roles and `.. math::` directives (the single formula of those that have one)."""
    found = [" ".join(tex.split()) for tex in ROLE.findall(rst)]
    lines = rst.expandtabs(8).split("\n")
    for i, line in enumerate(lines):
        if directive := re.match(r"\s*\.\. math ?::(.*)", line):
            body = _dedented(lines[i + 1 : _indented(lines, i + 1, _indent(line))], skip_options=True)
            tex = f"{directive[1].strip()}\n{body}".strip()
            if (
                "\n\n" not in tex and r"\\" not in tex and "&" not in tex
            ):  # Sphinx adds an environment to these
                found.append(" ".join(tex.split()))
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _indented(lines: list[str], start: int, indent: int) -> int:
    """Where the lines that are empty or indented further than `indent` end."""
    end = start
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > indent):
        end += 1
    return end


def _dedented(lines: list[str], skip_options: bool) -> str:
    if skip_options:
        while lines and (OPTION.match(lines[0].strip()) or not lines[0].strip()):
            lines = lines[1:]
    filled = [_indent(line) for line in lines if line.strip()]
    return "\n".join(line[min(filled, default=0) :].rstrip() for line in lines).strip("\n")
