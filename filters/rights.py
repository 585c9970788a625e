"""What may be done with each document: the class of its licence, and whether its page opts out or asks not to be indexed.

Read from what the document's metadata say (`licence`, `reservations`), never from its text. A licence is put into a
class by name, a signal for the policy and no legal advice: the strictest term in it counts, so that CC BY-NC-SA is
`non_commercial`, and a licence that is named but not known here is `other`.
"""

from __future__ import annotations

import functools
import re
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.stage import MapStage, Outcome

Licence = Literal["public_domain", "permissive", "share_alike", "non_commercial", "no_derivatives", "other"]

SHARE_ALIKE = (
    "GPL AGPL LGPL MPL EPL CDDL EUPL OSL GFDL FDL ODBL CPL CECILL CERN-OHL-S CERN-OHL-W QPL SLEEPYCAT CPAL"
)
PERMISSIVE = (
    "MIT MIT-0 X11 BSD BSD-2-CLAUSE BSD-3-CLAUSE BSD-4-CLAUSE APACHE ISC ZLIB PSF PYTHON BSL BOOST NCSA POSTGRESQL "
    "ARTISTIC W3C ODC-BY CDLA-PERMISSIVE OFL OPENSSL RUBY PHP HPND LIBPNG CURL BLUEOAK ECL UPL AFL MS-PL OGL TCL VIM "
    "LPPL UNICODE ETALAB EDL FTL ICU"
)
PUBLIC = "CC0 PDM PDDL UNLICENSE WTFPL 0BSD PUBLIC-DOMAIN PUBLICDOMAIN BLESSING SAX-PD"
CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/licenses/([a-z-]+)|\bcc[ -]*((?:by|nc|sa|nd|sampling)(?:[ -]+(?:nc|sa|nd))*)\b"
)
WORDINGS: tuple[tuple[str, Licence], ...] = (  # in lower case; the first that is found decides
    (r"all rights reserved|proprietary|\bno licen[cs]e\b|unlicensed|see licen[cs]e|copyright only", "other"),
    (r"creativecommons\.org/(publicdomain/(zero|mark)|share-your-work/public-domain)", "public_domain"),
    (r"\bno[ -]?deriv", "no_derivatives"),
    (r"non[ -]?commercial", "non_commercial"),
    (r"share[ -]?alike|copyleft|gnu .*(general|lesser|affero|documentation)", "share_alike"),
    (
        r"\b(lesser|affero|general) public licen[cs]e|mozilla public|eclipse public|open database",
        "share_alike",
    ),
    (r"public[ -]domain|\bcc[ -]?(0|zero)\b|unlicense\.org", "public_domain"),
    (
        r"creative commons attribution|\battribution( \d\.\d)?( international| generic| unported)?$",
        "permissive",
    ),
    (r"opensource\.org/licen[cs]es?/(mit|isc|zlib|apache|bsd)", "permissive"),
    (r"\bgnu\.org/(licenses|copyleft)/", "share_alike"),
    (r"\bapache\.org/licenses|\b(mit|bsd|apache|isc|zlib|expat)([ -]style)? licen[cs]e\b", "permissive"),
    (r"\bapache( software)? licen[cs]e|\bboost software|\bpython software foundation", "permissive"),
    (r"open government licen[cs]e|nationalarchives\.gov\.uk/doc/open-government", "permissive"),
    (r"opensource\.org/licen[cs]es?/(l?a?gpl|mpl|epl|eupl|cddl|osl)", "share_alike"),
)
STRICTER: tuple[Licence, ...] = (  # of licences that all hold ("AND"), the last in this order counts
    "public_domain", "permissive", "share_alike", "non_commercial", "no_derivatives", "other",
)  # fmt: skip
TRAINING_ROBOTS = (  # robots that gather text for models: "noindex" said to them is said to us
    "gptbot|ccbot|claudebot|anthropic-ai|google-extended|bytespider|applebot-extended|meta-externalagent|amazonbot"
)
OPT_OUT = (  # over `reservations`, statements joined by "; "
    r"(^|; |: )(noai|noml|noimageai|notrain|tdm-reservation: 1)($|; )"
    r"|content-usage: (train-)?(gen)?ai=n"
    rf"|(^|; )({TRAINING_ROBOTS}): (noindex|none)($|; )"
)
NO_INDEX = r"(^|; |: )(noindex|none)($|; )"


