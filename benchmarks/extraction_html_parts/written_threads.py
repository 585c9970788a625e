"""Threads written for this benchmark, English and Chinese, in the markup of the forum programs: everything about them is known.

The markup is that of the programs' own templates, shortened: header, navigation, side bar, user panes, buttons and footer
are there, style is not. Two kinds are of no known program: a list of `div`s and a table. What a program does not show
(scores on phpBB, say) is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import escape

from benchmarks.extraction_html_parts.tools import Page


@dataclass(frozen=True)
class Comment:
    author: str
    date: str
    text: str


@dataclass(frozen=True)
class Post:
    author: str
    date: str  # ISO 8601, to the second
    text: str  # paragraphs between empty lines; one that is indented is code
    score: int | None = None
    accepted: bool = False
    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True)
class Thread:
    title: str
    language: str
    posts: tuple[Post, ...]


@dataclass(frozen=True)
class Truth:
    """The thread as its page shows it, and which program wrote it."""

    platform: str
    thread: Thread
    shows: frozenset[str] = field(default_factory=frozenset)  # of score, accepted, comments


THREADS = (
    Thread("How do I count pairs with a given sum?", "en", (
        Post("marta_k", "2023-04-02T09:15:00Z", "I have a list of a million integers and a target, and I want the number of pairs that add up to it. My double loop does not finish.\n\n    for i in range(len(a)):\n        for j in range(i):\n            total += a[i] + a[j] == target\n\nIs there a way to do this in one pass over the list?", 17,
             comments=(Comment("oddly_even", "2023-04-02T09:21:00Z", "Are the integers distinct, or can the same value occur more than once?"), Comment("marta_k", "2023-04-02T09:30:00Z", "They can repeat, and a pair of equal values counts as well."))),
        Post("hashbrown", "2023-04-02T10:02:00Z", "Keep a dictionary of how often each value was seen. For every new value, add the count of target minus value, and then enter the value itself.\n\n    seen = Counter()\n    for x in a:\n        total += seen[target - x]\n        seen[x] += 1\n\nThis looks at every element once.", 42, True,
             (Comment("oddly_even", "2023-04-02T10:10:00Z", "Nice, and it handles repeated values without any special case."),)),
        Post("sortof", "2023-04-03T18:40:00Z", "If memory is tight, sort the list first and walk from both ends towards the middle. It is slower by a logarithm but needs no dictionary.", 5),
        Post("newcomer99", "2023-04-05T07:00:00Z", "Thanks, the dictionary version finished in under a second for me.", 0),
    )),
    Thread("Why is the harmonic series infinite although its terms vanish?", "en", (
        Post("curious cat", "2021-11-20T14:05:00Z", "The terms of the series get as small as you like, so I would expect the sum to settle down somewhere. What is the intuition behind the fact that it does not?", 8),
        Post("Prof. Bernoulli", "2021-11-20T15:30:00Z", "Group the terms: one half, then two terms of at least one quarter each, then four terms of at least one eighth each. Every group is at least one half, and there are infinitely many groups.\n\nSo the partial sums pass every bound, only very slowly.", 31, True,
             (Comment("curious cat", "2021-11-20T15:41:00Z", "That is a beautiful argument, thank you for writing it out."),)),
        Post("numerics_fan", "2021-11-21T08:12:00Z", "To see how slowly: after a million terms the sum is only a little more than fourteen.", 12),
    )),
    Thread("Squeaking noise from bottom bracket", "en", (
        Post("pedalpusher", "2022-06-11T19:22:00Z", "My touring bike started to squeak with every turn of the crank. It gets louder uphill and is silent when I stand still. What should I check first?"),
        Post("Old Spanner", "2022-06-11T20:05:00Z", "Check the pedals before you take anything apart. Nine times out of ten it is a dry pedal thread and not the bearing.\n\nGrease the thread, tighten it, and ride around the block."),
        Post("wheelie_good", "2022-06-12T06:48:00Z", "Mine turned out to be the seat post, of all things."),
        Post("pedalpusher", "2022-06-13T21:10:00Z", "It was the left pedal. Silent again after two minutes of work, many thanks to both of you!"),
    )),
    Thread("如何证明根号二是无理数?", "zh", (
        Post("小数点", "2022-03-08T12:00:00Z", "老师说可以用反证法来证明,但是我没有听懂为什么分子和分母都是偶数就产生了矛盾,请大家帮忙讲一下。", 23,
             comments=(Comment("路人甲", "2022-03-08T12:09:00Z", "关键在于一开始就假设分数已经约到最简。"), Comment("小数点", "2022-03-08T12:15:00Z", "原来如此,我忽略了最简分数这个条件。"))),
        Post("数学老王", "2022-03-08T13:20:00Z", "假设它等于一个最简分数,两边平方以后可以看出分子的平方是偶数,所以分子是偶数。\n\n再把分子写成某个整数的两倍代回去,又得到分母也是偶数,这与最简分数矛盾。", 56, True),
        Post("几何爱好者", "2022-03-09T09:45:00Z", "也可以用几何的办法:在等腰直角三角形里不断截取,会得到越来越小的整数边长,这是不可能的。", 9),
        Post("小数点", "2022-03-09T20:00:00Z", "两种方法我都看懂了,谢谢各位!", 1),
    )),
    Thread("Python 读取大文件时内存不足怎么办", "zh", (
        Post("写代码的猫", "2023-08-15T08:30:00Z", "我需要处理一个二十吉字节的日志文件,用下面的写法程序很快就把内存用完了。\n\n    with open('app.log') as f:\n        lines = f.readlines()\n\n有没有办法一边读一边处理?", 6),
        Post("后端小李", "2023-08-15T09:10:00Z", "直接对文件对象做循环就可以了,它每次只会把一行放进内存里。\n\n    with open('app.log') as f:\n        for line in f:\n            handle(line)\n\n如果每一行也很长,可以按固定大小分块读取。", 14, True,
             (Comment("写代码的猫", "2023-08-15T09:25:00Z", "改成这样以后内存一直保持在五十兆左右。"),)),
        Post("运维老张", "2023-08-16T10:00:00Z", "另外建议先用压缩格式保存日志,读的时候再解压,磁盘读写会少很多。", 3),
    )),
    Thread("周末去哪里爬山比较好", "zh", (
        Post("山里人", "2021-05-01T07:00:00Z", "想带家里的老人和小孩一起去,路不要太陡,最好有缆车,大家有什么推荐的地方吗?"),
        Post("走走停停", "2021-05-01T07:35:00Z", "推荐去东边的那个森林公园,上山全是木头栈道,中间还有可以休息的凉亭。"),
        Post("爱拍照的鱼", "2021-05-01T11:20:00Z", "上个月刚去过,早上人比较少,记得多带一点水和防晒的东西。"),
        Post("山里人", "2021-05-02T21:00:00Z", "已经去过了,孩子玩得很开心,谢谢大家的推荐。"),
    )),
)  # fmt: skip


def body(text: str, code: str = "<pre><code>{}</code></pre>") -> str:
    """A post's text as the programs write it: paragraphs, and code where a paragraph is indented."""
    parts = []
    for part in text.split("\n\n"):
        if part.startswith("    "):
            parts.append(code.format(escape("\n".join(line[4:] for line in part.split("\n")))))
        else:
            parts.append(f"<p>{escape(part)}</p>")
    return "\n".join(parts)


