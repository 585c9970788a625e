"""The value of an expression that is made of numbers alone, exactly."""

from __future__ import annotations

import re
from fractions import Fraction

BITS = 100_000  # of a number
FACTORIAL = 5000

_TOKEN = re.compile(
    r"(?P<number>\d+(\.\d*)?|\.\d+)(\\overline\{(?P<period>\d+)\})?"
    r"|\\(?P<command>frac|cdot|times|div)(?![a-zA-Z])|(?P<sign>[-+*/^!(){}])"
)


def rational(text: str) -> Fraction | None:
    r"""The value of an expression made of numbers alone, exactly; None for anything else, or if it gets too big.

    >>> rational(r"-3\frac{1}{2}"), rational(r"0.1\overline{6}"), rational(r"1.2\times10^{3}")
    (Fraction(-7, 2), Fraction(1, 6), Fraction(1200, 1))
    """
    if match := re.fullmatch(r"([-+]?\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})", text):
        return Fraction(match[1]) * Fraction(10) ** int(match[2])
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append(match)
        position = match.end()
    try:
        parser = _Rational(tokens)
        value = parser.sum()
        return value if parser.at == len(tokens) else None
    except (_NoNumber, ZeroDivisionError, RecursionError):
        return None


class _NoNumber(Exception):
    pass


class _Rational:
    """Recursive descent over tokens; every result stays below BITS bits."""

    def __init__(self, tokens: list[re.Match[str]]) -> None:
        self.tokens, self.at = tokens, 0

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, wanted: str) -> bool:
        if self.peek() == wanted:
            self.at += 1
            return True
        return False

    def sum(self) -> Fraction:
        value = self.product()
        while self.peek() in ("+", "-"):
            value = _small(value + self.product() if self.take("+") else self._minus(value))
        return value

    def _minus(self, value: Fraction) -> Fraction:
        self.at += 1
        return value - self.product()

    def product(self) -> Fraction:
        value = self.signed()
        while self.peek() in ("*", "/", r"\cdot", r"\times", r"\div"):
            divide = self.peek() in ("/", r"\div")
            self.at += 1
            factor = self.signed()
            value = _small(value / factor if divide else value * factor)
        return value

    def signed(self) -> Fraction:
        if self.take("-"):
            return -self.signed()
        return self.signed() if self.take("+") else self.power()

    def power(self) -> Fraction:
        value = self.atom()
        if self.take("!"):
            if value.denominator != 1 or not 0 <= value <= FACTORIAL or self.peek() == "!":
                raise _NoNumber
            product = 1
            for factor in range(2, int(value) + 1):
                product *= factor
            value = Fraction(product)
        if self.take("^"):
            exponent = self.atom()
            if self.peek() in ("^", "!") or exponent.denominator != 1 or value == exponent == 0:
                raise _NoNumber
            bits = max(value.numerator.bit_length(), value.denominator.bit_length())
            if bits * abs(exponent) > BITS:
                raise _NoNumber
            value **= int(exponent)
        return _small(value)

    def atom(self) -> Fraction:
        if self.at >= len(self.tokens):
            raise _NoNumber
        token = self.tokens[self.at]
        self.at += 1
        if token["number"]:
            return self._number(token)
        if token[0] in ("(", "{"):
            value = self.sum()
            if not self.take(")" if token[0] == "(" else "}"):
                raise _NoNumber
            return value
        if token["command"] == "frac":
            return self._group() / self._group()
        raise _NoNumber

    def _group(self) -> Fraction:
        if not self.take("{"):
            raise _NoNumber
        value = self.sum()
        if not self.take("}"):
            raise _NoNumber
        return value

    def _number(self, token: re.Match[str]) -> Fraction:
        value = Fraction(token["number"])
        if token["period"]:
            decimals = len(token["number"].partition(".")[2])
            if "." not in token["number"]:
                raise _NoNumber
            nines = 10 ** len(token["period"]) - 1
            return value + Fraction(int(token["period"]), nines * 10**decimals)
        if self.peek() == r"\frac":  # a mixed number, 3½
            start = self.at
            self.at += 1
            part = self._group() / self._group()
            plain = re.fullmatch(r"\{\d+\}\{\d+\}", "".join(t[0] for t in self.tokens[start + 1 : self.at]))
            if value.denominator != 1 or not plain or not 0 < part < 1:
                raise _NoNumber
            return value + part
        return value


def _small(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS:
        raise _NoNumber
    return value
