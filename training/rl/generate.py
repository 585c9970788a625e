"""What a rollout engine needs of a generator. Two keep this promise: `generate_vllm` and `generate_torch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pipeline.errors import RequestError, RunError


class Generated(NamedTuple):
    """One answer. The token that stopped it is its last; of an aborted one, what there was by then."""

    tokens: list[int]
    logprobs: list[
        float
    ]  # one a token, of the distribution it was drawn from (temperature 0: of temperature 1)
    finish_reason: str  # "stop", "length" or "abort"


class GeneratorLost(RunError):
    """The generator died, and with it all that was in flight. `restart` brings it back."""


class Generator(Protocol):
    """Draws answers token by token, many at once.

    Belongs to no event loop: each call may come from another one, and none blocks its loop. Where it is a process of
    its own, one that hangs is `GeneratorLost`, as one that died.
    """

    slots: int  # answers that are generated at the same time; further ones wait in line

    async def generate(
        self, request_id: str, prompt_tokens: Sequence[int], *, max_tokens: int, temperature: float, seed: int
    ) -> Generated:
        """One answer, from the whole distribution (no top-p, no top-k). Cancelling the call ends the answer.

        seed: decides the draw, as far as rounding in another batch allows. Raises `RequestError` for a prompt that
        leaves no room for `max_tokens`, `GeneratorLost`.
        """
        ...

    async def abort(self, request_id: str) -> None:
        """Its `generate` returns at once with the finish reason "abort". An unknown request is nobody's."""
        ...

    async def update_weights(self, folder: Path) -> None:
        """Goes on with the weights of a model folder of the same shape, all caches computed anew. The folder is read
        again by `restart`: keep it until the next update."""
        ...

    async def restart(self) -> None:
        """Begins anew with the newest weights; what was in flight raises `GeneratorLost`."""
        ...

    async def close(self) -> None:
        """Ends it. May be called again."""
        ...


def check_room(request_id: str, prompt_tokens: Sequence[int], max_tokens: int, context: int) -> None:
    """Raises `RequestError` if prompt and answer are not both there, or too long together."""
    if not len(prompt_tokens) or max_tokens < 1 or len(prompt_tokens) + max_tokens > context:
        raise RequestError(
            f"request {request_id}: a prompt of {len(prompt_tokens)} tokens and {max_tokens} new ones; expected at "
            f"least one of each and at most {context} together."
        )
