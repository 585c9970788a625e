"""Signals of a document's text: the statistics of Gopher, C4 and FineWeb as columns, and counts of reasoning.

The heuristics of Gopher (Rae et al. 2021, appendix A1.1), C4 (Raffel et al. 2020) and FineWeb (Penedo et al.
2024) were made as gates for web prose; as gates they lose most pages with mathematics and code. Here they are
columns, and they are taken from the prose alone, so that a formula is not a line without a full stop and a
program not a heap of symbols. What a value is worth is decided by the policy.

Columns that begin with `gopher_`, `c4_` or `fineweb_` are the numbers that datatrove's filters of these names
compare with their thresholds, when datatrove is given a text's prose, our words and our sentences; words,
mean_word_length and alphabetic_share are so too. (One exception: in C4's citations, `[12]`, any numeral of
Unicode is a digit, not only decimal ones.)

`SIGNALS` defines every column. Text is marked, classified and cut into words and lines once; the kernels of the files
beside count in integers, a row of a table for each text, and NumPy divides.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from filters.prose import Texts, regions, texts_of
from filters.signals import c4, characters, lines, ngrams, prose_lines, structure, vocabulary
from filters.signals.columns import COUNTS, SIGNALS
from filters.signals.vocabulary import INFERENCE, LABELS, STOP_WORDS, TERMINALS
from filters.words import classify, find_words, prose_of
from pipeline.stage import MapStage, Outcome

__all__ = ["INFERENCE", "LABELS", "SIGNALS", "STOP_WORDS", "TERMINALS", "Signals", "signals"]


class Signals(MapStage):
    """documents → one column `signal_…` for each of `SIGNALS`. Counts int32, the rest float32; x / 0 is 0."""

    name = "signals"
    output = "signals"
    input = ("documents",)
    reads = ("id", "text")
    libraries = ("numba", "numpy")
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            *(pa.field(f"signal_{name}", pa.int32() if name in COUNTS else pa.float32()) for name in SIGNALS),
        ]
    )

    def process(self, batch: pa.Table) -> Outcome:
        columns = {f"signal_{name}": values for name, values in signals(texts_of(batch["text"])).items()}
        return Outcome(pa.table({"id": batch["id"], **columns}, schema=self.schema))


def signals(texts: Texts) -> dict[str, np.ndarray]:
    """The values of `SIGNALS` for each text, int32 or float32."""
    n = len(texts.offsets) - 1
    of_words, of_text, of_lines, of_structure = (np.zeros((n, k), np.int64) for k in (8, 12, 12, 5))
    of_grams, of_prose, of_c4 = (np.zeros((n, k), np.int64) for k in (9, 13, 12))
    kinds, classes = regions(texts), classify(texts)
    words, found = find_words(texts, kinds, classes), lines.find_lines(texts, kinds, classes)
    written, written_classes = prose_of(texts, kinds, classes)
    ngrams.count_words(texts.data, *words, *vocabulary.phrases(), of_words)
    ngrams.count_grams(texts.data, *words[:1], *words[2:5], of_grams)
    characters.count_characters(*texts, kinds, classes, of_text)
    lines.count_lines(*texts, kinds, classes, *found, of_lines)
    structure.count_structure(
        *texts, kinds, classes, *found, *words[:4], *vocabulary.openings(), of_structure
    )
    prose_lines.count_prose_lines(*written, written_classes, vocabulary.terminals(), of_prose)
    c4.count_c4(*written, written_classes, of_c4)
    word_characters, alphabetic, unique, pairs, stop_words, inferences, count, small_stop_words = of_words.T
    total, prose, solid, digits, hashes, link, url, formula, code = of_text.T[:9]
    formulas, blocks, chains = of_text.T[9:]
    symbols, sentences, full, bullets, items, ellipses = of_lines.T[:6]
    punctuated, short, repeated, paragraphs, repeated_paragraphs, questions = of_lines.T[6:]
    steps, worked, proofs, alternations, answered = of_structure.T

    inference_rate = share(inferences, sentences)
    reasoning = (
        0.5 * _saturate(inference_rate, 0.25)
        + 0.2 * _saturate(share(formulas, sentences), 0.5)
        + 0.2 * _saturate(share(chains, sentences), 0.1)
        + 0.1 * _saturate(share(items, full), 0.25)
    ) * _saturate(count, 20)
    values = {
        "words": count,
        "characters": total,
        "sentences": sentences,
        "lines": full,
        "mean_word_length": share(word_characters, count),
        "alphabetic_share": share(alphabetic, count),
        "symbol_ratio": share(hashes + symbols, count),
        "digit_share": share(digits, solid),
        "bullet_line_share": share(bullets, full),
        "list_item_share": share(items, full),
        "ellipsis_line_share": share(ellipses, full),
        "line_punctuation_share": share(punctuated, full),
        "short_line_share": share(short, full),
        "duplicate_line_share": share(repeated, full),
        "duplicate_paragraph_share": share(repeated_paragraphs, paragraphs),
        "top_2gram_share": np.minimum(share(pairs, prose), 1),
        "stop_words": stop_words,
        "unique_word_share": share(unique, count),
        "formula_count": formulas,
        "formula_share": share(formula, total),
        "code_block_count": blocks,
        "code_share": share(code, total),
        "inference_words_per_sentence": inference_rate,
        "equation_chain_count": chains,
        "link_density": share(link + url, prose + url),
        "reasoning": reasoning,
        "step_count": steps,
        "worked_label_count": worked,
        "proof_count": proofs,
        "code_explanation_count": alternations,
        "question_share": share(questions, sentences),
        "question_answer_count": answered,
        "gopher_stop_words": small_stop_words,
        **_as_datatrove(of_grams, of_prose, of_c4, prose, count),
    }
    return {name: values[name].astype(np.int32 if name in COUNTS else np.float32) for name in SIGNALS}


def _as_datatrove(
    of_grams: np.ndarray, of_prose: np.ndarray, of_c4: np.ndarray, characters: np.ndarray, words: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns gopher_…, c4_… and fineweb_… but for the stop words; `characters` and `words` of each text's prose."""
    newlines, hashes, ellipses, pieces, repeated, repeated_characters = of_prose.T[:6]
    full, punctuated, short, full_repeated = of_prose.T[6:10]
    paragraphs, repeated_paragraphs, paragraph_characters = of_prose.T[10:13]
    any_lines, bullets, dotted = of_c4.T[9:]
    return {
        "gopher_hash_ratio": share(hashes, words),
        "gopher_ellipsis_ratio": share(ellipses, words),
        "gopher_bullet_line_share": share(bullets, any_lines),
        "gopher_ellipsis_line_share": share(dotted, any_lines),
        "gopher_duplicate_line_share": share(repeated, pieces),
        "gopher_duplicate_line_character_share": share(repeated_characters, characters),
        "gopher_duplicate_paragraph_share": share(repeated_paragraphs, paragraphs),
        "gopher_duplicate_paragraph_character_share": share(paragraph_characters, characters),
        **{f"gopher_top_{k}gram_share": share(of_grams[:, k - 2], characters) for k in (2, 3, 4)},
        **{f"gopher_duplicate_{k}gram_share": share(of_grams[:, k - 2], characters) for k in range(5, 11)},
        **{f"c4_{rule}_lines": of_c4[:, i] for i, rule in enumerate(c4.RULES)},
        "c4_sentences": of_c4[:, len(c4.RULES)],
        "fineweb_line_punctuation_share": share(punctuated, full),
        "fineweb_short_line_share": share(short, full),
        "fineweb_duplicate_line_character_share": share(full_repeated, characters - newlines),
        "fineweb_newlines_per_word": share(newlines, words),
    }


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _saturate(value: np.ndarray, half: float) -> np.ndarray:
    """0 at 0, ½ at `half`, towards 1."""
    return value / (value + half)
