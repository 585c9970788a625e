"""A problem to practise on, and one answer to it: what the rollout engine hands to the trainer. Plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RLProblem:
    """One problem. `levels[t]` is the difficulty level of part t of its check (0 is the easiest), `level_scores` what
    each level is worth (sum 1); both None where the check has no graded parts."""

    id: str
    prompt_tokens: tuple[int, ...]  # up to and with the mark after which the answer begins
    check: dict[str, Any]  # as `synth.verify` takes it
    levels: tuple[int, ...] | None = None
    level_scores: tuple[float, ...] | None = None
    prompt: str = ""  # for readers of the record; the model only ever sees the tokens


@dataclass
class Trajectory:
    """One answer, member `member` of group `group`: the tokens as they were drawn, never encoded again from text."""

    group: int
    member: int
    problem_id: str
    prompt_tokens: list[int]
    tokens: list[int]
    logprobs: list[float]  # of each token under the policy that drew it, at its temperature
    finish_reason: str  # "stop", "length" or "abort"
    version: int  # of the weights it began with
    text: str = ""
    reward: float | None = None  # None: undecided
    passed: bool | None = None
    passes: list[bool | None] = field(default_factory=list)  # one for each part of the check
    reason: str | None = None  # the verifier's word where the answer is not simply right
    started: float = 0.0  # seconds on the engine's clock, which begins with the engine
    finished: float = 0.0
    rewarded: float = 0.0
