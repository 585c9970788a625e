"""Threads of unknown programs: boxes that repeat, each with an author, a date and words of its own.

Class names say where to look ("reply", "post", "comment"), the tree says whether it is a thread: teasers link to
what they announce, reviews and comments stand below something longer than they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from resiliparse.parse.html import ElementNode, HTMLTree

from pipeline.extract.dom import classes, select
from pipeline.extract.threads.dates import date_in, date_of_post

BOX = re.compile(
    r"post|repl[yi]|comment|message|msg|answer|response|entry|floor|thread|topic|discussion|question"
)
NO_BOX = re.compile(
    r"review|testimonial|rating|product|[-_]card|teaser|promo|related|sidebar|widget|menu|nav|footer|search|"
    r"listing|recent|popular|latest|similar|tweet|icon|button|btn|count|avatar|form|^fa-|^js-|info|meta|tools|"
    r"date|time"
)
PERSON = re.compile(r"author|user|poster|nick|member|profile|byline|avatar|creator|writer")
TALK = re.compile(r"repl[yi]|quote|answer|forum|topic|thread|comment|bbs|board")
# Of class names, each after a space. What they begin with stands first in the patterns: it is what is searched fast.
FORUM = re.compile(r"[^a-z](?:forum|forums|bbs|topic|qna)(?![a-z])")
BLOG = re.compile(
    r" (?:entry-content|wp-block|single-post|article-body|article-content|post-content|hentry|story-body)"
)
REPLY = re.compile(r"repl[yi]|comment|answer|response")
AUTHOR = (
    "[itemprop=author], [rel=author], [class*=author i], [class*=user i], [class*=poster i], [class*=nick i], "
    "[class*=byline i], [class*=member i], [class*=creator i], [class*=writer i], "
    "a[href*='/user'], a[href*='/profile'], a[href*='/member']"
)
NO_NAME = re.compile(
    "avatar|count|badge|rank|title|stat|join|role|group|date|time|location|online|info|icon", re.I
)
NO_WORDS = re.compile(r"author|user|profile|signature|comments|poster|meta|footer|stats|actions", re.I)
DATE = "time, [datetime], [class*=date i], [class*=time i], [class*=posted i], [class*=ago i]"
DATED = re.compile(r"(?<!up)(?<!candi)(?<!vali)date|(?<!mul)(?<!sen)time|posted|(?<![a-z])ago", re.I)
PARAGRAPHS = ("p", "ul", "ol", "li", "blockquote", "pre")
BUTTONS = (
    "button, form, script, style, [class*=signature i], [class*=share-], [class*=toolbar i], "
    "[class*=post-actions i], [class*=post-controls i], [class*=reply-link i], [class*=reply_link i], "
    "[class*=buttons i]"
)
HEADLINES = "h1 a[href], h2 a[href], h3 a[href], h4 a[href]"
OUTSIDE = "nav, header, footer, aside, form, ul, ol, script, style, noscript"
MOST_CANDIDATES = 10  # class names tried on one page
MOST_BOXES = 400
SAMPLE = 8  # boxes looked at before all are
LEAST_TEXT = 40  # characters of a box, on the average
LEAST_OPENING = 80  # characters
LONGEST_USER = 25  # characters of a link in a heading: a name, or a day, and no headline
MARKUP = re.compile(r"<[^>]*(?:>|\Z)")
FIRST = 400  # characters of a box, in which its day stands
LONGEST_NAME = 50  # characters; around it stands the card of the user
LONGEST_DATE = 100  # characters; what is longer says something else than a day
LONGEST_LABEL = 15  # characters without white space around a date ("Posted on"); a sentence is longer


NOTHING: Mapping[ElementNode, ElementNode] = MappingProxyType({})


@dataclass
class Found:
    """One box of a thread: its words, and who says them when."""

    body: ElementNode
    author: str | None
    date: str | None


def repeated_posts(tree: HTMLTree, names: str, values: dict[str, int]) -> list[Found]:
    """The posts of a thread in page order, or [].

    `names`: the page's class names, lower case, each after a space; `values`: its class attributes, and how often each
    stands there. Changes the tree where it finds a thread: buttons and signatures go.
    """
    if not (TALK.search(names) and PERSON.search(names) and BOX.search(names)) or tree.body is None:
        return []
    forum = FORUM.search(names)
    if not forum and BLOG.search(names):
        return []
    tried = []
    for name in _candidates(values, comments=forum is not None):
        boxes = _boxes(tree, name)
        tried.append((sum(len(box.text or "") for box in boxes), name, boxes))
    for length, name, boxes in sorted(tried, key=lambda entry: -entry[0]):
        if len(boxes) > (1 if forum else 2) and length >= LEAST_TEXT * len(boxes) and _is_talk(boxes):
            if not _covers(tree, name, length):
                return []
            opening = opening_post(boxes[0]) if forum and REPLY.search(name) else None
            return parts_of(boxes if opening is None else [opening, *boxes])
    return []


def _candidates(values: dict[str, int], comments: bool) -> list[str]:
    """Class names that may be those of posts, frequent ones first; of those on the same elements one."""
    where: dict[str, list[str]] = {}
    for value in values:
        if BOX.search(value):
            for name in value.split():
                where.setdefault(name, []).append(value)
    likely: dict[tuple[str, ...], tuple[int, str]] = {}
    for name, within in where.items():
        count = sum(values[value] for value in within)
        if (
            2 <= count <= MOST_BOXES
            and re.fullmatch(r"[\w-]+", name)
            and BOX.search(name)
            and not NO_BOX.search(name)
            and (comments or "comment" not in name)
        ):
            likely.setdefault(tuple(within), (count, name))
    return [name for _, name in sorted(likely.values(), key=lambda pair: -pair[0])[:MOST_CANDIDATES]]


def _boxes(tree: HTMLTree, name: str) -> list[ElementNode]:
    """Elements of a class that hold text; [] where they stand within each other."""
    boxes = select(tree, f"[class~='{name}' i]")
    if 5 * sum(1 for a, b in pairwise(boxes) if a.contains(b)) > len(boxes):
        return []
    return [box for box in boxes if (box.text or "").strip()]


def _is_talk(boxes: list[ElementNode]) -> bool:
    """Whether most boxes name a person and a day (or offer to reply), and are no teasers nor full of links."""
    sample = boxes[:SAMPLE]
    people = [box.query_selector(AUTHOR) for box in sample]
    dated = [
        box.query_selector(f"{DATE}, [class*=repl i]") is not None or date_of_post((box.text or "")[:1000])
        for box in sample
    ]
    if sum(p is not None and bool(d) for p, d in zip(people, dated, strict=True)) < 0.7 * len(sample):
        return False
    person = next(p for p in people if p is not None)
    name = person.getattr("class")
    same = [sum(node.getattr("class") == name for node in select(box, AUTHOR)) for box in sample]
    if name and sorted(same)[len(sample) // 2] > 3:
        return False  # each box is a list of posts
    return has_own_words(sample, [box.text or "" for box in sample])


def has_own_words(boxes: list[ElementNode], texts: list[str]) -> bool:
    """Whether boxes are no teasers, which link to what they announce, nor full of links. `texts`: those of the boxes."""
    headlines = {
        h.text
        for box in boxes
        for h in select(box, HEADLINES)[:1]
        if len((h.text or "").strip()) > LONGEST_USER
    }
    linked = sum(len(a.text or "") for box in boxes for a in select(box, "a")[:60])
    return len(headlines) < 0.6 * len(boxes) and 2 * linked < sum(map(len, texts))


def _covers(tree: HTMLTree, name: str, length: int) -> bool:
    """Whether the page has no longer text than that of its boxes."""
    outside = select(tree, f"p:not([class~='{name}' i] p)")
    return sum(len(paragraph.text or "") for paragraph in outside) < 0.6 * length


def opening_post(first: ElementNode) -> ElementNode | None:
    """What stands before the first box, not a heading or a menu: the post that all others answer."""
    node = first
    for _ in range(6):
        before = node.previous_element_sibling
        while before is not None:
            text = before.text or ""
            if len(text.strip()) >= LEAST_OPENING and not before.matches(OUTSIDE):
                linked = sum(len(a.text or "") for a in select(before, "a"))
                written = before.query_selector(f"p, {AUTHOR}, {DATE}") is not None
                return before if written and 2 * linked < len(text) else None
            before = before.previous_element_sibling
        parent = node.parent_element
        if parent is None or parent.tag in ("body", "html"):
            return None
        node = parent
    return None


def parts_of(
    boxes: list[ElementNode],
    people: Mapping[ElementNode, ElementNode] = NOTHING,
    days: Mapping[ElementNode, ElementNode] = NOTHING,
) -> list[Found]:
    """What each box of a thread says, who and when. `people`, `days`: box → name and day, where these are known."""
    said = [
        (box, people.get(box) or _name(box), [days[box]] if box in days else _dates(box)) for box in boxes
    ]
    # The longest box shows best where the words are: in a short one the user's card is longer than the post.
    body = _body(*max(said, key=lambda parts: _weight(parts[0])))
    names = [name for name in classes(body) if re.fullmatch(r"[\w-]+", name)]
    selector = "".join(f"[class~='{name}']" for name in names[:2]) if body not in boxes else ""
    posts = []
    for box, author, dates in said:
        day = next((date for node in dates if (date := _date(node))), None) or date_of_post(first_words(box))
        same = [node for node in select(box, selector)[:6] if (node.text or "").strip()] if selector else []
        mine = same[0] if same else _body(box, author, dates)
        for button in select(mine, BUTTONS):
            button.remove()
        if (mine.text or "").strip():
            posts.append(Found(mine, box.getattr("data-author") or _words(author), day))
    return posts


def first_words(box: ElementNode) -> str:
    """What stands first in a box, with a space where an element ends: the tree's own text has none in "ann2024-03-05"."""
    return " ".join(MARKUP.sub(" ", (box.inner_html or "")[: 4 * FIRST]).split())[:FIRST]