def breaks(text: str, code: str) -> str:
    """The same for programs that end lines with `<br>`."""
    return body(text, code).replace("</p>\n<p>", "<br><br>").replace("<p>", "").replace("</p>", "<br>")


def day(date: str) -> str:
    return date[:10]


# the programs: a thread → what stands in the page's body


def stackexchange(thread: Thread) -> str:
    def comments(post: Post, number: int) -> str:
        items = "".join(
            f'<li id="comment-{number}{i}" class="comment js-comment"><div class="comment-text js-comment-text-and-form"><div class="comment-body js-comment-edit-hide">'
            f'<span class="comment-copy">{escape(c.text)}</span> <div class="d-inline-flex ai-center"> &ndash;&nbsp;<a href="/users/1" class="comment-user">{c.author}</a></div>'
            f'<span class="comment-date"><a class="comment-link" href="#c"><span title="{c.date.replace("T", " ")}" class="relativetime-clean">Apr 2 at 9:21</span></a></span></div></div></li>'
            for i, c in enumerate(post.comments)
        )
        return f'<div class="comments js-comments-container"><ul class="comments-list js-comments-list">{items}</ul></div>'

    def one(post: Post, number: int, question: bool) -> str:
        kind = 'id="question" class="question js-question"' if question else f'id="answer-{number}" class="answer js-answer{" accepted-answer js-accepted-answer" if post.accepted else ""}" data-answerid="{number}" itemprop="{"acceptedAnswer" if post.accepted else "suggestedAnswer"}" itemscope itemtype="https://schema.org/Answer"'  # fmt: skip
        return (
            f'<div {kind} data-score="{post.score or 0}"><div class="post-layout"><div class="votecell post-layout--left"><div class="js-voting-container">'
            f'<button class="js-vote-up-btn">Up vote</button><div class="js-vote-count" itemprop="upvoteCount" data-value="{post.score or 0}">{post.score or 0}</div>'
            f'<button class="js-vote-down-btn">Down vote</button></div></div><div class="postcell post-layout--right"><div class="s-prose js-post-body" itemprop="text">{body(post.text)}</div>'
            f'<div class="mt24"><div class="js-post-menu"><a href="/q/1">Share</a><a href="/posts/1/edit">Improve this answer</a><button>Follow</button></div>'
            f'<div class="post-signature owner"><div class="user-info"><div class="user-action-time">answered <span title="{post.date.replace("T", " ")}" class="relativetime">Apr 2 at 9:15</span></div>'
            f'<div class="user-details" itemprop="author" itemscope itemtype="http://schema.org/Person"><a href="/users/1">{post.author}</a><span class="d-none" itemprop="name">{post.author}</span>'
            f'<span class="reputation-score">1,234</span></div></div></div></div></div>{comments(post, number)}</div></div>'
        )

    head = f'<div id="question-header"><h1 itemprop="name" class="fs-headline1"><a class="question-hyperlink" href="/q/1">{escape(thread.title)}</a></h1><a href="/ask">Ask Question</a></div>'
    answers = "".join(one(post, i, False) for i, post in enumerate(thread.posts[1:], 2))
    return f'{head}<div id="mainbar">{one(thread.posts[0], 1, True)}<div id="answers"><h2 class="answers-subheader">{len(thread.posts) - 1} Answers</h2>{answers}</div></div>'


