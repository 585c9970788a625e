"""What a verifier says about one answer."""

from __future__ import annotations

from typing import Literal, NamedTuple

Word = Literal["right", "wrong", "undecided", "accepted", "rejected"]


class Verdict(NamedTuple):
    """Right, wrong or undecided for a problem with a known answer; accepted or rejected for free text.

    "undecided" means that the verifier cannot tell (it ran out of time, cannot read an answer, has no sandbox): it
    is never a reward and never a reproach. `reason` is one of few words that can be counted, None where all is well.
    """

    verdict: Word
    reason: str | None = None
    detail: str = ""
    extracted: str | None = None  # the answer that was judged

    @property
    def passed(self) -> bool:
        """Good enough to learn from."""
        return self.verdict in ("right", "accepted")


def right(extracted: str | None = None, detail: str = "") -> Verdict:
    return Verdict("right", None, detail, extracted)


def wrong(reason: str, detail: str = "", extracted: str | None = None) -> Verdict:
    return Verdict("wrong", reason, detail, extracted)


def undecided(reason: str, detail: str = "", extracted: str | None = None) -> Verdict:
    return Verdict("undecided", reason, detail, extracted)