@functools.lru_cache(maxsize=65536)
def licence_class(licence: str) -> Licence:
    """The class of a licence written as an SPDX name or expression, a Creative Commons name or address, or in words.

    In an SPDX expression the most liberal side of "OR" counts and the strictest side of "AND".

    >>> licence_class("CC-BY-NC-SA-4.0"), licence_class("GPL-2.0-only OR MIT"), licence_class("© 2020 A. Person")
    ('non_commercial', 'permissive', 'other')
    """
    said = " ".join(licence.split())
    if re.fullmatch(r"[\w.+()-]+( (AND|OR|WITH|and|or) [\w.+()-]+)+", said):
        said = re.sub(r"(?i) with [\w.+-]+", "", said).replace("(", "").replace(")", "")
        choices = [re.split(r"(?i) and ", choice) for choice in re.split(r"(?i) or ", said)]
        return min((max(map(_one, terms), key=STRICTER.index) for terms in choices), key=STRICTER.index)
    return _one(said)


def _one(licence: str) -> Licence:
    if found := CREATIVE_COMMONS.search(licence.lower()):
        terms = set(re.split("[ -]+", found[1] or found[2]))
        return (
            "no_derivatives" if "nd" in terms
            else "non_commercial" if "nc" in terms
            else "share_alike" if "sa" in terms
            else "permissive" if "by" in terms
            else "other"
        )  # fmt: skip
    name = re.sub(r"[ _]+", "-", licence.upper())
    name = re.sub(r"^(LICENSEREF|GNU|THE)-", "", name)
    for names, kind in ((PUBLIC, "public_domain"), (SHARE_ALIKE, "share_alike"), (PERMISSIVE, "permissive")):
        if any(
            re.fullmatch(rf"{known}(-?V?\d[\w.]*)?(-?(LICEN[CS]E|ONLY|OR-LATER|\+))*", name)
            for known in names.split()
        ):
            return kind  # type: ignore[return-value]
    return next((kind for pattern, kind in WORDINGS if re.search(pattern, licence.lower())), "other")


class Rights(MapStage):
    """documents → `rights_licence` (a class; null: nothing said), `rights_opt_out`, `rights_no_index`.

    `rights_opt_out`: the page or its server reserves text and data mining or asks not to be used to train models (noai,
    noml, TDM reservation, AI preferences, "noindex" said to a robot that gathers for training). `rights_no_index`: it
    asks search engines, all or one, not to index it. robots.txt is the crawler's affair and not seen here.
    """

    name = "rights"
    output = "rights"
    input = ("documents",)
    reads = ("id", "licence", "reservations")
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("rights_licence", pa.string()),
            pa.field("rights_opt_out", pa.bool_()),
            pa.field("rights_no_index", pa.bool_()),
        ]
    )

    def process(self, batch: pa.Table) -> Outcome:
        said = batch["licence"].combine_chunks().dictionary_encode()
        classes = [licence_class(name) if name.strip() else None for name in said.dictionary.to_pylist()]
        reserved = batch["reservations"].fill_null("")
        columns = {
            "id": batch["id"],
            "rights_licence": pa.array(classes, pa.string()).take(said.indices),
            "rights_opt_out": pc.match_substring_regex(reserved, OPT_OUT),
            "rights_no_index": pc.match_substring_regex(reserved, NO_INDEX),
        }
        return Outcome(pa.table(columns, schema=self.schema))
