"""The signature store: of every document what is needed to find its near-duplicates, without its text.

A column dataset beside the documents, 150 bytes a document: written once per shard, so a new dump costs its own texts
only. `pipeline.dedup.near` reads it and refuses one that was written by another algorithm.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.dedup import minhash
from pipeline.stage import MapStage, Outcome, StageConfig


class SignaturesConfig(StageConfig):
    bands: Annotated[int, Field(ge=1, le=1024)] = Field(16, description="bands of the MinHash signature")
    rows: Annotated[int, Field(ge=1, le=1024)] = Field(
        7,
        description="hashes per band; 16 × 7 proposes 97.7 % of the pairs of similarity 0.8 and 37 % at 0.6",
    )
    ngram: Annotated[int, Field(ge=1, le=64)] = Field(
        5, description="words (or Chinese characters) per n-gram"
    )


class Signatures(MapStage):
    """Words, a hash of them in their order, and the MinHash band keys. All null for a text without words."""

    name = "signatures"
    output = "signatures"
    input = ("documents",)
    reads = ("id", "text")
    libraries = ("numba",)
    Config: ClassVar[type[StageConfig]] = SignaturesConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.schema = pa.schema(
            [
                pa.field("id", pa.string(), nullable=False),
                pa.field("minhash_words", pa.int32()),
                pa.field("minhash_text", pa.uint64()),
                pa.field("minhash_bands", pa.list_(pa.uint64(), self.config.bands)),
            ]
        )

    def files(self) -> dict[str, str]:
        """Not files, but the result hangs on them as on a file: our hashes and Python's tables of Unicode."""
        return {"minhash algorithm": str(minhash.ALGORITHM), "unicode": unicodedata.unidata_version}

    def process(self, batch: pa.Table) -> Outcome:
        config = self.config
        signatures, words, sequence = minhash.signed(batch["text"], config.bands * config.rows, config.ngram)
        keys = minhash.band_keys(signatures, config.bands, config.rows)
        empty = pa.array(words == 0)
        columns = [
            batch["id"],
            pa.array(words, mask=words == 0),
            pa.array(sequence, mask=words == 0),
            pa.FixedSizeListArray.from_arrays(pa.array(keys.ravel()), config.bands, mask=empty),
        ]
        return Outcome(pa.Table.from_arrays(columns, schema=self.schema))

    def remark(self) -> str:
        """
        >>> Signatures().remark()
        '16 bands × 7: pairs of similarity 0.5 0.6 0.7 0.8 0.9 become candidates with 12 37 75 98 100 %'
        """
        at = np.arange(5, 10) / 10
        chances = " ".join(
            f"{100 * chance:.0f}" for chance in minhash.s_curve(self.config.bands, self.config.rows, at)
        )
        return (
            f"{self.config.bands} bands × {self.config.rows}: pairs of similarity {' '.join(f'{s:.1f}' for s in at)} "
            f"become candidates with {chances} %"
        )
