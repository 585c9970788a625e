"""The language of each document, from a window of four pieces of its prose.

Text is judged by fastText's lid.176 (Joulin et al. 2016,
https://fasttext.cc/docs/en/language-identification.html). Only prose is shown to it: code and formulas look
like English to the model, addresses too. The pieces stand in the middles of the prose's four quarters: beginnings
are menus and licence headers, and no single place stands for a page that quotes, lists or translates. A short window is
enough for most documents; a longer one is read when the model is unsure.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import fasttext
import numba
import numpy as np
import pyarrow as pa
from pydantic import Field

from filters.words import LINK, Texts, regions, texts_of
from pipeline.errors import RequestError
from pipeline.models import model_file, sha256_of
from pipeline.stage import MapStage, Outcome, StageConfig

UNDETERMINED = "und"  # ISO 639-3 for "no linguistic content we could judge"
PIECES = 4  # of a window


class LanguageConfig(StageConfig):
    model: str = Field(
        "lid.176.ftz", description="fastText language model: a name in the model cache, or a path"
    )
    short: int = Field(500, ge=PIECES, description="characters of prose shown to the model first")
    long: int = Field(2000, ge=PIECES, description="characters shown when it is unsure")
    threshold: float = Field(0.7, ge=0, le=1, description="below this score the long window is read")


class Language(MapStage):
    """documents → `lang_label` (ISO 639; "und": no prose), `lang_score` 0…1, `lang_window` short or long."""

    name = "language"
    output = "language"
    input = ("documents",)
    reads = ("id", "text")
    libraries = ("fasttext-community", "numpy")
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("lang_label", pa.string()),
            pa.field("lang_score", pa.float32()),
            pa.field("lang_window", pa.string()),
        ]
    )
    Config: ClassVar[type[StageConfig]] = LanguageConfig

    def files(self) -> dict[str, str]:
        return {
            "lid.176.ftz" if self.config.model == "lid.176.ftz" else "model": sha256_of(self.config.model)
        }

    def prepare(self) -> None:
        path = model_file(self.config.model)
        try:
            self.model = fasttext.load_model(str(path))
        except ValueError as error:
            raise RequestError(
                f"{path} is not a fastText model ({error}). Give `model` the path of a lid.176.ftz or lid.176.bin."
            ) from error

    def process(self, batch: pa.Table) -> Outcome:
        texts = texts_of(batch["text"])
        kinds = regions(texts)
        windows, cut = prose_windows(texts, kinds, self.config.short)
        labels, scores = self.predict(windows)
        window: list[Literal["short", "long"]] = ["short"] * len(labels)
        again = [
            i for i, score in enumerate(scores) if cut[i] and score < self.config.threshold and windows[i]
        ]  # the text has more than the model saw
        if again:
            wide, _ = prose_windows(texts, kinds, self.config.long)
            better_labels, better_scores = self.predict([wide[i] for i in again])
            for i, label, score in zip(again, better_labels, better_scores, strict=True):
                labels[i], scores[i], window[i] = label, score, "long"
        columns = {"id": batch["id"], "lang_label": labels, "lang_score": scores, "lang_window": window}
        return Outcome(pa.table(columns, schema=self.schema))

    def predict(self, windows: list[str]) -> tuple[list[str], list[float]]:
        """Label and score of each window; `und` and 0 for an empty one."""
        labels, scores = [UNDETERMINED] * len(windows), [0.0] * len(windows)
        asked = [i for i, window in enumerate(windows) if window]
        if asked:
            # The list form works with every build of fastText on NumPy 2, the form for one text does not.
            found, probabilities = self.model.predict([windows[i] for i in asked])
            for i, names, values in zip(asked, found, probabilities, strict=True):
                if len(names):
                    labels[i], scores[i] = names[0].removeprefix("__label__"), min(float(values[0]), 1.0)
        return labels, scores


def prose_windows(texts: Texts, kinds: np.ndarray, length: int) -> tuple[list[str], list[bool]]:
    """Of each text `length` characters of its prose, lower case, on one line.

    Code (fenced and inline), formulas and addresses are left out, white space is collapsed. Of longer prose the window
    is four pieces of equal length with a space between them, each in the middle of a quarter. A window without a letter
    is "". Also returned: whether the prose is longer than its window.
    """
    prose = np.empty(len(texts.data) + len(texts.offsets), np.uint8)
    ends = np.zeros(len(texts.offsets), np.int64)
    starts = np.zeros(len(texts.offsets), np.int64)
    cut = np.zeros(len(texts.offsets), np.bool_)
    _window(texts.data, texts.offsets, kinds, length, prose, starts, ends, cut)
    # Lower case, because the model takes English in capitals for Italian or German.
    windows = [
        prose[a:b].tobytes().decode("utf-8", "replace").lower()
        for a, b in zip(starts[:-1], ends[:-1], strict=True)
    ]
    windows = [window if any(map(str.isalpha, window)) else "" for window in windows]
    return windows, cut[:-1].tolist()


@numba.njit(cache=True)
def _window(data, offsets, kinds, length, prose, starts, ends, cut):
    """Copies each text's prose to `prose` and draws its pieces together there."""
    n = 0
    for d in range(len(offsets) - 1):
        begin = n
        count = 0
        space = True  # so that none is written first
        for i in range(offsets[d], offsets[d + 1]):
            byte = data[i]
            if kinds[i] > LINK or byte <= 32:
                if not space:
                    prose[n] = 32
                    n += 1
                    count += 1
                space = True
                continue
            prose[n] = byte
            n += 1
            count += (byte & 0xC0) != 0x80  # bytes that begin a character
            space = False
        cut[d] = count > length
        if cut[d]:
            end, read, n = n, begin, begin
            at = 0  # characters before `read`
            for k in range(PIECES):
                start = (2 * k + 1) * count // (2 * PIECES) - length // PIECES // 2
                while at < start or (prose[read] & 0xC0) == 0x80:  # stands at a character's beginning
                    at += (prose[read] & 0xC0) != 0x80
                    read += 1
                if k > 0 and n < read:
                    prose[n] = 32
                    n += 1
                stop = start + length // PIECES
                while read < end and (at < stop or (prose[read] & 0xC0) == 0x80):
                    at += (prose[read] & 0xC0) != 0x80
                    prose[n] = prose[read]
                    n += 1
                    read += 1
        starts[d], ends[d] = begin, n
