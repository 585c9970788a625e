"""Signals of a document's text: the statistics of Gopher, C4 and FineWeb as columns, and counts of reasoning.

The heuristics of Gopher (Rae et al. 2021, appendix A1.1), C4 (Raffel et al. 2020) and FineWeb (Penedo et al.
2024) were made as gates for web prose; as gates they lose most pages with mathematics and code. Here they are
columns, and they are taken from the prose alone, so that a formula is not a line without a full stop and a
program not a heap of symbols. What a value is worth is decided by the policy.

Columns that begin with `gopher_`, `c4_` or `fineweb_` are the numbers that datatrove's filters of these names
compare with their thresholds, when datatrove is given a text's prose, our words and our sentences; words,
mean_word_length and alphabetic_share are so too. (One exception: in C4's citations, `[12]`, any numeral of
Unicode is a digit, not only decimal ones.)

`SIGNALS` defines every column. Text is marked, classified and cut into words once; kernels count in integers,
NumPy divides.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
import pyarrow as pa

from filters.words import (
    BULLET,
    CLOSER,
    CODE,
    COLON,
    CONTINUATION,
    DIGIT,
    ELLIPSIS,
    FORMULA,
    FULL_STOP,
    LINK,
    LOWER,
    MARK,
    RELATION,
    SPACE,
    SPAN,
    STOP,
    TABLE,
    UNSPACED,
    URL,
    Texts,
    Words,
    classify,
    find_words,
    prose_of,
    regions,
    texts_of,
)
from pipeline.stage import MapStage, Outcome

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher's eight
INFERENCE = (  # words and phrases that announce a step of reasoning; none is the beginning of another
    *("therefore", "hence", "thus", "consequently", "accordingly", "thereby", "whence"),
    *("since", "because", "implies", "imply", "implying", "deduce", "conclude", "infer"),
    *("let", "suppose", "assume", "assuming", "contradiction", "otherwise", "whereas", "unless"),
    *("so that", "it follows", "this follows", "given that", "as a result", "for this reason"),
    *("if and only", "in other words", "we have", "we get", "we obtain", "we see", "we know", "this means"),
    *(
        "因为",
        "所以",
        "因此",
        "因而",
        "从而",
        "由于",
        "于是",
        "假设",
        "假定",
        "故",
        "可得",
        "推出",
        "矛盾",
        "设",
    ),
)
LABELS = {  # what begins a line that has this role; small letters never do
    "question": ("Q", "Question", "Problem", "Exercise", "问", "问题", "题目", "例题", "练习"),
    "answer": ("A", "Answer", "答", "答案"),
    "worked": ("Solution", "Derivation", "Explanation", "Worked example", "解", "解答", "解析", "推导"),
    "proof": ("Proof", "证", "证明"),
}
STEPS = (
    ("Step {}", "步骤{}", "第{}步"),
    30,
)  # openings of a numbered step, and the last number they are known for
CHINESE_NUMERALS = "一二三四五六七八九十"
ENOUGH_WORDS = 5  # for prose beside code to be an explanation
ANSWER_WORDS = 10  # for prose below a question to be an answer

# Characters that end a sentence in some script: Unicode's Sentence_Terminal as far as datatrove 0.10 knows it.
TERMINALS = """
    21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736
    17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F
    203C-203D 2047-2049 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F
    A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59
    10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239
    1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946
    11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44
    16E98 1BC9F 1DA88
