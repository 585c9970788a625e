"""A rubric's schema and its answers on a real vLLM server, whose model has random weights: what it says is worthless."""

from __future__ import annotations

import asyncio
import math

import pytest

from filters.taxonomy.questions import answer_schema, read_labels
from filters.taxonomy.rubric import Dimension, Question, Rubric
from pipeline.client import ModelClient, json_schema
from pipeline.server import Server

RUBRIC = Rubric(
    "short",
    "1",
    (
        Dimension("kind", ("maths", "code"), ordinal=False),
        Dimension("depth", ("none", "some", "much", "most"), ordinal=True, first=1),
        Dimension("right", ("no", "yes"), ordinal=True, first=0),
    ),
    {
        name: Question("?", (), (), "nothing said" if name == "right" else None)
        for name in ("kind", "depth", "right")
    },
)
LEVELS = ("1", "2", "3", "4")


@pytest.mark.vllm
def test_answers_are_within_the_rubric_and_their_probabilities_are_found(vllm_server: Server):
    async def ask():
        async with ModelClient(vllm_server.base_url, vllm_server.model, timeout=300) as client:
            return await asyncio.gather(
                *(
                    client.chat(
                        [{"role": "user", "content": "Is 7 odd?"}],
                        response_format=json_schema(answer_schema(RUBRIC)),
                        seed=seed,
                        max_tokens=300,
                        temperature=1,
                        logprobs=True,
                        top_logprobs=20,
                    )
                    for seed in range(4)
                )
            )

    for answer in asyncio.run(ask()):
        labels = read_labels(answer, RUBRIC)
        assert labels["label_kind"] in ("maths", "code")
        assert labels["level_right"] in (0, 1, None)
        place = next(i for i, token in enumerate(answer.logprobs) if token.token.strip() in LEVELS)
        token = answer.logprobs[place]
        likely = {said: math.exp(p) for said, p in (*token.top, (token.token, token.logprob))}
        shares = [(int(said), share) for said, share in likely.items() if said.strip() in LEVELS]
        mean = sum(level * share for level, share in shares) / sum(share for _, share in shares)
        assert labels["label_depth"] == pytest.approx(mean)
        assert labels["level_depth"] == int(token.token)