def discourse(thread: Thread) -> str:
    posts = "".join(
        f'<div id="post_{i}" itemprop="comment" itemscope itemtype="http://schema.org/Comment" class="topic-body crawler-post"><div class="crawler-post-meta"><span class="creator" itemprop="author" itemscope '
        f'itemtype="http://schema.org/Person"><a itemprop="url" href="/u/x"><span itemprop="name">{post.author}</span></a></span><link itemprop="mainEntityOfPage" href="/t/1"><span class="crawler-post-infos">'
        f'<time itemprop="datePublished" datetime="{post.date}" class="post-time">June 11, 2022, 7:22pm</time><meta itemprop="dateModified" content="{post.date}"><span itemprop="position">{i}</span></span></div>'
        f'<div class="post" itemprop="text">{body(post.text)}</div><div itemprop="interactionStatistic" itemscope><meta itemprop="userInteractionCount" content="{i}"><span class="post-likes">{i} Likes</span></div></div>'
        for i, post in enumerate(thread.posts, 1)
    )
    return f'<div id="main-outlet" class="wrap" role="main"><div id="topic-title"><h1><a href="/t/1">{escape(thread.title)}</a></h1></div><div itemscope itemtype="http://schema.org/DiscussionForumPosting">{posts}</div></div>'


def xenforo(thread: Thread) -> str:
    posts = "".join(
        f'<article class="message message--post js-post js-inlineModContainer" data-author="{post.author}" data-content="post-{i}" id="js-post-{i}"><div class="message-inner"><div class="message-cell message-cell--user">'
        f'<section class="message-user"><div class="message-userDetails"><h4 class="message-name"><a href="/members/1" class="username">{post.author}</a></h4><h5 class="userTitle message-userTitle">Member</h5></div>'
        f'<div class="message-userExtras"><dl class="pairs pairs--justified"><dt>Messages</dt><dd>1,208</dd></dl></div></section></div><div class="message-cell message-cell--main"><div class="message-main">'
        f'<header class="message-attribution message-attribution--split"><ul class="message-attribution-main"><li class="u-concealed"><a href="#p"><time class="u-dt" datetime="{post.date}">Jun 11, 2022</time></a></li></ul>'
        f'<ul class="message-attribution-opposite"><li><a href="#p">#{i}</a></li></ul></header><div class="message-content"><article class="message-body js-selectToQuote"><div class="bbWrapper">'
        f'{breaks(post.text, code)}</div></article></div><footer class="message-footer"><div class="message-actionBar"><a href="/like">Like</a><a href="/reply">Reply</a></div></footer></div></div></div></article>'
        for i, post in enumerate(thread.posts, 1)
        for code in [
            '<div class="bbCodeBlock bbCodeBlock--screenLimited bbCodeBlock--code"><div class="bbCodeBlock-title">Code:</div><div class="bbCodeBlock-content" dir="ltr"><pre class="bbCodeCode"><code>{}</code></pre></div></div>'
        ]
    )
    return f'<div class="p-body-header"><h1 class="p-title-value">{escape(thread.title)}</h1></div><div class="block-body js-replyNewMessageContainer">{posts}</div>'


