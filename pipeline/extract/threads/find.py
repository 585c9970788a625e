"""Threads: who said what in which order, from the markup of forum programs, schema.org, or repeated siblings.

Bodies are given back as elements (or as HTML in strings, for JSON-LD) to be rendered like any other page. Quotes
of earlier posts, signatures, edit notes and buttons are taken out of the tree; short quotes, those of other pages
and those with formulas or code stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from html import escape
from typing import Any

from resiliparse.parse.html import ElementNode, HTMLTree

from pipeline.extract.census import Census
from pipeline.extract.dom import mentions, select
from pipeline.extract.metadata import iso_date
from pipeline.extract.threads.controls import controlled_posts
from pipeline.extract.threads.dates import date_in, date_of_post
from pipeline.extract.threads.declared import declared_thread, integer, preloaded_thread
from pipeline.extract.threads.markup import Parts, Platform
from pipeline.extract.threads.platforms import PLATFORMS
from pipeline.extract.threads.posts import Comment, Post, Thread
from pipeline.extract.threads.repeated import repeated_posts

MARKS = [(platform, frozenset(platform.marks.split())) for platform in PLATFORMS]
NO_CLASS = re.compile(r"\[[^\]]*\]|:not\([^)]*\)")
CLASS_NAME = re.compile(r"\.([\w-]+)")
OPENING = re.compile(rb"schema\.org/(?:question|qapage|discussionforumposting)")
HEAD = 5_000  # bytes
PROTECTED = re.compile(r"Qz\d*x[a-z]\d+z|\\[(\[]|\$\$")  # a formula or code, in its place a word
QUOTE_HEADER = ".quotetitle, .quoteheader, p.citation, .topslice_quote, cite"
AUTHOR_ATTRIBUTES = ("data-author", "author", "data-username")
DATE_ATTRIBUTES = (
    "datetime", "content", "data-time", "data-timestamp", "data-utc", "ts", "title", "data-tippy-content",
    "data-original-title",
)  # fmt: skip
SCORE_ATTRIBUTES = ("data-value", "content", "data-votes", "data-score", "title")
LEAST_QUOTE, ONE_WORD = 60, 10  # characters without white space
MOST_POSTS = 2_000  # of one page; one with more is no thread to us, for the time of a page is bounded
MOST_CANDIDATES = 6  # of a part within one box
HEADER = 500  # characters before a body, where a date may stand


def thread_of(tree: HTMLTree, census: Census, linked: list[dict[str, Any]]) -> Thread | None:
    """The thread a page shows; None when it shows none: an article with comments below it is an article.

    `census` is that of the page's source, `linked` its JSON-LD. Changes the tree: see the module's docstring.
    """
    names = " " + " ".join(census.classes)
    single: Thread | None = None
    for platform, marks in MARKS:
        if platform.name == "schema.org":
            if not _is_discussion(tree, census):
                continue
        elif census.classes.isdisjoint(marks) and not (
            platform.mention and platform.mention.encode() in census.lowered[:HEAD]
        ):
            continue
        platform = _there(platform, census)
        posts = _posts(tree, platform)
        if len(posts) > 1:
            return Thread(_title(tree, platform), posts, platform.name)
        if posts and posts[0].author and platform.alone and single is None:
            single = Thread(_title(tree, platform), posts, platform.name)
    if single is None and "data-preloaded" in census.attributes and (shown := preloaded_thread(tree)):
        return shown
    declared = [thread for item in linked if (thread := declared_thread(item)) is not None]
    if len(declared) == 1 and len(declared[0].posts) > 1:  # several questions are an FAQ
        return declared[0]
    if single is not None:
        return single
    found = repeated_posts(tree, names, census.class_values) or controlled_posts(tree, census.lowered, names)
    if not found:
        return None
    _drop_quotes([post.body for post in found], "blockquote")
    return Thread(
        _title(tree, None),
        [Post(post.body, post.author, post.date) for post in found],
        "unknown",
    )


def _there(platform: Platform, census: Census) -> Platform:
    """A platform without those alternatives of its selectors whose classes the page does not have: asked for nothing."""

    def there(selectors: str) -> str:
        return ", ".join(one for one in selectors.split(", ") if _classes_of(one) <= census.classes)

    def parts(of: Parts) -> Parts:
        return replace(
            of, author=there(of.author), date=there(of.date), score=there(of.score), noise=there(of.noise)
        )

    return replace(
        platform,
        post=parts(platform.post),
        comment=parts(platform.comment) if platform.comment else None,
        title=there(platform.title),
        quote=there(platform.quote),
        noise=there(platform.noise),
    )


@cache
def _classes_of(selector: str) -> frozenset[str]:
    """The class names without which a selector finds nothing."""
    return frozenset(name.lower() for name in CLASS_NAME.findall(NO_CLASS.sub("", selector)))


def _is_discussion(tree: HTMLTree, census: Census) -> bool:
    """schema.org comments alone stand under articles; several questions on a page are answered by their asker."""
    if "itemtype" not in census.attributes or not OPENING.search(census.lowered):
        return False
    if mentions(census.lowered, ("schema.org/faqpage",)):
        return False
    return len(select(tree, "[itemtype$='schema.org/Question']")) < 2


def _posts(tree: HTMLTree, platform: Platform) -> list[Post]:
    parts = platform.post
    if tree.document is None or tree.document.query_selector(parts.body) is None:
        return []
    for noise in select(tree, platform.noise) if platform.noise else ():
        noise.remove()
    bodies = _bodies(tree, parts)
    nested = any(box.parent_element is not None and box.parent_element.closest(parts.box) for box in bodies)
    owned = _owned(tree, platform) if nested else None
    comments: dict[ElementNode, list[Comment]] = {}
    if platform.comment is not None:
        for box, body in _bodies(tree, platform.comment).items():
            author, date, score = _said(box, body, platform.comment, None)
            for noise in select(body, platform.comment.noise) if platform.comment.noise else ():
                noise.remove()
            if (post := box.closest(parts.box)) is not None:
                comments.setdefault(post, []).append(Comment(body, author, date, score))
    if platform.quote:
        _drop_quotes(list(bodies.values()), platform.quote)
    accepted = {box for box in bodies if _accepted(box, platform, owned)}
    posts = []
    for number, (box, body) in enumerate(bodies.items()):
        author, date, score = _said(box, body, parts, owned)
        is_answer = box.matches(platform.answer) if platform.answer else bool(accepted) and number > 0
        mark = (box in accepted) if is_answer else None
        text = _paragraphs(body.getattr("content") or "") if body.tag == "meta" else body
        posts.append(Post(text, author, date, score, mark, tuple(comments.get(box, ()))))
    return posts


def _paragraphs(text: str) -> str:
    """Text without markup, as in microdata that is not shown → HTML."""
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.split("\n\n"))


def _bodies(tree: HTMLTree, parts: Parts) -> dict[ElementNode, ElementNode]:
    """Box → body in page order. Further bodies in one box, such as later additions, move into the first."""
    found: dict[ElementNode, ElementNode] = {}
    bodies = select(tree, parts.body)
    for body in bodies if len(bodies) <= MOST_POSTS else ():
        parent = body.parent_element
        box = parent.closest(parts.box) if parent is not None else None
        if box is None or not (body.text or body.getattr("content") or "").strip():
            continue
        first = found.setdefault(box, body)
        if first.tag == "meta":
            found[box] = body
        elif first != body and body.tag != "meta" and not first.contains(body):
            first.append_child(body)
    return found


Owned = dict[str, dict[ElementNode, list[ElementNode]]]


def _owned(tree: HTMLTree, platform: Platform) -> Owned:
    """Selector → box → what is there and in no box within it. One look at the page for all boxes: where they stand
    in each other, a look into each takes time by the square of their depth.
    """
    parts = platform.post
    owned: Owned = {}
    for selector in ", ".join((parts.author, parts.date, parts.score, platform.accepted)).split(", "):
        found = owned.setdefault(selector, {})
        for node in select(tree, selector) if selector and not found else ():
            parent = node.parent_element
            if parent is not None and (box := parent.closest(parts.box)) is not None:
                found.setdefault(box, []).append(node)
    return owned


def _own(box: ElementNode, selectors: str, owned: Owned | None) -> Iterator[ElementNode]:
    """What the first selector finds, then the second, …; `owned` where boxes stand in each other."""
    for selector in selectors.split(", ") if selectors else ():
        nodes = select(box, selector) if owned is None else owned[selector].get(box, [])
        yield from nodes[:MOST_CANDIDATES]


def _said(
    box: ElementNode, body: ElementNode, parts: Parts, owned: Owned | None
) -> tuple[str | None, str | None, int | None]:
    """Author, date and score of one box."""
    author = next((value for name in AUTHOR_ATTRIBUTES if (value := box.getattr(name))), None)
    date = _date(_own(box, parts.date, owned)) or iso_date(box.getattr("created-timestamp"))
    previous = box.previous_element_sibling if date is None else None
    if previous is not None and not previous.matches(parts.box):  # bbPress: a header before the box
        date = _date(_own(previous, parts.date, None))
    score = integer(box.getattr("score") or "")
    for node in _own(box, parts.score, owned) if score is None else ():
        values = [node.getattr(name) or "" for name in SCORE_ATTRIBUTES]
        score = next(
            (number for value in (*values, node.text) if (number := integer(value or "")) is not None), None
        )
        if score is not None:
            break
    return author or _author(_own(box, parts.author, owned)), date or _date_before(box, body), score


def _date_before(box: ElementNode, body: ElementNode) -> str | None:
    """A date in the text that stands before the body, other than the day its author joined."""
    texts: list[str] = []
    node, length = body, 0
    while node != box and length < HEADER and (parent := node.parent_element) is not None:
        before = node.previous_sibling
        while before is not None and length < HEADER:
            texts.append((before.text or "")[-HEADER:])
            length += len(texts[-1])
            before = before.previous_sibling
        node = parent
    return date_of_post(" ".join(reversed(texts))[-HEADER:])


def _author(nodes: Iterable[ElementNode]) -> str | None:
    for node in nodes:
        name = node.getattr("data-username") or node.getattr("content") or node.text or ""
        if name := " ".join(name.split())[:100].removesuffix(":"):
            return name
    return None


def _accepted(box: ElementNode, platform: Platform, owned: Owned | None) -> bool:
    if not platform.accepted:
        return False
    return box.matches(platform.accepted) or next(_own(box, platform.accepted, owned), None) is not None


def _title(tree: HTMLTree, platform: Platform | None) -> str | None:
    """The heading that the page's own title repeats, else the first where this platform puts it."""
    said = _squeezed(tree.title or "")
    first = None
    for selector in (platform.title if platform else "h1, h2").split(", "):
        for node in select(tree, selector)[:MOST_CANDIDATES] if selector else ():
            text = " ".join((node.text or "").split()).removeprefix("Re: ")
            if not 2 <= len(text) <= 400:
                continue
            # A title knows the letters of a formula or of code, the tree a word in their place.
            if all(_squeezed(part)[:60] in said for part in PROTECTED.split(text)):
                return text
            first = first or (text if platform and selector != "h1" else None)
    return first