"""

SIGNALS: dict[str, str] = {
    "words": "words of the prose (see filters.words: letters of scripts without spaces are words)",
    "characters": "code points of the whole text",
    "sentences": "stretches of prose with a word that end with . ! ? … 。 ！ ？ or with a paragraph, a heading, a list item "
    "or a code block; a . ! ? … counts if white space follows, and then no small letter",
    "lines": "lines that have a letter or digit outside code and formulas",
    "mean_word_length": "characters a word",
    "alphabetic_share": "words with a letter / words",
    "symbol_ratio": "# and ellipses (… or ...) in the prose, without the marks of headings / words",
    "digit_share": "digits / characters of the prose that are no white space",
    "bullet_line_share": "lines that begin with a bullet (- * + • · ● ○ ◦ ▪ ■ ‣ – —) and a space / lines",
    "list_item_share": "lines that begin with a bullet or a number or letter (1. 1) (1) a) (a)) and a space / lines",
    "ellipsis_line_share": "lines whose prose ends with … or ... / lines",
    "line_punctuation_share": "lines whose prose ends with . ! ? : ; … 。 ！ ？ ： ；, closing quotes, brackets and "
    "emphasis not counted / lines",
    "short_line_share": "lines of at most 30 characters, surrounding white space not counted / lines",
    "duplicate_line_share": "lines equal to an earlier line / lines",
    "duplicate_paragraph_share": "paragraphs (between blank lines or code blocks) equal to an earlier one / paragraphs",
    "top_2gram_share": "characters of all occurrences of the most frequent pair of successive words (two at least) / "
    "characters of the prose, 1 at most",
    "stop_words": "how many of Gopher's eight (the, be, to, of, and, that, have, with) occur",
    "unique_word_share": "different words / words",
    "formula_count": "formulas ($…$ and $$…$$); those that touch count as one",
    "formula_share": "characters in formulas / characters",
    "code_block_count": "fenced code blocks",
    "code_share": "characters in fenced code blocks / characters",
    "inference_words_per_sentence": "words and phrases that announce a step of reasoning (English and Chinese: "
    "therefore, since, suppose, it follows, 因此, …; filters.signals.INFERENCE) / sentences",
    "equation_chain_count": "formulas with at least two of = ≈ ≡ ⇒ ⇔ \\approx \\equiv \\implies \\iff \\Rightarrow "
    "\\Leftrightarrow outside braces",
    "link_density": "characters of link texts and bare addresses / characters of the prose and bare addresses",
    "reasoning": "a heuristic from 0 to 1, no judgement of quality: saturating inference words per sentence (weight .5), "
    "formulas per sentence (.2), equation chains per sentence (.2) and list items per line (.1), damped for short texts",
    "step_count": "lines with a number (1. 1) (1), a numbered heading, Step 1, 第一步) that is one more than that of the "
    "numbered line before",
    "worked_label_count": "lines that begin with Solution, Proof, Derivation, Explanation, Worked example, 解, 证明, … "
    "(filters.signals.LABELS), perhaps a number, then . : or ( or nothing",
    "proof_count": "proofs (Proof, 证明) that reach their end mark (∎ □ ■ QED \\qed \\blacksquare …) before the next begins",
    "code_explanation_count": "changes, in either direction, between a fenced code block and prose of at least five words",
    "question_share": "sentences that end with ? or ？ / sentences",
    "question_answer_count": "questions (lines labelled Q, Question, Problem, 问, …; headings that end with ?) that have an "
    "answer before the next question: a line labelled A, Answer, Solution, 答, …, or below a heading ten words of prose",
    "gopher_hash_ratio": "# in the prose / words",
    "gopher_ellipsis_ratio": "... and … in the prose / words",
    "gopher_bullet_line_share": "lines of the prose, empty ones too, that begin with - or • / lines",
    "gopher_ellipsis_line_share": "lines of the prose, empty ones too, that end with ... or … / lines",
    "gopher_stop_words": "how many of Gopher's eight occur in small letters",
    "gopher_duplicate_line_share": "lines equal to an earlier one, white space counted / lines that are not empty (one "
    "more where the prose begins or ends with a line break)",
    "gopher_duplicate_line_character_share": "characters of these lines / characters of the prose",
    "gopher_duplicate_paragraph_share": "paragraphs (between empty lines) equal to an earlier one / paragraphs",
    "gopher_duplicate_paragraph_character_share": "characters of these paragraphs / characters of the prose",
    **{
        f"gopher_top_{n}gram_share": f"characters of all occurrences of the most frequent {n} successive words (of several "
        "the first), spaces between them counted / characters of the prose"
        for n in (2, 3, 4)
    },
    **{
        f"gopher_duplicate_{n}gram_share": f"characters of {n} successive words that occurred before, each counted once / "
        "characters of the prose"
        for n in range(5, 11)
    },
    "c4_long_word_lines": "lines of the prose with a word (between spaces) of more than 1000 characters; of the c4_…_lines "
    "a line is counted in the first that fits",
    "c4_unpunctuated_lines": "… that do not end with . ? ! \" or ', or end with ...",
    "c4_few_word_lines": "… of fewer than three words",
    "c4_lorem_ipsum_lines": "… with “lorem ipsum”: one drops the document",
    "c4_javascript_lines": "… with “javascript”",
    "c4_curly_bracket_lines": "… with {: one drops the document",
    "c4_policy_lines": "… with “terms of use”, “privacy policy”, “cookie policy”, “uses cookies”, “use of cookies” or “use cookies”",
    "c4_kept_lines": "… that C4 keeps",
    "c4_sentences": "sentences of the lines that C4 keeps, each line by itself, one a line at least",
    "fineweb_line_punctuation_share": "lines of the prose that end with a character that ends sentences in some script / "
    "lines that are not blank",
    "fineweb_short_line_share": "such lines of at most 30 characters / such lines",
    "fineweb_duplicate_line_character_share": "characters of such lines equal to an earlier one / characters of the prose "
    "without line breaks",
    "fineweb_newlines_per_word": "line breaks of the prose / words",
}
COUNTS = {
    *("words", "characters", "sentences", "lines", "stop_words", "gopher_stop_words", "c4_sentences"),
    *(name for name in SIGNALS if name.endswith(("_count", "_lines"))),
}


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
    kinds = regions(texts)
    classes = classify(texts)
    words = find_words(texts, kinds, classes)
    n = len(texts.offsets) - 1
    of_words, of_text, of_structure = (np.zeros((n, k), np.int64) for k in (8, 23, 5))
    _count_words(texts.data, *words, *_phrases(), of_words)
    _count_characters(texts.data, texts.offsets, kinds, classes, of_text)
    _count_structure(texts.data, texts.offsets, kinds, classes, *words[:4], *_labels(), of_structure)
    word_characters, alphabetic, unique, pairs, stop_words, inferences, count, small_stop_words = of_words.T
    all_, prose, solid, digits, symbols, link, url, formula, code = of_text.T[:9]
    formulas, blocks, chains, sentences, lines, bullets, items, ellipses = of_text.T[9:17]
    punctuated, short, repeated, paragraphs, repeated_paragraphs, questions = of_text.T[17:]
    steps, worked, proofs, alternations, answered = of_structure.T

    inference_rate = share(inferences, sentences)
    reasoning = (
        0.5 * _saturate(inference_rate, 0.25)
        + 0.2 * _saturate(share(formulas, sentences), 0.5)
        + 0.2 * _saturate(share(chains, sentences), 0.1)
        + 0.1 * _saturate(share(items, lines), 0.25)
    ) * _saturate(count, 20)
    values = {
        "words": count,
        "characters": all_,
        "sentences": sentences,
        "lines": lines,
        "mean_word_length": share(word_characters, count),
        "alphabetic_share": share(alphabetic, count),
        "symbol_ratio": share(symbols, count),
        "digit_share": share(digits, solid),
        "bullet_line_share": share(bullets, lines),
        "list_item_share": share(items, lines),
        "ellipsis_line_share": share(ellipses, lines),
        "line_punctuation_share": share(punctuated, lines),
        "short_line_share": share(short, lines),
        "duplicate_line_share": share(repeated, lines),
        "duplicate_paragraph_share": share(repeated_paragraphs, paragraphs),
        "top_2gram_share": np.minimum(share(pairs, prose), 1),
        "stop_words": stop_words,
        "unique_word_share": share(unique, count),
        "formula_count": formulas,
        "formula_share": share(formula, all_),
        "code_block_count": blocks,
        "code_share": share(code, all_),
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
        **_as_datatrove(texts, kinds, classes, words, prose),
    }
    return {name: values[name].astype(np.int32 if name in COUNTS else np.float32) for name in SIGNALS}


def _as_datatrove(
    texts: Texts, kinds: np.ndarray, classes: np.ndarray, words: Words, characters_: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns gopher_…, c4_… and fineweb_… but for the stop words; `characters_`: of each text's prose."""
    n = len(characters_)
    prose, prose_classes = prose_of(texts, kinds, classes)
    of_grams, of_lines, of_c4 = (np.zeros((n, k), np.int64) for k in (9, 15, 12))
    _count_grams(texts.data, *words[:1], *words[2:5], of_grams)
    _count_lines(*prose, prose_classes, _terminals(), of_lines)
    _count_c4(*prose, prose_classes, of_c4)
    count = np.diff(words.offsets)
    newlines, hashes, ellipses, lines, repeated, repeated_characters = of_lines.T[:6]
    full, punctuated, short, full_repeated = of_lines.T[6:10]
    paragraphs, repeated_paragraphs, paragraph_characters = of_lines.T[10:13]
    any_lines, bullets, dotted = of_c4.T[9:]
    rules = (
        "long_word",
        "unpunctuated",
        "few_word",
        "lorem_ipsum",
        "javascript",
        "curly_bracket",
        "policy",
        "kept",
    )
    return {
        "gopher_hash_ratio": share(hashes, count),
        "gopher_ellipsis_ratio": share(ellipses, count),
        "gopher_bullet_line_share": share(bullets, any_lines),
        "gopher_ellipsis_line_share": share(dotted, any_lines),
        "gopher_duplicate_line_share": share(repeated, lines),
        "gopher_duplicate_line_character_share": share(repeated_characters, characters_),
        "gopher_duplicate_paragraph_share": share(repeated_paragraphs, paragraphs),
        "gopher_duplicate_paragraph_character_share": share(paragraph_characters, characters_),
        **{f"gopher_top_{k}gram_share": share(of_grams[:, k - 2], characters_) for k in (2, 3, 4)},
        **{f"gopher_duplicate_{k}gram_share": share(of_grams[:, k - 2], characters_) for k in range(5, 11)},
        **{f"c4_{rule}_lines": of_c4[:, i] for i, rule in enumerate(rules)},
        "c4_sentences": of_c4[:, len(rules)],
        "fineweb_line_punctuation_share": share(punctuated, full),
        "fineweb_short_line_share": share(short, full),
        "fineweb_duplicate_line_character_share": share(full_repeated, characters_ - newlines),
        "fineweb_newlines_per_word": share(newlines, count),
    }


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where there is no whole."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _saturate(value: np.ndarray, half: float) -> np.ndarray:
    """0 at 0, ½ at `half`, towards 1."""
    return value / (value + half)