def phpbb(thread: Thread) -> str:
    code = '<div class="codebox"><p>Code: <a href="#">Select all</a></p><pre><code>{}</code></pre></div>'
    posts = "".join(
        f'<div id="p{i}" class="post has-profile bg{i % 2 + 1}"><div class="inner"><dl class="postprofile" id="profile{i}"><dt class="no-profile-rank"><a href="./memberlist.php" class="username">{post.author}</a></dt>'
        f'<dd class="profile-posts"><strong>Posts:</strong> <a href="./search.php">512</a></dd><dd class="profile-joined"><strong>Joined:</strong> Tue Jan 07, 2014</dd></dl><div class="postbody"><div id="post_content{i}">'
        f'<h3><a href="#p{i}">Re: {escape(thread.title)}</a></h3><ul class="post-buttons"><li><a href="./posting.php" title="Reply with quote">Quote</a></li></ul><p class="author"><a class="unread" href="#p{i}">Post</a>'
        f'<span class="responsive-hide">by <strong><a href="./memberlist.php" class="username">{post.author}</a></strong> &raquo; </span><time datetime="{post.date}">Sat Jun 11, 2022 7:22 pm</time></p>'
        f'<div class="content">{breaks(post.text, code)}</div><div class="signature">Ride on, my friends, as long as there is daylight</div></div></div></div></div><hr class="divider">'
        for i, post in enumerate(thread.posts, 1)
    )
    return f'<div id="page-body" class="page-body" role="main"><h2 class="topic-title"><a href="./viewtopic.php">{escape(thread.title)}</a></h2>{posts}</div><p>Powered by phpBB</p>'


def vbulletin(thread: Thread) -> str:
    code = '<div style="margin:20px"><div class="smallfont">Code:</div><pre class="alt2" dir="ltr">{}</pre></div>'
    posts = "".join(
        f'<table id="post{i}" class="tborder"><tr><td class="thead"><a name="post{i}"></a>{day(post.date)}, 07:22 PM</td><td class="thead" align="right">#<a href="showpost.php?p={i}">{i}</a></td></tr>'
        f'<tr valign="top"><td class="alt2" width="175"><div id="postmenu_{i}"><a class="bigusername" href="member.php?u=1">{post.author}</a></div><div class="smallfont">Senior Member</div><div class="smallfont">Join Date: Jan 2014</div>'
        f'<div>Posts: 512</div></td><td class="alt1" id="td_post_{i}"><div class="smallfont"><strong>{escape(thread.title)}</strong></div><hr><div id="post_message_{i}">{breaks(post.text, code)}</div>'
        f'</td></tr><tr><td class="alt2">&nbsp;</td><td class="alt1" align="right"><a href="newreply.php">Reply With Quote</a></td></tr></table>'
        for i, post in enumerate(thread.posts, 1)
    )
    return f'<div class="navbar"><strong>{escape(thread.title)}</strong></div><div id="posts">{posts}</div><div class="smallfont">Powered by vBulletin&reg;</div>'


