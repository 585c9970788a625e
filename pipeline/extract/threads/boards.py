"""The markup of forum programs that anybody may install: one row each, see `platforms`."""

from __future__ import annotations

from pipeline.extract.threads.markup import Parts, Platform

# What a program wrote about a page that a post links to, but for its title and code.
ONEBOX = "aside.onebox .source, aside.onebox p, .onebox .github-info, .onebox .branches, .onebox .labels"

BOARDS = (
    Platform(
        "discourse", "crawler-post",
        Parts(
            "div.crawler-post", "div.post[itemprop], div.post", ".creator [itemprop=name], .creator",
            "time[datetime]", "[itemprop=interactionStatistic] .post-likes, .post-likes",
        ),
        title="#topic-title h1, h1", quote="aside.quote",
        noise=".lightbox-wrapper .meta, .badge-notification.clicks, " + ONEBOX,
        accepted="[itemprop=acceptedAnswer], .accepted-answer", alone=True,
    ),
    Platform(
        "discourse", "topic-post cooked",
        Parts(
            ".topic-post, article[data-post-id]", ".cooked", ".names .username, .names a, .username",
            ".post-date [data-time], .post-date time", ".like-count",
        ),
        title="#topic-title h1", quote="aside.quote",
        noise=".lightbox-wrapper .meta, .badge-notification.clicks, .quote-controls, .cooked-selection-barrier, "
        + ONEBOX,
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
        quote="blockquote", noise=".post-signature, [component='post/parent']", accepted=".isSolved, .post-is-solved",
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
)  # fmt: skip
