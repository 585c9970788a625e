"""The markup of forum programs, question sites and discussion pages: one row each, as CSS selectors.

`threads` reads posts by it. A row is tried when the page uses one of its marks as a class; the first row that
finds two posts wins.
"""

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


PLATFORMS = (
    Platform(
        "stackexchange", "js-post-body post-text s-prose",
        Parts(
            "div.question, div.answer", "div.js-post-body, div.post-text, div.s-prose:not(.js-post-body)",
            ".post-signature:last-child .user-details a, .user-details a, .user-details",
            "time[itemprop=dateCreated], .post-signature:last-child .relativetime, "
            ".user-action-time .relativetime",
            ".js-vote-count, .vote-count-post",
        ),
        Parts(
            ".comment, li, [itemtype$='schema.org/Comment']",
            ".comment-copy, [itemtype$='schema.org/Comment'] [itemprop=text]",
            ".comment-user, [itemprop=author] [itemprop=name], [itemprop=author], a[href*='/users/']",
            ".comment-date [title], time[datetime], .comment-date", ".comment-score, [itemprop=upvoteCount]",
        ),
        title="#question-header h1, #question-header",
        noise=".js-post-notice, .question-status, .post-notice", answer=".answer",
        accepted=".accepted-answer, .vote-accepted-on", alone=True,
    ),
    Platform(
        "discourse", "crawler-post",
        Parts(
            "div.crawler-post", "div.post[itemprop], div.post", ".creator [itemprop=name], .creator",
            "time[datetime]", "[itemprop=interactionStatistic] .post-likes, .post-likes",
        ),
        title="#topic-title h1, h1", quote="aside.quote",
        noise=".lightbox-wrapper .meta, .badge-notification.clicks",
        accepted="[itemprop=acceptedAnswer], .accepted-answer", alone=True,
    ),
    Platform(
        "discourse", "topic-post cooked",
        Parts(
            ".topic-post, article[data-post-id]", ".cooked", ".names .username, .names a, .username",
            ".post-date [data-time], .post-date time", ".like-count",
        ),
        title="#topic-title h1", quote="aside.quote",
        noise=".lightbox-wrapper .meta, .badge-notification.clicks, .quote-controls, .cooked-selection-barrier",
        accepted=".accepted-answer, .post--accepted", alone=True,
    ),
    Platform(  # of 2013 to 2015, for crawlers
        "discourse", "creator",
        Parts(
            "[itemtype$='schema.org/Article']", "div.post[itemprop=articleBody]",
            ".creator [itemprop=author]", ".creator [itemprop=datePublished]",
        ),
        quote="aside.quote",
    ),
    Platform(
        "xenforo", "bbwrapper messagetext",
        Parts(
            "article.message, div.message, li.message, div.MessageCard",
            "div.bbWrapper, blockquote.messageText",
            ".message-name, .MessageCard__user-info__name, .username",
            ".message-attribution time[datetime], time.u-dt, time[datetime], .messageMeta .DateTime, "
            ".DateTime",
            ".contentVote-score, .js-voteCount",
        ),
        title="h1.p-title-value, .titleBar h1, h1",
        quote="blockquote.bbCodeBlock--quote, .bbCodeBlock--quote, .bbCodeQuote",
        noise=".message-signature, .signature, .message-lastEdit, .editDate, .bbCodeBlock-expandLink, "
        ".js-selectToQuoteEnd, .message-notices, .messageNotices, .samCodeUnit, .js-unfurl-desc, "
        ".js-unfurl-favicon",
        accepted=".message--solution, .is-solution, .message-cell--solution", alone=True,
    ),
    Platform(
        "phpbb", "postprofile postbody post_content",
        Parts(
            "div.post:not(.search)", ".postbody .content, .post_content .content",
            ".postprofile .username, .postprofile .username-coloured, .author .username, "
            ".author .username-coloured, .author strong, .thread-user-name, .postprofile dt a",
            ".author time, .posttime .timespan, .posttime, .author",
        ),
        title="h2.topic-title, .topic-title, h2, h1", quote="blockquote:has(cite), blockquote.uncited",
        noise=".signature, .notice, .attachbox .stats, .codebox > p", alone=True,
    ),
    Platform(  # subsilver2
        "phpbb", "postauthor",
        Parts("table.tablebg", "div.postbody", ".postauthor", "td.gensmall, .gensmall"),
        title="#pageheader h2, h2", quote="div.quotetitle, div.quotecontent", noise=".signature, .codetitle",
    ),
    Platform(  # 2.x
        "phpbb", "forumline",
        Parts("table.forumline > tbody > tr", "td:has(> span.postbody)", "span.name", "td > .postdetails"),
        title="a.maintitle, .maintitle", quote="table:has(> tbody > tr > td.quote)", noise=".gensmall",
    ),
    Platform(
        "vbulletin", "bigusername postcontent postbit postbitlegacy usertitle",
        Parts(
            "table[id^=post], li[id^=post], div[id^=post]:not([id^=post_message_]):not(#posts)",
            "[id^=post_message_]", ".bigusername, a.username, .username",
            ".postdate .date, .postdate, td.thead, .thead, .trow",
        ),
        title=".threadtitle, .navbar strong, h1",
        quote=".bbcode_container:has(> .bbcode_quote), .bbcode_quote, "
        "div:has(> .smallfont + table td.alt2 > div > strong)",
        noise=".signature, .lastedited, .postfoot, .after_content", alone=True,
    ),
    Platform(
        "vbulletin", "js-post__content-text b-post__content",
        Parts(
            ".b-post", ".js-post__content-text", ".author a, .author", ".b-post__timestamp time, time",
            ".js-post__vote-count",
        ),
        title=".js-main-title, h1", quote=".bbcode_container:has(> .bbcode_quote)",
        noise=".js-post__signature, .b-post__edit-details", alone=True,
    ),
    Platform(
        "invision", "ipsentry ipscomment ipscomment_content",
        Parts(
            "article.ipsEntry, article.ipsComment, div.ipsComment, article.cPost",
            "[data-role=commentContent]",
            ".ipsEntry__username a, .cAuthorPane_author a, .ipsComment_author a, .ipsEntry__username, "
            ".cAuthorPane_author",
            "time[datetime]", ".ipsAnswer_rating, .cAnswerRate [data-role=voteCount]",
        ),
        title="h1.ipsType_pageTitle, h1.ipsPageHeader__title, h1",
        quote="blockquote.ipsQuote, blockquote[data-ipsquote]",
        noise="[data-excludequote], [data-role=memberSignature], .ipsEntry__signature, .ipsQuote_citation, "
        "[data-role=recommendedComments], .ipsTopicMeta, #elTopicActivitySummary",
        accepted=".ipsComment_solved, .ipsBadge--solution, .cAnswerBest", alone=True,
    ),
    Platform(
        "invision", "post_block",
        Parts(
            "div.post_block", ".entry-content", ".author [itemprop=name], .author, .post_username",
            "abbr.published, .published",
        ),
        title="h1.ipsType_pagetitle, h1", quote="p.citation, blockquote.ipsBlockquote",
        noise=".signature, .edit", alone=True,
    ),
    Platform(
        "simplemachines", "post_wrapper windowbg",
        Parts(
            "div:has(> .post_wrapper), .post_wrapper", "div.post .inner, div.inner[id^=msg_]", ".poster h4",
            ".postinfo a.smalltext, .keyinfo .smalltext, .postinfo",
        ),
        title=".display_title, #forumposts .catbg, #forumposts h3, h1",
        quote=".quoteheader, .bbc_standard_quote, .bbc_alternate_quote",
        noise=".signature, .modified, .quotefooter, .codeheader", alone=True,
    ),
    Platform(  # 1.x
        "simplemachines", "windowbg titlebg",
        Parts("td.windowbg, td.windowbg2", "div.post", "b > a[href*='action=profile'], b", "div.smalltext"),
        title="[id^=subject_], h1", quote=".quoteheader, .quote", noise=".signature, .codeheader",
    ),
    Platform(
        "mybb", "author_information post_author",
        Parts(
            "div.post:has(.author_information), table.tborder:has(.post_author), div.post:has(.post_author)",
            ".post_body", ".author_information a, .author_information .largetext, .post_author .largetext",
            ".post_date, .smalltext",
        ),
        title="h1, .thead strong", quote="blockquote.mycode_quote, blockquote:has(> cite)",
        noise=".signature, .post_edit, .edited_post", alone=True,
    ),
    Platform(
        "vanilla", "itemdiscussion itemcomment",
        Parts(
            ".ItemDiscussion, .ItemComment", ".Message", "a.Username, .Author a, .Author", "time[datetime]",
            ".Reaction .Count",
        ),
        title=".PageTitle h1, h1", quote="blockquote.Quote, blockquote.UserQuote, .QuoteText, .js-quoteEmbed",
        noise=".Signature, .DateUpdated", accepted=".Accepted, .QnA-Item-Accepted", alone=True,
    ),
    Platform(
        "flarum", "postuser-name post-body",
        Parts(
            "article:has(.PostUser-name), .Post:has(.PostUser-name)", ".Post-body",
            ".PostUser-name .username, .PostUser-name", "time[datetime]",
        ),
        title=".DiscussionHero-title, h1",
        quote="blockquote.uncited, blockquote:has(> cite), blockquote:has(.PostMention)",
        accepted=".item-bestAnswer", alone=True,
    ),
    Platform(
        "kunena", "kmsg kmsgtext kmessage",
        Parts(
            ".row.message, .kmessage:not(.message .kmessage), table:has(.kmsgtext), .kpost",
            ".kmsgtext, .horizontal-message-text, div.kmsg:not(.kblock)",
            ".kpost-username, .profile-username, [class*=kwho]",
            ".kmsgdate, .kdate, [data-original-title], time",
        ),
        title="h1, h2.kheader, .kheader h2", quote=".kmsgtext-quote, blockquote:has(> .kmsgtext-quote)",
        noise=".kmsgsignature, .ksig",
    ),
    Platform(
        "nodebb", "posts-container topic-owner-post post-container timeago",
        Parts(
            "[component=post]", "[component='post/content']",
            "[data-username], [itemprop=author] [itemprop=name]", "meta[itemprop=datePublished], .timeago",
            "[component='post/vote-count']",
        ),
        title="[component='topic/title'], [component='post/header'] h1, h1",
        noise=".post-signature, [component='post/parent']", accepted=".isSolved, .post-is-solved",
        alone=True,
    ),
    Platform(
        "bbpress", "bbp-reply-content bbp-topic-content",
        Parts(
            "div.reply, div.topic, div.hentry:has(> .bbp-reply-content)",
            ".bbp-reply-content, .bbp-topic-content", ".bbp-author-name",
            ".bbp-reply-post-date, .bbp-topic-post-date",
        ),
        noise=".bbp-signature, .bbp-reply-revision-log, .bbp-topic-revision-log, .bbp-attachments h6",
    ),
    Platform(
        "drupal", "node-forum node--type-forum comment-forum forum-post comment-node-forum",
        Parts(
            ".node-forum, .node--type-forum, .forum-post, .comment",
            ".forum-post-content, .field-name-body, .field--name-body, .field-name-comment-body, "
            ".field--name-comment-body, .comment > .content, .node-forum > .content",
            ".author-name, .forum-post-author, .username",
            ".forum-posted-on, time[datetime], .submitted, .comment__submitted, .node__submitted",
        ),
        noise=".user-signature, .forum-post-signature, .links",
    ),
    Platform(
        "fluxbb", "blockpost postmsg",
        Parts("div.blockpost", ".postmsg", ".postleft dt strong, .postleft dt", "h2 a, h2"),
        title=".crumbs strong, h1", quote=".quotebox", noise=".postsignature, .postedit", alone=True,
    ),
    Platform(
        "punbb", "posthead",
        Parts(
            "div.post:has(.posthead)", ".entry-content", ".post-byline strong, .post-byline",
            ".post-link, .posthead",
        ),
        title=".main-title, h1", quote=".quotebox", noise=".sig-content, .sig-line, .post-edit",
    ),
    Platform(
        "discuz", "t_f t_msgfont t_fsz",
        Parts(
            "table[id^=pid], div[id^=post_], table:has(> tbody > tr > td .authi)", "[id^=postmessage_]",
            ".authi a.xw1, .authi a, .postauthor cite a",
            "em[id^=authorposton], .authorinfo em, .postinfo em",
        ),
        title="#thread_subject, h1", quote="div.quote",
        noise="i.pstatus, .sign, .aimg_tip, .tip, .locked, .jammer", alone=True,
    ),
    Platform(
        "phpwind", "tpc_content f14 readbot",
        Parts(
            ".read_t, .readfloor, table.floot", ".tpc_content, [id^=read_tpc], [id^=read_]",
            ".readname a, .readName, .r_user a", ".tipTop span, .floot_date, .gray",
        ),
        title="#subject_tpc, h1", quote=".blockquote3, .quote", noise=".signature, .readSign",
    ),
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
        "zhihu", "answeritem questionheader",
        Parts(
            ".QuestionHeader, .AnswerItem",
            ".QuestionRichText .RichText, .RichContent-inner .RichText, .RichContent-inner",
            ".AuthorInfo meta[itemprop=name], .AuthorInfo-name",
            "meta[itemprop=dateCreated], .ContentItem-time", "meta[itemprop=upvoteCount], .VoteButton--up",
        ),
        title="h1.QuestionHeader-title", noise=".RichContent-actions", answer=".AnswerItem",
    ),
    Platform(  # of 2011 to 2017
        "zhihu", "zm-item-answer",
        Parts(
            "#zh-question-detail, .zm-item-answer", ".zm-editable-content",
            ".author-link, .zm-item-answer-author-info", ".answer-date-link", ".zm-item-vote-count, .count",
        ),
        title="h2.zm-item-title, .zm-item-title", answer=".zm-item-answer",
    ),
    Platform(
        "zhidao", "best-text answer-text wgt-ask",
        Parts(
            ".wgt-ask, .wgt-best, .answer, .bd.answer",
            ".q-content, .conReal, [id^=best-content-], [id^=answer-content-]",
            ".wgt-replyer-all-uname, .replyer-name, .user-name",
            ".wgt-replyer-all-time, .reply-time, .ask-time", ".evaluate-num",
        ),
        title=".ask-title, h1",
        noise=".wgt-best-showbtn, .wgt-answers-showbtn, .wgt-best-mask, .wgt-answers-mask",
        answer=".answer, .wgt-best", accepted=".wgt-best, .best-text", alone=True,
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
        "naver", "answer-content__item c-heading__content questiondetail",
        Parts(
            ".question-content, .answer-content__item, .contentArea > .question",
            ".c-heading__content, .questionDetail, .answerDetail, .se-main-container, ._endContentsText",
            ".c-userinfo-answer .name, .name_area .name, .c-userinfo__author",
            ".c-userinfo__info, .answerDate, .c-heading-answer__content-date", "._goodRateCount",
        ),
        title=".c-heading__title .title, .endTitleSection, h1", answer=".answer-content__item",
        accepted=".checkText, .adoptCheck, .badge_adopt",
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
    Platform(
        "quora", "spacing_log_answer_content",
        Parts(
            "[class*=dom_annotate_question_answer_item], .Answer, "
            ".q-box:has(> div > div > div .spacing_log_answer_content)",
            ".spacing_log_answer_content", "a[href*='/profile/']", "a.answer_timestamp, .answer_permalink",
        ),
        title=".puppeteer_test_question_title, h1", alone=True,
    ),
    Platform(  # of 2012 to 2019
        "quora", "ui_qtext_rendered_qtext inline_answer_content",
        Parts(
            ".Answer, .pagedlist_item, .AnswerBase", ".ui_qtext_rendered_qtext, .inline_answer_content",
            "a.user, .author_info .user", ".answer_permalink, .credibility_fact a",
        ),
        title="h1",
    ),
    Platform(  # old.reddit.com
        "reddit", "usertext-body",
        Parts(
            ".comments-page .thing, .thing.comment", ".usertext-body .md", ".tagline .author",
            ".tagline time[datetime]", ".score.unvoted, .score",
        ),
        title="a.title", alone=True,
    ),
    Platform(  # since 2023
        "reddit", "shreddit-subreddit-icon__icon subreddit-name md",
        Parts(
            ":not(article) > shreddit-post, shreddit-comment",
            "[slot=text-body] .md, [slot=comment], [property='schema:articleBody']", "",
            "time[datetime], faceplate-timeago[ts]",
        ),
        title="h1[slot=title], h1", alone=True,
    ),
    Platform(  # of 2018 to 2023
        "reddit", "richtextjson-root",
        Parts(
            "[data-testid=post-container], .Comment",
            "[data-click-id=text] .RichTextJSON-root, [data-testid=comment]",
            "[data-testid=comment_author_link], [data-testid=post_author_link]",
            "[data-testid=comment_timestamp], [data-testid=post_timestamp]", "[id^=vote-arrows]",
        ),
        title="[data-test-id=post-content] h1, h1",
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
        title=".story .u-url, .story .link a",
    ),
    Platform(
        "lemmy", "comment-node post-container",
        Parts(
            ".post-container, .post, .comment-node",
            "#postContent .md-div, .post-container .md-div, .comment-content .md-div", ".person-listing",
            ".moment-time", ".post-score, .unselectable span",
        ),
        title=".post-title h1, .post-title, h1", noise=".visually-hidden",
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
        "khoros", "lia-message-body-content",
        Parts(
            ".lia-message-view-wrapper, .lia-message-view, .lia-quilt-forum-message, "
            "[class*=lia-component-message-view-widget-reply-list-item], .lia-panel-message",
            ".lia-message-body-content", ".lia-user-name-link, .UserName a",
            ".DateTime, .local-date, .lia-message-posted-on", ".kudos-count-item, .MessageKudosCount",
        ),
        title="h1.lia-message-subject, .lia-message-subject, h1", quote="blockquote:has(> hr)",
        noise=".lia-message-signature, .lia-rating, .lia-message-edited, .lia-message-metoo",
        accepted=".lia-accepted-solution, .lia-component-solution-info", alone=True,
    ),
    Platform(
        "woltlab", "messagetext wbbpost",
        Parts(
            "article.message, .wbbPost", ".messageText, .messageBody > div",
            ".messageHeader .username, .userLink, .username", "time.datetime, time[datetime]",
        ),
        title="h1.contentTitle, h1", quote="blockquote.quoteBox",
        noise=".messageSignature, .messageFooterNote",
    ),
    Platform(
        "ubb.threads", "post_inner t_outer",
        Parts(
            "table.t_outer, .post_inner, tr:has([id^=body])", "[id^=body]:not(body)",
            ".author-name, .username, .bold a[href*=profile]", ".date, .post-date",
        ),
        quote=".ubbcode-block", noise=".signature",
    ),
    Platform(
        "jforum", "postitem",
        Parts(".postItem", ".postText", ".name", ".postdate, [title]"),
        title=".topicTitle, h1, h2", quote=".quote, cite + blockquote",
        noise=".signature, .postSignature, .postButtonsToolbar",
    ),
    Platform(
        "question2answer", "qa-q-view qa-a-list-item",
        Parts(
            ".qa-q-view, .qa-a-list-item", ".qa-q-view-content, .qa-a-item-content",
            ".qa-q-view-who-data, .qa-a-item-who-data",
            ".qa-q-view-when-data time, .qa-a-item-when-data time, .qa-q-view-when-data, "
            ".qa-a-item-when-data",
            ".qa-netvote-count-data",
        ),
        Parts(
            ".qa-c-list-item", ".qa-c-item-content", ".qa-c-item-who-data",
            ".qa-c-item-when-data time, .qa-c-item-when-data", ".qa-netvote-count-data",
        ),
        answer=".qa-a-list-item", accepted=".qa-a-list-item-selected, .qa-a-selected", alone=True,
    ),
    Platform(
        "askbot", "js-question answer-body question-body",
        Parts(
            ".question, .js-question, .answer",
            ".post-content .js-editable-body, .question-body, .answer-body", ".user-info a, .js-user-link",
            ".timeago, abbr[title]", ".vote-number, .js-score",
        ),
        Parts(
            ".comment", ".comment-body, .js-comment-body", ".author", ".age, abbr[title]",
            noise=".author, .age, abbr[title], .edit, .convert-comment",
        ),
        noise=".post-update-info-container", answer=".answer", accepted=".accepted-answer",
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
    Platform(
        "schema.org", "",
        Parts(
            "[itemtype$='schema.org/Question'], [itemtype$='schema.org/Answer'], "
            "[itemtype$='schema.org/DiscussionForumPosting'], [itemtype$='schema.org/Comment']",
            "[itemprop=text], [itemprop=articleBody]", "[itemprop=author] [itemprop=name], [itemprop=author]",
            "[itemprop=dateCreated], [itemprop=datePublished], time[datetime]", "[itemprop=upvoteCount]",
        ),
        quote="blockquote:has(> cite)", noise=".signature", answer="[itemtype$='Answer']",
        accepted="[itemprop=acceptedAnswer]",
    ),
)  # fmt: skip
