"""What every training begins and ends with: its command, device and precision, stop signals, the record of a run."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin, InitProcessGroupKwargs
from torch.distributed.fsdp import MixedPrecisionPolicy

from pipeline.errors import ReasonmillError, RequestError, RunError


def command(
    name: str,
    what: str,
    example: str,
    work: Callable[[argparse.Namespace], int],
    arguments: list[str] | None,
    *,
    sections: str | None = None,
) -> int:
    """`python -m training.NAME` with the options of every training, and its exit codes.

    example: of --set. sections: what --section says in its help; None: there is only the section NAME.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m training.{name}",
        description=f"{what} Stop it whenever you like (even with "
        "kill -9): the same command goes on from the last checkpoint as if nothing had happened.",
        epilog=f"Several devices: torchrun --nproc-per-node N -m training.{name} … (each device holds the model), or "
        "accelerate launch --use_fsdp --fsdp_version 2 … (they share it). On a CPU that is busy "
        "with other things set OMP_WAIT_POLICY=PASSIVE: threads that spin while they wait made it four times slower.",
    )
    parser.add_argument("--config", required=True, metavar="RECIPE", help=f"recipe with a section {name}:")
    if sections is not None:
        parser.add_argument("--section", default=name, help=f"another section of it: {sections}")
    parser.add_argument(
        "--output", metavar="DIR", help="folder for checkpoints, metrics.jsonl and run.json [RUN/SECTION]"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help=f"change a field of the section: {example}",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="set an older run in the folder aside (DIR.old-1) and begin anew",
    )
    parser.add_argument(
        "--restart-if-changed",
        action="store_true",
        help="the same, but only if the older run had another recipe, model or data; otherwise go on with it",
    )
    options = parser.parse_args(arguments)
    try:
        return work(options)
    except ReasonmillError as error:
        if os.environ.get("RANK", "0") == "0" or isinstance(
            error, RunError
        ):  # a wrong request is every rank's
            print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    except KeyboardInterrupt:  # before the first step: there is nothing to finish
        return 130
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def precision_of(asked: str) -> str:
    """ "bf16" or "fp32"; what `auto` asks for is bf16 on CUDA."""
    return ("bf16" if _on_gpu() else "fp32") if asked == "auto" else asked


def _on_gpu() -> bool:
    return torch.cuda.is_available() and os.environ.get("ACCELERATE_USE_CPU", "").lower() not in ("1", "true")


def accelerator_for(precision: str, wait: timedelta | None = None) -> Accelerator:
    """Accelerate on the GPUs, or on the CPU where there is none.

    precision: "bf16" or "fp32". wait: how long ranks wait for one another (None: PyTorch's default, minutes).
    """
    accelerator = Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=not _on_gpu(),
        kwargs_handlers=[] if wait is None else [InitProcessGroupKwargs(timeout=wait)],
    )
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if accelerator.is_fsdp2 and precision == "bf16":
        assert isinstance(plugin, FullyShardedDataParallelPlugin)
        # Compute in bf16; add gradients up in fp32; leave alone what goes in (angles of RoPE) and out (sums of losses).
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    return accelerator


def decay_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's two groups of parameters: matrices decay; embeddings, norms and biases do not."""
    decays: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        decays[parameter.ndim >= 2 and "embed_tokens" not in name].append(parameter)
    return [
        {"params": decays[True], "weight_decay": weight_decay},
        {"params": decays[False], "weight_decay": 0.0},
    ]


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that holds the signal once Ctrl-C or SIGTERM came. A second one, two seconds later, stops at once."""
    received: list[int] = []
    first = math.inf

    def note(number: int, _: Any) -> None:
        nonlocal first
        if time.monotonic() - first > 2:  # launchers pass the same signal on once more, but sooner
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        first = min(first, time.monotonic())
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def versions() -> dict[str, str]:
    """Of Python and the libraries that decide what a training computes."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("torch", "accelerate", "pyarrow", "numpy")
    }


def run_record(
    model: torch.nn.Module, accelerator: Accelerator, step: int, tokens: int, seconds: float
) -> dict[str, Any]:
    """run.json: how much was trained, how fast, where and with what."""
    device = accelerator.device
    return {
        "seconds": seconds,  # of training, over all sittings; what a kill threw away does not count
        "steps": step,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "machine": {
            "host": platform.node(),
            "device": torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else (platform.processor() or f"{platform.machine()} CPU"),
            "processes": accelerator.num_processes,
            "threads": torch.get_num_threads(),
        },
        "versions": versions(),
    }