@functools.cache
def _phrases() -> tuple[np.ndarray, np.ndarray]:
    """Phrases to look up: hashes of their words (uint64 [phrases, 4], 0 where it ends), ordered by the first
    hash's low byte; and where each of the 256 low bytes begins (int64 [257]). Stop words carry their number
    + 1 in column 3."""
    texts = texts_of(pa.array([*STOP_WORDS, *INFERENCE]))
    words = find_words(texts)
    table = np.zeros((len(STOP_WORDS) + len(INFERENCE), 4), np.uint64)
    for i, (a, b) in enumerate(zip(words.offsets[:-1], words.offsets[1:], strict=True)):
        table[i, : b - a] = words.hashes[a:b]
        table[i, 3] = i + 1 if i < len(STOP_WORDS) else 0
    low = table[:, 0] & np.uint64(255)
    order = np.argsort(low, kind="stable")
    return table[order], np.searchsorted(low[order], np.arange(257).astype(np.uint64))


@functools.cache
def _labels() -> tuple[np.ndarray, np.ndarray]:
    """Openings of lines: hashes of their words (uint64 [openings, 3], 0 where it ends), ordered by the first and
    then the longest first; and what each says (int64): a role, or NUMBERED + its number."""
    roles = {"question": QUESTION, "answer": ANSWER, "worked": WORKED, "proof": PROOF}
    openings = [(opening, roles[role]) for role, all_ in LABELS.items() for opening in all_]
    patterns, last = STEPS
    for number in range(1, last + 1):
        names = [str(number), *CHINESE_NUMERALS[number - 1 : number]]
        openings += [(pattern.format(name), NUMBERED + number) for pattern in patterns for name in names]
    words = find_words(texts_of(pa.array([opening for opening, _ in openings])))
    table = np.zeros((len(openings), 3), np.uint64)
    for i, (a, b) in enumerate(zip(words.offsets[:-1], words.offsets[1:], strict=True)):
        table[i, : b - a] = words.hashes[a:b]
    order = np.lexsort((-np.diff(words.offsets), table[:, 0]))
    return table[order], np.array([role for _, role in openings])[order]


@functools.cache
def _terminals() -> np.ndarray:
    """For code points below TABLE whether one ends a sentence (bool)."""
    ends = np.zeros(TABLE, np.bool_)
    for block in TERMINALS.split():
        first, _, last = block.partition("-")
        ends[int(first, 16) : int(last or first, 16) + 1] = True
    return ends


# --- kernels ------------------------------------------------------------------------------------------------
# Hot loops run over unsigned places: of a signed one numba asks each time whether it counts from the end.

ONE, TOP_BIT = np.uint64(1), np.uint64(1 << 63)
FNV, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SPREAD = np.uint64(0xBF58476D1CE4E5B9)  # odd, and no power of GOLDEN: "xy z" and "xz y" must differ
INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))  # GOLDEN * INVERSE = 1
QUESTION, ANSWER, WORKED, PROOF, NUMBERED = 1, 2, 3, 4, 10


@numba.njit(cache=True)
def _slot(keys, mask, key):
    """Where `key`, not 0, is or belongs in an open-addressing table of mask + 1 places; 0 is a free one."""
    slot = key & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + ONE) & mask
    return slot


@numba.njit(cache=True)
def _seen(keys, mask, key):
    """Whether `key` is in the table; it is from now on."""
    key |= TOP_BIT
    slot = _slot(keys, mask, key)
    seen = keys[slot] == key
    keys[slot] = key
    return seen


@numba.njit(cache=True)
def _table_size(most):
    size = 64
    while size < 2 * most:
        size *= 2
    return size


@numba.njit(cache=True)
def _cleared(keys, most):
    """The mask of a table for `most` keys, emptied. A small one for a small text: it stays in the cache."""
    size = _table_size(most)
    keys[:size] = 0
    return np.uint64(size - 1)


