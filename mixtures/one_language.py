"""Whether an answer is in one language, and in that of its query.

Two signs, both on prose only (code, formulas and addresses are left out):
* letters of a script that is not in the query: 所以 in an English derivation (Latin may always occur);
* a stretch of some 200 characters that fastText is sure to be another language (it tells those apart that share a
  script). Short stretches, lists of names and loose symbols never make it that sure.

A language that the query contains, or asks for by name ("into French", "用英文"), may occur.

Measured: of 9,292 solutions (GSM8K, MATH-500) none is called mixed; of 7,639 problem statements (MATH, CodeContests) one,
wrongly; of 1,441 whole pages and program files, asked for in English, 9, of which 3 are in another language. Of 126 texts
in 7 languages that got an answer, half an answer or thoughts in another of them, all are found. 4 MB a second and core.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import pyarrow as pa

from filters.language import Language, LanguageConfig, prose_windows
from filters.words import regions, texts_of

STRETCH = 200  # characters of prose shown to fastText at a time
SHORTEST = 100  # shorter ends of an answer are not judged; a query from a fifth of this
SURE = 0.9  # fastText's score from which it is believed
FOREIGN = 0.01  # share of an answer's letters or stretches, above which what is foreign counts
FOREIGN_LETTERS = 1  # … and number of letters
SCRIPT = re.compile(  # how the Unicode names of their letters begin; signs of mathematics have other ones
    "LATIN|CJK|HIRAGANA|KATAKANA|HANGUL|CYRILLIC|ARABIC|HEBREW|DEVANAGARI|BENGALI|TAMIL|TELUGU|GUJARATI|GURMUKHI|"
    "KANNADA|MALAYALAM|SINHALA|THAI|LAO|KHMER|MYANMAR|TIBETAN|ETHIOPIC|GEORGIAN|ARMENIAN"
)
ALIKE = [  # languages that are one to fastText, or that it mistakes for each other
    {"no", "nn", "da"},
    {"hr", "sr", "bs", "sh", "sl"},
    {"id", "ms", "jv"},
    {"cs", "sk"},
    {"pt", "gl", "es"},
    {"zh", "wuu", "yue"},
    {"ru", "uk", "be", "bg", "mk"},
]
NAMES = {
    "zh": "chinese|mandarin|中文|汉语|漢語",
    "en": "english|英文|英语|英語|anglais|englisch|inglés|английск",
    "fr": "french|français|法语|法文",
    "de": "german|deutsch|德语|德文",
    "es": "spanish|español|西班牙",
    "it": "italian|italiano|意大利",
    "pt": "portuguese|português|葡萄牙",
    "ru": "russian|русск|俄语|俄文",
    "ja": "japanese|日本語|日语|日文",
    "ko": "korean|한국어|韩语|韩文",
    "ar": "arabic|العربية|阿拉伯",
    "la": "latin",
    "nl": "dutch",
    "pl": "polish",
    "tr": "turkish",
    "hi": "hindi",
    "sv": "swedish",
    "el": "greek",
    "he": "hebrew",
    "vi": "vietnamese",
    "th": "thai",
    "uk": "ukrainian",
    "cs": "czech",
}
SCRIPTS_OF = {
    "zh": {"CJK"},
    "ja": {"CJK", "KANA"},
    "ko": {"CJK", "HANGUL"},
    "ru": {"CYRILLIC"},
    "uk": {"CYRILLIC"},
}
SCRIPTS_OF |= {"ar": {"ARABIC"}, "he": {"HEBREW"}, "hi": {"DEVANAGARI"}, "th": {"THAI"}}
NAMED = {language: re.compile(words, re.IGNORECASE) for language, words in NAMES.items()}


class OneLanguage:
    """Judges answers by a fastText language model (lid.176: a name in the model cache, or a path)."""

    def __init__(self, model: str) -> None:
        self.model = Language(LanguageConfig(model=model))
        self.model.prepare()

    def mixed(self, queries: list[str], answers: list[str]) -> list[str | None]:
        """For each answer what is foreign in it, e.g. "CJK letters" or "fr": None where all is one language."""
        asked, said = _prose(queries), _prose(answers)
        stretches = [_stretches(text) for text in said]
        of_query = self._languages([[text] if len(text) >= SHORTEST // 5 else [] for text in asked])
        of_answer = self._languages(stretches)
        return [
            _foreign_script(query, a, s) or _foreign_language(query, in_query, in_answer, len(parts))
            for query, a, s, in_query, in_answer, parts in zip(
                queries, asked, said, of_query, of_answer, stretches, strict=True
            )
        ]

    def _languages(self, stretches: list[list[str]]) -> list[Counter[str]]:
        """How often each language is found for sure among each text's stretches."""
        labels, scores = self.model.predict([stretch for text in stretches for stretch in text])
        found = iter(zip(labels, scores, strict=True))
        return [
            Counter(label for label, score in (next(found) for _ in text) if score >= SURE)
            for text in stretches
        ]


def _prose(texts: list[str]) -> list[str]:
    column = texts_of(pa.array(texts, pa.large_string()))
    return prose_windows(column, regions(column), 1 << 62)[0]


def _stretches(prose: str) -> list[str]:
    parts = [prose[start : start + STRETCH] for start in range(0, len(prose), STRETCH)]
    return [part for part in parts if len(part) >= SHORTEST]


def _foreign_script(query: str, asked: str, said: str) -> str | None:
    found, given = _scripts(said), _scripts(asked)
    allowed = {"LATIN"} | set(given or dict(found.most_common(1)))
    allowed = allowed.union(*(SCRIPTS_OF.get(language, set()) for language in _named(query)))
    most = max(FOREIGN_LETTERS, FOREIGN * found.total())
    return next((f"{s} letters" for s, n in found.most_common() if s not in allowed and n > most), None)


def _foreign_language(query: str, asked: Counter[str], said: Counter[str], stretches: int) -> str | None:
    allowed = _named(query) | set(asked or dict(said.most_common(1)))
    for alike in ALIKE:
        if alike & allowed:
            allowed |= alike
    return next(
        (name for name, n in said.most_common() if name not in allowed and n > FOREIGN * stretches), None
    )


def _named(query: str) -> set[str]:
    return {language for language, pattern in NAMED.items() if pattern.search(query)}


def _scripts(prose: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for letter, count in Counter(prose).items():
        if letter.isalpha() and (named := SCRIPT.match(unicodedata.name(letter, ""))):
            found["KANA" if named[0] in ("HIRAGANA", "KATAKANA") else named[0]] += count
    return found
