"""Worked solutions and proofs, written anew each time, and the same problems as exercises.

`solved` lays problems out with their steps, as a textbook, a thread or notes would; `unsolved` gives them without, with or
without the bare answers: same subject, same words, no reasoning.
"""

from __future__ import annotations

import random
import re

from filters.taxonomy.worked_problems import PROOFS, Family
from filters.taxonomy.written_kinds import expand, paragraphs, thread

VOICE = {  # of one author: some of each, chosen once for a page
    "so": [
        "so",
        "hence",
        "thus",
        "therefore",
        "it follows that",
        "consequently",
        "this means that",
        "which shows that",
    ],
    "because": ["because", "since", "as", "given that"],
    "let": ["let", "write", "put", "set", "we take"],
    "first": ["first,", "to begin,", "start here:", "note that", "observe that", "we see that"],
    "check": ["check:", "to verify:", "indeed,", "as a test,", "sanity check:", "does it fit?"],
    "end": ["as claimed", "as required", "which was to be shown", "and we are done", "which is the claim"],
}


SENTENCE = re.compile(r"(?<![^\n])[a-z]|(?<=[.?!] )[a-z](?=\w* )")  # first letters


def _voice(chance: random.Random) -> dict[str, list[str]]:
    """An author's habits: of each figure of speech two or three."""
    return {
        name: chance.sample(words, min(len(words), chance.randint(2, 3))) for name, words in VOICE.items()
    }


def _goes_on(parts: list[str], n: int, words: int) -> bool:
    """Whether one more problem brings the page nearer to `words`."""
    written = len(" ".join(parts).split())
    return n == 0 or written + written / n / 2 < words


def _plain(text: str) -> str:
    """Formulas as people type them."""
    for latex, typed in {
        "\\cdot": "*",
        "\\pm": "+-",
        "\\equiv": "=",
        "\\ge": ">=",
        "\\dots": "...",
        "$": "",
    }.items():
        text = text.replace(latex, typed)
    return text


def solved(family: Family, chance: random.Random, words: int) -> tuple[str, str]:
    """A page of about `words` words of problems with their steps, and its kind."""
    voice = _voice(chance)
    plain = chance.random() < 0.3
    kind = "forum" if chance.random() < 0.25 else "proof" if family in PROOFS else "worked solutions"
    labels = chance.choice(
        [
            ("Problem {}", "Solution"),
            ("{}.", ""),
            ("## Exercise {}", "### Solution"),
            ("", ""),
            ("Example {}:", ""),
            ("**Q{}**", "**A**"),
            ("Task {}", "Working"),
            ("Claim {}", "Proof"),
            ("({})", "How to see it:"),
        ]
    )
    numbered = chance.choice(["", "", "", "{}. ", "Step {}: ", "({}) ", "- "])
    parts: list[str] = []
    n = 0
    while _goes_on(parts, n, words):
        n += 1
        problem = family(chance)
        question, answer = expand(problem.question, chance, voice), expand(problem.answer, chance, voice)
        steps = [expand(step, chance, voice) for step in problem.steps]
        steps = [SENTENCE.sub(lambda start: start[0].upper(), step) for step in steps]
        end = chance.choice(
            [
                "",
                f"Answer: {answer}",
                f"[So|Result:] {answer}.",
                f"**{answer}**",
                f"$\\boxed{{{answer.strip('$')}}}$",
            ]
        )
        end = expand(end, chance, voice)
        reasoning = (
            "\n".join(numbered.format(i) + step for i, step in enumerate(steps, 1))
            if numbered
            else paragraphs(steps, chance, 5)
        )
        if kind == "forum":
            asked = [
                expand("[Hi|Hello|Hey], [stuck on this|can someone explain|how does this work]:", chance),
                question,
            ]
            chat = [[expand("[Thanks|Thank you|Ah, I see|Got it now][!|, clear.|.]", chance)]]
            parts.append(thread([asked, [reasoning, end], *chat[: chance.randint(0, 1)]], chance))
            continue
        above, below = labels
        parts += [part for part in (above.format(n), question, below, reasoning, end) if part]
    text = "\n\n".join(parts)
    return (_plain(text) if plain else text), kind


def unsolved(family: Family, chance: random.Random, words: int) -> tuple[str, str]:
    """The same problems as exercises, perhaps with bare answers at the end: no step is written out."""
    voice = _voice(chance)
    asked: list[str] = []
    answers: list[str] = []
    form = chance.choice(["{}. ", "({}) ", "Problem {}: ", "**Q{}** ", "Exercise {}. ", "- "])
    while _goes_on(asked, len(asked), words):
        problem = family(chance)
        asked.append(form.format(len(asked) + 1) + expand(problem.question, chance, voice))
        answers.append(f"{len(asked)}. {expand(problem.answer, chance, voice)}")
    parts = [
        chance.choice(
            ["", "", f"Worksheet {chance.randint(2, 40)}", f"Homework {expand('<date>', chance)}", "Practice"]
        )
    ]
    parts += asked
    if chance.random() < 0.5:
        parts += [chance.choice(["Answers", "Key", "Solutions", "Results"]), *answers]
    text = "\n\n".join(part for part in parts if part)
    return (_plain(text) if chance.random() < 0.3 else text), "exercises"
