"""What a page says about itself: meta tags (HTML, Open Graph, citation_*, robots), JSON-LD, microdata, licence links."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from resiliparse.parse.html import HTMLTree

from pipeline.documents import reservations
from pipeline.extract.census import Census
from pipeline.extract.dom import mentions, select

TITLE = ("citation_title", "og:title", "twitter:title", "dc.title")
AUTHOR = ("citation_author", "author", "article:author", "dc.creator", "parsely-author", "sailthru.author")
DATE = (
    "citation_publication_date", "article:published_time", "datepublished", "date", "dc.date", "dc.date.issued",
    "pubdate", "publishdate", "parsely-pub-date", "sailthru.date", "og:published_time",
)  # fmt: skip
SITE = ("og:site_name", "application-name", "twitter:site", "citation_journal_title")
LICENCE = ("license", "licence", "dc.rights", "dcterms.license", "rights")
RESERVING = re.compile(r"robots|tdm-reservation|tdm-policy|[a-z-]*bot(-[a-z]+)?|google-extended|anthropic-ai")
ISO_DATE = re.compile(
    r"(\d{4})[-/](\d{1,2})(?:[-/](\d{1,2}))?(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?)?"
)
CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/(\d\.\d))?", re.IGNORECASE
)
# Where a licence is that of a picture or of what somebody else wrote, not the page's.
OF_OTHERS = "figure, figcaption, .comment, .comments, [class*=caption i], [class*=credit i], [class*=gallery i], [class*=thumb i]"
ADDRESS = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
ARTICLES = (
    "article",
    "posting",
    "report",
    "webpage",
    "page",
    "question",
    "course",
    "book",
    "learningresource",
    "recipe",
)
MAX_JSON = 1_000_000  # characters of one JSON-LD block


def metadata_of(tree: HTMLTree, census: Census, linked: list[dict[str, Any]]) -> dict[str, str | None]:
    """title, author, date (ISO 8601), site, licence (SPDX where it is Creative Commons), language_hint, reservations
    (of meta tags for robots, and TDM), canonical_url (`<link rel=canonical>`, else og:url, where these are absolute);
    null = unsaid.

    `census` is that of the page's source, `linked` what `json_ld` gave for the same tree.
    """
    meta: dict[str, str] = {}
    reserving: list[tuple[str, str]] = []  # every tag counts, not the first of a name
    for node in select(tree.head or tree, "meta[content]") or select(tree, "meta[content]"):
        name = (
            node.getattr("name")
            or node.getattr("property")
            or node.getattr("itemprop")
            or node.getattr("http-equiv")
        )
        content = " ".join((node.getattr("content") or "").split())
        if name and content:
            meta.setdefault(name.lower(), content)
            if RESERVING.fullmatch(name.strip().lower()):
                reserving.append((name, content))
    article = next((item for item in linked if str(_type(item)).lower().endswith(ARTICLES)), {})

    def first(names: tuple[str, ...]) -> str | None:
        return next((meta[name] for name in names if name in meta), None)

    author = first(AUTHOR)
    author = name_of(article.get("author")) if author is None or author.startswith("http") else author
    date = iso_date(first(DATE)) or iso_date(article.get("datePublished") or article.get("dateCreated"))
    if date is None and _may_be_dated(census):
        times = select(tree, "[itemprop=datePublished], time[pubdate], article time[datetime]")[:1]
        date = next((iso_date(t.getattr("datetime") or t.getattr("content") or t.text) for t in times), None)
    title = first(TITLE) or _text(article.get("headline")) or " ".join((tree.title or "").split()) or None
    return {
        "title": title,
        "author": author,
        "date": date,
        "site": first(SITE) or name_of(article.get("publisher")),
        "licence": _licence(tree, census, _text(article.get("license")), first(LICENCE)),
        "language_hint": _language(tree, meta),
        "reservations": reservations(reserving),
        "canonical_url": _canonical(tree, meta.get("og:url")),
    }


def _may_be_dated(census: Census) -> bool:
    if "time" in census.tags and ("pubdate" in census.attributes or "article" in census.tags):
        return True
    return "itemprop" in census.attributes and mentions(census.lowered, ("datepublished",))


def json_ld(tree: HTMLTree, lowered: bytes) -> list[dict[str, Any]]:
    """Every JSON-LD object of the page, `@graph` and lists flattened one level; broken blocks are passed over."""
    found: list[dict[str, Any]] = []
    if not mentions(lowered, ("ld+json",)):
        return found
    for script in select(tree, 'script[type="application/ld+json"]'):
        text = script.text or ""
        if len(text) > MAX_JSON:
            continue
        try:
            data = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            continue
        found += _objects(data)
    return found


def _objects(data: Any) -> Iterator[dict[str, Any]]:
    for item in data if isinstance(data, list) else [data]:
        if isinstance(item, dict):
            yield item
            graph = item.get("@graph")
            yield from (node for node in graph if isinstance(node, dict)) if isinstance(graph, list) else ()


def _type(item: dict[str, Any]) -> str:
    kind = item.get("@type", "")
    return kind[0] if isinstance(kind, list) and kind else kind


def _text(value: Any) -> str | None:
    return " ".join(value.split()) or None if isinstance(value, str) else None


def name_of(value: Any) -> str | None:
    """The name of a schema.org person or organisation, however it is written."""
    if isinstance(value, list):
        people = [person for person in value[:10] if not isinstance(person, list)]
        return ", ".join(name for person in people if (name := name_of(person))) or None
    return _text(value.get("name")) if isinstance(value, dict) else _text(value)


def iso_date(value: Any) -> str | None:
    """An ISO 8601 date or date-time as precise as the source says it; None for anything else.

    >>> iso_date("2024/3/5"), iso_date("2024-03-05T10:00:00.000Z"), iso_date("last week")
    ('2024-03-05', '2024-03-05T10:00:00Z', None)
    """
    found = ISO_DATE.match(value.strip()) if isinstance(value, str) else None
    if not found or not 1 <= int(found[2]) <= 12 or not 1 <= int(found[3] or 1) <= 31:
        return None
    day = "-".join(part.zfill(2) for part in found.groups()[:3] if part)
    return f"{day}T{found[4]}{found[5] or ''}" if found[4] and found[3] else day


def _licence(tree: HTMLTree, census: Census, of_json: str | None, of_meta: str | None) -> str | None:
    """What is marked as the licence first, then what JSON-LD and meta tags say, then a link to Creative Commons."""
    marked: list[str] = []
    linked: list[str] = []
    if "license" in census.relations or mentions(census.lowered, ("creativecommons.org/",)):
        for link in select(tree, "a[rel~=license], link[rel~=license], a[href*='creativecommons.org/']"):
            address = link.getattr("href") or ""
            if address and link.closest(OF_OTHERS) is None:
                is_marked = "license" in (link.getattr("rel") or "").lower().split()
                (marked if is_marked else linked).append(address)
    said = [address for address in (*marked, of_json, of_meta) if address]
    for address in (*said, *linked):
        if found := CREATIVE_COMMONS.search(address):
            kind, name, version = found[1].lower(), found[2].lower(), found[3]
            name = {"zero": "CC0", "mark": "PDM"}.get(name, name) if kind == "publicdomain" else f"CC-{name}"
            return f"{name.upper()}-{version}" if version else name.upper()
        if address in said:
            break  # another licence is declared: a link to Creative Commons speaks of something else
    return said[0] if said else None


def _canonical(tree: HTMLTree, of_meta: str | None) -> str | None:
    links = select(tree.head, "link[rel~=canonical]") if tree.head else []
    declared = [*(link.getattr("href") for link in links), of_meta]
    return next((url for value in declared if value and ADDRESS.fullmatch(url := value.strip())), None)


def _language(tree: HTMLTree, meta: dict[str, str]) -> str | None:
    roots = [
        root for root in (tree.document.query_selector("html") if tree.document else None, tree.body) if root
    ]
    declared = [root.getattr("lang") or root.getattr("xml:lang") or "" for root in roots]
    for value in (*declared, meta.get("content-language", ""), meta.get("og:locale", "")):
        tag = value.replace("_", "-").split(",")[0].strip()
        if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", tag):
            return tag
    return None