def _dates(box: ElementNode) -> list[ElementNode]:
    """The first elements that say a day: an update or a multimedia box does not."""
    nodes = select(box, DATE)[:MOST_CANDIDATES]
    return [
        node
        for node in nodes
        if node.tag == "time"
        or node.getattr("datetime")
        or (DATED.search(node.getattr("class") or "") and len((node.text or "").strip()) <= LONGEST_DATE)
    ][:4]


def _date(node: ElementNode) -> str | None:
    values = (node.getattr("datetime"), node.getattr("title"), node.text)
    return next((date for value in values if value and (date := date_in(value))), None)


def _words(node: ElementNode | None) -> str | None:
    """A name as shown: of a link where one holds it, beside ranks and titles."""
    if node is None:
        return None
    names = [" ".join((link.text or "").split()) for link in select(node, "a")]
    return (
        next((name for name in names if len(name) > 1), None) or " ".join((node.text or "").split()) or None
    )


def _name(box: ElementNode) -> ElementNode | None:
    """The innermost of the first elements that look like a user's name: a card stands around it, ranks beside.

    Somebody who is named within a paragraph is not who wrote it.
    """
    found = None
    for node in select(box, AUTHOR)[:16]:
        name = node.getattr("class") or ""
        text = " ".join((node.text or "").split())
        if not 2 <= len(text) <= LONGEST_NAME or (NO_NAME.search(name) and "name" not in name):
            continue
        named = text.startswith("@") or not PERSON.search(name.lower())
        if named and node.closest("p, blockquote") is not None:
            continue
        if found is not None and not found.contains(node):
            break
        found = node
    return found


