"""Threads: real ones by silver truth from their markup, and written ones of which everything is known."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from benchmarks.extraction_html_parts import measures
from benchmarks.extraction_html_parts.general import wcxb_pages
from benchmarks.extraction_html_parts.measures import mean
from benchmarks.extraction_html_parts.report import Row, Run, console
from benchmarks.extraction_html_parts.silver_posts import SilverPost, silver_posts
from benchmarks.extraction_html_parts.tools import Page
from benchmarks.extraction_html_parts.written_threads import UNNAMED_ASKER, Truth, written_threads


def threads(run: Run) -> list[Row]:
    """Posts and comments kept on forum pages, by silver truth from their markup; mean over pages."""
    found = [
        (page, *silver_posts(page.payload))
        for page in wcxb_pages(run.options.wcxb)
        if page.truth["page_type"] == "forum"
    ]
    unknown = [page.name for page, name, _ in found if not name]
    pages = run.sample(
        [Page(page.name, page.payload, page.url, (name, posts)) for page, name, posts in found if name]
    )
    comments = sum(len(post.comments) for page in pages for post in page.truth[1])
    console.print(
        f"{len(pages)} threads, {sum(len(page.truth[1]) for page in pages)} posts, {comments} comments; "
        f"of no platform known here: {', '.join(unknown) or 'none'}",
        markup=False,
    )
    known = f"{len(found) - len(unknown)} of {len(found)} pages"
    kept_posts, kept_comments = f"posts kept, real threads ({known})", "comments kept, real threads"
    rows = {
        label: Row(label, {}, target)
        for label, target in (
            (kept_posts, 0.97),
            (kept_comments, 0.97),
            ("posts in the column `posts`", None),
            ("comments in the column", None),
            ("authors right, of posts in the column", None),
        )
    }
    platforms = Counter(page.truth[0] for page in pages)
    for tool in run.tools:
        means: dict[str, list[float]] = defaultdict(list)
        for page, answer in zip(pages, tool.answers(pages), strict=True):
            platform, posts = page.truth
            had = set(measures.shingles(answer.text))
            kept = [measures.is_kept(post.text, had, answer.text) for post in posts]
            said = [measures.is_kept(one, had, answer.text) for post in posts for one in post.comments]
            means[kept_posts].append(mean(kept))
            means[f"posts kept: {platform} ({platforms[platform]})"].append(mean(kept))
            if said:
                means[kept_comments].append(mean(said))
            lost = [post.text[:60] for post, there in zip(posts, kept, strict=True) if not there]
            what = f"{platform}: {answer.failed} lost {len(lost)} of {len(posts)} posts, {said.count(False)} of {len(said)} comments; {lost[:2]!r}"
            run.note("threads", tool, mean(kept + said), page, what)
            if tool.name == "ours":
                for label, value in _column(posts, answer.posts or []).items():
                    means[label].append(value)
        for label, values in means.items():
            rows.setdefault(label, Row(label, {})).values[tool.name] = mean(values)
    return list(rows.values())


def _column(posts: list[SilverPost], column: list[dict[str, Any]]) -> dict[str, float]:
    """Recall of posts and comments in the column `posts`, and of the authors of the posts found."""
    there = [(set(measures.shingles(row["text"])), row) for row in column]
    comments = [
        one["text"] if isinstance(one, dict) else one for row in column for one in row["comments"] or ()
    ]
    match = [
        next((row for had, row in there if measures.is_kept(post.text, had, row["text"])), None)
        for post in posts
    ]
    values = {"posts in the column `posts`": mean(row is not None for row in match)}
    if wanted := [comment for post in posts for comment in post.comments]:
        bags = [(set(measures.shingles(one)), one) for one in comments]
        values["comments in the column"] = mean(
            any(measures.is_kept(c, had, one) for had, one in bags) for c in wanted
        )
    if named := [
        (post.author, row["author"]) for post, row in zip(posts, match, strict=True) if row and post.author
    ]:
        values["authors right, of posts in the column"] = mean(a == b for a, b in named)
    return values


def written(run: Run) -> list[Row]:
    """Threads written for this, English and Chinese, in the markup of fifteen programs: everything of them is known."""
    pages = written_threads()
    if run.options.quick:
        pages = pages[::2]
    targets = {"posts kept, written threads": 0.97, "comments kept, written threads": 0.97}
    rows: dict[str, Row] = {}
    for tool in run.tools:
        means: dict[str, list[float]] = defaultdict(list)
        for page, answer in zip(pages, tool.answers(pages), strict=True):
            posts, had = page.truth.thread.posts, set(measures.shingles(answer.text))
            said = [comment for post in posts for comment in post.comments]
            kept = [measures.is_kept(post.text, had, answer.text) for post in posts]
            means["posts kept, written threads"].append(mean(kept))
            if said:
                means["comments kept, written threads"].append(
                    mean(measures.is_kept(one.text, had, answer.text) for one in said)
                )
            everything = "\n".join(
                [page.truth.thread.title, *(one.text for post in posts for one in (post, *post.comments))]
            )
            found = measures.overlap(measures.running_words(answer.text), measures.running_words(everything))
            means["words, precision"].append(found.precision)
            code = [
                "\n".join(line[4:] for line in part.split("\n"))
                for post in posts
                for part in post.text.split("\n\n")
                if part.startswith("    ")
            ]
            if code:
                means["code exact in a fence"].append(
                    mean(block.fenced for block in measures.code_kept(answer.text, code))
                )
            means[f"posts kept: {page.truth.platform}"].append(mean(kept))
            if tool.name == "ours":
                facts = _facts(page.truth, answer.posts or [])
                for label, value in facts.items():
                    means[f"column, {label}"].append(value)
                means[f"column, posts: {page.truth.platform}"].append(facts["posts"])
                what = f"{answer.failed} lost {kept.count(False)} of {len(kept)} posts; column: {', '.join(f'{k} {v:.2f}' for k, v in facts.items())}"
                run.note("written threads", tool, min(mean(kept), mean(facts.values())), page, what)
        for label, values in means.items():
            rows.setdefault(label, Row(label, {}, targets.get(label))).values[tool.name] = mean(values)
    return sorted(rows.values(), key=lambda row: ":" in row.measure)


def _facts(truth: Truth, column: list[dict[str, Any]]) -> dict[str, float]:
    """Shares of what is true of a thread that the column `posts` says; a post that is not there says nothing."""
    there = [(set(measures.shingles(row["text"])), row) for row in column]
    right: dict[str, list[bool]] = defaultdict(list)
    for post in truth.thread.posts:
        row: dict[str, Any] = next(
            (row for had, row in there if measures.is_kept(post.text, had, row["text"])), {}
        )
        question = post is truth.thread.posts[0]
        right["posts"].append(bool(row))
        if not (question and truth.platform in UNNAMED_ASKER):
            right["author"].append(row.get("author") == post.author)
            right["date"].append((row.get("date") or "")[:10] == post.date[:10])
        if "score" in truth.shows and post.score:
            right["score"].append(row.get("score") == post.score)
        if "accepted" in truth.shows and not question:
            right["accepted"].append(bool(row) and bool(row.get("accepted")) == post.accepted)
        comments = [one["text"] if isinstance(one, dict) else one for one in row.get("comments") or ()]
        for comment in post.comments:
            right["comments"].append(
                any(measures.is_kept(comment.text, set(measures.shingles(one)), one) for one in comments)
            )
    right["number of posts"].append(len(column) == len(truth.thread.posts))
    return {label: mean(values) for label, values in right.items()}
