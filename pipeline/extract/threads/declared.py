"""Threads that a page holds as JSON: what it declares for search engines, and what Discourse's own script shows."""

from __future__ import annotations

import json
import re
from typing import Any

from resiliparse.parse.html import HTMLTree

from pipeline.extract.dom import select
from pipeline.extract.metadata import iso_date, name_of
from pipeline.extract.threads.posts import Comment, Post, Thread

DEEPEST = 200  # replies to replies in JSON-LD
NUMBER = re.compile(r"([-−]?\d[\d,]{0,12})(\.\d+)?\s?([km万])?\b", re.I)
MANY = {"k": 1e3, "m": 1e6, "万": 1e4}
WRITTEN = (1, 2)  # types of posts: by somebody, by a moderator; others say what was done to the topic
LIKE = 2  # type of an action
NO_CONTENT = "aside.quote, aside.onebox .source, aside.onebox p, .lightbox-wrapper .meta, .badge-notification"


def integer(value: Any) -> int | None:
    """The first number in a value, as people write it, such as 1.2k."""
    found = NUMBER.search(str(value)) if isinstance(value, (str, int, float)) else None
    if not found:
        return None
    number = found[1].replace(",", "").replace("−", "-")
    return round(float(number + (found[2] or "")) * MANY.get((found[3] or "").lower(), 1))


def declared_thread(item: dict[str, Any]) -> Thread | None:
    """QAPage and DiscussionForumPosting of schema.org in JSON-LD; a reply follows what it replies to."""
    main = item.get("mainEntity") if item.get("@type") == "QAPage" else item
    main = main[0] if isinstance(main, list) and len(main) == 1 else main
    if not isinstance(main, dict) or main.get("@type") not in ("Question", "DiscussionForumPosting"):
        return None
    answers = [(answer, True) for answer in _entries(main.get("acceptedAnswer"))]
    answers += [(answer, False) for answer in _entries(main.get("suggestedAnswer"))]
    posts = _entry(main, None, comments=bool(answers))
    for answer, accepted in answers:
        posts += _entry(answer, accepted, comments=True)
    title = main.get("name") or main.get("headline")
    return Thread(" ".join(title.split()) if isinstance(title, str) else None, posts, "schema.org")


def _entry(entry: dict[str, Any], accepted: bool | None, comments: bool, depth: int = 0) -> list[Post]:
    """The post an entry is; its comments as comments, or as the posts that follow it."""
    texts = (entry.get(key) for key in ("text", "articleBody", "description", "name"))
    text = next((text for text in texts if isinstance(text, str) and text.strip()), "")
    remarks = _entries(entry.get("comment")) if depth < DEEPEST else []
    post = Post(text, *_credits(entry), accepted)
    posts = [post] if text else []
    if comments:
        kept = [remark for remark in remarks if isinstance(remark.get("text"), str)]
        post.comments = tuple(Comment(remark["text"], *_credits(remark)) for remark in kept)
        return posts
    return posts + [p for remark in remarks for p in _entry(remark, None, comments=False, depth=depth + 1)]


def _credits(entry: dict[str, Any]) -> tuple[str | None, str | None, int | None]:
    date = iso_date(entry.get("dateCreated") or entry.get("datePublished"))
    return (
        name_of(entry.get("author")),
        date,
        integer(entry["upvoteCount"]) if "upvoteCount" in entry else None,
    )


def _entries(value: Any) -> list[dict[str, Any]]:
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


def preloaded_thread(tree: HTMLTree) -> Thread | None:
    """The topic that Discourse's script is going to show, where the page itself shows none.

    It stands as JSON in JSON in an attribute: {"topic_7": '{"title": "…", "post_stream": {"posts": […]}}'}.
    """
    for node in select(tree, "[data-preloaded]"):
        try:
            stored = json.loads(node.getattr("data-preloaded") or "{}")
            topics = [json.loads(value) for key, value in stored.items() if key.startswith("topic_")]
            topic = next(topic for topic in topics if "post_stream" in topic)
            posts = [_shown(post) for post in topic["post_stream"]["posts"] if post["post_type"] in WRITTEN]
        except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
            continue  # of another version, or cut short
        if posts:
            return Thread(topic.get("title"), posts, "discourse")
    return None


def _shown(post: dict[str, Any]) -> Post:
    """A post as Discourse's script gets it; quotes and what it wrote about linked pages are taken out."""
    tree = HTMLTree.parse(f"<body>{post['cooked']}</body>")
    for node in select(tree, NO_CONTENT):
        node.remove()
    counts = {action.get("id"): action.get("count") for action in post.get("actions_summary") or ()}
    body = tree.body.inner_html if tree.body is not None else ""
    return Post(
        body,
        post.get("username"),
        iso_date(post.get("created_at")),
        counts.get(LIKE),
        post.get("accepted_answer") or None,
    )