def _weight(node: ElementNode) -> float:
    """Characters without white space; those of cards, signatures and comments count a tenth."""
    return _length(node) * (0.1 if NO_WORDS.search(node.getattr("class") or "") else 1)


def _length(node: ElementNode) -> int:
    return sum(map(len, (node.text or "").split()))


def _body(box: ElementNode, author: ElementNode | None, dates: list[ElementNode]) -> ElementNode:
    """The longest part of a box without author and date; where the words lie loose, the box without those."""
    node = box
    marks = [mark for mark in (author, *dates) if mark is not None]
    while any(node.contains(mark) for mark in marks):
        children = node.children.values()
        weights = [_weight(child) for child in children]
        written = [child for child in children if child.tag in PARAGRAPHS and (child.text or "").strip()]
        total = sum(weights) + _length(node) - sum(map(_length, children))
        longest = children[weights.index(max(weights))] if weights else node
        if not weights or 2 * max(weights) < total or (longest.tag in PARAGRAPHS and len(written) > 1):
            for child, weight in zip(children, weights, strict=True):
                if 2 * weight < total and _is_label(child, author, dates):
                    child.remove()
            break
        node = longest
    return node


def _is_label(node: ElementNode, author: ElementNode | None, dates: list[ElementNode]) -> bool:
    """Whether an element is there to say who wrote and when; a paragraph may mention a day."""
    if author is not None and node.contains(author):
        return True
    within = [date for date in dates if node.contains(date)]
    if not within or node.tag not in PARAGRAPHS or node in within:
        return bool(within)
    return _length(node) - sum(map(_length, within)) <= LONGEST_LABEL