def invision(thread: Thread) -> str:
    posts = "".join(
        f'<article id="elComment_{i}" class="cPost ipsBox ipsComment ipsComment_parent ipsClearfix"><aside class="ipsComment_author cAuthorPane"><h3 class="ipsType_sectionHead cAuthorPane_author"><strong>'
        f'<a href="/profile/1">{post.author}</a></strong></h3><ul class="cAuthorPane_info"><li>Members</li><li>128 posts</li></ul></aside><div class="ipsColumn"><div id="comment-{i}_wrap" class="ipsComment_content">'
        f'<div class="ipsComment_meta"><a href="#c" class="ipsType_blendLinks">Posted <time datetime="{post.date}" title="06/11/2022">June 11, 2022</time></a></div><div class="cPost_contentWrap">'
        f'<div data-role="commentContent" class="ipsType_normal ipsType_richText ipsContained">{body(post.text, code)}</div><div class="ipsItemControls"><a href="/quote">Quote</a></div></div></div></div></article>'
        for i, post in enumerate(thread.posts, 1)
        for code in ['<pre class="ipsCode prettyprint lang-py prettyprinted">{}</pre>']
    )
    return f'<div class="ipsPageHeader"><h1 class="ipsType_pageTitle"><span>{escape(thread.title)}</span></h1></div><div id="elPostFeed" data-feedid="topic-1">{posts}</div>'


def reddit_old(thread: Thread) -> str:
    first, *others = thread.posts

    def entry(post: Post, i: int, kind: str) -> str:
        return (
            f'<div class="thing id-t1_{i} {kind}" id="thing_t1_{i}" data-author="{post.author}" data-score="{post.score or 1}"><div class="midcol unvoted"><div class="arrow up"></div><div class="arrow down"></div></div>'
            f'<div class="entry unvoted"><p class="tagline"><a href="#" class="expand">[–]</a><a href="/user/x" class="author">{post.author}</a> <span class="score unvoted" title="{post.score or 1}">{post.score or 1} points</span> '
            f'<time title="x" datetime="{post.date}" class="live-timestamp">2 years ago</time></p><div class="expando"><form class="usertext"><div class="usertext-body may-blank-within md-container"><div class="md">{body(post.text)}</div></div></form></div>'
            f'<ul class="flat-list buttons"><li><a href="#">permalink</a></li><li><a href="#">save</a></li></ul></div></div>'
        )

    comments = "".join(entry(post, i, "comment") for i, post in enumerate(others, 2))
    start = entry(first, 1, "link self").replace(
        "<p class", f'<p class="title"><a class="title" href="/r/x">{escape(thread.title)}</a></p><p class', 1
    )
    return f'<div class="content" role="main"><div id="siteTable" class="sitetable linklisting">{start}</div><div class="commentarea"><div class="panestack-title"><span class="title">all {len(others)} comments</span></div><div class="sitetable nestedlisting">{comments}</div></div></div>'


def reddit_new(thread: Thread) -> str:
    first, *others = thread.posts
    comments = "".join(
        f'<shreddit-comment author="{post.author}" thingid="t1_{i}" depth="0" score="{post.score or 1}" created="{post.date}"><div slot="commentMeta"><a href="/user/x">{post.author}</a>'
        f'<faceplate-timeago ts="{post.date}"><time datetime="{post.date}">2y ago</time></faceplate-timeago></div><div slot="comment" id="t1_{i}-comment-rtjson-content"><div id="-post-rtjson-content">{body(post.text)}</div></div>'
        f'<shreddit-comment-action-row slot="actionRow" score="{post.score or 1}"><button>Reply</button><button>Share</button></shreddit-comment-action-row></shreddit-comment>'
        for i, post in enumerate(others, 2)
    )
    return (
        f'<main id="main-content"><shreddit-post author="{first.author}" score="{first.score or 1}" created-timestamp="{first.date}" post-title="{escape(thread.title)}" comment-count="{len(others)}">'
        f'<div slot="credit-bar"><a href="/user/x" class="author-name">{first.author}</a> <time datetime="{first.date}">2y ago</time></div><h1 slot="title" id="post-title-t3_1">{escape(thread.title)}</h1>'
        f'<div slot="text-body"><div class="md text-14" id="t3_1-post-rtjson-content">{body(first.text)}</div></div></shreddit-post><shreddit-comment-tree id="comment-tree">{comments}</shreddit-comment-tree></main>'
    )


