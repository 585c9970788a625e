"""The pre-training schedule: what every rate is at every token, from one declarative list of phases.

    schedule:
      batch_warm_up: {tokens: 168B, from: 256, multiple: 64}
      phases:
        - {tokens: 84B, stage: stage1, learning_rate: {from: 0, to: 1.07e-4}, mtp_weight: 0.3,
           context: 8192, rope_base: 10000, sequences: 2560}
        - {tokens: 10.2T, learning_rate: 1.07e-4}
        - {tokens: 7.5T, learning_rate: {to: 3e-5, shape: cosine}, mtp_weight: 0.1}

Phases follow one another; what a phase does not say carries over from the one before. A learning rate is a number
(constant) or goes `from` → `to` over the phase, `linear` or `cosine`; `from` is where the phase before ended unless
said. The batch warm-up is a curve of its own that runs across phases.

Time is counted in tokens, never in steps, because the batch grows. An optimizer step is whole: every rate is read
at the step's first token, and a new phase begins with the first step whose first token is at or after its milestone.
The schedule knows no state: `at(token)` is a pure function, so a resumed run needs nothing but its token count.

The curves are those of the MiMo-7B report (arXiv 2505.07608, §2.4). Where the warm-up of the batch begins is not
published; `from` is ours to choose.
"""

from __future__ import annotations

import bisect
import difflib
import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from pipeline.errors import RequestError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
SHAPES = ("linear", "cosine")


@dataclass(frozen=True)
class Rates:
    """What holds during one step, read at its first token."""

    stage: str
    learning_rate: float
    mtp_weight: float
    context: int  # tokens of a sequence
    rope_base: float
    sequences: int  # of the step, over all ranks and micro-batches

    @property
    def step_tokens(self) -> int:
        return self.sequences * self.context


class Run(NamedTuple):
    """Steps one after the other between which nothing but the learning rate changes."""

    first_step: int
    first_token: int
    steps: int
    rates: Rates  # of the first of them


@dataclass(frozen=True)
class Total:
    """What a stage comes to. `tokens` counts whole steps: up to one step more or less than the milestones say."""

    steps: int
    sequences: int
    tokens: int


@dataclass(frozen=True)
class LearningRate:
    """From `start` to `end` over a phase."""

    start: float
    end: float
    shape: str = "linear"

    def at(self, progress: float) -> float:
        """`progress` 0…1 through the phase."""
        if self.start == self.end:
            return self.start
        if self.shape == "cosine":
            return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Phase:
    """One phase with everything said. Lengths in tokens; `sequences` is the full batch."""

    first_token: int
    tokens: int
    stage: str
    learning_rate: LearningRate
    mtp_weight: float
    context: int
    rope_base: float
    sequences: int

    @property
    def end(self) -> int:
        return self.first_token + self.tokens


