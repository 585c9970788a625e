"""What may be done with each document: the class of its licence, and whether its page or site opts out of training.

Read from what the document's metadata say (`licence`, `reservations`), never from its text, and from the robots.txt and
tdmrep.json of its site where the user has captures of them (`site_rules`). A licence is put into a class by name, a
signal for the policy and no legal advice: the strictest term in it counts, so that CC BY-NC-SA is `non_commercial`, and a
licence that is named but not known here is `other`.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from filters.site_captures import SiteCaptures
from filters.site_rules import Said
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from pipeline.stage import MapStage, Outcome, StageConfig

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
# Robots that gather text for models, by what their operators say of them: what is said to them is said to us. Not those
# that fetch for a search index or a reader's question (OAI-SearchBot, Claude-User), nor Applebot without "-Extended".
TRAINING_ROBOTS = (
    "gptbot", "ccbot", "claudebot", "anthropic-ai", "google-extended", "bytespider", "applebot-extended",
    "meta-externalagent", "amazonbot", "ai2bot", "ai2bot-dolma", "cohere-training-data-crawler", "facebookbot",
    "pangubot", "timpibot", "webzio-extended", "diffbot", "omgili", "omgilibot",
)  # fmt: skip
# Over `reservations`, statements joined by "; ".
OPT_OUT = (
    r"(?:^|; )(?P<said>(?:[\w.-]+: )?(?:noai|noml|noimageai|notrain)|tdm-reservation: 1"
    r"|content-usage: (?:train-)?(?:gen)?ai=n|(?:%s): (?:noindex|none))(?:$|; )"
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


class RightsConfig(StageConfig):
    site_rules: list[str] = Field(
        [],
        description="captures of robots.txt and tdmrep.json: WARC files, JSON lines or Parquet with `url` (or `host` and "
        "`kind`) and `body`, folders of these; of several of one site the newest counts",
    )
    training_robots: list[str] = Field(
        list(TRAINING_ROBOTS), description="robots that gather text for models, as robots.txt names them"
    )


class Rights(MapStage):
    """documents → `rights_licence` (a class; null: nothing said), `rights_opt_out`, `rights_no_index` and what sites say.

    `rights_opt_out`: the page, its server or its site reserves text and data mining or asks not to be used to train
    models: noai, noml, TDM reservation, AI preferences, "noindex" said to a robot that gathers for training, or that robot
    disallowed by name. `rights_opt_out_by` is the statement that says so, the page's own first ("page: noai",
    "robots.txt: gptbot disallowed", "tdmrep.json: /news/"). `rights_no_index`: the page asks search engines, all or one,
    not to index it.

    Of the site, null where no capture of its file is known: `rights_robots_training` (a training robot is disallowed by
    name), `rights_robots_all` (all robots are, "*": a question of crawling, no opt-out from training),
    `rights_robots_preference` (Content-Signal or Content-Usage: true refuses training, false grants it, null says nothing
    of it) and `rights_tdm` (tdmrep.json reserves it). A page that lifts what its tdmrep.json reserves ("tdm-reservation: 0",
    which TDMRep lets it) is not seen: `reservations` holds what is reserved only.
    """

    name = "rights"
    output = "rights"
    input = ("documents",)
    reads = ("id", "url", "licence", "reservations")
    libraries = ("protego",)
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("rights_licence", pa.string()),
            pa.field("rights_opt_out", pa.bool_()),
            pa.field("rights_opt_out_by", pa.string()),
            pa.field("rights_no_index", pa.bool_()),
            pa.field("rights_robots_training", pa.bool_()),
            pa.field("rights_robots_all", pa.bool_()),
            pa.field("rights_robots_preference", pa.bool_()),
            pa.field("rights_tdm", pa.bool_()),
        ]
    )
    Config: ClassVar[type[StageConfig]] = RightsConfig

    def files(self) -> dict[str, str]:
        return {f"{i}: {Path(path).name}": sha256_of(path) for i, path in enumerate(self.config.site_rules)}

    def check(self, schema: pa.Schema | None) -> None:
        for path in self.config.site_rules:
            if not Path(path).expanduser().exists():
                raise RequestError(
                    f"site rules {path}: not there. Give `site_rules` the paths of WARC files, tables or folders of them."
                )

    def prepare(self) -> None:
        robots = [name.lower() for name in self.config.training_robots]
        self.opt_out = OPT_OUT % "|".join(map(re.escape, robots))
        self.sites = SiteCaptures.open(self.config.site_rules, robots) if self.config.site_rules else None

    def process(self, batch: pa.Table) -> Outcome:
        licences = batch["licence"].combine_chunks().dictionary_encode()
        classes = [licence_class(name) if name.strip() else None for name in licences.dictionary.to_pylist()]
        reserved = batch["reservations"].combine_chunks().fill_null("")
        of_page = pc.struct_field(pc.extract_regex(reserved, self.opt_out), "said")
        of_site = [self.sites.say(url) if self.sites else Said() for url in batch["url"].to_pylist()]
        because = pa.array([said.because for said in of_site], pa.string())
        by = pc.coalesce(pc.binary_join_element_wise("page: ", of_page, ""), because)
        columns = {
            "id": batch["id"],
            "rights_licence": pa.array(classes, pa.string()).take(licences.indices),
            "rights_opt_out": pc.is_valid(by),
            "rights_opt_out_by": by,
            "rights_no_index": pc.match_substring_regex(reserved, NO_INDEX),
            "rights_robots_training": [said.training for said in of_site],
            "rights_robots_all": [said.everybody for said in of_site],
            "rights_robots_preference": [said.preference for said in of_site],
            "rights_tdm": [said.mining for said in of_site],
        }
        return Outcome(pa.table(columns, schema=self.schema))
