"""What may be done with each document: the class of its licence, and whether its page or site opts out of training.

Read from what the document's metadata say (`licence`, `reservations`), never from its text, and from the robots.txt and
tdmrep.json of its site where the user has captures of them (`site_rules`). How a licence is put into a class:
`filters.licences`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from filters.licences import licence_class
from filters.site_captures import SiteCaptures
from filters.site_rules import Said
from pipeline.errors import RequestError
from pipeline.models import sha256_of
from pipeline.stage import MapStage, Outcome, StageConfig

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
