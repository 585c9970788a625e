"""The process in which vLLM generates rollouts: `python -m training.rl.vllm_worker SOCKET`, started by `generate_vllm`.

One loop: take messages, let the engine make a step, send back what is finished. The engine's core runs in this very
process, so weights are exchanged simply between two steps, and nothing of vLLM is in the trainer's process.
"""

from __future__ import annotations

import copy
import os
import queue
import sys
import threading
from multiprocessing.connection import Client, Connection
from typing import Any


class WorkerExtension:
    """Mixed into vLLM's worker (`worker_extension_cls`); its methods are called with `collective_rpc`."""

    model_runner: Any

    def load_model_folder(self, folder: str) -> None:
        """Puts the weights of a model folder in the place of the present ones, the drafter's (MTP) too.

        vLLM's own `reload_weights` leaves the drafter as it is, and a stale drafter is accepted ever more rarely.
        """
        self.model_runner.reload_weights(weights_path=folder)
        drafter = getattr(self.model_runner, "drafter", None)
        if drafter is not None:
            from vllm.model_executor.model_loader.reload.inplace import reload_weights

            config = copy.copy(self.model_runner.vllm_config)
            config.model_config = config.speculative_config.draft_model_config
            reload_weights(config, drafter.model, None, folder, is_checkpoint_format=True)

    def repair_speculative_sampling(self) -> None:
        """The CPU build of vLLM 0.32 draws wrong tokens when it speculates at temperature > 0: its
        `expand_batch_to_tokens` returns memory that nothing was written to, so logits are divided by anything.
        The one place where the engine is patched. Greedy decoding and GPUs never come here."""
        from vllm.v1.sample import rejection_sampler

        rejection_sampler.expand_batch_to_tokens = expand_batch_to_tokens


def expand_batch_to_tokens(
    x: Any, cu_num_tokens: Any, num_tokens: int, replace_from: int = 0, replace_to: int = 0
) -> Any:
    """Each request's value once for each of its draft tokens: ([a, b], ends [2, 3]) → [a, a, b]. vLLM's signature."""
    counts = cu_num_tokens.diff(prepend=cu_num_tokens.new_zeros(1))
    return x.where(x != replace_from, replace_to).repeat_interleave(counts.long(), output_size=num_tokens)


class Host:
    """The engine and the answers that are under way."""

    def __init__(
        self, connection: Connection, options: dict[str, Any], stops: list[int], repair: bool
    ) -> None:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        arguments = EngineArgs(**options, worker_extension_cls="training.rl.vllm_worker.WorkerExtension")
        self.engine: Any = LLMEngine.from_engine_args(arguments)
        if repair:
            self.engine.collective_rpc("repair_speculative_sampling")
        self.connection, self.stops = connection, stops
        self.internal: dict[str, str] = {}  # our request id → vLLM's

    def step(self) -> None:
        for output in self.engine.step():
            if output.finished:
                completion = output.outputs[0]
                self._answer(
                    output.request_id, completion.token_ids, completion.logprobs, completion.finish_reason
                )

    def generate(
        self, request_id: str, prompt_tokens: list[int], max_tokens: int, temperature: float, seed: int
    ) -> None:
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        sampling = SamplingParams(
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop_token_ids=self.stops,
            ignore_eos=True,  # where an answer ends is said by `stops` alone
            logprobs=0,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            prompt = {"prompt_token_ids": prompt_tokens}
            self.internal[request_id] = self.engine.add_request(request_id, prompt, sampling)
        except ValueError as error:  # vLLM's own kinds of it included
            self.connection.send(("refused", request_id, str(error)))

    def abort(self, request_id: str) -> None:
        if (internal := self.internal.get(request_id)) is None:
            return
        # Of an aborted request that reports at its end only, the engine says nothing; its bookkeeping knows.
        state = self.engine.output_processor.request_states[internal]
        tokens, logprobs = list(state.detokenizer.output_token_ids), state.logprobs_processor.logprobs
        self.engine.abort_request([internal], internal=True)
        self._answer(request_id, tokens, logprobs, "abort")

    def update(self, request_id: str, folder: str) -> None:
        self.engine.collective_rpc("load_model_folder", args=(folder,))
        # What is under way goes back in line and its keys and values are computed anew.
        self.engine.reset_prefix_cache(reset_running_requests=True)
        self.connection.send(("done", request_id, None))

    def counters(self, request_id: str) -> None:
        found = {metric.name: getattr(metric, "value", None) for metric in self.engine.get_metrics()}
        self.connection.send(("done", request_id, found))

    def ping(self) -> None:
        self.connection.send(("done", "ping", None))

    def _answer(self, request_id: str, tokens: Any, logprobs: Any, finish_reason: str) -> None:
        del self.internal[request_id]
        # A position holds the drawn token first, then the most likely ones, of which none was asked for.
        drawn = [logprobs.logprobs[start] for start in logprobs.start_indices]
        self.connection.send(("done", request_id, (list(tokens), drawn[: len(tokens)], finish_reason)))


def main(address: str) -> None:
    """Serves until the other side says "close" or is gone."""
    connection = Client(address, family="AF_UNIX")
    host = Host(connection, *connection.recv())
    connection.send(("done", "start", None))
    inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                inbox.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        while not inbox.empty() or not host.engine.has_unfinished_requests():
            kind, arguments = inbox.get()
            if kind == "close":
                os._exit(0)  # there is nothing to put in order, and vLLM's own leave-taking takes seconds
            getattr(host, kind)(*arguments)
        host.step()


if __name__ == "__main__":
    main(sys.argv[1])
