"""Where the final answer of a generated text stands.

Only what the text marks as its answer counts. There is no fall-back to "some number in the text": a model learns
within hours to write many numbers (an answer `\\boxed{There is none}` after "25" once scored as 25).
"""

from __future__ import annotations

import re

_LINE = re.compile(r"^[\s>*_#]*(?:the\s+)?(?:final\s+)?answer\s*(?:is\s*:?|:|：)[\s*_]*(\S.*?)[\s*_]*$", re.I)


def final_part(text: str) -> str:
    """The text after the model's thoughts: "" when `<think>` was opened and never closed.

    >>> final_part("<think>2 or 3?</think>It is 2.")
    'It is 2.'
    """
    before, closed, after = text.rpartition("</think>")
    part = after if closed else before or after
    return "" if "<think>" in part else part


def boxed(text: str) -> str | None:
    r"""The body of the last balanced `\boxed{…}`, boxes directly inside it taken off; None without one.

    >>> boxed(r"\boxed{3}? No: $x = \boxed{\frac{1}{2}}$.")
    '\\frac{1}{2}'
    """
    body, end = None, -1
    for match in re.finditer(r"\\f?boxed\s*\{", text):
        if match.start() < end:  # inside the box before: that one is the answer
            continue
        closing = _closing_brace(text, match.end())
        if closing is not None:
            body, end = text[match.end() : closing].strip(), closing
    inner = re.match(r"\\f?boxed\s*\{", body or "")
    if body and inner and _closing_brace(body, inner.end()) == len(body) - 1:
        return boxed(body)
    return body


def _closing_brace(text: str, start: int) -> int | None:
    """Index of the brace that closes the one before `start`; `\\{` and `\\}` do not count."""
    depth = 1
    for match in re.finditer(r"\\.|[{}]", text[start:], re.DOTALL):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                return start + match.start()
    return None


def answer_line(text: str) -> str | None:
    """What follows "Answer:" or "The final answer is" on the last line that begins so; None without one.

    >>> answer_line("So the sum is 7.\\n**Answer: 7**")
    '7'
    """
    for line in reversed(text.splitlines()):
        if match := _LINE.match(line):
            return match[1].strip()
    return None


def last_line(text: str) -> str | None:
    """The last line that is not blank."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None