def hacker_news(thread: Thread) -> str:
    first, *others = thread.posts
    comments = "".join(
        f'<tr class="athing comtr" id="{i}"><td><table border="0"><tr><td class="ind" indent="0"><img src="s.gif" height="1" width="0"></td><td valign="top" class="votelinks"><a href="vote?id={i}"><div class="votearrow" title="upvote"></div></a></td>'
        f'<td class="default"><div style="margin-top:2px"><span class="comhead"><a href="user?id=x" class="hnuser">{post.author}</a> <span class="age" title="{post.date[:19]} 1654975320"><a href="item?id={i}">on June 11, 2022</a></span> '
        f'<span class="navs"> | <a href="#x">next</a> <a class="togg" href="#">[–]</a></span></span></div><br><div class="comment"><div class="commtext c00">{_hn(post.text)}</div><div class="reply"><p><font size="1"><u><a href="reply?id={i}">reply</a></u></font></div></div></td></tr></table></td></tr>'
        for i, post in enumerate(others, 2)
    )
    return (
        f'<center><table id="hnmain" border="0"><tr><td><table class="fatitem" border="0"><tr class="athing submission" id="1"><td class="title"><span class="titleline"><a href="item?id=1">{escape(thread.title)}</a></span></td></tr>'
        f'<tr><td class="subtext"><span class="subline"><span class="score" id="score_1">{first.score or 1} points</span> by <a href="user?id=x" class="hnuser">{first.author}</a> <span class="age" title="{first.date[:19]} 1654975320"><a href="item?id=1">on June 11, 2022</a></span> | '
        f'<a href="hide">hide</a> | <a href="item?id=1">{len(others)} comments</a></span></td></tr><tr><td colspan="2"></td><td><div class="toptext">{_hn(first.text)}</div></td></tr></table><br><table border="0" class="comment-tree">{comments}</table></td></tr></table></center>'
    )


def _hn(text: str) -> str:
    return body(text).removeprefix("<p>").replace("</p>", "")


def zhihu(thread: Thread) -> str:
    first, *others = thread.posts
    answers = "".join(
        f'<div class="List-item" tabindex="0"><div class="ContentItem AnswerItem" name="{i}" itemprop="answer" itemtype="http://schema.org/Answer" itemscope=""><div class="ContentItem-meta"><div class="AuthorInfo AnswerItem-authorInfo" itemprop="author" itemscope="">'
        f'<meta itemprop="name" content="{post.author}"><div class="AuthorInfo-content"><span class="UserLink AuthorInfo-name"><a class="UserLink-link" href="//www.zhihu.com/people/x">{post.author}</a></span></div></div>'
        f'<span class="Voters"><button type="button">{post.score or 0} 人赞同了该回答</button></span></div><meta itemprop="dateCreated" content="{post.date}"><meta itemprop="upvoteCount" content="{post.score or 0}"><div class="RichContent RichContent--unescapable">'
        f'<div class="RichContent-inner"><span class="RichText ztext CopyrightRichText-richText" itemprop="text">{body(post.text, code)}</span></div><div class="ContentItem-time"><a href="/a"><span data-tooltip="发布于 {day(post.date)}">发布于 {day(post.date)}</span></a></div>'
        f'<div class="ContentItem-actions"><button aria-label="赞同 {post.score or 0}">赞同 {post.score or 0}</button><button>添加评论</button><button>分享</button><button>收藏</button></div></div></div></div>'
        for i, post in enumerate(others, 2)
        for code in ['<div class="highlight"><pre><code class="language-python">{}</code></pre></div>']
    )
    return (
        f'<div class="QuestionPage" itemscope itemtype="http://schema.org/Question"><div class="QuestionHeader"><h1 class="QuestionHeader-title">{escape(thread.title)}</h1><div class="QuestionHeader-detail"><div class="QuestionRichText"><span class="RichText ztext" itemprop="text">'
        f'{body(first.text)}</span></div></div><button>关注问题</button><button>写回答</button></div><div class="Question-main"><div class="List"><div class="List-header"><h4><span>{len(others)} 个回答</span></h4></div><div>{answers}</div></div></div></div>'
    )


