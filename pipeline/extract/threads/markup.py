"""How the markup of a forum program is described: CSS selectors of its posts and of their parts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parts:
    """Selectors of one contribution: the box around all of it, and parts, which belong to the nearest box.

    `noise` of a comment is taken out of its body after author, date and score have been read.
    """

    box: str
    body: str
    author: str = ""
    date: str = ""
    score: str = ""
    noise: str = ""


@dataclass(frozen=True)
class Platform:
    """`quote` repeats earlier posts, `noise` is no part of a post, `answer` tells answers from the question.

    Of alternatives for author, date, score and title the first that finds something counts, in the order given.
    """

    name: str
    marks: str  # class names of which a page of this kind uses at least one, lower case
    post: Parts
    comment: Parts | None = None
    title: str = "h1, h2"
    quote: str = ""
    noise: str = ""
    answer: str = ""
    accepted: str = ""
    alone: bool = False  # whether one post suffices: the selectors are found nowhere else
    mention: str = ""  # or what the first lines of its source say, lower case, where no class tells
