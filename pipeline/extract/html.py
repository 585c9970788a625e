"""HTML → Markdown: formulas, code and tables are protected, then main content is chosen block by block, then rendered.

1. Parse (lexbor, by resiliparse), and put a word in the place of each formula, listing and data table (`protect`).
2. Find a thread's posts, if the page is one (`threads`).
3. Write the tree out and read it into arrays (`flat`); a learned classifier says which runs of text are content
   (`content`).
4. Render these, or the posts, as Markdown with formulas, code and tables again (`markdown`).
"""

from __future__ import annotations

import contextlib
import re
from html import escape, unescape
from textwrap import dedent
from typing import Any

import numba
import numpy as np
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

from pipeline.errors import Drop
from pipeline.extract.census import Census
from pipeline.extract.code import BOMS
from pipeline.extract.content.choose import main_content
from pipeline.extract.dom import select
from pipeline.extract.flat import CHARACTERS, LINKED_WORDS, MARKED, TAGS, WORDS, Flat, flatten
from pipeline.extract.formulas.delimiters import Delimiters, delimiters_of, replace_delimited
from pipeline.extract.formulas.find import protect_formulas
from pipeline.extract.listings.find import protect_listings
from pipeline.extract.markdown import Rendering, escaped
from pipeline.extract.metadata import json_ld, metadata_of
from pipeline.extract.protect import Protected
from pipeline.extract.tables import protect_tables
from pipeline.extract.threads.find import Comment, Post, Thread, thread_of
from pipeline.read.media import unmarked_utf16

# WHATWG decodes these labels with a larger table than Python does under the same name.
PYTHON_NAME = {
    "gbk": "gb18030", "gb2312": "gb18030", "shift_jis": "cp932", "euc-kr": "cp949", "big5": "big5hkscs",
    "iso-8859-1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252", "windows-874": "cp874", "iso-8859-8-i": "iso-8859-8",
    "x-mac-cyrillic": "mac-cyrillic", "macintosh": "mac-roman",
}  # fmt: skip
TAG = re.compile(
    r"<(?:!doctype|html|head|body|div|p|a|span|table|h[1-6]|br|pre|ul|article|section|title|meta)\b", re.I
)
# Tags that make HTML of a fragment. Whole ones only, for "a <b and c> d" is no tag.
FRAGMENT_TAG = re.compile(
    r"</?(?:b|i|u|s|em|strong|small|big|sub|sup|tt|code|kbd|samp|var|cite|q|abbr|dfn|mark|del|ins|font|center|"
    r"ol|li|dl|dt|dd|tr|td|th|thead|tbody|caption|hr|img|blockquote|address|figure|figcaption|details|summary|"
    r"script|style|noscript|link|base|form|input|button|label|select|option|textarea|iframe|frameset|frame|object|"
    r"embed|video|audio|canvas|svg|math|main|nav|header|footer|aside)(?:\s+[\w:-]+\s*=[^<>]*|\s*/?)>",
    re.I,
)
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
OTHER_MARKUP = re.compile(r"\A\s*<[?!]|</[a-z][\w:.-]*\s*>", re.I)  # XML of some kind
MATHML_PREFIX = re.compile(r"<(/?)(?:m|mml|mathml):", re.I)
PERMALINKS = "a.headerlink, span.mw-editsection, a.anchor, a.anchorjs-link, a.hash-link, a.heading-anchor, a.octicon-link"
SAYS_LINK = re.compile(
    r"(?:(?:perma|direct|permanent|copy|link|anchor|edit|source|section|heading|headline|title|to|this|the|here)\W*)+",
    re.I,
)
PERMALINK_CLASSES = "headerlink mw-editsection anchor anchorjs-link hash-link heading-anchor octicon-link"
# In XML an element without content may be closed at once; HTML would leave it open over all that follows.
XHTML = re.compile(r"\s*<\?xml|[^>]*>?\s*<html[^>]*xmlns=[\"']http://www\.w3\.org/1999/xhtml", re.I)
CLOSED_AT_ONCE = re.compile(
    r"<(title|script|style|a|p|div|span|t[dh]|i|b|em|strong|li|ul|ol|h[1-6]|textarea|iframe|section)"
    r"(\s(?:[^<>]*[\s\"'])?)?/>",
    re.I,
)
ENTITY = re.compile(r"&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z0-9]{1,31});", re.I)
WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W぀-ヿ㐀-鿿]+")
BLOCK_START = re.compile(r"(?:```|~~~|>|\||#|[-+*]\s|\d{1,9}[.)]\s|\$\$\n)")
# The least share of words that a thread's posts hold of the content: for a forum program we know, of the content before
# the end of the last post (what an article has above its comments; of WCXB's threads none is below 0.43), for posts
# that were guessed or stand in JSON-LD beside the page, of all of it.
LEAST_SHARE_OF_KNOWN, LEAST_SHARE = 1 / 3, 1 / 2
HIDDEN_TEXT = "[style*='display:none' i], [style*='display: none' i], [hidden]"
UNFOLDED = "details, [class*=spoil i], [class*=more i], [class*=collaps i], [class*=expand i], [class*=toggle i], [class*=fold i]"
LONG_PARAGRAPH = 80  # characters other than white space
BOILERPLATE = [TAGS[name] for name in ("nav", "header", "footer", "aside", "form")]
IS_BOILERPLATE = np.isin(np.arange(max(TAGS.values()) + 2), BOILERPLATE)
REDIRECT = re.compile(rb"<meta[^>]{0,100}http-equiv=[\"']?refresh[^>]{0,100}?url=([^\"'>\s]+)", re.I)
TEXT_FORMULA = re.compile(
    rb"\\[(\[]|\\begin\{|\$\$?[^$<>]{1,400}\$|\[(?:tex|itex|latex|math)\]|##[^#<>]{1,400}##|@@[^@<>]{1,400}@@"
)
MARK = re.compile(rb'data-reasonmill="([0-9.]+)"')