def discuz(thread: Thread) -> str:
    posts = "".join(
        f'<div id="post_{i}"><table id="pid{i}" class="plhin" cellspacing="0"><tr><td class="pls" rowspan="2"><div class="pls favatar"><div class="pi"><div class="authi"><a href="home.php?uid=1" class="xw1">{post.author}</a></div></div>'
        f'<dl class="pil cl"><dt>积分</dt><dd>386</dd><dt>帖子</dt><dd>57</dd></dl></div></td><td class="plc"><div class="pi"><strong><a href="#pid{i}">{i}<sup>#</sup></a></strong><div class="pti"><div class="authi"><em id="authorposton{i}">发表于 {post.date[:19].replace("T", " ")}</em>'
        f'<span class="pipe">|</span><a href="#">只看该作者</a></div></div></div><div class="pct"><div class="pcb"><div class="t_fsz"><table cellspacing="0"><tr><td class="t_f" id="postmessage_{i}">{breaks(post.text, code)}</td></tr></table></div></div></div></td></tr>'
        f'<tr><td class="plc plm"><div class="sign">书山有路勤为径,学海无涯苦作舟</div></td></tr><tr><td class="pls"></td><td class="plc"><div class="po"><a href="reply">回复</a><a href="#">举报</a></div></td></tr></table></div>'
        for i, post in enumerate(thread.posts, 1)
        for code in ['<div class="blockcode"><div><pre>{}</pre></div><em>复制代码</em></div>']
    )
    return f'<div id="ct" class="wp cl"><h1 class="ts"><span id="thread_subject">{escape(thread.title)}</span></h1><div id="postlist" class="pl bm">{posts}</div></div><div id="ft">Powered by Discuz! X3.4</div>'


def v2ex(thread: Thread) -> str:
    first, *others = thread.posts
    replies = "".join(
        f'<div id="r_{i}" class="cell"><table cellpadding="0" border="0" width="100%"><tr><td width="48" valign="top"><img src="a.png" class="avatar" alt="{post.author}"></td><td width="auto" valign="top"><div class="fr"><a href="#">感谢</a> <span class="no">{i - 1}</span></div>'
        f'<strong><a href="/member/x" class="dark">{post.author}</a></strong> <span class="ago" title="{post.date[:19].replace("T", " ")} +08:00">{day(post.date)}</span><div class="sep5"></div><div class="reply_content">{breaks(post.text, "<pre><code>{}</code></pre>")}</div></td></tr></table></div>'
        for i, post in enumerate(others, 2)
    )
    return (
        f'<div id="Main"><div class="box"><div class="header"><div class="chevron"><a href="/">V2EX</a></div><h1>{escape(thread.title)}</h1><small class="gray"><a href="/member/x">{first.author}</a> · <span title="{first.date[:19].replace("T", " ")} +08:00">{day(first.date)}</span> · 2314 次点击</small></div>'
        f'<div class="cell"><div class="topic_content"><div class="markdown_body">{body(first.text)}</div></div></div></div><div class="box"><div class="cell"><span class="gray">{len(others)} 条回复</span></div>{replies}</div></div>'
    )


def quora(thread: Thread) -> str:
    first, *others = thread.posts
    answers = "".join(
        f'<div class="q-box dom_annotate_question_answer_item_{i} qu-borderAll qu-bg--raised"><div class="q-box qu-pt--medium"><div class="q-flex qu-alignItems--center"><a class="q-box qu-cursor--pointer" href="/profile/X"><span class="q-text qu-bold">{post.author}</span></a>'
        f'<span class="q-text qu-color--gray">Answered {day(post.date)}</span></div><div class="q-box spacing_log_answer_content puppeteer_test_answer_content"><div class="q-text"><span class="q-box qu-userSelect--text">{body(post.text)}</span></div></div>'
        f'<div class="q-flex"><button class="q-click-wrapper">Upvote · {post.score or 0}</button><button>Comment</button><button>Share</button></div></div></div>'
        for i, post in enumerate(others)
    )
    return f'<div class="q-box" id="mainContent"><div class="q-text puppeteer_test_question_title"><span>{escape(thread.title)}</span></div><div class="q-text question_details"><span class="q-box qu-userSelect--text">{body(first.text)}</span></div>{answers}</div>'


