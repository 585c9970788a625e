"""The tokenizer of a run: given, or byte-level BPE trained on a sample of what the policy kept.

Byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2, Radford et al. 2019) with the word split of Qwen2: letters with
one leading character, single digits, punctuation with its line breaks, line breaks, blanks. No normaliser, so that
decoding gives back every text byte for byte (Qwen2 itself composes characters by NFC first).

The result is a function of the set of documents alone. A document is in the sample if a hash of its id is small enough,
documents are trained on in the order of their ids, and merges of equal count are decided by the library's own order;
neither shards nor threads play a part.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
from pydantic import Field, model_validator
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from mixtures.chat import control_tokens
from pipeline import dataset
from pipeline import models as model_cache
from pipeline.dataset import Dataset
from pipeline.dedup.minhash import ALGORITHM, string_hashes
from pipeline.errors import RequestError
from pipeline.stage import Round, ShuffleStage, StageConfig, Unit

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")  # ids 0, 1, 2 of a trained tokenizer
WORDS = "|".join(  # how Qwen2 cuts a text into words before merging; the first that fits is taken
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",  # English endings
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # letters, with the blank or sign before them
        r"\p{N}",  # each digit alone: numbers are read digit by digit
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # signs, to the end of the line
        r"\s*[\r\n]+",  # empty lines
        r"\s+(?!\S)",  # blanks, but for the last one before a word
        r"\s+",
    )
)
PASSAGE = 1 << 16  # bytes that one document may give to the sample, so that no giant shapes the vocabulary


class TokenizerConfig(StageConfig):
    file: str | None = Field(
        None, description="tokenizer.json, a Hugging Face folder with one, or a model name of the cache"
    )
    vocabulary: Annotated[int, Field(ge=256 + len(SPECIAL))] | None = Field(
        None,
        description="instead of `file`: size of a vocabulary trained on the documents, special tokens included",
    )
    sample_bytes: Annotated[int, Field(ge=1)] = Field(
        16_000_000,
        description="about how much text it is trained on; training takes some 10 times the memory",
    )
    end_of_text: str = Field(SPECIAL[0], description="special token that ends a document")

    @model_validator(mode="after")
    def _one_of_two(self) -> TokenizerConfig:
        if (self.file is None) == (self.vocabulary is None):
            raise ValueError(
                "give either `file` (a tokenizer.json) or `vocabulary` (the size of one to train)"
            )
        if self.vocabulary is not None and self.end_of_text != SPECIAL[0]:
            raise ValueError(f"a trained tokenizer ends texts with {SPECIAL[0]}; `end_of_text` is for `file`")
        return self


class Tokenizer(ShuffleStage):
    """One row: the text of tokenizer.json, how many ids it has (largest id + 1), and the one that ends a text."""

    name = "tokenizer"
    output = "tokenizer"
    input = ("documents",)
    selected_by = "policy"
    reads = ("id", "text")
    patience = 60.0  # training is one call: an hour of CPU time
    libraries = ("tokenizers",)
    aligned = False
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),  # "tokenizer"
            pa.field("tokenizer_json", pa.string(), nullable=False),
            pa.field("vocabulary", pa.int32(), nullable=False),
            pa.field("end_of_text", pa.int32(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),  # of tokenizer_json
        ]
    )
    Config: ClassVar[type[StageConfig]] = TokenizerConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.rounds = (
            (Round("given", "all", None),)
            if self.config.file is not None
            else (
                Round("count", "shards", "all"),
                Round("rate", "all", "shards"),
                Round("sample", "shards", "all"),
                Round("train", "all", None),
            )
        )

    def files(self) -> dict[str, str]:
        if self.config.file is None:
            return {"hash algorithm": str(ALGORITHM)}
        if self.config.file in model_cache.FOLDERS:  # need not be fetched to be named
            return {"tokenizer.json": model_cache.sha256_of(self.config.file)}
        return {"tokenizer.json": model_cache.sha256_of(str(_tokenizer_json(self.config.file)))}

    def given(self, unit: Unit) -> pa.Table:
        """The tokenizer of `file`, as it is."""
        path = _tokenizer_json(self.config.file)
        text = path.read_text(encoding="utf-8")
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise RequestError(f"{path} is no tokenizer.json of the tokenizers library: {error}") from error
        return self._row(text, tokenizer, str(path))

    def count(self, unit: Unit) -> pa.Table:
        """How much text this shard offers."""
        assert unit.table is not None
        offered = np.minimum(pc.binary_length(unit.table["text"]).to_numpy(), PASSAGE).sum()
        return pa.table(
            {
                "partition": pa.array([0], pa.int32()),
                "shard": pa.array([unit.index], pa.int32()),
                "bytes": pa.array([offered], pa.int64()),
            }
        )

    def rate(self, unit: Unit) -> pa.Table:
        """The share of documents to take, told to every shard."""
        assert unit.routed is not None
        offered = pc.sum(unit.routed["bytes"]).as_py() or 0
        rate = min(1.0, self.config.sample_bytes / max(1, offered))
        return pa.table(
            {
                "partition": unit.routed["shard"],
                "rate": pa.array(np.full(unit.routed.num_rows, rate)),
            }
        )

    def sample(self, unit: Unit) -> pa.Table:
        """The passages of this shard that are in the sample."""
        assert unit.table is not None and unit.routed is not None
        hashes = string_hashes(unit.table["id"])
        chosen = np.flatnonzero((hashes >> np.uint64(11)) * 2.0**-53 < unit.routed["rate"][0].as_py())
        rows = unit.table.select(["id", "text"]).take(pa.array(chosen))
        texts = [
            _passage(text, int(h)) for text, h in zip(rows["text"].to_pylist(), hashes[chosen], strict=True)
        ]
        return pa.table(
            {
                "partition": pa.array(np.zeros(len(chosen), np.int32)),
                "id": rows["id"].cast(pa.string()),
                "text": pa.array(texts, pa.large_string()),
            }
        )

    def train(self, unit: Unit) -> pa.Table:
        """Byte-level BPE on the sample. With too little text the vocabulary stays smaller than asked for."""
        assert unit.routed is not None
        texts = unit.routed.sort_by("id")["text"]
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.config.vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # every byte has a token: no text is unknown
            show_progress=False,
        )
        tokenizer.train_from_iterator((text.as_py() for text in texts), trainer, length=len(texts))
        return self._row(tokenizer.to_str(), tokenizer, "the trained tokenizer")

    def _row(self, text: str, tokenizer: tokenizers.Tokenizer, what: str) -> pa.Table:
        end_of_text = tokenizer.token_to_id(self.config.end_of_text)
        if end_of_text is None or end_of_text not in control_tokens(tokenizer):
            known = [t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special]
            raise RequestError(
                f"{what} has no special token {self.config.end_of_text} to end a text with. "
                f"Set `end_of_text` to one of: {', '.join(known[:20]) or '(it has no special tokens at all)'}"
            )
        row = {
            "id": "tokenizer",
            "tokenizer_json": text,
            "vocabulary": max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1,
            "end_of_text": end_of_text,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        return pa.Table.from_pylist([row], schema=self.schema)


def open_tokenizer(found: Dataset) -> tuple[tokenizers.Tokenizer, int]:
    """The tokenizer of a finished `tokenizer` dataset and its end-of-text id, ready to encode plain text.

    Truncation and padding that the file may ask for are off, and the names of special tokens are ordinary text, so
    that no document can contain a control token. Raises `RequestError` if the dataset holds no tokenizer.
    """
    rows = [
        row for shard in found.shards for row in dataset.read_shard(found.shard_path(shard.name)).to_pylist()
    ]
    if len(rows) != 1:
        raise RequestError(f"{found.path} holds {len(rows)} tokenizers, expected one: run its stage again")
    tokenizer = tokenizers.Tokenizer.from_str(rows[0]["tokenizer_json"])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer, rows[0]["end_of_text"]


def _tokenizer_json(name: str) -> Path:
    path = Path(name).expanduser()
    if name in model_cache.FOLDERS:
        path = model_cache.model_folder(name)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        raise RequestError(
            f"tokenizer: there is no file {path}. Give `file` a tokenizer.json, a folder with one, or one of the "
            f"models {', '.join(model_cache.FOLDERS)}"
        )
    return path


def _passage(text: str, hash_: int) -> str:
    """The text, or of a long one `PASSAGE` bytes from a place that the hash chooses: beginnings are alike."""
    data = text.encode()
    if len(data) <= PASSAGE:
        return text
    start = hash_ % (len(data) - PASSAGE)
    return data[start : start + PASSAGE].decode(errors="ignore")  # characters cut in two are left out