def extract_html(payload: bytes, *, charset: str | None = None) -> dict[str, Any]:
    """Text, posts, metadata and fidelity of a web page, as keyword arguments of `Extracted`.

    `fidelity` = share of formulas and code blocks that came through × share of text that came through, where
    the first counts those that stand, in page order, between the first and the last that came through (1 if the
    page has none, 0 if none came through), and the second is by characters of the page's long paragraphs: `<p>` of
    at least 80 characters outside nav, header, footer, aside and form, and less than half links (1 if there are none).
    A text without any tag is given back as it is, its entities resolved (method "verbatim").
    Raises `Drop`: not_html (binary data, XML), undecodable, redirect (nothing but an address to go to), empty_text.
    """
    html, source = _decoded(payload, charset)
    if TAG.search(html) or FRAGMENT_TAG.search(html):
        return HTMLPage(html, source).extracted()
    text = COMMENT.sub("", html)
    if OTHER_MARKUP.search(text):
        raise Drop("not_html", "no HTML tag in it")
    if not text.strip():
        raise Drop("empty_text", "no main content found")
    text = unescape(text).replace("\r\n", "\n").replace("\r", "\n")
    return {"text": text, "method": "verbatim", "fidelity": 1.0}


class HTMLPage:
    """One parse of one page on its way to text."""

    def __init__(self, html: str, source: bytes | None = None, delimiters: Delimiters | None = None) -> None:
        """`source`: the same as UTF-8, if there is no need to encode it."""
        source = html.encode("utf-8", "replace") if source is None else source
        self.census = Census.of(source)
        if "/>" in html and XHTML.match(html[:2000]):
            html = CLOSED_AT_ONCE.sub(r"<\1\2></\1>", html)
        if any(tag.startswith(("m:", "mml:", "mathml:")) for tag in self.census.tags):
            html = MATHML_PREFIX.sub(r"<\1", html)
        self.tree = HTMLTree.parse(html)
        if self.tree.body is None:
            raise Drop("not_html", "no body")
        self.delimiters = delimiters or delimiters_of(self.census)
        self.protected = Protected.against(html, source)

    def extracted(self) -> dict[str, Any]:
        linked = json_ld(self.tree, self.census.lowered)
        metadata = metadata_of(self.tree, self.census, linked)
        self.rewrite()
        thread = thread_of(self.tree, self.census, linked)
        if thread:
            _mark(thread)
            self._drop_hidden()
        flat = self.flat()
        extra_RC = self.protected_in(flat)
        kept_R = main_content(flat, extra_RC)
        posts, inside_R, in_strings = self._posts(thread, flat) if thread else ([], kept_R, 0)
        words_R = (flat.counts_RC[:, WORDS] + extra_RC[:, 2]) * (kept_R | inside_R)
        if thread and _holds_enough(
            thread, in_strings, np.where(_headings(flat) & ~inside_R, 0, words_R), inside_R
        ):
            text = _thread(self._line(thread.title or metadata["title"] or ""), posts)
        else:
            self.protected.restored.clear()
            text, posts = self._rendering(flat).markdown(kept_R), []
        if not text.strip():
            redirect = REDIRECT.search(self.census.lowered)
            if redirect:
                raise Drop("redirect", f"to {redirect[1].decode('utf-8', 'replace')}")
            raise Drop("empty_text", "no main content found")
        return {
            "text": text,
            "method": f"blocks+{thread.platform}" if thread and posts else "blocks",
            "fidelity": self.formulas_kept(flat) * text_kept(flat, inside_R if posts else kept_R),
            "posts": posts or None,
            **metadata,
        }

    def rewrite(self) -> None:
        """Code first, so that nothing in it is taken for a formula; tables after what their cells hold."""
        if self.census.has(classes=PERMALINK_CLASSES):
            for link in select(self.tree, PERMALINKS):
                said = "".join((link.text or "").split())
                if (
                    len(said) <= 2
                    or link.tag == "span"
                    or not any(map(str.isalnum, said))
                    or SAYS_LINK.fullmatch(said)
                ):
                    link.decompose()
        protect_listings(self.tree, self.census, self.protected)
        protect_formulas(self.tree, self.census, self.protected)
        if "table" in self.census.tags:
            protect_tables(self.tree, self.protected, self.delimiters)

    def _drop_hidden(self) -> None:
        """What posts hold against copying and never show; not what a reader may unfold, nor most of a post."""
        styles = self.census.styles
        if (
            "hidden" not in self.census.attributes
            and "display:none" not in styles
            and "display: none" not in styles
        ):
            return
        for node in select(self.tree, HIDDEN_TEXT):
            body = node.parent_element and node.parent_element.closest("[data-reasonmill]")
            if body is None or node.closest(UNFOLDED) is not None:
                continue
            text = node.text or ""
            if self.protected.prefix not in text and 2 * len(text) < len(body.text or ""):
                node.remove()

    def flat(self) -> Flat:
        """The rewritten tree as arrays."""
        assert self.tree.document is not None
        return flatten((self.tree.document.html or "").encode("utf-8", "replace"))

    def protected_in(self, flat: Flat) -> np.ndarray:
        """int32 (runs, 3): formulas, listings and tables of each run, and the words that stand in these."""
        extra_RC = np.zeros((flat.runs, 3), np.int32)
        items = self.protected.items
        found = [
            (match.start(), match[1] in b"md", match[1] != b"c", len(items[number][1].split()) - 1)
            for match in (self.protected.pattern.finditer(flat.html) if items else ())
            if (number := int(match[2])) < len(items)
        ]
        if self.delimiters:  # formulas that become words only when the text is rendered
            found += [(match.start(), True, True, 0) for match in TEXT_FORMULA.finditer(flat.html)]
        if found:
            at_I, is_formula_I, counts_I, words_I = np.array(found).T
            run_I = flat.run_N[np.searchsorted(flat.start_N, at_I, side="right") - 1]
            seen_I = run_I >= 0
            np.add.at(extra_RC, (run_I[seen_I], 1 - is_formula_I[seen_I]), counts_I[seen_I])
            np.add.at(extra_RC, (run_I[seen_I], 2), words_I[seen_I])
        return extra_RC

    def _rendering(self, flat: Flat) -> Rendering:
        return Rendering(flat, self.protected, self._text_formulas if self.delimiters else None)

    def _text_formulas(self, text: str) -> str:
        return replace_delimited(text, self.protected, self.delimiters)

    def _line(self, text: str) -> str:
        """A title as Markdown: formulas and code in it as such, and nothing else taken for markup."""
        return self.protected.line(escaped(self._text_formulas(text)))

    def _posts(self, thread: Thread, flat: Flat) -> tuple[list[dict[str, Any]], np.ndarray, int]:
        """The posts as rows of the column, which runs are in them, and the words of those that are in none."""
        in_strings, rendering = 0, self._rendering(flat)
        everything_R, inside_R = np.ones(flat.runs, bool), np.zeros(flat.runs, bool)
        places: dict[bytes, int] = {}
        for node in np.flatnonzero(flat.flags_N & MARKED).tolist():
            if found := MARK.search(flat.html[flat.start_N[node] : flat.inner_N[node]]):
                places[found[1]] = node

        def said(one: Post | Comment, place: str) -> dict[str, Any]:
            nonlocal in_strings
            author = self.protected.line(one.author) if one.author else one.author
            about = {"author": author, "date": one.date, "score": one.score}
            if isinstance(one.body, str):  # of JSON-LD, untouched by what was done to the tree
                text = HTMLPage(_as_html(one.body), delimiters=self.delimiters).whole()
                in_strings += len(WORD.findall(text))
                return about | {"text": text}
            node = places.get(place.encode())
            if node is None:
                return about | {"text": ""}
            low, high = np.searchsorted(flat.first_R, [node, flat.last_N[node]])
            inside_R[low:high] = True
            return about | {"text": rendering.markdown(everything_R, node, int(flat.last_N[node]))}

        posts = []
        for number, post in enumerate(thread.posts):
            comments = [said(comment, f"{number}.{place}") for place, comment in enumerate(post.comments, 1)]
            comments = [comment for comment in comments if comment["text"]]
            posts.append(
                said(post, f"{number}.0") | {"accepted": post.accepted, "comments": comments or None}
            )
        return posts, inside_R, in_strings

    def whole(self) -> str:
        """All text of the page, nothing left out."""
        self.rewrite()
        flat = self.flat()
        return self._rendering(flat).markdown(np.ones(flat.runs, bool))

    def formulas_kept(self, flat: Flat) -> float:
        """Share of the formulas and listings between the first and the last that was rendered; 1 without any."""
        if not self.protected.items:
            return 1.0
        order = self.protected.in_order(flat.html)
        kept = [place for place, item in enumerate(order) if item in self.protected.restored]
        if not order or not kept:
            return float(not order)
        return len(kept) / (kept[-1] - kept[0] + 1)