@numba.njit(cache=True)
def _longest(offsets):
    longest = 0
    for d in range(len(offsets) - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    return longest


@numba.njit(cache=True)
def _mixed(x):
    x = (x ^ (x >> np.uint64(32))) * GOLDEN
    return x ^ (x >> np.uint64(29))


@numba.njit(cache=True)
def _count_words(data, offsets, hashes, starts, ends, lengths, alphabetic, phrases, first, out):
    size = _table_size(_longest(offsets))
    keys, pair_counts = np.empty(size, np.uint64), np.empty(size, np.int32)
    for d in range(len(out)):
        a, b = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        total, letters, unique, inferences = 0, 0, 0, 0
        stop_words, small, seen = 0, 0, np.int64(0)  # bits for each that was seen; 16 higher in small letters
        mask = _cleared(keys, offsets[d + 1] - offsets[d])
        for w in range(a, b):
            total += lengths[w]
            letters += alphabetic[w]
            unique += not _seen(keys, mask, hashes[w])
            low = hashes[w] & np.uint64(255)
            for p in range(first[low], first[low + ONE]):
                if phrases[p, 0] != hashes[w]:
                    continue
                if phrases[p, 3] > 0:
                    bit = np.int64(1) << np.int64(phrases[p, 3])
                    stop_words += seen & bit == 0
                    seen |= bit
                    bit <<= 16
                    if seen & bit == 0 and _in_small_letters(data, starts[w], ends[w]):
                        small += 1
                        seen |= bit
                elif _continues(data, hashes, starts, ends, phrases[p], w, b):
                    inferences += 1
        mask = _cleared(keys, offsets[d + 1] - offsets[d])
        best, best_characters = 1, 0  # of the most frequent pair; of several the longest
        for w in range(a + ONE, b):
            key = _mixed(hashes[w - ONE] * GOLDEN + hashes[w]) | TOP_BIT
            slot = _slot(keys, mask, key)
            if keys[slot] == 0:
                keys[slot], pair_counts[slot] = key, 0
            pair_counts[slot] += 1
            times = pair_counts[slot]
            if times > 1 and times >= best:
                # one space between the words, none where they touch (scripts without spaces)
                length = lengths[w - ONE] + lengths[w] + (starts[w] > ends[w - ONE])
                if times > best or times * length > best_characters:
                    best, best_characters = times, times * length
        out[d, 0], out[d, 1], out[d, 2], out[d, 3] = total, letters, unique, best_characters
        out[d, 4], out[d, 5], out[d, 6], out[d, 7] = stop_words, inferences, len(hashes[a:b]), small


@numba.njit(cache=True)
def _in_small_letters(data, i, end):
    while i < end and 97 <= data[i] <= 122:
        i += 1
    return i == end


@numba.njit(cache=True)
def _continues(data, hashes, starts, ends, phrase, w, last):
    """Whether the other words of a phrase follow word `w` with nothing but white space between them."""
    for k in range(1, 3):
        if phrase[k] == 0:
            return True
        if w + k >= last or hashes[w + k] != phrase[k]:
            return False
        for i in range(ends[w + k - 1], starts[w + k]):
            if data[i] > 32:
                return False
    return True


@numba.njit(cache=True)
def _lead(data, classes, i, end):
    """What the line whose first solid byte is `i` begins with: 0 text, 1 a bullet, 2 a number, 3 a heading's
    marks; and the byte after it."""
    first = i
    if data[i] == 35:  # #
        while i < end and data[i] == 35:
            i += 1
        return (3, i) if i - first <= 6 and (i >= end or data[i] == 32) else (0, first)
    if classes[i] == BULLET or data[i] == 42:  # *
        i += 1
        while i < end and classes[i] == CONTINUATION:
            i += 1
        return (1, i) if i < end and data[i] == 32 else (0, first)
    opened = data[i] == 40  # (
    i += opened
    begin = i
    while i < end and i < begin + 3 and 48 <= data[i] <= 57:
        i += 1
    letter = i == begin and i < end and (97 <= data[i] <= 122 or 65 <= data[i] <= 90)
    i += letter
    if i == begin or i + 1 >= end or data[i + 1] != 32:
        return 0, first
    if data[i] == 41 or (data[i] == 46 and not opened and not letter):  # ) . ("A. Smith" is no list item)
        return 2, i + 1
    return 0, first


@numba.njit(cache=True)
def _ends_sentence(i, end, kinds, classes):
    """Whether the . ! ? or … before byte `i` ends a sentence: white space follows, then no small letter."""
    while i < end and kinds[i] <= SPAN and classes[i] in (STOP, ELLIPSIS, CLOSER, CONTINUATION):
        i += 1
    if i < end and classes[i] != SPACE:
        return False
    while i < end and classes[i] in (SPACE, CONTINUATION):
        i += 1
    return i >= end or kinds[i] > SPAN or classes[i] != LOWER


@numba.njit(cache=True)
def _has_chain(data, classes, i, end):
    """Whether the formula in these bytes has two signs of equality or implication outside braces."""
    depth = found = 0
    while i < end:
        byte = data[i]
        if byte == 92:  # a command, or an escaped character
            i += 1
            name = i
            while i < end and (97 <= data[i] <= 122 or 65 <= data[i] <= 90):
                i += 1
            if depth == 0 and _is_relation(data, name, i):
                found += 1
            i += i == name
            continue
        if byte == 123:
            depth += 1
        elif byte == 125:
            depth -= 1
        elif depth == 0 and byte == 61:
            before = data[i - 1]  # a formula begins with $, so there is one
            found += before not in (61, 33, 60, 62)  # not ==, !=, <=, >=
        elif depth == 0:
            found += classes[i] == RELATION
        i += 1
    return found >= 2


RELATIONS = tuple(
    np.frombuffer(name.encode(), np.uint8).copy()
    for name in ("approx", "equiv", "implies", "iff", "Rightarrow", "Leftrightarrow")
)


@numba.njit(cache=True)
def _is_relation(data, i, end):
    for name in numba.literal_unroll(RELATIONS):
        if len(name) == end - i:
            same = True
            for k in range(len(name)):
                same = same and data[i + k] == name[k]
            if same:
                return True
    return False


@numba.njit(cache=True)
def _count_characters(data, offsets, kinds, classes, out):
    size = _table_size(_longest(offsets) + 1)
    line_keys, paragraph_keys = np.empty(size, np.uint64), np.empty(size, np.uint64)
    for d in range(len(out)):
        start, end = offsets[d], offsets[d + 1]
        newlines = _count_byte(data, start, end, 10)
        mask = _cleared(line_keys, newlines + 1)
        _cleared(paragraph_keys, newlines + 1)
        total = prose = solid = digits = symbols = link = url = formula = code_ = 0
        formulas = blocks = chains = sentences = lines = bullets = items = ellipses = 0
        punctuated = short = repeated = paragraphs = repeated_paragraphs = questions = 0
        in_sentence = False  # a word since the last sentence's end
        paragraph_hash, paragraph_words = np.uint64(0), False
        i = start
        while i <= end:  # a line at a time; the empty one after the last ends paragraph and sentence
            stop = i
            while stop < end and data[stop] != 10:
                stop += 1
            # leading and trailing white space (ASCII) does not count
            a, b = i, stop
            while a < b and data[a] <= 32:
                a += 1
            while b > a and data[b - 1] <= 32:
                b -= 1
            code_line = a < end and kinds[a] == CODE
            if a == b or code_line:  # a paragraph ends here
                if paragraph_words:
                    paragraphs += 1
                    repeated_paragraphs += _seen(paragraph_keys, mask, paragraph_hash)
                paragraph_hash, paragraph_words = np.uint64(0), False
            lead, after_lead = (0, a)
            if a < b and kinds[a] <= SPAN:
                lead, after_lead = _lead(data, classes, a, b)
            if in_sentence and (a == b or code_line or lead > 0):
                sentences += 1
                in_sentence = False

            line_words = False
            characters_ = 0  # of the trimmed line
            ending = 0  # of the prose so far: 1 punctuated, 2 with an ellipsis, 0 neither
            dots = 0  # successive full stops
            line_hash = np.uint64(0xCBF29CE484222325)
            for j in range(i, min(stop + 1, end)):  # with its newline
                class_, kind = classes[j], kinds[j]
                if a <= j < b:
                    characters_ += class_ != CONTINUATION
                    line_hash = (line_hash ^ np.uint64(data[j])) * np.uint64(0x100000001B3)
                if class_ == CONTINUATION:
                    continue
                total += 1
                dots = dots + 1 if data[j] == 46 and kind <= SPAN else 0
                if kind > SPAN:
                    formula += kind == FORMULA
                    code_ += kind == CODE
                    url += kind == URL
                    if j == start or kinds[j - 1] != kind:  # its first byte
                        blocks += kind == CODE
                        if kind == FORMULA:
                            formulas += 1
                            last = j
                            while last < end and kinds[last] == FORMULA:
                                last += 1
                            chains += _has_chain(data, classes, j, last)
                    continue
                prose += 1
                link += kind == LINK
                if class_ == SPACE:
                    continue
                solid += 1
                digits += class_ == DIGIT
                if class_ >= UNSPACED:
                    line_words = True
                    ending = 0
                    in_sentence = in_sentence or j >= after_lead
                elif class_ in (STOP, ELLIPSIS):
                    symbols += class_ == ELLIPSIS or dots == 3
                    ending = 2 if class_ == ELLIPSIS or dots >= 3 else 1
                    if in_sentence and _ends_sentence(j + 1, end, kinds, classes):
                        sentences += 1
                        questions += data[j] == 63  # ?
                        in_sentence = False
                elif class_ == FULL_STOP:
                    ending = 1
                    sentences += in_sentence
                    questions += in_sentence and data[j] == 0xEF and data[j + 2] == 0x9F  # ？
                    in_sentence = False
                elif class_ == COLON:
                    ending = 1
                elif class_ != CLOSER and class_ != MARK:
                    ending = 0
                    symbols += data[j] == 35 and not (lead == 3 and j < after_lead)  # #

            if lead == 3 and in_sentence:  # a heading ends with its line
                sentences += 1
                in_sentence = False
            if a < b and not code_line:
                paragraph_hash = (paragraph_hash ^ line_hash) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
            if line_words:
                paragraph_words = True
                lines += 1
                bullets += lead == 1
                items += lead == 1 or lead == 2
                ellipses += ending == 2
                punctuated += ending > 0
                short += characters_ <= 30
                repeated += _seen(line_keys, mask, line_hash)
            i = stop + 1
        if paragraph_words:  # the text ends without a newline
            paragraphs += 1
            repeated_paragraphs += _seen(paragraph_keys, mask, paragraph_hash)
        sentences += in_sentence
        out[d, 0:9] = (total, prose, solid, digits, symbols, link, url, formula, code_)
        out[d, 9:17] = (formulas, blocks, chains, sentences, lines, bullets, items, ellipses)
        out[d, 17:23] = (punctuated, short, repeated, paragraphs, repeated_paragraphs, questions)


# --- structure ----------------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _count_structure(data, offsets, kinds, classes, word_offsets, hashes, starts, ends, openings, roles, out):
    """Steps, worked labels, proofs, code and explanation, questions answered, from the ends of lines."""
    for d in range(len(out)):
        end, last = offsets[d + 1], word_offsets[d + 1]
        steps = worked = proofs = alternations = answered = 0
        number = -9  # of the last numbered line
        in_proof = False
        question = 0  # 1: one awaits its answer's label, 2: a heading asked and prose answers too
        words_below, words_since = 0, 0  # the heading that asked; the last code block
        after_code = False
        i, w = offsets[d], word_offsets[d]
        while i < end:
            stop = i
            while stop < end and data[stop] != 10:
                stop += 1
            a, b = i, stop
            while a < b and data[a] <= 32:
                a += 1
            while b > a and data[b - 1] <= 32:
                b -= 1
            first = w
            while w < last and starts[w] < stop:
                w += 1
            begins, i = i, stop + 1
            if a == b:
                continue
            if kinds[a] == CODE:
                if begins == offsets[d] or kinds[begins - 1] != CODE:
                    alternations += words_since >= ENOUGH_WORDS
                    words_since, after_code = 0, True
                continue
            words_since += w - first
            if after_code and words_since >= ENOUGH_WORDS:
                alternations += 1
                after_code = False
            lead, after_lead = _lead(data, classes, a, b) if kinds[a] <= SPAN else (0, a)
            role = _opening(
                data, kinds, classes, hashes, starts, ends, openings, roles, first, w, after_lead, b
            )
            value = role - NUMBERED if role >= NUMBERED else _number(data, lead, a, after_lead, b)
            if value >= 0:
                steps += value == number + 1
                number = value
            worked += role in (WORKED, PROOF)
            if role in (ANSWER, WORKED, PROOF):
                answered += question > 0
                question = 0
            if role == PROOF:
                in_proof = True
            if in_proof and _ends_proof(data, classes, a, b):
                proofs += 1
                in_proof = False
            asks = lead == 3 and _asks(data, classes, a, b)
            if role == QUESTION or asks:
                question, words_below = 1 + asks, 0
            elif lead == 3:
                question = min(question, 1)
            elif question == 2:
                words_below += w - first
                if words_below >= ANSWER_WORDS:
                    answered += 1
                    question = 0
        out[d] = (steps, worked, proofs, alternations, answered)


@numba.njit(cache=True)
def _opening(data, kinds, classes, hashes, starts, ends, openings, roles, w, last, a, b):
    """The role of the line whose words are `w` to `last` and whose text is `a` to `b`, 0 for none."""
    while w < last and starts[w] < a:
        w += 1  # of a list item's number
    if w == last or classes[starts[w]] == LOWER:
        return 0
    for i in range(a, starts[w]):
        if classes[i] not in (CLOSER, SPACE):  # marks of emphasis
            return 0
    for p in range(np.searchsorted(openings[:, 0], hashes[w]), len(openings)):
        if openings[p, 0] != hashes[w]:
            return 0
        k = 1
        while k < 3 and openings[p, k] != 0 and w + k < last and openings[p, k] == hashes[w + k]:
            k += 1
        if k == 3 or openings[p, k] == 0:
            i = ends[w + k - 1]
            if roles[p] >= NUMBERED:
                return roles[p]
            one_letter = ends[w] - starts[w] == 1
            if not one_letter and w + k < last and 48 <= data[starts[w + k]] <= 57:
                i = _after_number(data, classes, i, starts[w + k], ends[w + k])
            while i < b and (classes[i] == CLOSER or classes[i] == CONTINUATION or data[i] == 32):
                i += 1
            if i == b or kinds[i] == FORMULA:
                return 0 if one_letter else roles[p]
            if classes[i] == COLON:
                return roles[p]
            ends_label = data[i] == 46 or data[i] == 40 or classes[i] == FULL_STOP
            return roles[p] if ends_label and not one_letter else 0
    return 0


@numba.njit(cache=True)
def _after_number(data, classes, i, start, end):
    """The byte after the number of a label ("Problem 3") if only a space is before it, else `i`."""
    for j in range(i, start):
        if data[j] != 32:
            return i
    return end


@numba.njit(cache=True)
def _number(data, lead, a, after_lead, b):
    """The number, of up to three digits, of a list item or a heading; -1 for none."""
    if lead < 2:
        return -1
    i = a + (data[a] == 40) if lead == 2 else after_lead
    while i < b and data[i] == 32:
        i += 1
    value, first = 0, i
    while i < b and i < first + 4 and 48 <= data[i] <= 57:
        value = 10 * value + data[i] - 48
        i += 1
    return value if first < i < first + 4 else -1


@numba.njit(cache=True)
def _asks(data, classes, a, b):
    while b > a and (classes[b - 1] == CLOSER or data[b - 1] == 35 or data[b - 1] == 32):  # "## Why? ##"
        b -= 1
    return data[b - 1] == 63 or (
        b >= a + 3 and data[b - 3] == 0xEF and data[b - 2] == 0xBC and data[b - 1] == 0x9F
    )


END_MARKS = tuple(
    np.frombuffer(mark.encode(), np.uint8).copy()
    for mark in (
        "∎",
        "□",
        "■",
        "◻",
        "◼",
        "QED",
        "Q.E.D",
        "\\qed",
        "\\blacksquare",
        "\\square",
        "\\Box",
        "证毕",
    )
)


@numba.njit(cache=True)
def _ends_proof(data, classes, a, b):
    """Whether the line ends with the mark that ends a proof, brackets, $ and full stops not counted."""
    while b > a and (
        classes[b - 1] == CLOSER or data[b - 1] in (32, 36, 46) or _is_ideographic_stop(data, b)
    ):
        b -= 3 if _is_ideographic_stop(data, b) else 1
    for mark in numba.literal_unroll(END_MARKS):
        if b - a >= len(mark):
            same = True
            for k in range(len(mark)):
                same = same and data[b - len(mark) + k] == mark[k]
            if same:
                return True
    return False


@numba.njit(cache=True)
def _is_ideographic_stop(data, b):
    return b >= 3 and data[b - 3] == 0xE3 and data[b - 2] == 0x80 and data[b - 1] == 0x82  # 。


# --- as datatrove counts ------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _count_byte(data, start, end, byte):
    count = 0
    for i in range(np.uint64(start), np.uint64(end)):
        count += data[i] == byte
    return count


@numba.njit(cache=True)
def _count_grams(data, offsets, starts, ends, lengths, out):
    """Characters of the most frequent 2-, 3- and 4-gram, and of repeated 5- to 10-grams, as they are written.

    Words joined are a polynomial in GOLDEN over their bytes: `sums` up to each word, times GOLDEN to the power of
    minus their place. So the hash of an n-gram is a difference and a product, and "ab c" = "a bc", as datatrove's.
    """
    most = _longest(offsets)
    keys, counts = np.empty(_table_size(most), np.uint64), np.empty(_table_size(most), np.int32)
    sums, places = np.empty(most + 1, np.uint64), np.empty(most + 1, np.uint64)
    characters_ = np.empty(most + 1, np.int64)
    words, slots, times = np.empty(most, np.uint64), np.empty(most, np.uint64), np.empty(most, np.int32)
    for d in range(len(out)):
        first, count = np.uint64(offsets[d]), np.uint64(offsets[d + 1] - offsets[d])
        sum_, power, place, length = np.uint64(0), ONE, ONE, 0
        for w in range(count):
            sums[w], places[w], characters_[w] = sum_, place, length
            for i in range(np.uint64(starts[first + w]), np.uint64(ends[first + w])):
                sum_ += np.uint64(data[i]) * power
                power *= GOLDEN
                place *= INVERSE
            words[w] = (sum_ - sums[w]) * places[w]
            length += lengths[first + w]
        sums[count], characters_[count] = sum_, length
        for n in range(2, 5):
            mask = _cleared(keys, count)
            out[d, n - 2] = _top_gram(
                words, characters_, count, np.uint64(n), keys, counts, mask, slots, times
            )
        for n in range(5, 11):
            mask = _cleared(keys, count)
            out[d, n - 2] = _repeated(sums, places, characters_, count, np.uint64(n), keys, mask)


@numba.njit(cache=True)
def _top_gram(words, characters_, count, n, keys, counts, mask, slots, times):
    """Characters of all occurrences of the most frequent n-gram; `times` of the n-1-grams becomes that of n-grams.

    An n-gram is looked up only if both n-1-grams in it occur twice: few do.
    """
    if count < n:
        return 0
    grams = count - n + ONE
    for i in range(grams):
        if n > 2 and (times[i] < 2 or times[i + ONE] < 2):
            slots[i] = TOP_BIT
            continue
        key = words[i]
        for k in range(ONE, n):
            key = key * SPREAD + words[i + k]
        key = _mixed(key) | TOP_BIT
        slot = _slot(keys, mask, key)
        if keys[slot] == 0:
            keys[slot], counts[slot] = key, 0
        counts[slot] += 1
        slots[i] = slot
    best, at = 1, np.uint64(0)  # of several, datatrove takes the one that comes first
    for i in range(grams):
        times[i] = 1 if slots[i] == TOP_BIT else counts[slots[i]]
        if times[i] > best:
            best, at = times[i], np.uint64(i)
    return best * (characters_[at + n] - characters_[at] + np.int64(n) - 1)


@numba.njit(cache=True)
def _repeated(sums, places, characters_, count, n, keys, mask):
    """Characters of n-grams that were there before; after one the next begins behind it."""
    repeated, i = 0, np.uint64(0)
    while i + n <= count:
        if _seen(keys, mask, _mixed((sums[i + n] - sums[i]) * places[i])):
            repeated += characters_[i + n] - characters_[i]
            i += n
        else:
            i += ONE
    return repeated


@numba.njit(cache=True)
def _count_lines(data, offsets, classes, terminals, out):
    """Lines and paragraphs of the prose for Gopher's repetitions and FineWeb, and its # and ellipses."""
    size = _table_size(_longest(offsets) + 1)
    keys = np.empty(size, np.uint64)
    for d in range(len(out)):
        start, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        newlines = _count_byte(data, start, end, 10)
        mask = _cleared(keys, newlines + 1)
        hashes = ellipses = lines = repeated = repeated_characters = 0
        full = punctuated = short = full_repeated = 0
        i = start
        while i < end:
            hash_, characters_, solid, dots = FNV, 0, False, 0
            first = i
            while i < end and data[i] != 10:
                class_ = classes[i]
                hash_ = (hash_ ^ np.uint64(data[i])) * FNV_PRIME
                characters_ += class_ != CONTINUATION
                solid |= class_ != SPACE and class_ != CONTINUATION
                hashes += data[i] == 35
                dots = (dots + 1) * (data[i] == 46)
                ellipses += dots == 3 or class_ == ELLIPSIS
                dots %= 3
                i += ONE
            if i > first:
                lines += 1
                again = _seen(keys, mask, hash_)
                repeated += again
                repeated_characters += again * characters_
                if solid:
                    full += 1
                    full_repeated += again * characters_
                    short += characters_ <= 30
                    punctuated += _is_terminal(data, classes, i - ONE, terminals)
            i += ONE
        if (
            start < end
        ):  # where the prose is cut at line breaks, nothing is left before the first and after the last
            lines += (data[start] == 10) + (data[end - ONE] == 10)
            repeated += data[start] == 10 and data[end - ONE] == 10
            if newlines == end - start:  # nothing but line breaks: two pieces
                lines, repeated = 2, 1
        out[d, :10] = (
            newlines,
            hashes,
            ellipses,
            lines,
            repeated,
            repeated_characters,
            full,
            punctuated,
            short,
            full_repeated,
        )
        _count_paragraphs(data, start, end, classes, keys, _cleared(keys, newlines + 1), out[d, 10:])


@numba.njit(cache=True)
def _is_terminal(data, classes, i, terminals):
    """Whether the character whose last byte is `i` ends sentences in some script."""
    if data[i] < 0x80:
        return terminals[data[i]]
    code, shift = np.uint64(0), np.uint64(0)
    while classes[i] == CONTINUATION:
        code |= np.uint64(data[i] & 0x3F) << shift
        shift += np.uint64(6)
        i -= ONE
    first = np.uint64(data[i] & (0x1F if shift == 6 else 0x0F if shift == 12 else 0x07))
    code |= first << shift
    return code < TABLE and terminals[code]


@numba.njit(cache=True)
def _count_paragraphs(data, start, end, classes, keys, mask, out):
    """Paragraphs, repeated ones and their characters; white space at both ends of the text does not count."""
    start, end = _trimmed(data, classes, start, end)
    i = start
    while i < end:
        hash_, characters_ = FNV, 0
        while i < end and not (data[i] == 10 and data[i + ONE] == 10):  # the last byte is no line break
            hash_ = (hash_ ^ np.uint64(data[i])) * FNV_PRIME
            characters_ += classes[i] != CONTINUATION
            i += ONE
        while i < end and data[i] == 10:
            i += ONE
        again = _seen(keys, mask, hash_)
        out[0] += 1
        out[1] += again
        out[2] += again * characters_


@numba.njit(cache=True)
def _trimmed(data, classes, a, b):
    """The same stretch without white space of any script at its ends."""
    while a < b and (classes[a] == SPACE or classes[a] == CONTINUATION):
        a += ONE
    while a < b:
        last = b - ONE
        while classes[last] == CONTINUATION:
            last -= ONE
        if classes[last] != SPACE:
            break
        b = last
    return a, b


LONG_WORD, UNPUNCTUATED, FEW_WORDS, LOREM, JAVASCRIPT, CURLY, POLICY, KEPT = range(8)
C4_PHRASES = (
    ("lorem ipsum", LOREM),
    ("javascript", JAVASCRIPT),
    *((phrase, POLICY) for phrase in ("terms of use", "privacy policy", "cookie policy")),
    *((phrase, POLICY) for phrase in ("uses cookies", "use of cookies", "use cookies")),
)
PHRASES = np.array([list(phrase.encode().ljust(16, b"\0")) for phrase, _ in C4_PHRASES], np.uint8)
PHRASE_RULES = np.array([rule for _, rule in C4_PHRASES])
PHRASE_BEGINS = np.isin(np.arange(256), PHRASES[:, 0])


@numba.njit(cache=True)
def _count_c4(data, offsets, classes, out):
    """Lines of the prose, cut where Python's `splitlines` cuts, by C4's rules; bullets and ellipses of Gopher."""
    no_kinds = np.zeros(len(data) + 1, np.uint8)
    longest = _longest(offsets)
    spare, spare_classes = np.empty(longest, np.uint8), np.empty(longest, np.uint8)
    for d in range(len(out)):
        i, end = np.uint64(offsets[d]), np.uint64(offsets[d + 1])
        while i < end:
            a, width = i, np.uint64(0)
            while i < end:
                width = _line_break(data, i, end)
                if width > 0:
                    break
                i += ONE
            a, b = _trimmed(data, classes, a, i)
            i += width
            out[d, 9] += 1
            if a == b:
                out[d, UNPUNCTUATED] += 1
                continue
            out[d, 10] += data[a] == 45 or (data[a] == 0xE2 and data[a + 1] == 0x80 and data[a + 2] == 0xA2)
            out[d, 11] += _ends_with_dots(data, a, b) or (b > a + ONE and classes[b - 3] == ELLIPSIS)
            words, most, bracket = _spaced_words(data, classes, a, b)
            if most > 1000:
                out[d, LONG_WORD] += 1
                continue
            rule, sentences = KEPT, 0
            if bracket:
                size = _without_citations(data, classes, a, b, spare, spare_classes)
                rule = _c4_rule(spare, np.uint64(0), size, words)
                if rule == KEPT:
                    sentences = _sentences(spare, spare_classes, no_kinds, 0, np.int64(size))
            else:
                rule = _c4_rule(data, a, b, words)
                if rule == KEPT:
                    sentences = _sentences(data, classes, no_kinds, np.int64(a), np.int64(b))
            out[d, rule] += 1
            out[d, 8] += max(sentences, np.int64(rule == KEPT))


@numba.njit(cache=True)
def _line_break(data, i, end):
    """Bytes of the line break at `i`, 0 for none: those of Python's `splitlines`."""
    byte = data[i]
    if byte > 30 and byte < 0xC2:
        return np.uint64(0)
    if byte == 13:
        return np.uint64(1 + (i + ONE < end and data[i + ONE] == 10))
    if byte in (10, 11, 12, 28, 29, 30):
        return ONE
    if byte == 0xC2 and data[i + 1] == 0x85:
        return np.uint64(2)
    return np.uint64(3 * (byte == 0xE2 and data[i + 1] == 0x80 and data[i + 2] in (0xA8, 0xA9)))


@numba.njit(cache=True)
def _ends_with_dots(data, a, b):
    return b >= a + np.uint64(3) and data[b - 3] == 46 and data[b - 2] == 46 and data[b - 1] == 46


@numba.njit(cache=True)
def _spaced_words(data, classes, a, b):
    """Words between spaces, the characters of the longest, and whether there is a [."""
    words = length = most = 0
    bracket = False
    for i in range(a, b):
        class_ = classes[i]
        length = (length + (class_ != CONTINUATION)) * (class_ != SPACE)
        words += length == 1 and class_ != CONTINUATION
        most = max(most, length)
        bracket |= data[i] == 91
    return words, most, bracket


@numba.njit(cache=True)
def _without_citations(data, classes, a, b, spare, spare_classes):
    """Copies the line but for [12], [], [edit] and [citation needed]; the bytes that stay are returned."""
    size = np.uint64(0)
    while a < b:
        if data[a] == 91:
            stop = a + ONE
            while stop < b and (classes[stop] == DIGIT or classes[stop] == CONTINUATION):
                stop += ONE
            if stop < b and data[stop] == 93:
                a = stop + ONE
                continue
            if _begins(data, a, b, EDIT):
                a += np.uint64(len(EDIT))
                continue
            if _begins(data, a, b, NEEDED):
                a += np.uint64(len(NEEDED))
                continue
        spare[size], spare_classes[size] = data[a], classes[a]
        size += ONE
        a += ONE
    return size


EDIT, NEEDED = (np.frombuffer(mark, np.uint8).copy() for mark in (b"[edit]", b"[citation needed]"))


@numba.njit(cache=True)
def _begins(data, a, b, mark):
    if b - a < np.uint64(len(mark)):
        return False
    same = True
    for k in range(np.uint64(len(mark))):
        same = same and data[a + k] == mark[k]
    return same


@numba.njit(cache=True)
def _c4_rule(data, a, b, words):
    """The first rule of C4 that drops a line, or the document for it; KEPT for none."""
    if a == b or data[b - ONE] not in (46, 63, 33, 34, 39) or _ends_with_dots(data, a, b):  # . ? ! " '
        return UNPUNCTUATED
    if words < 3:
        return FEW_WORDS
    rule = KEPT
    for i in range(a, b):
        if data[i] == 123:
            rule = min(rule, CURLY)
        elif PHRASE_BEGINS[_lower(data[i])]:
            for p in range(np.uint64(len(PHRASES))):
                k = np.uint64(0)
                while i + k < b and PHRASES[p, k] != 0 and PHRASES[p, k] == _lower(data[i + k]):
                    k += ONE
                if PHRASES[p, k] == 0:
                    rule = min(rule, PHRASE_RULES[p])
    return rule


@numba.njit(cache=True)
def _lower(byte):
    return byte + np.uint8(32 * (65 <= byte <= 90))


@numba.njit(cache=True)
def _sentences(data, classes, kinds, a, b):
    """Sentences of one line of prose by itself."""
    count, in_sentence = 0, False
    _, i = _lead(data, classes, a, b)
    for j in range(i, b):
        class_ = classes[j]
        if class_ >= UNSPACED:
            in_sentence = True
        elif in_sentence and (
            class_ == FULL_STOP or (class_ in (STOP, ELLIPSIS) and _ends_sentence(j + 1, b, kinds, classes))
        ):
            count += 1
            in_sentence = False
    return count + in_sentence