def _squeezed(text: str) -> str:
    return "".join(text.lower().split())


def _drop_quotes(bodies: list[ElementNode], selector: str) -> None:
    """Take out quotes whose words stand in a post of this page.

    Those with formulas or code stay, for no such may be lost, and those of a post that is nothing else.
    """
    quotes = [(body, quote) for body in bodies for quote in select(body, selector)]
    if not quotes:
        return
    own = {body: body.text or "" for body in bodies}
    for body, quote in quotes:
        own[body] = own[body].replace(quote.text or "\0", " ", 1)
    said = _squeezed("\n".join(own.values()))
    for body, quote in quotes:
        text = quote.text or ""
        if own[body].strip() and not PROTECTED.search(text) and _repeats(_squeezed(text), said):
            header = quote.previous_element_sibling
            if header is not None and header.tag == "br":
                header = header.previous_element_sibling
            if header is not None and header.matches(QUOTE_HEADER):
                header.remove()
            quote.remove()


def _repeats(quote: str, said: str) -> bool:
    """Whether one of a few windows of a quote stands in what was said.

    A few quoted words are part of the answer to them and stay; a single one says nothing.
    """
    if len(quote) < LEAST_QUOTE:
        return len(quote) < ONE_WORD
    length = 20
    starts = [int(share * (len(quote) - length)) for share in (1, 0.75, 0.5, 0.35)]
    return any(quote[start : start + length] in said for start in starts)


def _date(nodes: Iterable[ElementNode]) -> str | None:
    for node in nodes:
        values = [value for name in DATE_ATTRIBUTES if (value := node.getattr(name))]
        for value in (*values, node.text or ""):
            if date := date_in(value):
                return date
    return None