def text_kept(flat: Flat, kept_R: np.ndarray) -> float:
    """Share of the characters of long paragraphs that are in kept runs; 1 without such paragraphs."""
    counts_RC = flat.counts_RC
    long_R = (counts_RC[:, CHARACTERS] >= LONG_PARAGRAPH) & (
        2 * counts_RC[:, LINKED_WORDS] < counts_RC[:, WORDS]
    )
    long_P = np.flatnonzero(long_R & (flat.tag_N[flat.block_R] == TAGS["p"]))
    long_P = long_P[_outside(flat.tag_N, flat.parent_N, flat.block_R[long_P], IS_BOILERPLATE)]
    characters_P = counts_RC[long_P, CHARACTERS]
    total = int(characters_P.sum())
    return int(characters_P[kept_R[long_P]].sum()) / total if total else 1.0


@numba.njit(cache=True, nogil=True)
def _outside(
    tag: np.ndarray, parent: np.ndarray, node_P: np.ndarray, is_boilerplate: np.ndarray
) -> np.ndarray:
    """bool: which nodes have nothing around them that is boilerplate by its tag."""
    outside_P = np.zeros(len(node_P), np.bool_)
    for place in range(len(node_P)):
        node = node_P[place]
        while node > 0 and not is_boilerplate[tag[node]]:
            node = parent[node]
        outside_P[place] = node == 0
    return outside_P


