"""The model client against a real vLLM server, and against a real socket that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.client import Gate, ModelClient, Refused, TokenLogprob, json_schema, request_key
from pipeline.errors import RequestError, RunError
from pipeline.server import Server

QUESTION = [{"role": "user", "content": "Is 7 odd?"}]
GOOD = {
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1},
}


class Faulty:
    """An HTTP server of ours that answers the n-th request as `script(n, body)` says: (status, headers, body),
    seconds to wait before a good answer, or None to close the connection. It counts what is in flight."""

    def __init__(self, script: Callable[[int, dict[str, Any]], Any]) -> None:
        self.script, self.requests, self.times = script, [], []
        self.headers: list[dict[str, str]] = []
        self.in_flight = self.most_in_flight = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                self.requests.append(json.loads(body) if body else None)
                self.headers.append(
                    {name: value for line in lines[1:] if line for name, value in [line.split(": ", 1)]}
                )
                self.times.append(time.monotonic())
                try:
                    step = self.script(len(self.requests), self.requests[-1])
                    if isinstance(step, float):
                        await asyncio.sleep(step)
                        step = (200, {}, json.dumps(GOOD))
                finally:
                    self.in_flight -= 1
                if step is None:
                    writer.close()
                    return
                status, extra, text = step
                sent = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
                data = text.encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{sent}Content-Length: {len(data)}\r\n\r\n".encode() + data
                )
                await writer.drain()
        writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.close()


def answered(*steps: Any) -> Callable[[int, Any], Any]:
    """A script: these steps one after another, then good answers at once."""
    return lambda n, body: steps[n - 1] if n <= len(steps) else 0.0


def ask(faulty: Faulty, **options: Any):
    """One question to a faulty server; the answer or the error it ends in."""

    async def run():
        async with faulty.running() as url, ModelClient(url, "m", backoff=0.01, **options) as client:
            return await client.chat(QUESTION, temperature=0)

    return asyncio.run(run())


PASSING = {
    "overloaded": (429, {}, "{}"),
    "unavailable": (503, {}, "try later"),
    "broken": (500, {}, '{"error": {"message": "engine hiccup"}}'),
    "gateway": (502, {}, "<html>bad gateway</html>"),
    "reset": None,
    "slow": 5.0,
    "page": (200, {}, "<html>welcome</html>"),
    "no choices": (200, {}, '{"choices": []}'),
    "error in 200": (200, {}, '{"error": "busy"}'),
    "a list": (200, {}, "[1]"),
    "cut off": (200, {}, '{"choices": [{"index": 0, "mess'),
}


@pytest.mark.parametrize("fault", PASSING)
def test_passing_faults_are_tried_again(fault):
    faulty = Faulty(answered(PASSING[fault], PASSING[fault]))
    answer = ask(faulty, timeout=0.3)
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == (
        "yes",
        "stop",
        5,
        1,
    )
    assert len(faulty.requests) == 3
    assert faulty.requests[0] == faulty.requests[2] == {"model": "m", "messages": QUESTION, "temperature": 0}


def test_lasting_faults_end_in_an_error_that_says_what_to_do():
    faulty = Faulty(lambda n, body: (500, {}, '{"error": {"message": "engine hiccup"}}'))
    with pytest.raises(
        RunError,
        match=r"http://127\.0\.0\.1:\d+/v1/chat/completions: 500 engine hiccup; gave up after 4 tries.*--server URL",
    ):
        ask(faulty, retries=3)
    assert len(faulty.requests) == 4


def test_waits_grow_between_tries():
    faulty = Faulty(answered(*[(500, {}, "")] * 5))

    async def run():
        async with faulty.running() as url, ModelClient(url, "m", backoff=0.05) as client:
            await client.chat(QUESTION)

    asyncio.run(run())
    waits = [b - a for a, b in zip(faulty.times, faulty.times[1:], strict=False)]
    for n, wait in enumerate(waits):
        assert 0.5 * 0.05 * 2**n <= wait <= 1.5 * 0.05 * 2**n + 0.5


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_back_every_request(form):
    """While one was told to wait, no other one is sent either."""
    faulty = Faulty(lambda n, body: (429, {"Retry-After": after()}, "") if n == 1 else 0.0)

    def after() -> str:
        return "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)

    async def run():
        async with faulty.running() as url, ModelClient(url, "m", backoff=0.01) as client:
            first = asyncio.create_task(client.chat(QUESTION))
            while not faulty.times or not client._gate._closed_until:  # until it was told to wait
                await asyncio.sleep(0.01)
            await asyncio.gather(first, *(client.chat(QUESTION, seed=n) for n in range(5)))

    asyncio.run(run())
    assert len(faulty.times) == 7
    assert faulty.times[1] - faulty.times[0] >= 0.9


def test_a_server_that_wants_an_hour_is_not_waited_for():
    with pytest.raises(RunError, match="asks to wait 3600 s; run again later"):
        ask(Faulty(answered((429, {"Retry-After": "3600"}, ""))))


@pytest.mark.parametrize(
    ("step", "status", "message"),
    [
        (
            (400, {}, '{"error": {"message": "prompt too long"}}'),
            400,
            "400 prompt too long Change the request",
        ),
        ((401, {}, '{"error": "no key"}'), 401, "401 no key Name the environment variable"),
        ((404, {}, '{"object": "error", "message": "no model m"}'), 404, "404 no model m Check the address"),
        ((422, {}, ""), 422, "422 X Change the request"),
        ((308, {"Location": "https://x/v2"}, ""), 308, "Give the address it redirects to: https://x/v2"),
    ],
)
def test_refusals_are_not_repeated(step, status, message):
    faulty = Faulty(answered(step))
    with pytest.raises(Refused, match=message) as refusal:
        ask(faulty)
    assert refusal.value.status == status
    assert len(faulty.requests) == 1


def test_the_key_is_sent_and_nowhere_else(monkeypatch, tmp_path):
    with pytest.raises(RequestError, match="environment variable MY_KEY, which is not set"):
        ModelClient("http://127.0.0.1:1", "m", "MY_KEY")
    monkeypatch.setenv("MY_KEY", "s3cret")
    faulty = Faulty(answered((401, {}, '{"error": "bad key"}')))
    with pytest.raises(Refused) as refusal:
        ask(faulty, api_key_env="MY_KEY", cache=tmp_path / "answers.sqlite")
    assert faulty.headers[0]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(refusal.value)
    ask(faulty, api_key_env="MY_KEY", cache=tmp_path / "answers.sqlite")
    assert b"s3cret" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


def test_an_overloaded_server_is_given_as_much_as_it_takes():
    """It serves 4 at a time and refuses the rest; the client may send 64. Compared with one that does not adapt."""

    def refusals(adapt: bool) -> tuple[int, float]:
        faulty = Faulty(lambda n, body: (503, {}, "") if faulty.in_flight > 4 else 0.1)

        async def run():
            async with (
                faulty.running() as url,
                ModelClient(url, "m", concurrency=64, backoff=0.05, retries=20) as client,
            ):
                await client.chat(QUESTION)
                if not adapt:
                    client._gate.shrink = lambda started, pause=0.0: None
                await asyncio.gather(*(client.chat(QUESTION, seed=n) for n in range(100)))
                return client._gate.limit

        limit = asyncio.run(run())
        assert len({json.dumps(body) for body in faulty.requests}) == 101
        return len(faulty.requests) - 101, limit

    for _ in range(5):  # a busy machine answers late; what does not adapt is never refused half as often
        adapting, limit = refusals(adapt=True)
        if limit <= 10 and 0 < adapting < refusals(adapt=False)[0] / 2:
            return
    raise AssertionError((adapting, limit))


def test_gate_by_hand():
    async def run():
        gate = Gate(8)
        before = time.monotonic()
        gate.shrink(before)
        gate.shrink(before)  # of the same round: counted once
        assert gate.limit == 4
        for _ in range(4):
            gate.grow()
        assert 4.9 < gate.limit < 5  # 4 + 1/4 + 1/4.25 + 1/4.49 + 1/4.71
        for _ in range(100):
            gate.grow()
        assert gate.limit == 8
        for _ in range(10):
            gate.shrink(time.monotonic())
        assert gate.limit == 1

        order: list[str] = []

        async def work(name: str, seconds: float) -> None:
            async with gate:
                order.append(name)
                await asyncio.sleep(seconds)

        tasks = [asyncio.create_task(work(name, 0.02)) for name in "abcd"]
        await asyncio.sleep(0.01)
        assert order == ["a"]
        tasks[1].cancel()  # one who waits
        tasks[0].cancel()  # the one inside
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == ["a", "c", "d"]
        assert gate.inside == 0

    asyncio.run(run())


def test_a_cancelled_turn_is_passed_on():
    """The waiter is woken and cancelled in the same breath: its place must not be lost."""

    async def run():
        gate = Gate(1)
        await gate.__aenter__()
        first = asyncio.create_task(gate.__aenter__())
        second = asyncio.create_task(gate.__aenter__())
        await asyncio.sleep(0)
        await gate.__aexit__()
        first.cancel()
        await asyncio.wait_for(second, 1)

    asyncio.run(run())


def test_several_servers_share_the_work_and_a_dead_one_is_passed_over():
    one, two = Faulty(lambda n, body: 0.01), Faulty(lambda n, body: 0.01)

    async def run():
        async with one.running() as first, two.running() as second:
            urls = ["http://127.0.0.1:9/v1", first, second]
            async with ModelClient(urls, "m", concurrency=8, backoff=0.01) as client:
                return await asyncio.gather(*(client.chat(QUESTION, seed=n) for n in range(40)))

    assert len(asyncio.run(run())) == 40
    assert len(one.requests) + len(two.requests) == 40
    assert min(len(one.requests), len(two.requests)) >= 10


def test_no_server_at_all():
    async def run():
        async with ModelClient("http://127.0.0.1:9", "m", retries=1, backoff=0.01) as client:
            await client.chat(QUESTION)

    with pytest.raises(
        RunError, match=r"http://127\.0\.0\.1:9/v1/chat/completions: no connection .*gave up after 2"
    ):
        asyncio.run(run())


def test_one_client_in_successive_event_loops():
    faulty = Faulty(lambda n, body: 0.0)
    clients: list[ModelClient] = []

    async def run():
        async with faulty.running() as url:
            if not clients:
                clients.append(ModelClient(url, "m"))
            clients[0].base_urls = [url]
            return (await clients[0].chat(QUESTION)).text

    assert [asyncio.run(run()) for _ in range(3)] == ["yes"] * 3


def test_cache_and_ledger_hook(tmp_path):
    faulty = Faulty(lambda n, body: 0.0)
    book: list[tuple[str, dict[str, Any], str]] = []

    async def run(url: str):
        cache = tmp_path / "cache" / "answers.sqlite"
        hook = lambda key, request, answer: book.append((key, request, answer.text))  # noqa: E731
        async with ModelClient(url, "m", cache=cache, on_answer=hook, retries=0) as client:
            return [(await client.chat(QUESTION, seed=seed)).raw for seed in (1, 2, 1)]

    async def both():
        async with faulty.running() as url:
            fresh = await run(url)
        return fresh, await run("http://127.0.0.1:9/v1")  # nobody there: all from the cache

    fresh, kept = asyncio.run(both())
    assert fresh == kept == [GOOD] * 3
    assert len(faulty.requests) == 2
    request = {"model": "m", "messages": QUESTION, "seed": 1}
    assert book[0] == (request_key("/chat/completions", request), request, "yes")
    assert [entry[1]["seed"] for entry in book] == [1, 2]
    with pytest.raises(RequestError, match="cannot be used as a cache of answers"):
        ModelClient("http://127.0.0.1:9", "m", cache=tmp_path)


def test_request_keys():
    expected = hashlib.sha256(b'/completions{"max_tokens":1,"model":"m","prompt":"\\u00fc"}').hexdigest()
    assert request_key("/completions", {"prompt": "ü", "model": "m", "max_tokens": 1}) == expected
    assert request_key("/completions", {"max_tokens": 1, "model": "m", "prompt": "ü"}) == expected
    # a model fills in properties in the order they stand: another order is another question
    a, b = (
        {"type": "object", "properties": {"why": {}, "score": {}}},
        {"type": "object", "properties": {"score": {}, "why": {}}},
    )
    keys = {request_key("/x", {"response_format": json_schema(schema)}) for schema in (a, b)}
    assert len(keys) == 2


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:port/v1", ""])
def test_addresses_that_are_none(url):
    with pytest.raises(RequestError, match="is no server address; expected one like http://"):
        ModelClient(url, "m")


def test_requests_that_cannot_be_sent():
    async def run(**sampling: Any):
        async with ModelClient("http://127.0.0.1:9", "m", retries=0) as client:
            await client.chat(QUESTION, **sampling)

    with pytest.raises(RequestError, match="cannot be written as JSON"):
        asyncio.run(run(temperature=float("nan")))
    with pytest.raises(RequestError, match="cannot be written as JSON"):
        asyncio.run(run(stop={1, 2}))
    with pytest.raises(RequestError, match="whole answers only"):
        asyncio.run(run(extra_body={"stream": True}))


def asked_of(server: Server, question: Callable[[ModelClient], Any], **options: Any) -> Any:
    async def run():
        async with ModelClient(server.base_url, server.model, timeout=300, **options) as client:
            return await question(client)

    return asyncio.run(run())


@pytest.mark.vllm
def test_completions_and_logprobs_agree_with_transformers(vllm_server: Server, tiny_llama: Path):
    reference = json.loads((tiny_llama / "reference.json").read_text())
    answer = asked_of(
        vllm_server,
        lambda client: client.complete(
            reference["prompt"],
            temperature=0,
            max_tokens=8,
            logprobs=2,
            extra_body={"ignore_eos": True, "return_token_ids": True, "skip_special_tokens": False},
        ),
    )
    assert answer.raw["choices"][0]["token_ids"] == reference["tokens"]
    assert (answer.prompt_tokens, answer.completion_tokens) == (reference["prompt_tokens"], 8)
    assert answer.finish_reason == "length"
    assert [t.logprob for t in answer.logprobs] == pytest.approx(reference["logprobs"], abs=1e-3)
    for token in answer.logprobs:  # greedy: none of the likeliest is likelier
        assert max(logprob for _, logprob in token.top) == pytest.approx(token.logprob)


@pytest.mark.vllm
def test_chat_logprobs_samples_and_seeds(vllm_server: Server):
    sampling = {"temperature": 1.0, "max_tokens": 6, "extra_body": {"ignore_eos": True}}

    async def question(client: ModelClient):
        assert await client.models() == ["tiny-llama"]
        four = await client.chat(QUESTION, n=4, seed=5, logprobs=True, top_logprobs=3, **sampling)
        same, again, other = await asyncio.gather(
            *(client.chat(QUESTION, seed=seed, **sampling) for seed in (11, 11, 12))
        )
        return four, same, again, other

    four, same, again, other = asked_of(vllm_server, question)
    assert len(four.choices) == 4
    assert four.completion_tokens == 24
    assert len({choice.text for choice in four.choices}) > 1
    for choice in four.choices:
        assert choice.finish_reason == "length"
        assert len(choice.logprobs) == 6
        for token in choice.logprobs:
            assert isinstance(token, TokenLogprob)
            assert len(token.top) >= 3
            assert token.logprob <= max(logprob for _, logprob in token.top) <= 0
            assert (token.token, token.logprob) in token.top
    assert same.text == again.text != other.text
    assert same.model == "tiny-llama"
    assert same.logprobs is None


@pytest.mark.vllm
def test_json_schema_keeps_the_order_of_its_properties(vllm_server: Server):
    schema = {
        "type": "object",
        "properties": {
            "why": {"type": "string", "enum": ["proof", "guess"]},
            "score": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        },
        "required": ["why", "score"],
        "additionalProperties": False,
    }
    answers = asked_of(
        vllm_server,
        lambda client: asyncio.gather(
            *(
                client.chat(
                    QUESTION, seed=seed, max_tokens=200, temperature=1, response_format=json_schema(schema)
                )
                for seed in range(4)
            )
        ),
    )
    for answer in answers:
        value = json.loads(answer.text)
        assert list(value) == ["why", "score"]
        assert value["why"] in ("proof", "guess")
        assert value["score"] in range(1, 6)


@pytest.mark.vllm
def test_what_vllm_refuses(vllm_server: Server):
    with pytest.raises(Refused, match="512") as too_long:
        asked_of(vllm_server, lambda client: client.complete([5] * 600, max_tokens=5))
    assert too_long.value.status == 400

    async def wrong_model():
        async with ModelClient(vllm_server.base_url, "no-such-model") as client:
            await client.chat(QUESTION)

    with pytest.raises(Refused, match=r"no-such-model.*Check the address") as unknown:
        asyncio.run(wrong_model())
    assert unknown.value.status == 404


@pytest.mark.vllm
def test_many_at_once_each_answered_once(vllm_server: Server, tmp_path):
    book: list[str] = []
    answers = asked_of(
        vllm_server,
        lambda client: asyncio.gather(
            *(client.complete("We prove", seed=n, max_tokens=4, temperature=1) for n in range(60))
        ),
        concurrency=16,
        cache=tmp_path / "answers.sqlite",
        on_answer=lambda key, request, answer: book.append(key),
    )
    assert len(answers) == 60
    assert len(set(book)) == len(book) == 60
    assert len({answer.text for answer in answers}) > 20
