"""The stage `difficulty`: which problems are worth training on, and which of their tests are hard.

Follows MiMo-7B's report (arXiv 2505.07608, sections 3.1 and 3.2). Rollouts of strong models tell what can be solved at
all, those of the fine-tuned model what it knows already. The tests of a program are put into levels by how many of all
models' solutions pass them; training rewards them by these levels (`training.rl.reward`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import pyarrow as pa
from pydantic import Field

from pipeline.dataset import read_shard
from pipeline.errors import RequestError
from pipeline.stage import MapStage, Outcome, Reason, StageConfig

RATE = pa.struct(
    [
        ("model", pa.string()),
        ("role", pa.string()),
        ("samples", pa.int32()),
        ("decided", pa.int32()),  # samples with a verdict
        ("rate", pa.float64()),  # share of these that are right; null: none is decided
    ]
)


class DifficultyConfig(StageConfig):
    strong: str = Field("strong", description="role of the models that tell what can be solved at all")
    trained: str = Field("sft", description="role of the model that is to be trained")
    too_easy: float = Field(
        0.9,
        gt=0,
        le=1,
        description="drop problems of which the trained model solves more than this share; of code those it always solves",
    )
    decided: float = Field(
        0.5,
        ge=0,
        le=1,
        description="least share of a role's rollouts that must be decided for it to drop a problem",
    )
    levels: int = Field(
        3, ge=1, description="most levels of difficulty that the tests of a problem are put into"
    )
    scores: Literal["equal", "rising"] = Field(
        "equal", description="what a level is worth: the same each, or level n (from 1) n times the first"
    )


class Difficulty(MapStage):
    """problems and their rollouts → `rl_problems`: what is worth training on, with pass rates and levels of tests."""

    name = "difficulty"
    output = "rl_problems"
    input = ("problems",)
    uses = ("rollouts", "rollout_verdicts")
    reads = ("id", "problem_id", "prompt", "kind", "source", "check", "parts", "reference")
    aligned = False
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("problem_id", pa.string(), nullable=False),
            pa.field("prompt", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("check", pa.string(), nullable=False),
            pa.field("rates", pa.list_(RATE), nullable=False),
            pa.field(
                "test_rates", pa.list_(pa.float64()), nullable=False
            ),  # of each part; null: never decided
            pa.field("levels", pa.list_(pa.int32()), nullable=False),  # of each part; 0 is the easiest
            pa.field("level_scores", pa.list_(pa.float64()), nullable=False),  # of each level; their sum is 1
            pa.field("note", pa.string()),  # why it was kept although little is known of it
        ]
    )
    Config: ClassVar[type[StageConfig]] = DifficultyConfig

    def prepare(self) -> None:
        """Counts of all rollouts, some hundred bytes a problem; answers and checks are not read."""
        rollouts, verdicts = self.used("rollouts"), self.used("rollout_verdicts")
        if verdicts.manifest["inputs"].get("rollouts") != rollouts.digest:
            raise RequestError(
                "rollout_verdicts are not those of these rollouts: run `rollout_verdicts` again."
            )
        if not verdicts.manifest["config"]["every_test"]:
            raise RequestError(
                "difficulty needs every test's result: run `rollout_verdicts` with every_test."
            )
        self.counts: dict[str, Counts] = {}
        for shard in rollouts.shards:
            said = read_shard(rollouts.shard_path(shard.name), ["problem_id", "model", "role"])
            judged = read_shard(verdicts.shard_path(shard.name), ["rollout_verdict", "rollout_passes"])
            for row, verdict in zip(said.to_pylist(), judged.to_pylist(), strict=True):
                counts = self.counts.setdefault(row["problem_id"], Counts())
                counts.add(
                    row["model"], row["role"], verdict["rollout_verdict"], verdict["rollout_passes"] or ()
                )

    def process(self, batch: pa.Table) -> Outcome:
        kept, dropped = [], []
        for row in batch.to_pylist():
            counts = self.counts.get(row["problem_id"], Counts())
            fate = decide(counts, row["kind"], row["reference"], self.config)
            if fate.drop is not None:
                dropped.append(Reason(row["id"], fate.drop, fate.detail))
                continue
            rates = counts.test_rates(row["parts"])
            of_parts = levels(rates, self.config.levels)
            kept.append(
                {name: row[name] for name in ("id", "problem_id", "prompt", "kind", "source", "check")}
                | {
                    "rates": counts.rates(),
                    "test_rates": rates,
                    "levels": of_parts,
                    "level_scores": level_scores(max(of_parts) + 1, self.config.scores),
                    "note": fate.detail or None,
                }
            )
        return Outcome(pa.Table.from_pylist(kept, schema=self.schema), dropped)


@dataclass
class Counts:
    """What came of all rollouts of one problem."""

    models: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # → samples, decided, right
    passed: list[int] = field(default_factory=list)  # of each part: solutions that pass it
    decided: list[int] = field(default_factory=list)  # of each part: solutions of which that is known
    passing: dict[str, int] = field(default_factory=dict)  # role → solutions that pass any part

    def add(self, model: str, role: str, verdict: str | None, passes: Iterable[bool | None]) -> None:
        numbers = self.models.setdefault((model, role), [0, 0, 0])
        numbers[0] += 1
        numbers[1] += verdict in ("right", "wrong")
        numbers[2] += verdict == "right"
        passes = list(passes)
        for known in (self.passed, self.decided):
            known += [0] * (len(passes) - len(known))
        for part, passed in enumerate(passes):
            self.passed[part] += passed is True
            self.decided[part] += passed is not None
        self.passing[role] = self.passing.get(role, 0) + (True in passes)

    def of_role(self, role: str) -> tuple[int, int, int]:
        """Samples, decided and right, of all models with a role."""
        found = [numbers for (_, known), numbers in self.models.items() if known == role]
        return sum(n[0] for n in found), sum(n[1] for n in found), sum(n[2] for n in found)

    def rates(self) -> list[dict[str, Any]]:
        return [
            {
                "model": model,
                "role": role,
                "samples": samples,
                "decided": decided,
                "rate": right / decided if decided else None,
            }
            for (model, role), (samples, decided, right) in sorted(self.models.items())
        ]

    def test_rates(self, parts: int) -> list[float | None]:
        """Of each part, which share of the solutions passes it; None where none is decided."""
        known = zip(self.passed[:parts], self.decided[:parts], strict=True)
        found = [passed / decided if decided else None for passed, decided in known]
        return found + [None] * (parts - len(found))


class Fate(NamedTuple):
    """drop: the reason, None for a problem that stays."""

    drop: str | None
    detail: str = ""


def decide(counts: Counts, kind: str, reference: str | None, config: DifficultyConfig) -> Fate:
    """Whether a problem stays. What a role's rollouts do not say, because there are none or too few of them are
    decided, drops nothing.

    too_hard: no strong model ever solves it, or its known answer is wrong. Code is not judged by that: some of its
    tests may be passed, which is rewarded; but where no own solution is known to be right, tests of which strong models
    never pass any are taken to be broken (no_test_passed). too_easy: the trained model has nothing to learn from it.
    """
    notes = []
    for role in (config.strong, config.trained):
        samples, decided, right = counts.of_role(role)
        if samples and (decided == 0 or decided < config.decided * samples):
            notes.append(f"{role}: {decided} of {samples} rollouts are decided")
            continue
        if not samples:
            notes.append(f"{role}: no rollouts")
            continue
        said = f"{right} of {decided} rollouts of {role} are right"
        if role == config.strong and right == 0:
            if kind != "code":
                return Fate("too_hard", said)
            if reference != "passed" and not counts.passing.get(role):
                return Fate("no_test_passed", f"{decided} rollouts of {role}")
        if role == config.trained and (
            right == samples if kind == "code" else right / decided > config.too_easy
        ):
            return Fate("too_easy", said)
    return Fate(None, "; ".join(notes))


def levels(test_rates: Sequence[float | None], most: int = 3) -> list[int]:
    """A level of difficulty for each test from its pass rate; 0 is the easiest. Equal rates share a level.

    The rates are cut where they leave gaps: into at most `most` groups whose squared distances from their means are
    least (Fisher 1958, "On grouping for maximum homogeneity"; "natural breaks"; k-means in one dimension, solved
    exactly). Groups of equal size would cut between tests that are equally hard. The samples of a statement mostly pass
    together, and so do its large cases. A test of unknown rate (None) is put with the hardest.

    >>> levels([1.0, 0.95, 0.9, 0.5, 0.45, 0.1], 3)
    [0, 0, 0, 1, 1, 2]
    >>> levels([0.4, 0.4, 0.8], 3), levels([0.7])
    ([1, 1, 0], [0])
    """
    known = [rate for rate in test_rates if rate is not None]
    distinct = sorted(set(known), reverse=True)
    if len(distinct) < 2:
        return [0] * len(test_rates)
    starts = _breaks(distinct, [known.count(rate) for rate in distinct], min(most, len(distinct)))
    level_of: dict[float | None, int] = {
        rate: sum(start <= n for start in starts) - 1 for n, rate in enumerate(distinct)
    }
    level_of[None] = len(starts) - 1
    return [level_of[rate] for rate in test_rates]


def level_scores(count: int, scores: Literal["equal", "rising"] = "equal") -> list[float]:
    """What each level is worth, easiest first; together 1. The report does not say: equal is the plain choice, rising
    is how olympiads in informatics weigh subtasks.

    >>> level_scores(4), level_scores(3, "rising")
    ([0.25, 0.25, 0.25, 0.25], [0.16666666666666666, 0.3333333333333333, 0.5])
    """
    weights = [1 if scores == "equal" else level + 1 for level in range(count)]
    return [weight / sum(weights) for weight in weights]


def _breaks(values: list[float], times: list[int], groups: int) -> list[int]:
    """Where each of `groups` runs of sorted values begins, so that their squared distances from their means are least.
    `times`: how often each value is there."""
    weights, sums, squares = [0.0], [0.0], [0.0]  # of the values before each place
    for value, count in zip(values, times, strict=True):
        weights.append(weights[-1] + count)
        sums.append(sums[-1] + count * value)
        squares.append(squares[-1] + count * value * value)

    def cost(a: int, b: int) -> float:
        total = sums[b] - sums[a]
        return squares[b] - squares[a] - total * total / (weights[b] - weights[a])

    # best[b]: the least cost of the first b values in the groups so far, and where these begin
    best: list[tuple[float, list[int]]] = [(0.0, [])] + [(cost(0, b), [0]) for b in range(1, len(values) + 1)]
    for group in range(2, groups + 1):
        better = [(float("inf"), [0])] * group
        for b in range(group, len(values) + 1):
            found = min((best[a][0] + cost(a, b), a) for a in range(group - 1, b))
            better.append((found[0], [*best[found[1]][1], found[1]]))
        best = better
    return best[len(values)][1]