def _headings(flat: Flat) -> np.ndarray:
    """bool (runs,): which runs are headings."""
    tag_R = flat.tag_N[flat.block_R]
    return (tag_R >= TAGS["h1"]) & (tag_R <= TAGS["h6"])


def _holds_enough(thread: Thread, in_strings: int, words_R: np.ndarray, inside_R: np.ndarray) -> bool:
    """Whether the posts are what the page is about, and not some comments below it.

    `words_R` are those of the content and of posts, but for headings (such as the thread's title).
    """
    words = int(words_R[inside_R].sum())
    if thread.platform == "unknown" or in_strings > words:
        return words + in_strings >= LEAST_SHARE * words_R.sum()
    end = len(inside_R) - int(np.argmax(inside_R[::-1])) if inside_R.any() else 0
    return words + in_strings >= LEAST_SHARE_OF_KNOWN * words_R[:end].sum()


def _mark(thread: Thread) -> None:
    """Say in the tree where bodies begin, so that they are found again in the arrays."""
    for number, post in enumerate(thread.posts):
        for place, body in enumerate([post.body, *(comment.body for comment in post.comments)]):
            if not isinstance(body, str):
                body.setattr("data-reasonmill", f"{number}.{place}")


def _thread(title: str | None, posts: list[dict[str, Any]]) -> str:
    """The text of a thread: its title, then every post with its comments, in order."""
    parts = [f"# {title}"] if title else []
    for post in posts:
        parts += [_byline(post), post["text"]]
        for comment in post["comments"] or ():
            text = re.sub(r"\n(?!\n)", "\n  ", comment["text"])
            by = _byline(comment)
            gap = "\n\n  " if BLOCK_START.match(text) else " "  # a block begins in a line of its own
            parts.append(f"- {by}:{gap}{text}" if by else f"- {text}")
    return "\n\n".join(part for part in parts if part)


