"""Which groups of documents make up a stage of pre-training, and how much of each there can be.

The three stages of the MiMo-7B report (arXiv 2505.07608, section 2.1) are all of two kinds: the first scales what is
there by a factor a group, the others take an earlier stage and set the shares of some groups.
"""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from pipeline.errors import RequestError
from pipeline.stage import StageConfig

UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
ANSWERS = (
    "answers"  # the group of synthetic answers to queries: no part of a first stage unless a factor says so
)


def token_count(given: object) -> int:
    """A number of tokens, also as "700K", "1.5M", "8.4B", "10.2T".

    >>> token_count("10.2T")
    10200000000000
    """
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMBT]?)", str(given).strip())
    count = round(float(match[1]) * UNITS.get(match[2], 1)) if match else 0
    if count <= 0:
        raise ValueError(f"{given!r} is no number of tokens; write e.g. 700K, 1.5M or 20B")
    return count


Tokens = Annotated[int, BeforeValidator(token_count)]
Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MixtureStage(StageConfig):
    """One stage: its size, its context, and either factors or an earlier stage with shares changed."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", description="begins the names of its shards")
    tokens: Tokens = Field(description="budget, without padding: 700K, 1.5M, 20B")
    context: int = Field(ge=2, description="tokens in a sequence")
    factors: dict[str, Factor] = Field(
        {},
        description="how much more (above 1) or less (below 1) of a group than there is by nature; "
        f"groups not named: 1, {ANSWERS}: 0",
    )
    like: str | None = Field(
        None, description="instead of factors: the earlier stage whose proportions it has …"
    )
    shares: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        {}, description="… but for these groups, which get these shares of the tokens"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> MixtureStage:
        if self.like is not None and self.factors:
            raise ValueError(f"stage {self.name}: give `factors`, or `like` with `shares`, not both")
        if self.like is None and self.shares:
            raise ValueError(f"stage {self.name}: `shares` change an earlier stage: name it with `like`")
        if sum(self.shares.values()) > 1 + 1e-9:
            raise ValueError(
                f"stage {self.name}: the shares add up to {sum(self.shares.values()):g}, above 1"
            )
        return self


class Planned(NamedTuple):
    """What a group is to give to a stage."""

    asked: float  # share of the stage by factors or shares
    tokens: int  # after the caps: what it can give


def plan(
    stages: list[MixtureStage], natural: dict[str, int], epochs: dict[str, int]
) -> list[dict[str, Planned]]:
    """For each stage and group what is asked and what is planned, in tokens.

    `natural`: tokens there are of each group; `epochs`: how often each may be seen, over all stages together. Stages
    take in their order. What a group cannot give is asked of the stage's other groups, in proportion to their shares;
    when all are exhausted the stage is short. Raises `RequestError` for a share of a group that does not exist.

    >>> stage = MixtureStage(name="one", tokens=100, context=8, factors={"low": 0.5})
    >>> plan([stage], {"low": 200, "maths": 100}, {"low": 4, "maths": 4})
    [{'low': Planned(asked=0.5, tokens=50), 'maths': Planned(asked=0.5, tokens=50)}]
    """
    left = {group: natural[group] * epochs[group] for group in sorted(natural)}
    asked: dict[str, dict[str, float]] = {}
    result = []
    for stage in stages:
        shares = asked[stage.name] = _asked(stage, natural, asked)
        tokens = _fill(stage.tokens, shares, left)
        left = {group: left[group] - tokens[group] for group in left}
        result.append({group: Planned(shares[group], tokens[group]) for group in left})
    return result


def _asked(
    stage: MixtureStage, natural: dict[str, int], earlier: dict[str, dict[str, float]]
) -> dict[str, float]:
    """Share of each group, together 1."""
    if stage.like is None:
        factors = {ANSWERS: 0.0, **stage.factors}
        parts = {group: count * factors.get(group, 1.0) for group, count in natural.items()}
    else:
        missing = sorted(g for g, share in stage.shares.items() if share > 0 and not natural.get(g))
        if missing:
            groups = ", ".join(f"{group} ({count:,} tokens)" for group, count in sorted(natural.items()))
            raise RequestError(
                f"mix: {stage.name} asks for a share of {', '.join(missing)}, but no document is in that group. "
                f"Groups are: {groups or 'none'}. Correct `shares`, or the policy's `group` conditions"
            )
        rest = {g: share for g, share in earlier[stage.like].items() if g not in stage.shares}
        scale = (1 - sum(stage.shares.values())) / max(sum(rest.values()), 1e-300)
        parts = {group: stage.shares.get(group, rest.get(group, 0.0) * scale) for group in natural}
    total = sum(parts.values())
    if total <= 0:
        raise RequestError(
            f"mix: {stage.name} has nothing to draw from: every group is empty, or has factor or share 0. "
            f"Groups are: {', '.join(sorted(natural)) or 'none'}"
        )
    return {group: part / total for group, part in parts.items()}


def _fill(budget: int, shares: dict[str, float], left: dict[str, int]) -> dict[str, int]:
    """Tokens of each group: by its share of the budget as far as that is there, the rest from the others."""
    tokens = dict.fromkeys(left, 0)
    wanting = {group: shares[group] for group in left if shares[group] > 0}
    while wanting:
        scale = (budget - sum(tokens.values())) / sum(wanting.values())
        short = [group for group, share in wanting.items() if left[group] <= share * scale]
        for group in short or wanting:
            tokens[group] = left[group] if short else round(wanting[group] * scale)
        if not short:
            break
        wanting = {group: share for group, share in wanting.items() if group not in short}
    return tokens
