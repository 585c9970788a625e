"""The markup of discussion sites, of trackers and of mailing lists: one row each, see `platforms`."""

from __future__ import annotations

from pipeline.extract.threads.markup import Parts, Platform

SITES = (
    Platform(
        "tieba", "l_post d_post_content",
        Parts(".l_post", ".d_post_content", ".d_name a, .p_author_name", ".tail-info, .p_tail li span"),
        Parts(".lzl_single_post", ".lzl_content_main", ".at, .lzl_p_p + a", ".lzl_time"),
        title=".core_title_txt, h1, h3.core_title_txt", alone=True,
    ),
    Platform(
        "v2ex", "topic_content reply_content",
        Parts(
            ".cell[id^=r_], .box:has(.topic_content)", ".topic_content, .reply_content",
            "strong a[href^='/member/'], .header small a[href^='/member/']",
            ".ago, .header small span[title], .header small", ".small.fade",
        ),
        title=".header h1, h1", alone=True,
    ),
    Platform(
        "csdn", "mod_topic_wrap post_body",
        Parts(
            ".mod_topic_wrap.post", ".post_body", ".nick_name, [username], .user_nick_name",
            ".date_time, .time",
        ),
        title=".bbs_title_h, .title, h1", quote="fieldset", noise=".post_body div[data-pid]",
    ),
    Platform(
        "tianya", "atl-item bbs-content",
        Parts(
            ".atl-item, .atl-main > .host-item", ".bbs-content", ".atl-info a, .host-ico + a",
            ".atl-info span + span, .atl-info",
        ),
        title=".atl-title, h1", noise=".atl-reply",
    ),
    Platform(
        "douban", "topic-doc topic-reply",
        Parts(
            ".topic-content, .comment-item",
            ".topic-richtext, .topic-doc .topic-content, .reply-content, .reply-doc > p",
            ".from a, .bg-img-green a, h4 a", ".create-time, .pubtime", ".comment-vote",
        ),
        title="#content > h1, h1", quote=".reply-quote",
    ),
    Platform(  # old.reddit.com
        "reddit", "usertext-body",
        Parts(
            ".thing:not([data-author=AutoModerator])", ".usertext-body .md", ".tagline .author",
            ".tagline time[datetime]", ".score.unvoted, .score",
        ),
        title="a.title", quote="blockquote", alone=True,
    ),
    Platform(  # since 2023
        "reddit", "shreddit-subreddit-icon__icon subreddit-name md",
        Parts(
            ":not(article) > shreddit-post, shreddit-comment:not([author=AutoModerator])",
            "[slot=text-body] .md, [slot=comment], [property='schema:articleBody']", "",
            "time[datetime], faceplate-timeago[ts]",
        ),
        title="h1[slot=title], h1", quote="blockquote", alone=True,
    ),
    Platform(  # of 2018 to 2023
        "reddit", "richtextjson-root",
        Parts(
            "[data-testid=post-container], .Comment",
            "[data-click-id=text] .RichTextJSON-root, [data-testid=comment]",
            "[data-testid=comment_author_link], [data-testid=post_author_link]",
            "[data-testid=comment_timestamp], [data-testid=post_timestamp]", "[id^=vote-arrows]",
        ),
        title="[data-test-id=post-content] h1, h1", quote="blockquote",
    ),
    Platform(
        "hackernews", "commtext toptext",
        Parts("table.fatitem, tr.comtr", ".toptext, .commtext", ".hnuser", ".age", ".score"),
        title=".fatitem .titleline > a, .fatitem a.storylink, .fatitem td.title a", noise=".reply",
        alone=True,
    ),
    Platform(
        "lobsters", "comments_subtree",
        Parts(
            ".story, div.comment", ".story_text, .comment_text",
            ".byline .u-author, .byline a[href*='/~'], .byline a[href*='/u/']",
            ".byline time, .byline [title]", ".upvoter, .score",
        ),
        title=".story .u-url, .story .link a", quote="blockquote",
    ),
    Platform(
        "lemmy", "comment-node post-container",
        Parts(
            ".post-container, .post, .comment-node",
            "#postContent .md-div, .post-container .md-div, .comment-content .md-div", ".person-listing",
            ".moment-time", ".post-score, .unselectable span",
        ),
        title=".post-title h1, .post-title, h1", quote="blockquote", noise=".visually-hidden",
    ),
    Platform(
        "slashdot", "commentbody fhitem-story",
        Parts(
            "body:has(.commentBody) .fhitem-story, .cw", "[id^=fhbody] .p, .commentBody > div",
            ".story-byline a, .by a", ".story-byline time, .otherdetails", ".score .opt + *, .score",
        ),
        title=".story-title, h2.story",
    ),
    Platform(
        "github", "timeline-comment react-issue-body js-comment-body",
        Parts(
            ".timeline-comment:not(.gist-content *), .js-comment:not(.gist-content *), "
            "[data-testid=issue-viewer-issue-container], [data-testid^=comment-viewer-outer-box], "
            ".react-issue-comment",
            ".comment-body, .markdown-body:not(.comment-body)",
            ".timeline-comment-header .author, a.author, [data-testid=issue-body-header-author], "
            "[data-testid=avatar-link]",
            "relative-time[datetime], time-ago[datetime]",
        ),
        title=".js-issue-title, [data-testid=issue-title], h1", quote=".email-hidden-reply",
        noise=".email-hidden-toggle, .email-signature-reply, .js-minimize-comment",
        accepted=".js-discussions-marked-answer, [data-discussion-answer]", alone=True,
    ),
    Platform(
        "gitlab", "note-text timeline-entry note-body",
        Parts(
            ".issuable-details .detail-page-description, .detail-page-description, .work-item-description, "
            ".timeline-entry.note, li.note",
            ".description .md, .note-text.md, .note-text, .note-body .md",
            ".note-header-author-name, .author-name-link, .author", "time[datetime]",
        ),
        title=".detail-page-description h1, h1.title, h1",
        noise=".edited-text, .note-headline-light .system-note-message",
    ),
    Platform(
        "gitea", "timeline-item comment-container",
        Parts(
            ".timeline-item.comment", ".render-content", ".comment-header a.author, a.author",
            "relative-time[datetime], time[datetime]",
        ),
        title="#issue-title, #issue-title-display h1, h1",
    ),
    Platform(
        "bugzilla", "bz_comment_text",
        Parts(
            ".bz_comment", ".bz_comment_text", ".bz_comment_user .fn, .bz_comment_user", ".bz_comment_time",
        ),
        title="#short_desc_nonedit_display, #field-value-short_desc, h1", alone=True,
    ),
    Platform(
        "google groups", "",
        Parts("section[data-author]", "html-blob", "h3", "[data-date], span[title], h3 + div span"),
        title="html-c-wiz h1, h1", quote=".gmail_quote", noise=".gmail_signature", mention="groups.google.",
    ),
    Platform(
        "hyperkitty", "email-body",
        Parts(
            "div.email", ".email-body", ".email-author .name, .email-author a",
            ".email-date [title], .email-date, .time", ".votes-like, .vote .badge",
        ),
        title=".thread-header h1, h1, h3", quote=".quoted-text, .quoted-switch + .quoted-text",
        noise=".quoted-switch, .email-signature",
    ),
    Platform(
        "4chan", "postmessage nameblock",
        Parts(".postContainer", ".postMessage", ".nameBlock .name", ".dateTime"),
        title=".postInfo .subject", noise=".postInfoM",
    ),
    Platform(
        "steam", "commentthread_comment forum_op",
        Parts(
            ".forum_op, .commentthread_comment", ".forum_op > .content, .commentthread_comment_text",
            ".forum_op_author, .commentthread_author_link", ".date, .commentthread_comment_timestamp",
        ),
        title=".forum_op .topic, .topic", quote=".bb_blockquote",
    ),
    Platform(
        "gamefaqs", "msg_text msg_body",
        Parts("td.msg", ".msg_text, .msg_body:not(:has(.msg_text))", ".user .name, .name", ".post_time"),
        title="h1.page-title, h1", quote="blockquote", noise=".signature, .msg_deleted",
    ),
)  # fmt: skip