def _as_html(text: str) -> str:
    """What JSON-LD says in a string: HTML, or plain text (sometimes with entities) with its lines and paragraphs."""
    if TAG.search(text) or FRAGMENT_TAG.search(text):
        return f"<body>{text}</body>"
    paragraphs = []
    for paragraph in re.split(r"\n[ \t\r]*\n", unescape(text) if ENTITY.search(text) else text):
        lines = paragraph.strip("\r\n").splitlines()
        if lines and all(line.startswith(("    ", "\t")) for line in lines):
            paragraphs.append(f"<pre>{escape(dedent(paragraph))}</pre>")
        else:
            paragraphs.append("<p>" + "<br>".join(map(escape, lines)) + "</p>")
    return "<body>" + "".join(paragraphs) + "</body>"


def _byline(said: dict[str, Any]) -> str:
    """Who, when, how it was valued.

    >>> _byline({"author": "ada", "date": "2024-03-05T10:00:00Z", "score": 7, "accepted": True})
    '**ada**, 2024-03-05, score 7, accepted'
    """
    parts = [f"**{escaped(said['author'])}**" if said["author"] else "", (said["date"] or "")[:10]]
    parts += [
        f"score {said['score']}" if said["score"] is not None else "",
        "accepted" if said.get("accepted") else "",
    ]
    return ", ".join(part for part in parts if part)


def decode_html(payload: bytes, charset: str | None = None) -> str:
    """Bytes of a web page → str: see `_decoded`."""
    return _decoded(payload, charset)[0]


def _decoded(payload: bytes, charset: str | None) -> tuple[str, bytes]:
    """A web page as str and as UTF-8.

    Order: byte-order mark, the NULs of UTF-16, valid UTF-8, the transport's charset, `<meta>`, detection. Valid UTF-8 beats
    what the page declares, which is often a leftover; of other candidates the one with the fewest undecodable bytes wins. Raises `Drop`: not_html for binary data, undecodable above 5 % undecodable.
    """
    for mark, encoding in BOMS:
        if payload.startswith(mark):
            return _text(payload[len(mark) :].decode(encoding, "replace"))
    if utf16 := unmarked_utf16(payload):
        return _text(payload.decode(utf16, "replace"))
    if b"\0" not in payload[:2000] and not (
        b"\x1b" in payload and b"\x1b$" in payload
    ):  # neither UTF-16 nor ISO-2022
        with contextlib.suppress(UnicodeDecodeError):
            return _text(payload.decode("utf-8"), payload)
    best: tuple[int, str] | None = None
    for name in (charset, detect_encoding(payload, from_html_meta=True), detect_encoding(payload), "utf-8"):
        name = map_encoding_to_html5(name, fallback_utf8=False) if name else None
        if not name:
            continue
        try:
            text = payload.decode(PYTHON_NAME.get(name.lower(), name), "replace")
        except LookupError:
            continue
        bad = text.count("\ufffd")
        if best is None or bad < best[0]:
            best = bad, text
        if bad == 0:
            break
    if best is None or best[0] > 0.05 * len(best[1]):
        raise Drop("undecodable", "no encoding fits: more than 5 % of the text cannot be decoded")
    return _text(best[1])


def _text(text: str, utf8: bytes | None = None) -> tuple[str, bytes]:
    """Raises `Drop` for a text with more than 1 % control characters. `utf8`: the same, if there is no need to encode it."""
    data = text.encode("utf-8", "replace") if utf8 is None else utf8
    if _controls(np.frombuffer(data, np.uint8)) * 100 > len(text):
        raise Drop("not_html", "binary data")
    if b"\0" in data:
        return text.replace("\0", ""), data.replace(b"\0", b"")
    return text, data


@numba.njit(cache=True, nogil=True)
def _controls(data: np.ndarray) -> int:
    """Bytes of C0 that no text holds; tab, newlines, form feed and escape are fine."""
    found = 0
    for byte in data:
        found += (byte < 9) | ((byte > 13) & (byte < 32) & (byte != 27))
    return found
