"""What a corpus of 25T tokens costs, from documents and bytes per core-second."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.dedup_parts.ours import Measured
from benchmarks.dedup_parts.truth import texts_of
from pipeline.dataset import Dataset

TOKENS = 25e12
VOCABULARY = 32_000
SAMPLE = 4000  # documents that the tokenizer is trained on, and as many that it is then counted with


def bytes_per_token(base: Dataset, cache: Path) -> float:
    """Of the corpus, by a byte-level BPE of 32,000 entries trained on other documents of it."""
    if not cache.exists():
        _, texts = texts_of(base)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False)
        tokenizer.train_from_iterator(texts[:SAMPLE], trainer)
        counted = texts[SAMPLE : 2 * SAMPLE]
        tokens = sum(len(one.ids) for one in tokenizer.encode_batch_fast(counted))
        cache.write_text(str(sum(len(text.encode()) for text in counted) / tokens))
    return float(cache.read_text())


def rows(measured: dict[str, Measured], per_token: float) -> list[list[object]]:
    """Per run: its rates and what 25T tokens would take at them."""
    found: list[list[object]] = []
    for name, run in measured.items():
        core_hours = TOKENS * per_token / (run.text_bytes / run.cpu_seconds) / 3600
        tokens = run.text_bytes / run.documents / per_token
        found.append([name, run.per_second, run.megabytes_per_second, tokens, core_hours, core_hours / 24])
    return found
