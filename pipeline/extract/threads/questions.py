"""The markup of sites of questions and answers: one row each, see `platforms`."""

from __future__ import annotations

from pipeline.extract.threads.markup import Parts, Platform

QUESTION_SITES = (
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
        "quora", "spacing_log_answer_content",
        Parts(
            "[class*=dom_annotate_question_answer_item], .Answer, "
            ".q-box:has(> div > div > div .spacing_log_answer_content), .q-box:has(> .question_details)",
            ".spacing_log_answer_content, .question_details", "a[href*='/profile/']",
            "a.answer_timestamp, .answer_permalink",
        ),
        title=".puppeteer_test_question_title, h1",
        noise=".q-box:has(+ .qu-display--none), .puppeteer_test_read_more_button",  # the same, cut short
        alone=True,
    ),
    Platform(  # of 2012 to 2019
        "quora", "ui_qtext_rendered_qtext inline_answer_content",
        Parts(
            ".Answer, .pagedlist_item, .AnswerBase", ".ui_qtext_rendered_qtext, .inline_answer_content",
            "a.user, .author_info .user", ".answer_permalink, .credibility_fact a",
        ),
        title="h1",
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
)  # fmt: skip
