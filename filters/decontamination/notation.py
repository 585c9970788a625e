"""How formulas and numbers are spelled: what each character, LaTeX command and number word is as a token.

The small numbers below are compiled into kernels of another file, whose disk cache does not notice a change here:
whoever renumbers them removes `__pycache__`.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np

from filters.words import UNSPACED_SCRIPTS

# What a character is. The low 24 bits of its entry say more: what it folds to, or its place in the list of names.
NOTHING, MARK, LETTER, DIGIT, RAISED, SINGLE, NAMED, FRACTION, HAN = range(9)
TABLE = 0x20000  # code points with an entry of their own
# What a command does if it is no token; more than these: the hash of the token's name.
DROPPED, IS_FRACTION, IS_UPRIGHT, IS_ENVIRONMENT = (np.uint64(n) for n in range(4))
FNV, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)

SPELLINGS = {  # name of a sign: the characters and LaTeX commands for it
    "=": "=",
    "+": "+",
    "<": "< lt",
    ">": "> gt",
    "leq": "≤ ⩽ ≦ le leq leqslant leqq",
    "geq": "≥ ⩾ ≧ ge geq geqslant geqq",
    "neq": "≠ ne neq",
    "pm": "± pm",
    "mp": "∓ mp",
    "approx": "≈ approx",
    "equiv": "≡ equiv",
    "cong": "≅ cong",
    "sim": "∼ sim",
    "to": "→ ⟶ ⇒ ⟹ to rightarrow longrightarrow implies",  # command names are read in lower case
    "mod": "mod pmod bmod pod",
    "percent": "%",
    "degree": "° circ degree degrees",
    "sqrt": "√ sqrt",
    "infty": "∞ infty",
    "sum": "∑ sum",
    "prod": "∏ prod",
    "int": "∫ int",
    "partial": "∂ partial",
    "nabla": "∇ nabla",
    "in": "∈ in",
    "notin": "∉ notin",
    "cup": "∪ cup",
    "cap": "∩ cap",
    "subset": "⊂ subset",
    "subseteq": "⊆ subseteq",
    "emptyset": "∅ emptyset varnothing",
    "forall": "∀ forall",
    "exists": "∃ exists",
    "angle": "∠ angle",
    "triangle": "△ triangle",
    "perp": "⊥ perp",
    "parallel": "∥ parallel",
    "lfloor": "⌊ lfloor",
    "rfloor": "⌋ rfloor",
    "lceil": "⌈ lceil",
    "rceil": "⌉ rceil",
    "epsilon": "ϵ epsilon varepsilon",
    "phi": "ϕ phi varphi",
    "theta": "ϑ theta vartheta",
}
GREEK = (  # from U+03B1 on; the second sigma is the one that ends a word
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau "
    "upsilon phi chi psi omega"
)
COMMANDS = {
    IS_FRACTION: "frac dfrac tfrac cfrac",  # what follows without a brace is one digit each
    IS_UPRIGHT: "text textbf textit textrm mathrm operatorname mbox hbox",  # hold words
    IS_ENVIRONMENT: "begin end",  # the name after them is no word
    DROPPED: (  # only set the type, or multiply
        "left right middle big bigl bigr bigg biggl biggr bigm displaystyle textstyle scriptstyle limits nolimits "
        "quad qquad space thinspace hspace vspace hfill hline nonumber notag phantom hphantom mathbf mathit mathbb "
        "mathcal mathsf mathfrak boldsymbol bm cdot times ast div ldots cdots dots dotsb dotsc vdots lvert rvert "
        "vert mid lbrace rbrace langle rangle emph em bf rm it overline bar boxed underline"
    ),
}
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
HAN_DIGITS = ("零〇", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九")
HAN_UNITS = {"十": 1, "百": 2, "千": 3, "万": 4, "萬": 4, "亿": 8, "億": 8}  # powers of ten
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


@functools.cache
def characters() -> tuple[np.ndarray, np.ndarray]:
    """What each code point below TABLE is (uint32), and the hashes of the names of those that have one (uint64)."""
    entries = np.zeros(TABLE, np.uint32)
    names: list[int] = []
    unspaced = np.zeros(TABLE, np.bool_)
    for first, last in UNSPACED_SCRIPTS:
        unspaced[first : last + 1] = True
    for code in range(TABLE):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] == "M" or category == "Cf":
            entries[code] = MARK << 24
        elif category[0] == "L":
            folded = _fold(character)
            entries[code] = (SINGLE if unspaced[code] else LETTER) << 24 | folded
        elif category == "Nd":
            entries[code] = DIGIT << 24 | 48 + unicodedata.digit(character)
        elif category == "No":
            parts = unicodedata.normalize("NFKC", character).split("\N{FRACTION SLASH}")
            if len(parts) == 2 and all(len(part) == 1 for part in parts):
                entries[code] = FRACTION << 24 | ord(parts[0]) << 8 | ord(parts[1])
            elif len(parts[0]) == 1 and "0" <= parts[0] <= "9":
                entries[code] = RAISED << 24 | ord(parts[0])
    for value, digits in enumerate(HAN_DIGITS):
        for character in digits:
            entries[ord(character)] = HAN << 24 | value
    for character, power in HAN_UNITS.items():
        entries[ord(character)] = HAN << 24 | 16 + power
    for name, spellings in SPELLINGS.items():
        for character in spellings.split():
            if len(character) == 1:
                entries[ord(character)] = NAMED << 24 | len(names)
        names.append(_hash(name))
    return entries, np.array(names, np.uint64)


def _fold(character: str) -> int:
    """The code point a letter is hashed as: lower case, without accent, ordinary form."""
    lower = unicodedata.normalize("NFKC", character).casefold()
    parts = unicodedata.normalize("NFKD", lower if len(lower) == 1 else character)
    return ord(parts[0]) if len(parts) == 1 or unicodedata.combining(parts[1]) else ord(character)


@functools.cache
def names() -> tuple[np.ndarray, ...]:
    """Two hash tables, keys and values: of commands, and of words that are signs (hash of the name) or numbers (value)."""
    commands = {_hash(word): int(what) for what, words in COMMANDS.items() for word in words.split()}
    commands |= {_hash(word): _hash(name) for name, words in SPELLINGS.items() for word in words.split()}
    words = {_hash(chr(0x3B1 + i)): _hash(name) for i, name in enumerate(GREEK.split())}
    words |= {_hash("degrees"): _hash("degree")}
    words |= {_hash(word): i for i, word in enumerate(NUMBERS.split())}
    words |= {_hash(word): 20 + 10 * i for i, word in enumerate(TENS.split())}
    return *_table(commands), *_table(words)


def _table(entries: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Open addressing by the low bits, at most an eighth full, so that most words end at an empty place. 0: empty."""
    size = 1 << (8 * len(entries)).bit_length()
    keys, values = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    for key, value in entries.items():
        place = key % size
        while keys[place]:
            place = (place + 1) % size
        keys[place], values[place] = key, value
    return keys, values


def _hash(name: str) -> int:
    """A word's hash, as the kernel has it."""
    value = int(FNV)
    for character in name:
        value = (value ^ ord(character)) * int(PRIME) & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 32