@dataclass(frozen=True)
class WarmUp:
    """Batch size from `start` sequences to the phase's, linear over the first `tokens`, rounded down to `multiple`s."""

    tokens: int = 0
    start: int = 1
    multiple: int = 1

    def sequences(self, token: int, full: int) -> int:
        if token >= self.tokens:
            return full
        return self.start + (full - self.start) * token // self.tokens // self.multiple * self.multiple

    def changes_after(self, token: int, full: int) -> int | None:
        """The first token at which the batch is larger than at `token`; None when it grows no more."""
        if token >= self.tokens or self.start >= full:
            return None
        risen = self.sequences(token, full) - self.start + self.multiple
        return min(self.tokens, -(-risen * self.tokens // (full - self.start)))


@dataclass(frozen=True)
class Schedule:
    phases: tuple[Phase, ...]
    warm_up: WarmUp = WarmUp()

    @property
    def tokens(self) -> int:
        """Length of the whole schedule; training ends with the first step that reaches it."""
        return self.phases[-1].end

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(phase.stage for phase in self.phases))

    @cached_property
    def _starts(self) -> list[int]:
        return [phase.first_token for phase in self.phases]

    def phase_at(self, token: int) -> Phase:
        if not 0 <= token <= self.tokens:
            raise ValueError(f"token {token:,} is outside the schedule's 0…{self.tokens:,}")
        return self.phases[bisect.bisect_right(self._starts, token) - 1]

    def at(self, token: int) -> Rates:
        """Rates of a step whose first token is `token` (0 = the very first; the last token's end is allowed)."""
        phase = self.phase_at(token)
        return Rates(
            stage=phase.stage,
            learning_rate=phase.learning_rate.at((token - phase.first_token) / phase.tokens),
            mtp_weight=phase.mtp_weight,
            context=phase.context,
            rope_base=phase.rope_base,
            sequences=self.warm_up.sequences(token, phase.sequences),
        )

    def runs(self) -> Iterator[Run]:
        """The steps in groups of equal size: a handful of groups even for a million steps."""
        step = token = 0
        while token < self.tokens:
            phase, rates = self.phase_at(token), self.at(token)
            end = min(phase.end, self.warm_up.changes_after(token, phase.sequences) or phase.end)
            steps = -(-(end - token) // rates.step_tokens)
            yield Run(step, token, steps, rates)
            step, token = step + steps, token + steps * rates.step_tokens

    def steps(self) -> Iterator[tuple[int, Rates]]:
        """Every step: (its first token, its rates)."""
        for run in self.runs():
            for index in range(run.steps):
                token = run.first_token + index * run.rates.step_tokens
                yield token, self.at(token)

    @cached_property
    def totals(self) -> dict[str, Total]:
        """Steps, sequences and tokens of every stage, counted without walking the steps."""
        sums = {stage: [0, 0, 0] for stage in self.stages}
        for run in self.runs():
            one = (run.steps, run.steps * run.rates.sequences, run.steps * run.rates.step_tokens)
            sums[run.rates.stage] = [a + b for a, b in zip(sums[run.rates.stage], one, strict=True)]
        return {stage: Total(*total) for stage, total in sums.items()}

    @classmethod
    def parse(cls, mapping: Any, where: str = "schedule") -> Schedule:
        """The schedule of a recipe. Raises `RequestError` naming field, value and remedy."""
        mapping = check_fields(mapping, {"phases", "batch_warm_up"}, where)
        phases = mapping.get("phases")
        if not isinstance(phases, list) or not phases:
            raise wrong(
                f"{where}.phases", phases, "list at least one phase: - {tokens: 84B, stage: stage1, …}"
            )
        parsed: list[Phase] = []
        for index, phase in enumerate(phases):
            parsed.append(_parse_phase(phase, parsed[-1] if parsed else None, f"{where}.phases[{index}]"))
        schedule = cls(tuple(parsed), _parse_warm_up(mapping.get("batch_warm_up"), f"{where}.batch_warm_up"))
        schedule._check(where)
        return schedule

    def _check(self, where: str) -> None:
        """What no single phase can see."""
        contexts: dict[str, int] = {}
        for index, (before, phase) in enumerate(zip([None, *self.phases], self.phases, strict=False)):
            here = f"{where}.phases[{index}]"
            if before and phase.stage != before.stage and phase.stage in contexts:
                raise wrong(
                    f"{here}.stage", phase.stage, "a stage that has ended cannot come back; rename it"
                )
            if contexts.setdefault(phase.stage, phase.context) != phase.context:
                raise wrong(
                    f"{here}.context",
                    phase.context,
                    f"the sequences of {phase.stage} are packed to {contexts[phase.stage]}; begin a new stage to change it",
                )
            if phase.first_token >= self.warm_up.tokens:
                continue
            warm = f"{where}.batch_warm_up"
            if self.warm_up.start > phase.sequences:
                remedy = f"it begins above the full batch of phase {index}; choose at most {phase.sequences}"
                raise wrong(f"{warm}.from", self.warm_up.start, remedy)
            if (phase.sequences - self.warm_up.start) % self.warm_up.multiple:
                remedy = (
                    f"the way from {self.warm_up.start} to {phase.sequences} sequences is no multiple of it"
                )
                raise wrong(f"{warm}.multiple", self.warm_up.multiple, remedy)
        for stage, total in self.totals.items():
            if total.steps == 0:
                remedy = "no step begins in it, its phases are shorter than one step; give it more tokens or a smaller batch"
                raise wrong(f"{where}.phases: stage", stage, remedy)


def _parse_phase(mapping: Any, before: Phase | None, where: str) -> Phase:
    known = {field.name for field in fields(Phase)} - {"first_token"}
    mapping = check_fields(mapping, known, where)
    said = dict(mapping)
    if "tokens" not in said:
        raise RequestError(f"{where}.tokens: every phase says how long it is; add e.g. tokens: 84B")
    for name in known - {"tokens"} if before is None else ():
        if name not in said:
            raise RequestError(f"{where}.{name}: the first phase has nothing to carry over; add this field")

    def value(name: str, parse: Any) -> Any:
        return parse(said[name], f"{where}.{name}") if name in said else getattr(before, name)

    return Phase(
        first_token=before.end if before else 0,
        tokens=parse_tokens(said["tokens"], f"{where}.tokens"),
        stage=value("stage", _parse_stage),
        learning_rate=_parse_learning_rate(said.get("learning_rate"), before, f"{where}.learning_rate"),
        mtp_weight=value("mtp_weight", lambda v, f: parse_number(v, f, least=0)),
        context=value("context", lambda v, f: parse_whole(v, f, least=3)),
        rope_base=value("rope_base", lambda v, f: parse_number(v, f, least=1)),
        sequences=value("sequences", lambda v, f: parse_whole(v, f, least=1)),
    )


def _parse_stage(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(field, value, "name the mixture's stage, e.g. stage1")
    return value


def _parse_learning_rate(value: Any, before: Phase | None, field: str) -> LearningRate:
    carried = before.learning_rate.end if before else None
    if value is None and carried is not None:
        return LearningRate(carried, carried)
    if not isinstance(value, dict):
        constant = parse_number(value, field, least=0)
        return LearningRate(constant, constant)
    check_fields(value, {"from", "to", "shape"}, field)
    shape = value.get("shape", "linear")
    if shape not in SHAPES:
        raise wrong(f"{field}.shape", shape, f"choose {' or '.join(SHAPES)}")
    if "to" not in value:
        raise RequestError(f"{field}.to: say where it goes, e.g. {{to: 3e-5, shape: cosine}}")
    if "from" not in value and carried is None:
        raise RequestError(f"{field}.from: the first phase has nothing to carry over; add e.g. from: 0")
    start = carried if carried is not None else 0.0
    if "from" in value:
        start = parse_number(value["from"], f"{field}.from", least=0)
    return LearningRate(start, parse_number(value["to"], f"{field}.to", least=0), shape)


def _parse_warm_up(mapping: Any, where: str) -> WarmUp:
    if mapping is None:
        return WarmUp()
    mapping = check_fields(mapping, {"tokens", "from", "multiple"}, where)
    for name in ("tokens", "from"):
        if name not in mapping:
            raise RequestError(f"{where}.{name}: this field is needed; e.g. {{tokens: 168B, from: 256}}")
    return WarmUp(
        parse_tokens(mapping["tokens"], f"{where}.tokens"),
        parse_whole(mapping["from"], f"{where}.from", least=1),
        parse_whole(mapping.get("multiple", 1), f"{where}.multiple", least=1),
    )


def wrong(field: str, value: Any, remedy: str) -> RequestError:
    return RequestError(f"{field} = {value!r}: {remedy}")


def check_fields(mapping: Any, known: Collection[str], where: str) -> dict[str, Any]:
    """The mapping itself, if it is one and holds known fields only."""
    if not isinstance(mapping, Mapping):
        raise wrong(where, mapping, f"write a mapping with the fields {', '.join(sorted(known))}")
    for name in mapping:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            remedy = f"did you mean {near[0]}?" if near else f"known fields: {', '.join(sorted(known))}"
            raise RequestError(f"{where}.{name}: unknown field; {remedy}")
    return dict(mapping)


def parse_tokens(value: Any, field: str = "tokens") -> int:
    """Tokens of 84B, 10.2T, 700K or a plain number, exactly.

    >>> parse_tokens("10.2T")
    10200000000000
    """
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([KMBT]?)", str(value).strip())
    if match is None or isinstance(value, bool):
        raise wrong(field, value, "write tokens as 84B, 10.2T, 700K or a plain number")
    count = Decimal(match[1].replace("_", "")) * UNITS[match[2]]
    if count != int(count) or count < 1:
        raise wrong(field, value, "this is not a whole number of tokens above 0")
    return int(count)


def parse_number(value: Any, field: str, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number; text too, because YAML reads 3e-5 (no dot) as text."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and least <= number <= most):
        bounds = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
        raise wrong(field, value, f"write a number, {bounds}" if least > -math.inf else "write a number")
    return number


def parse_whole(value: Any, field: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise wrong(field, value, f"write a whole number, {least} or more")
    return value


def milestones(schedule: Schedule) -> list[int]:
    """First tokens of the phases after the first, and the end: 84B, 10.284T, …"""
    return list(itertools.accumulate(phase.tokens for phase in schedule.phases))