def unknown(thread: Thread) -> str:
    """Of no program that anybody knows."""
    posts = "".join(
        f'<div class="brd-row"><div class="brd-left"><b>{post.author}</b><br>Rank: regular<br>Beiträge: 77</div><div class="brd-right"><div class="brd-when"><time datetime="{post.date}">{day(post.date)}</time> <a href="#{i}">#{i}</a></div>'
        f'<div class="brd-said">{body(post.text)}</div><div class="brd-do"><a href="q">Quote</a> <a href="r">Report</a></div></div></div>'
        for i, post in enumerate(thread.posts, 1)
    )
    return f'<div class="brd"><h1>{escape(thread.title)}</h1>{posts}</div>'


def unknown_table(thread: Thread) -> str:
    rows = "".join(
        f'<tr><td width="150" valign="top"><b>{post.author}</b><br><small>{day(post.date)}</small></td><td>{breaks(post.text, "<pre>{}</pre>")}<br><a href="reply.cgi?{i}">Reply</a></td></tr>'
        for i, post in enumerate(thread.posts, 1)
    )
    return f'<h2>{escape(thread.title)}</h2><table border="1" width="100%"><tr><th>Author</th><th>Message</th></tr>{rows}</table>'


QUESTIONS = frozenset(["score", "accepted", "comments"])
PROGRAMS: dict[str, tuple[Callable[[Thread], str], frozenset[str]]] = {
    "StackExchange": (stackexchange, QUESTIONS), "Discourse": (discourse, frozenset()), "XenForo": (xenforo, frozenset()), "phpBB": (phpbb, frozenset()),
    "vBulletin": (vbulletin, frozenset()), "Invision": (invision, frozenset()), "Reddit (old)": (reddit_old, frozenset(["score"])),
    "Reddit (new)": (reddit_new, frozenset(["score"])), "Hacker News": (hacker_news, frozenset()), "Zhihu": (zhihu, frozenset()), "Discuz": (discuz, frozenset()),
    "V2EX": (v2ex, frozenset()), "Quora": (quora, frozenset()), "unknown, divs": (unknown, frozenset()), "unknown, table": (unknown_table, frozenset()),
}  # fmt: skip
UNNAMED_ASKER = frozenset(["Zhihu", "Quora"])  # they show a question, but not whose it is, nor of when
HEADER = (
    '<header id="header"><a href="/" class="logo">The Board</a><form action="/search"><input name="q" placeholder="Search"><button>Go</button></form></header>'
    '<nav class="menu"><ul><li><a href="/forums">Forums</a></li><li><a href="/new">New posts</a></li><li><a href="/login">Log in</a></li><li><a href="/register">Register</a></li></ul></nav>'
)
FOOTER = (
    '<aside class="sidebar"><h3>Similar threads</h3><ul><li><a href="/t/5">What tyre pressure do you ride on gravel?</a></li><li><a href="/t/6">Show us your workshop</a></li></ul></aside>'
    '<footer><p>Terms and rules · Privacy policy · <a href="/help">Help</a></p><p>You must log in or register to reply here.</p></footer>'
)


def written_threads() -> list[Page]:
    """Every thread in the markup of every program."""
    pages = []
    for platform, (write, shows) in PROGRAMS.items():
        for number, thread in enumerate(THREADS):
            if "comments" not in shows:
                thread = replace(thread, posts=tuple(replace(post, comments=()) for post in thread.posts))
            html = (
                f'<!DOCTYPE html><html lang="{thread.language}"><head><meta charset="utf-8"><title>{escape(thread.title)} | The Board</title></head>'
                f"<body>{HEADER}{write(thread)}{FOOTER}</body></html>"
            )
            pages.append(Page(f"{platform} {number}", html.encode(), None, Truth(platform, thread, shows)))
    return pages
