"""Licences and reservations as real pages write them: from HTTP headers and meta tags to the signals."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.licences import licence_class
from filters.rights import Rights, RightsConfig
from pipeline.documents import joined_reservations, reservations
from pipeline.extract import Extract, extract
from pipeline.read.warc import read
from tests.patience import in_time

PROSE = "The sum of the angles of a triangle is two right angles, which is proved by drawing a parallel. " * 5
NO_AI = '<meta name="robots" content="index, NoAI, noimageai"><meta name="TDM-Reservation" content="1">'


@dataclass
class SourceBytes:
    """A source file in memory."""

    path: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


def page(head: str) -> bytes:
    return f"<html lang=en><head><title>A</title>{head}</head><body><p>{PROSE}</p></body></html>".encode()


def captured(payload: bytes, *headers: str):
    """The record a WARC of one response gives."""
    http = "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8", *headers]).encode()
    block = http + b"\r\n\r\n" + payload
    fields = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://e.org/\r\nContent-Type: application/http\r\nContent-Length: {len(block)}\r\n\r\n"
    (record,) = read(SourceBytes("a.warc", fields.encode() + block + b"\r\n\r\n"))
    return record


def test_headers_are_read_all_of_them() -> None:
    record = captured(
        page(""),
        "X-Robots-Tag: noindex",
        "x-robots-tag: otherbot: nofollow, nosnippet",
        "X-Robots-Tag: unavailable_after: 25 Jun 2030 15:00:00 PST",
        "TDM-Reservation: 1",
        "tdm-policy: https://e.org/policy.json",
        "Content-Language: en",
    )
    assert record.metadata == {
        "language_hint": "en",
        "reservations": "noindex; otherbot: nofollow; otherbot: nosnippet; tdm-policy: https://e.org/policy.json; tdm-reservation: 1",
    }
    assert captured(page(""), "X-Robots-Tag: all", "tdm-reservation: 0").metadata == {}


def test_meta_tags_are_read_all_of_them() -> None:
    assert extract(page(NO_AI), "text/html").reservations == "noai; noimageai; tdm-reservation: 1"
    two = '<meta name="robots" content="noindex"><meta name="googlebot" content="none"><meta name=robots content=noai>'
    assert extract(page(two), "text/html").reservations == "googlebot: none; noai; noindex"
    for head in (
        "",
        '<meta name="robots" content="index,follow,max-snippet:-1">',
        '<meta name="author" content="noai">',
        '<meta name="description" content="nothing, noindex">',
    ):
        assert extract(page(head), "text/html").reservations is None


def test_header_and_meta_both_count() -> None:
    record = captured(page(NO_AI), "X-Robots-Tag: noindex, noai")
    row = {
        "id": "a",
        "origin": {"locator": "offset=0", "path": "a.warc"},
        "url": record.url,
        "media_type": "text/html",
        "extra": json.dumps(record.extra),
        "title": None,
        "author": None,
        "date": None,
        "site": None,
        "licence": "MIT",
        "language_hint": None,
        "reservations": record.metadata["reservations"],
    }
    document = Extract().extract_record(row, record.payload)
    assert document["reservations"] == "noai; noimageai; noindex; tdm-reservation: 1"
    assert document["licence"] == "MIT"
    silent = Extract().extract_record({**row, "reservations": None}, page(""))
    assert silent["reservations"] is None
    assert joined_reservations("noai", None) == joined_reservations(None, "noai") == "noai"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("robots", "NONE", "none"),
        ("X-Robots-Tag", "max-image-preview: none, max-snippet:0", "max-image-preview:none; max-snippet:0"),
        ("X-Robots-Tag", "BadBot: index, noarchive", "badbot: noarchive"),
        ("Content-Usage", "train-ai=n, search=y", "content-usage: train-ai=n"),
        ("tdm-policy", "https://e.org/a;b", "tdm-policy: https://e.org/a%3Bb"),
        ("robots", "archive, snippet", None),
        ("tdm-reservation", "true", None),
    ],
)
def test_statements(name: str, value: str, expected: str | None) -> None:
    assert reservations([(name, value)]) == expected


@pytest.mark.parametrize(
    ("kind", "names"),
    {
        "public_domain": "CC0-1.0|CC0|PDM-1.0|Public Domain|Unlicense|0BSD|https://creativecommons.org/publicdomain/zero/1.0/"
        "|This work is in the public domain.",
        "permissive": "MIT|MIT License|The MIT License|BSD-3-Clause|apache-2.0|Apache License, Version 2.0|ISC|CC-BY-4.0"
        "|CC BY 4.0|http://creativecommons.org/licenses/by/3.0/deed.en|PSF-2.0|MIT OR GPL-3.0-only|Python-2.0|BSL-1.0"
        "|Creative Commons Attribution 4.0 International|Apache-2.0 WITH LLVM-exception|ODC-By-1.0",
        "share_alike": "GPL-3.0-or-later|LGPL-2.1+|AGPL-3.0|GPLv2|CC-BY-SA-4.0|CC-BY-SA|cc by-sa 3.0|MPL-2.0|GFDL-1.3"
        "|https://creativecommons.org/licenses/by-sa/4.0|GNU General Public License v3|MIT AND GPL-2.0-only|ODbL-1.0"
        "|Creative Commons Attribution-ShareAlike 3.0|https://www.gnu.org/licenses/gpl-3.0.html",
        "non_commercial": "CC-BY-NC-4.0|CC BY-NC-SA 4.0|https://creativecommons.org/licenses/by-nc-sa/2.5/"
        "|Creative Commons Attribution-NonCommercial 4.0|free for non-commercial use",
        "no_derivatives": "CC-BY-ND-4.0|CC-BY-NC-ND-3.0|Creative Commons Attribution-NoDerivatives",
        "other": "© 2021 Example Press. All rights reserved.|https://e.org/terms|Proprietary|See licence file|UNLICENSED"
        "|limited|committed to nobody|MITRE terms",
    }.items(),
)
def test_licence_classes(kind: str, names: str) -> None:
    assert_all(kind, names)


def assert_all(kind: str, names: str) -> None:
    assert {name: licence_class(name) for name in names.split("|")} == dict.fromkeys(names.split("|"), kind)


@pytest.mark.parametrize(
    ("kind", "names"),
    {
        "permissive": "MIT OR GPL-2.0-only AND CC-BY-NC-4.0|( MIT OR GPL-2.0-only ) AND ISC|(MIT)|MIT/Apache-2.0"
        "|MIT / Apache-2.0|MIT AND (GPL-2.0-only OR (ISC AND CC0-1.0))|apache-2.0 with llvm-exception|BSD/GPL",
        "share_alike": "MIT License AND GPL-2.0-only|CC BY 4.0 AND GPL-3.0-only|MIT/Apache-2.0 AND MPL-2.0"
        "|(GPL-2.0-only WITH Classpath-exception-2.0) OR proprietary|MIT OR GPL-2.0-only)",
        "non_commercial": "(MIT OR GPL-2.0) AND CC-BY-NC-4.0|CC-BY-NC-4.0 AND (MIT OR GPL-2.0)"
        "|(MIT OR GPL-2.0 AND CC-BY-NC-4.0|(MIT License OR GPL) AND CC BY-NC 4.0",
        "other": "MIT AND LicenseRef-Ours|MIT WITH Commons-Clause|MIT/Ours|n/a|MIT; Ours|)(|((((|AND|OR AND|()"
        "|(MIT License OR GPL) AND https://e.org/terms",
    }.items(),
)
def test_expressions(kind: str, names: str) -> None:
    assert_all(kind, names)


STRICTNESS = ["CC0-1.0", "MIT", "GPL-3.0-only", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "LicenseRef-Ours"]
EXPRESSIONS = st.recursive(
    st.sampled_from(STRICTNESS),
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=2, max_size=3)),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_of_all_ways_to_choose_the_most_liberal_counts(tree) -> None:
    def written(node) -> str:
        return node if isinstance(node, str) else f"({f' {node[0]} '.join(map(written, node[1]))})"

    def ways(node) -> list[tuple[str, ...]]:
        """The licences that one accepts, for each way to choose among those offered."""
        if isinstance(node, str):
            return [(node,)]
        parts = [ways(part) for part in node[1]]
        if node[0] == "OR":
            return list(itertools.chain(*parts))
        return [sum(way, ()) for way in itertools.product(*parts)]

    best = min(max(map(STRICTNESS.index, way)) for way in ways(tree))
    assert licence_class(written(tree)) == licence_class(STRICTNESS[best])


@pytest.mark.parametrize(
    ("kind", "names"),
    {
        "permissive": "CC BY\u00a04.0|CC\u2009BY\u202f4.0|Creative Commons BY|Creative Commons BY 4.0|BSD\u20113\u2011Clause",
        "share_alike": "CC BY\u2013SA|Creative Commons Attribution-SA 4.0|by-sa",
        "non_commercial": "CC BY\u2011NC 4.0|CC\u2010BY\u2012NC|CC BY\u2212NC|CC BY\u2014NC|CC BY\u2015NC|CC-BY-\u00adNC|cc_by_nc"
        "|cc_by_nc_4.0|by-nc-sa|BY-NC-SA 4.0|Creative Commons BY-NC|Creative Commons Attribution-NC 4.0|CC BY/NC"
        "|Non\u2011Commercial use|CC BY (NC)|CC BY 4.0, figures CC BY-NC 4.0",
        "no_derivatives": "by_nc_nd|Creative Commons BY-ND 3.0",
        "other": "Creative Commons by Jane Doe|by John",
    }.items(),
)
def test_ways_to_write_creative_commons(kind: str, names: str) -> None:
    assert_all(kind, names)


@pytest.mark.parametrize(
    ("kind", "names"),
    {
        "other": "Not public domain|This is no longer in the public domain.|This isn’t public domain|non-public domain"
        "|LicenseRef-Not-Public-Domain|not CC BY|not licensed under the MIT license|not (MIT OR GPL)"
        "|neither the MIT license nor the GNU General Public License",
        "non_commercial": "MIT license, not for commercial use|not CC BY-NC",
        "permissive": "If not otherwise noted, CC BY 4.0|Not for sale: MIT license|You may not use this file except in "
        "compliance with the Apache License",
        "share_alike": "not public domain, but CC BY-SA 4.0",
        "public_domain": "This work is not subject to copyright and is in the public domain|No rights reserved (CC0)",
    }.items(),
)
def test_a_denial_permits_nothing(kind: str, names: str) -> None:
    assert_all(kind, names)


@pytest.mark.parametrize("part", ["(", "(MIT OR ", "MIT/", "gnu ", "not public domain ", "cc by-", "with "])
def test_a_field_of_any_length_is_read(part: str) -> None:
    in_time(4, lambda: licence_class.__wrapped__(part * 30_000 + "MIT"))


def test_stage() -> None:
    rows = [
        ("MIT", None, "permissive", None, False),
        (None, "noindex", None, None, True),
        (" ", "googlebot: none", None, None, True),
        ("CC-BY-SA-4.0", "noai; noindex", "share_alike", "noai", True),
        (
            "CC0",
            "tdm-policy: https://e.org/noai; tdm-reservation: 1",
            "public_domain",
            "tdm-reservation: 1",
            False,
        ),
        ("CC0", "tdm-policy: https://e.org/noindex", "public_domain", None, False),
        ("x", "gptbot: noindex", "other", "gptbot: noindex", True),
        ("x", "content-usage: train-ai=n", "other", "content-usage: train-ai=n", False),
        ("x", "nofollow; nosnippet", "other", None, False),
        ("x", "somebot: noai", "other", "somebot: noai", False),
        ("x", "mygptbot: noindex; nofollow", "other", None, True),
    ]
    columns = list(zip(*rows, strict=True))
    batch = pa.table(
        {
            "id": [str(i) for i in range(len(rows))],
            "url": ["https://e.org/"] * len(rows),
            "licence": columns[0],
            "reservations": columns[1],
        }
    )
    stage = Rights()
    stage.prepare()
    kept = stage.process(batch).kept
    assert kept.schema.equals(Rights.schema)
    for row, (_, _, licence, by, no_index) in zip(kept.to_pylist(), rows, strict=True):
        assert (row["rights_licence"], row["rights_no_index"]) == (licence, no_index)
        assert (row["rights_opt_out"], row["rights_opt_out_by"]) == (by is not None, by and f"page: {by}")
        assert {
            row[f"rights_{name}"] for name in ("robots_training", "robots_all", "robots_preference", "tdm")
        } == {None}
    assert stage.process(batch.slice(0, 0)).kept.num_rows == 0
    silent = batch.set_column(2, "licence", pa.nulls(len(rows), pa.string()))
    assert stage.process(silent).kept["rights_licence"].null_count == len(rows)


def test_training_robots_are_an_option() -> None:
    stage = Rights(RightsConfig(training_robots=["MyBot.x"]))
    stage.prepare()
    said = ["gptbot: noindex", "mybot.x: noindex", "mybotsx: noindex"]
    batch = pa.table({"id": said, "url": said, "licence": pa.nulls(3, pa.string()), "reservations": said})
    assert stage.process(batch).kept["rights_opt_out"].to_pylist() == [False, True, False]
