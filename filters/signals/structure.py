"""Kernel over a text's lines and words: steps, worked labels, proofs, code and explanation, questions and answers."""

from __future__ import annotations

import numba
import numpy as np

from filters.prose import CODE, FORMULA
from filters.signals.lines import HEADING, NUMBERED_ITEM
from filters.signals.vocabulary import ANSWER, NUMBERED, PROOF, QUESTION, WORKED
from filters.words import CLOSER, COLON, CONTINUATION, FULL_STOP, LOWER, SPACE

# numba's disk cache looks at one source file only: no kernel calls a kernel of another file.

ENOUGH_WORDS = 5  # for prose beside code to be an explanation
ANSWER_WORDS = 10  # for prose below a question to be an answer


@numba.njit(cache=True)
def count_structure(
    data,
    offsets,
    kinds,
    classes,
    line_offsets,
    stops,
    line_starts,
    line_ends,
    leads,
    after_leads,
    word_offsets,
    hashes,
    starts,
    ends,
    openings,
    first_openings,
    begins_opening,
    roles,
    out,
):
    """Steps, worked labels, proofs, changes between code and prose, questions answered (int64 [texts, 5])."""
    for d in range(len(out)):
        last = word_offsets[d + 1]
        steps = worked = proofs = alternations = answered = 0
        number = -9  # of the last numbered line
        in_proof = False
        question = 0  # 1: one awaits its answer's label, 2: a heading asked and prose answers too
        words_below, words_since = 0, 0  # the heading that asked; the last code block
        after_code = False
        i, w = offsets[d], word_offsets[d]
        for n in range(line_offsets[d], line_offsets[d + 1]):
            stop, a, b, lead, after_lead = stops[n], line_starts[n], line_ends[n], leads[n], after_leads[n]
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
            role, opening = 0, first  # the first word after a list item's number
            while opening < w and starts[opening] < after_lead:
                opening += 1
            if opening < w and begins_opening[hashes[opening] & np.uint64(0xFFF)]:
                low = hashes[opening] & np.uint64(0xFFF)
                known = range(first_openings[low], first_openings[low + np.uint64(1)])
                role = _role(
                    data,
                    kinds,
                    classes,
                    hashes,
                    starts,
                    ends,
                    openings,
                    known,
                    roles,
                    opening,
                    w,
                    after_lead,
                    b,
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
            asks = lead == HEADING and _asks(data, classes, a, b)
            if role == QUESTION or asks:
                question, words_below = 1 + asks, 0
            elif lead == HEADING:
                question = min(question, 1)
            elif question == 2:
                words_below += w - first
                if words_below >= ANSWER_WORDS:
                    answered += 1
                    question = 0
        out[d] = (steps, worked, proofs, alternations, answered)


@numba.njit(cache=True)
def _role(data, kinds, classes, hashes, starts, ends, openings, known, roles, w, last, a, b):
    """The role, by the `known` openings, of the line whose words are `w` to `last` and whose text is `a` to `b`; 0 for
    none."""
    if classes[starts[w]] == LOWER:
        return 0
    for i in range(a, starts[w]):
        if classes[i] not in (CLOSER, SPACE):  # marks of emphasis
            return 0
    for p in known:
        if openings[p, 0] != hashes[w]:
            continue
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
    if lead != NUMBERED_ITEM and lead != HEADING:
        return -1
    i = a + (data[a] == 40) if lead == NUMBERED_ITEM else after_lead
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
