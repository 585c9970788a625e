"""The markup of forum programs, question sites and discussion pages: one row each, as CSS selectors.

`threads` reads posts by it. A row is tried when the page uses one of its marks as a class; the first row that
finds two posts wins.
"""

from __future__ import annotations

from pipeline.extract.threads.boards import BOARDS
from pipeline.extract.threads.markup import Parts, Platform
from pipeline.extract.threads.questions import QUESTION_SITES
from pipeline.extract.threads.sites import SITES

SCHEMA_ORG = Platform(
    "schema.org", "",
    Parts(
        "[itemtype$='schema.org/Question'], [itemtype$='schema.org/Answer'], "
        "[itemtype$='schema.org/DiscussionForumPosting'], [itemtype$='schema.org/Comment']",
        "[itemprop=text], [itemprop=articleBody]", "[itemprop=author] [itemprop=name], [itemprop=author]",
        "[itemprop=dateCreated], [itemprop=datePublished], time[datetime]", "[itemprop=upvoteCount]",
    ),
    quote="blockquote:has(> cite)", noise=".signature", answer="[itemtype$='Answer']",
    accepted="[itemprop=acceptedAnswer]",
)  # fmt: skip
PLATFORMS = (*QUESTION_SITES, *BOARDS, *SITES, SCHEMA_ORG)
