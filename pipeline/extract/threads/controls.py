"""Threads whose markup says nothing: boxes that each hold the same link, "Reply" or "Quote", a name and a day.

Old and home-made boards have no class names, or such as nobody else has. The links that readers of every board need
show where its posts are: the boxes are the children of the element in which two neighbouring links meet.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from resiliparse.parse.html import ElementNode, HTMLTree

from pipeline.extract.dom import mentions, select
from pipeline.extract.threads.dates import date_in, date_of_post
from pipeline.extract.threads.repeated import (
    BLOG,
    FORUM,
    LEAST_TEXT,
    MOST_BOXES,
    Found,
    first_words,
    has_own_words,
    opening_post,
    parts_of,
)

ENGLISH = ("reply", "quote")
WORDS = {  # what the links say in pages of a language; English ones stand in pages of all
    "de": ("antworten", "zitieren"), "fr": ("répondre", "citer"), "es": ("responder", "citar"),
    "pt": ("responder", "citar"), "it": ("rispondi", "cita"), "nl": ("reageer", "citeer"),
    "pl": ("odpowiedz", "cytuj"), "ru": ("ответить", "цитировать"), "uk": ("відповісти", "цитувати"),
    "zh": ("回复", "引用"), "ja": ("返信", "引用"), "ko": ("답글", "인용"), "tr": ("cevapla", "alıntı"),
}  # fmt: skip
BUTTONS = frozenset(
    ["report", "share", "like", "edit", "delete", "permalink", "link", "top", "pm", "举报", "分享", "melden"]
) | {word for words in (ENGLISH, *WORDS.values()) for word in words}
LANGUAGE = re.compile(rb"<html[^>]{0,300}?\blang=[\"']?([a-z]{2})")
NAMES = "b, strong, a, dt, td, th, h3, h4, h5, h6"
LONGEST_NAME = 40  # characters
DAYS = "time, small, span, font, em, i, div, p, td, li, dd"
MOST_DAYS, LONGEST_DAY = 30, 60  # candidates in one box, characters
MOST_NAMES = 8  # candidates in one box
MOST_DEPTH = 100
COMMENTS = "[class*=comment i], [id*=comment i], [class*=review i], [id*=review i], article"
HEAD = 3_000  # bytes
MOST_BYTES = 300_000  # of a page; boards without class names are small
SHARE = 0.8  # of boxes that have a name and a day


def controlled_posts(tree: HTMLTree, lowered: bytes, names: str) -> list[Found]:
    """The posts of a thread in page order, or []. Changes the tree where it finds one: links go that act on a post.

    `lowered` is the page as lower-case UTF-8, `names` its class names, each after a space.
    """
    if len(lowered) > MOST_BYTES:
        return []
    forum = FORUM.search(names) is not None
    if not forum and BLOG.search(names):
        return []
    language = LANGUAGE.search(lowered, 0, HEAD)
    words = ENGLISH + (WORDS.get(language[1].decode(), ()) if language else ())
    if not mentions(lowered, tuple(f"{word}</" for word in words)):
        return []
    links: dict[str, list[ElementNode]] = {}
    for node in select(tree, "a, button"):
        if (said := _said(node)) in words:
            links.setdefault(said, []).append(node)
    for same in sorted(links.values(), key=len, reverse=True):
        boxes = _boxes(same) if len(same) <= MOST_BOXES else []
        if len(boxes) > (1 if forum else 2) and _is_thread(tree, boxes, forum) and (people := _people(boxes)):
            for node in [
                node for box in boxes for node in select(box, "a, button") if _said(node) in BUTTONS
            ]:
                node.remove()
            first = opening_post(boxes[0]) if forum else None
            return parts_of(boxes if first is None else [first, *boxes], people, _days(boxes))
    return []


def _said(node: ElementNode) -> str:
    return (node.text or "").strip(" \n\t\r\xa0[]()»«|·↩").lower()


def _boxes(links: list[ElementNode]) -> list[ElementNode]:
    """The children, one for each link or more, of the element in which most neighbouring links meet."""
    above = [_ancestors(link) for link in links]
    meet: Counter[ElementNode] = Counter()
    for one, other in pairwise(above):
        others = set(other)
        if (met := next((node for node in one if node in others), None)) is not None:
            meet[met] += 1
    if not meet:
        return []
    container, often = meet.most_common(1)[0]
    if 2 * often <= len(links) - 1:
        return []
    boxes = (line[line.index(container) - 1] for line in above if container in line[1:])
    return list(dict.fromkeys(boxes))


def _ancestors(node: ElementNode) -> list[ElementNode]:
    """The element itself, its parent, and so on."""
    line, above = [node], node.parent_element
    while above is not None and len(line) < MOST_DEPTH:
        line.append(above)
        above = above.parent_element
    return line


def _is_thread(tree: HTMLTree, boxes: list[ElementNode], forum: bool) -> bool:
    """Whether boxes hold words and days, are most of the page, and no comments below an article."""
    texts = [box.text or "" for box in boxes]
    length = sum(map(len, texts))
    if length < LEAST_TEXT * len(boxes) or not has_own_words(boxes, texts):
        return False
    dated = sum(
        box.query_selector("time") is not None or date_of_post(first_words(box)) is not None for box in boxes
    )
    below = boxes[0].parent_element
    if dated < SHARE * len(boxes) or (not forum and below is not None and below.closest(COMMENTS)):
        return False
    paragraphs = sum(len(node.text or "") for node in select(tree, "p"))
    within = sum(len(node.text or "") for box in boxes for node in select(box, "p"))
    return paragraphs - within < 0.5 * length


def _people(boxes: list[ElementNode]) -> dict[ElementNode, ElementNode]:
    """Box → its author's name: the first short text in most boxes that is marked alike and not always the same."""
    found: dict[tuple[str | None, ...], dict[ElementNode, ElementNode]] = {}
    for box in boxes:
        for node in select(box, NAMES)[:MOST_NAMES]:
            text = " ".join((node.text or "").split())
            if (
                2 <= len(text) <= LONGEST_NAME
                and any(map(str.isalpha, text))
                and text.lower().strip("[]") not in BUTTONS
                and date_in(text) is None
                and node.closest("p, blockquote, pre") is None
            ):
                parent = node.parent_element
                mark = (
                    node.tag,
                    node.getattr("class"),
                    parent and parent.tag,
                    parent and parent.getattr("class"),
                )
                found.setdefault(mark, {}).setdefault(box, node)
    for people in found.values():  # in the order in which the first box has them
        if len(people) >= SHARE * len(boxes) and len({node.text for node in people.values()}) > 1:
            return people
    return {}


def _days(boxes: list[ElementNode]) -> dict[ElementNode, ElementNode]:
    """Box → the innermost of the first elements that say a day and little else."""
    days: dict[ElementNode, ElementNode] = {}
    for box in boxes:
        for node in select(box, DAYS)[:MOST_DAYS]:
            found = days.get(box)
            if found is not None and not found.contains(node):
                break
            text = first_words(node)
            if len(text) <= LONGEST_DAY and date_of_post(text) is not None:
                days[box] = node
    return days
