"""What a thread page holds, read from its markup with the selectors of the forum programs: silver truth for recall.

Written apart from the extractor's own knowledge of forums, on lxml's tree instead of resiliparse's. A platform is a list
of CSS selectors: of posts, of the text within a post, of comments below one, and of what in a text is no part of it
(quotes of other posts, signatures, buttons). Who wrote a post and when is asked for where the program marks it clearly.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

from lxml import etree
from lxml import html as lxml_html


@dataclass(frozen=True)
class Platform:
    """Selectors; `text` is looked for within `post`, and the post itself is the text where it is ""."""

    post: str
    text: str = ""
    author: str = ""
    comment: str = ""


@dataclass(frozen=True)
class SilverPost:
    text: str
    author: str = ""
    comments: list[str] = field(default_factory=list)


PLATFORMS: dict[str, Platform] = {
    "StackExchange": Platform(
        "#question, div.answer[id^=answer-]",
        "div.js-post-body",
        "div.user-details[itemprop=author] a",
        "ul.comments-list span.comment-copy, div[id^=follow-up-] div.text",
    ),
    "Discourse": Platform("div.topic-body.crawler-post, article[data-post-id]", "div.post, div.cooked", "span.creator span[itemprop=name]"),
    "XenForo": Platform("article.message--post, article.message[data-content]", "article.message-body div.bbWrapper", "h4.message-name"),
    "XenForo 1": Platform("li.message[id^=post-]", "blockquote.messageText", "a.username"),
    "phpBB": Platform("div.post[id^=p]", "div.postbody div.content", "p.author strong"),
    "phpBB 2": Platform("table.tablebg span.postbody, td.row1 span.postbody, td.row2 span.postbody"),
    "Invision": Platform("article.ipsComment, article[data-ips-hook=postWrapper]", "div[data-role=commentContent]", ".ipsComment_author h3, .ipsEntry__username"),
    "vBulletin 3": Platform("div[id^=post_message_]"),
    "vBulletin 4": Platform("li.postcontainer", "blockquote.postcontent", "a.username"),
    "vBulletin 5": Platform("li.b-post", "div.js-post__content-text", "div.author a"),
    "MyBB": Platform("div.post[id^=post_]", "div.post_body", "span.largetext"),
    "FluxBB": Platform("div.blockpost", "div.postmsg", "div.postleft dt strong"),
    "SMF": Platform("div.post_wrapper", "div.inner", "div.poster h4 a"),
    "NodeBB": Platform("li[component=post]", "div[component='post/content']", "a[itemprop=author], a[data-username]"),
    "Vanilla": Platform("div.Discussion div.Item-Body, li.ItemComment div.Item-Body", "div.Message"),
    "Flarum": Platform("noscript#flarum-content article, #flarum-content div.container > div > div", "div.Post-body"),
    "Reddit": Platform("shreddit-post", "div[slot=text-body], h1", "", "shreddit-comment div[slot=comment]"),
    "Reddit (old)": Platform("#siteTable div.thing.link", "div.expando div.usertext-body, p.title > a", "a.author", "div.commentarea div.usertext-body"),
    "Hacker News": Platform("span.commtext, div.commtext"),
    "Lobsters": Platform("div.comment_text"),
    "Slashdot": Platform("div.commentBody div[id^=comment_body_]"),
    "Lemmy": Platform("article.comment-node div.md-div, div.post-listing div#postContent, div.comment div.md-div"),
    "Nairaland": Platform("td.pd div.narrow"),
    "bbPress": Platform("div.bbp-reply-content, div.bbp-topic-content"),
    "XenForo (VerticalScope)": Platform("article.message-body", "div.bbWrapper"),
    "JForum": Platform("div.postItem", "div.postText"),
    "GameFAQs": Platform("div.msg_body_box", "div.msg_text"),
    "TripAdvisor": Platform("div.postcontent", "div.postBody"),
    "The Student Room": Platform("div[id^=post-content]"),
    "Hoop.la": Platform("div.post-box-inner-body"),
    "Wall Street Oasis": Platform("div.comment-content"),
    "forum-post": Platform("div.forum-post", "div.forum-post-content", "span.forum-post-author"),
    "Quora": Platform("div.spacing_log_answer_content"),
    "Fine Woodworking": Platform("div.question__body, div.comments__list-item__text"),
    "Zhihu": Platform("div.List-item, div.AnswerCard", "div.RichContent-inner span.RichText", "meta[itemprop=name]"),
    "V2EX": Platform("div.topic_content, div.reply_content"),
    "Discuz": Platform("td.t_f"),
}  # fmt: skip
NO_PART = (
    "script, style, template, button, form, svg, blockquote.bbCodeBlock--quote, .bbCodeBlock--quote, .bbCodeBlock-expandLink, "
    "aside.quote, .signature, .js-selectToQuoteEnd, .attachbox, .inline-attachment, .quoteheader, .topslice_quote, blockquote.bbc_standard_quote, "
    "blockquote.ipsQuote, .ipsQuote, div.quotebox, blockquote.mycode_quote, .bbcode_container, .bbcode_quote, div.quote, blockquote.quote, "
    "div.quotetitle, div.quotecontent, .postlinkback, .message-lastEdit, .notice, .quote-controls, .meta, .lightbox-wrapper .meta, "
    ".bbp-reply-revision-log, .bbp-topic-revision-log, div.postedit, p.postedit, .s-notice, .onebox, .modified"
)


STEP = re.compile(r"(?P<tag>[\w-]*)(?P<rest>(?:[.#][\w-]+|\[[^\]]+\])*)")
CONDITION = re.compile(
    r"(?P<kind>[.#])(?P<name>[\w-]+)|\[(?P<key>[\w-]+)(?:(?P<how>\^?=)['\"]?(?P<value>[^'\"\]]*)['\"]?)?\]"
)


@functools.cache
def xpath(selectors: str) -> etree.XPath:
    """The CSS selectors used here (tag, class, id, attributes, descendants, children) as XPath, in document order.

    >>> xpath("div.post[id^=p] > a").path
    ".//div[contains(concat(' ', normalize-space(@class), ' '), ' post ')][starts-with(@id, 'p')]/a"
    """
    paths = []
    for selector in selectors.split(","):
        path, axis = ".", "//"
        for step in selector.split():
            if step == ">":
                axis = "/"
                continue
            found = STEP.fullmatch(step)
            if found is None:
                raise ValueError(f"the selector {step!r} is none of the kinds that are known here")
            path += (
                axis
                + (found["tag"] or "*")
                + "".join(_condition(m) for m in CONDITION.finditer(found["rest"]))
            )
            axis = "//"
        paths.append(path)
    return etree.XPath(" | ".join(paths))


def _condition(found: re.Match[str]) -> str:
    if found["kind"] == ".":
        return f"[contains(concat(' ', normalize-space(@class), ' '), ' {found['name']} ')]"
    if found["kind"] == "#":
        return f"[@id='{found['name']}']"
    if found["how"] is None:
        return f"[@{found['key']}]"
    return (
        f"[starts-with(@{found['key']}, '{found['value']}')]"
        if found["how"] == "^="
        else f"[@{found['key']}='{found['value']}']"
    )


def select(node: etree._Element, selectors: str) -> list[etree._Element]:
    return xpath(selectors)(node)


def silver_posts(payload: bytes) -> tuple[str, list[SilverPost]]:
    """The platform and posts of a page: of the first platform with two posts and comments together; ("", []) if none."""
    tree = lxml_html.fromstring(
        payload, parser=lxml_html.HTMLParser(encoding=_encoding(payload), huge_tree=True)
    )
    for name, platform in PLATFORMS.items():
        posts = _posts(tree, platform)
        if len(posts) + sum(len(post.comments) for post in posts) > 1:
            return name, posts
    return "", []


def _encoding(payload: bytes) -> str:
    try:
        payload.decode()
    except UnicodeDecodeError:
        found = re.search(rb"charset=[\"']?([\w-]+)", payload[:4000])
        return found[1].decode() if found else "latin-1"
    return "utf-8"


def _posts(tree: etree._Element, platform: Platform) -> list[SilverPost]:
    found = select(tree, platform.post)
    inside = set(found)
    posts = []
    for node in found:
        texts = select(node, platform.text) if platform.text else [node]
        texts = [text for text in texts if not platform.text or _nearest(text, inside) is node]
        if not texts or not (text := own_text(texts[0])):
            continue
        names = select(node, platform.author) if platform.author else []
        author = next(
            (" ".join(own.split()) for name in names if (own := name.get("content") or name.text_content())),
            "",
        )
        scope = tree if platform.comment.startswith(("shreddit", "div.commentarea")) else node
        comments = (
            [own for comment in select(scope, platform.comment) if (own := own_text(comment))]
            if platform.comment
            else []
        )
        posts.append(SilverPost(text, author, comments))
    return posts


def _nearest(node: etree._Element, posts: set[etree._Element]) -> etree._Element | None:
    return next((ancestor for ancestor in node.iterancestors() if ancestor in posts), None)


BLOCKS = frozenset(
    [
        "p",
        "div",
        "br",
        "li",
        "tr",
        "td",
        "th",
        "pre",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "ul",
        "ol",
        "table",
        "dd",
        "dt",
        "figure",
        "hr",
    ]
)


def own_text(node: etree._Element) -> str:
    """The text of a post without quotes, signatures and buttons; blocks end words."""
    gone = set(select(node, NO_PART))
    parts: list[str] = []

    def collect(element: etree._Element) -> None:
        if element in gone or not isinstance(element.tag, str):
            return
        block = element.tag in BLOCKS
        parts.append("\n" if block else "")
        parts.append(element.text or "")
        for child in element:
            collect(child)
            parts.append(child.tail or "")
        parts.append("\n" if block else "")

    collect(node)
    return "\n".join(" ".join(line.split()) for line in "".join(parts).split("\n") if line.strip())
