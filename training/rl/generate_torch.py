"""Rollouts with our own model in plain torch, in a thread of this process: for machines without vLLM and small models.

Continuous batching: the sequences under way are rows 0 … n−1 of one cache of keys and values, every step gives each its
next token, the last row fills the place of one that ends, and requests that wait get rows between two steps.

Shapes as in `training.model`, further: S rows, T positions in the cache, N layers.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import RequestError
from training.export import load
from training.model import Block, MiMo, rope_tables, rotate
from training.rl.generate import Generated, GeneratorLost, check_room


class Cache:
    """Keys and values of `slots` sequences of up to `context` tokens. Memory: 2·N·S·T·G·K numbers, all at once."""

    def __init__(self, model: MiMo, slots: int, context: int) -> None:
        config, like = model.config, model.lm_head.weight
        shape = (config.num_hidden_layers, slots, config.num_key_value_heads, context, config.head_dim)
        self.keys_NSGTK = torch.zeros(shape, dtype=like.dtype, device=like.device)
        self.values_NSGTK = torch.zeros_like(self.keys_NSGTK)

    def move(self, source: int, target: int, length: int) -> None:
        """The first `length` positions of a row into another."""
        for cache in (self.keys_NSGTK, self.values_NSGTK):
            cache[:, target, :, :length] = cache[:, source, :, :length]


@torch.no_grad()
def extend(model: MiMo, cache: Cache, rows: slice, tokens_SL: Tensor, start_S: Tensor) -> Tensor:
    """Hidden states after the last norm, (S, L, D), of new tokens of some rows; their keys and values go to the cache.

    start_S: position of each row's first new token. Behind its own tokens a row may hold any; they are written to the
    cache where the row's next tokens will be, and overwritten before anything looks there.
    """
    width = tokens_SL.shape[1]
    position_SL = start_S[:, None] + torch.arange(width, device=start_S.device)
    seen = int(start_S.max()) + width
    allowed_S1LT = (torch.arange(seen, device=start_S.device) <= position_SL[..., None])[:, None]
    rope = rope_tables(position_SL, model.config.head_dim, model.config.rope_theta)
    row_S1 = torch.arange(rows.start, rows.stop, device=start_S.device)[:, None]
    x_SLD = model.model.embed_tokens(tokens_SL)
    for number, block in enumerate(model.model.layers):
        assert isinstance(block, Block)
        attention, h_SLD = block.self_attn, block.input_layernorm(x_SLD)
        split = (-1, attention.head_dim)
        q_SLHK = rotate(attention.q_proj(h_SLD).unflatten(-1, split), rope)
        cache.keys_NSGTK[number][row_S1, :, position_SL] = rotate(
            attention.k_proj(h_SLD).unflatten(-1, split), rope
        )
        cache.values_NSGTK[number][row_S1, :, position_SL] = attention.v_proj(h_SLD).unflatten(-1, split)
        o_SHLK = F.scaled_dot_product_attention(
            q_SLHK.transpose(1, 2),
            cache.keys_NSGTK[number, rows, :, :seen],
            cache.values_NSGTK[number, rows, :, :seen],
            attn_mask=allowed_S1LT,
            enable_gqa=True,
        )
        x_SLD = x_SLD + attention.o_proj(o_SHLK.transpose(1, 2).flatten(2))
        x_SLD = x_SLD + block.mlp(block.post_attention_layernorm(x_SLD))
    return model.model.norm(x_SLD)


def uniform(seeds_S: np.ndarray, position_S: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each (seed, position): SplitMix64 (Steele et al. 2014), 53 bits. A sequence's draws are its
    own, whatever else is in the batch, and cost one line for all rows."""
    with np.errstate(over="ignore"):
        z = seeds_S.astype(np.uint64) + (position_S.astype(np.uint64) + np.uint64(1)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * 2.0**-53


def draw(logits_SV: Tensor, temperature_S: Tensor, uniform_S: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (S,) by inversion of the cumulative distribution, and their log-probabilities. Temperature 0 is greedy."""
    logits_SV = logits_SV.float()
    greedy_S = temperature_S == 0
    logprobs_SV = (logits_SV / temperature_S.masked_fill(greedy_S, 1)[:, None]).log_softmax(-1)
    cumulative_SV = logprobs_SV.double().exp().cumsum(-1)
    # The first token whose cumulative share is *above* the number: never one of probability 0.
    sought_S1 = uniform_S.to(cumulative_SV)[:, None] * cumulative_SV[:, -1:]
    tokens_S = torch.searchsorted(cumulative_SV, sought_S1, right=True)[:, 0]
    tokens_S = torch.where(greedy_S, logits_SV.argmax(-1), tokens_S)
    return tokens_S, logprobs_SV.gather(1, tokens_S[:, None])[:, 0]


@dataclass
class _Request:
    id: str
    prompt: list[int]
    max_tokens: int
    temperature: float
    seed: int
    answer: Future[Generated] = field(default_factory=Future)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.tokens)

    def end(self, finish_reason: str) -> None:
        if self.answer.set_running_or_notify_cancel():  # somebody still waits for it
            self.answer.set_result(Generated(self.tokens, self.logprobs, finish_reason))


class TorchGenerator:
    """A `Generator` (see there) of a model folder, or of a model that is already there.

    stops: tokens that end an answer. slots: sequences in a batch. context: longest prompt with answer; None is the
    model's. With a model instead of a folder, `update_weights` still takes a folder and changes that model.
    """

    def __init__(
        self,
        model: str | Path | MiMo,
        *,
        stops: Sequence[int] = (),
        slots: int = 64,
        context: int | None = None,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(model, MiMo):
            model = load(model)
        dtype = dtype or (torch.float32 if device == "cpu" else model.lm_head.weight.dtype)
        self.model = model.to(device, dtype).eval()
        self.slots, self.stops, self.context = (
            slots,
            frozenset(stops),
            context or model.config.max_position_embeddings,
        )
        self._inbox: queue.SimpleQueue[tuple[str, object]] = queue.SimpleQueue()
        self._lost: str | None = "it was not started"
        self._start()

    async def generate(
        self, request_id: str, prompt_tokens: Sequence[int], *, max_tokens: int, temperature: float, seed: int
    ) -> Generated:
        check_room(request_id, prompt_tokens, max_tokens, self.context)
        request = _Request(request_id, list(prompt_tokens), max_tokens, temperature, seed)
        self._put("generate", request)
        try:
            return await asyncio.wrap_future(request.answer)
        except asyncio.CancelledError:
            await self.abort(request_id)
            raise

    async def abort(self, request_id: str) -> None:
        self._inbox.put(("abort", request_id))

    async def update_weights(self, folder: Path) -> None:
        done: Future[None] = Future()
        self._put("update", (Path(folder), done))
        await asyncio.wrap_future(done)

    async def restart(self) -> None:
        await self.close()
        self._start()

    async def close(self) -> None:
        self._inbox.put(("close", None))
        await asyncio.to_thread(self._thread.join)

    def _put(self, kind: str, content: object) -> None:
        self._inbox.put((kind, content))
        if (
            self._lost is not None
        ):  # asked for afterwards: a thread that ends looks into its inbox once more after this
            raise GeneratorLost(f"the generator is gone: {self._lost}.")

    def _start(self) -> None:
        self._inbox, self._lost = queue.SimpleQueue(), None
        self._running: list[_Request] = []  # by row
        self._waiting: deque[_Request] = deque()
        self._cache = Cache(self.model, self.slots, self.context)
        self._thread = threading.Thread(target=self._work, name="rollouts", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        reason = "it was closed"
        try:
            while self._take_messages():
                self._admit()
                if self._running:
                    self._step()
        except Exception as error:  # whatever it is, nobody must wait for it for ever
            reason = f"{type(error).__name__}: {error}"
        self._lost = reason
        left = [*self._running, *self._waiting]
        while not self._inbox.empty():
            kind, content = self._inbox.get()
            if isinstance(content, _Request):
                left.append(content)
            elif kind == "update":
                content[1].set_exception(GeneratorLost(f"the generator is gone: {reason}."))  # type: ignore[index]
        for request in left:
            if request.answer.set_running_or_notify_cancel():
                request.answer.set_exception(GeneratorLost(f"the generator is gone: {reason}."))

    def _take_messages(self) -> bool:
        while not self._inbox.empty() or not (self._running or self._waiting):
            kind, content = self._inbox.get()
            if kind == "close":
                return False
            if kind == "generate":
                assert isinstance(content, _Request)
                self._waiting.append(content)
            elif kind == "abort":
                self._abort(content)
            elif kind == "update":
                self._update(*content)  # type: ignore[misc]
        return True

    def _abort(self, request_id: object) -> None:
        for row, request in enumerate(self._running):
            if request.id == request_id:
                request.end("abort")
                self._leave(row)
                return
        for request in self._waiting:
            if request.id == request_id:
                request.end("abort")
                self._waiting.remove(request)
                return

    def _update(self, folder: Path, done: Future[None]) -> None:
        if not done.set_running_or_notify_cancel():  # nobody waits for it any more
            return
        try:
            self.model.load_state_dict(load(folder).state_dict())
        except (RequestError, RuntimeError) as error:
            done.set_exception(
                RequestError(f"{folder}: its weights do not fit this generator's model ({error}).")
            )
            return
        except Exception as error:  # a damaged file, no memory: this thread ends, and who waits must know
            done.set_exception(
                GeneratorLost(f"{folder}: cannot be loaded ({type(error).__name__}: {error}).")
            )
            raise
        done.set_result(None)
        if self._running:  # their keys and values, computed anew
            self._prefill(slice(0, len(self._running)))

    def _leave(self, row: int) -> None:
        last = self._running.pop()
        if row < len(self._running):
            self._running[row] = last
            self._cache.move(len(self._running), row, last.length)

    def _admit(self) -> None:
        first = len(self._running)
        while self._waiting and len(self._running) < self.slots:
            self._running.append(self._waiting.popleft())
        if first < len(self._running):
            self._prefill(slice(first, len(self._running)))

    def _prefill(self, rows: slice) -> None:
        """All tokens of some rows but the last, which the next step takes."""
        known = [[*request.prompt, *request.tokens][:-1] for request in self._running[rows]]
        width = max(len(tokens) for tokens in known)
        if width:
            tokens_SL = self._tensor([tokens + [0] * (width - len(tokens)) for tokens in known])
            extend(self.model, self._cache, rows, tokens_SL, torch.zeros_like(tokens_SL[:, 0]))

    def _step(self) -> None:
        """Each row's next token."""
        running = self._running
        newest_S1 = self._tensor([[(request.tokens or request.prompt)[-1]] for request in running])
        start_S = self._tensor([request.length - 1 for request in running])
        hidden_S1D = extend(self.model, self._cache, slice(0, len(running)), newest_S1, start_S)
        seeds_S = np.array([request.seed & (2**64 - 1) for request in running], dtype=np.uint64)
        drawn_S = uniform(seeds_S, np.array([len(request.tokens) for request in running]))
        temperature_S = torch.tensor([request.temperature for request in running], device=newest_S1.device)
        with torch.no_grad():
            logits_SV = self.model.lm_head(hidden_S1D[:, 0])
            tokens_S, logprobs_S = draw(logits_SV, temperature_S, torch.from_numpy(drawn_S))
        for request, token, logprob in zip(running, tokens_S.tolist(), logprobs_S.tolist(), strict=True):
            request.tokens.append(token)
            request.logprobs.append(logprob)
        for row in range(len(running) - 1, -1, -1):  # from behind: what moves into a row has been looked at
            request = running[row]
            stopped = request.tokens[-1] in self.stops
            if stopped or len(request.tokens) == request.max_tokens:
                request.end("stop" if stopped else "length")
                self._leave(row)

    def _tensor(self, values: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(values, device=self.model.lm_head.weight.device)
