r"""Is the last `\boxed{…}` the known integer, and which of its digits are right?

For problems in arithmetic that a small model learns digit by digit: each digit is a part that can be rewarded by itself,
the units first, because that is the order in which carries are worked out. Pure and bounded: no process is needed.
"""

from __future__ import annotations

import re

from synth.verify.answers import boxed, final_part
from synth.verify.verdict import Verdict, right, undecided, wrong

DIGITS = 1000
_INTEGER = re.compile(r"([+-]?)(\d+|\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+)", re.ASCII)


def check(answer: str, gold: str) -> tuple[Verdict, tuple[bool, ...]]:
    r"""The verdict on a generated text, and for each digit of `gold`, units first, whether the answer has it there.

    Right is an answer with the same sign and the same digits, leading zeros included; groups of thousands may be set
    apart. An answer with another sign has no digit right. An unusable `gold` is undecided and has no digits.

    >>> check(r"\boxed{1046}", "1036")[1]
    (True, False, True, True)
    """
    known = _integer(gold)
    if known is None:
        return undecided("bad_check", f"the known answer is no integer: {gold[:100]}"), ()
    sign, digits = known
    none = (False,) * len(digits)
    extracted = boxed(final_part(answer))
    if not extracted:
        return wrong("no_boxed_answer"), none
    given = _integer(extracted.strip("$ "))
    if given is None:
        return wrong("not_an_integer", extracted=extracted[:DIGITS]), none
    if given == known:
        return right(extracted), (True,) * len(digits)
    if given[0] != sign:
        return wrong("not_equal", "another sign", extracted), none
    places = dict(enumerate(reversed(given[1])))
    passes = tuple(places.get(place) == digit for place, digit in enumerate(reversed(digits)))
    detail = f"{sum(passes)} of {len(digits)} digits"
    if len(given[1]) != len(digits):
        detail += f", but {len(given[1])} digits long"
    return wrong("not_equal", detail, extracted), passes


def _integer(text: str) -> tuple[str, str] | None:
    """Sign ("" or "-") and digits; None for what is no integer, or a longer one than anybody is asked for."""
    found = _INTEGER.fullmatch(text.strip()) if len(text) <= 2 * DIGITS else None
    if found is None:
        return None
    return found[1].strip("+"), re.sub(r"\D", "", found[2])
