"""What a thread is: its posts in order, and the comments on them."""

from __future__ import annotations

from dataclasses import dataclass, field

from resiliparse.parse.html import ElementNode


@dataclass
class Comment:
    """What somebody remarks on a post. A body that is a string is HTML of its own."""

    body: ElementNode | str
    author: str | None = None
    date: str | None = None
    score: int | None = None


@dataclass
class Post:
    """One contribution to a thread. `accepted` is None where the platform or the page knows no such mark."""

    body: ElementNode | str
    author: str | None = None
    date: str | None = None
    score: int | None = None
    accepted: bool | None = None
    comments: tuple[Comment, ...] = ()


@dataclass
class Thread:
    """Posts in reading order, the opening post first. `title` is None where no heading says it."""

    title: str | None
    posts: list[Post] = field(default_factory=list)
    platform: str = ""
