"""The command: accelerate launch -m training.rl --config RECIPE [--section rl_zero]."""

from __future__ import annotations

import argparse
import os
import sys

import torch

from pipeline.errors import ReasonmillError, RequestError, RunError
from training.rl.settings import load_settings
from training.rl.train import train


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130/143 stopped by a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m training.rl",
        description="Reinforcement learning on a run's problems. Stop it whenever you like (even with kill -9): the same "
        "command goes on; of the answers only those in flight are lost.",
        epilog="Section rl begins with RUN/sft/model and writes RUN/rl, section rl_zero with RUN/model and RUN/rl-zero. "
        "Several devices: torchrun --nproc-per-node N -m training.rl …",
    )
    parser.add_argument("--config", required=True, metavar="RECIPE", help="recipe with the section")
    parser.add_argument("--section", default="rl", help="which section of it (%(default)s)")
    parser.add_argument("--output", metavar="DIR", help="folder to write to [RUN/rl, RUN/rl-zero]")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the section: --set learning_rate=2e-6 --set optimizer.clip=0.5",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="set an older run in the folder aside (DIR.old-1) and begin anew",
    )
    parser.add_argument(
        "--restart-if-changed",
        action="store_true",
        help="the same, but only if the older run had another recipe, model or problems; otherwise go on with it",
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.config, options.section, options.set, options.output)
        return train(settings, restart=options.restart, restart_if_changed=options.restart_if_changed)
    except ReasonmillError as error:
        if os.environ.get("RANK", "0") == "0" or isinstance(
            error, RunError
        ):  # a wrong request is every rank's
            print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    except KeyboardInterrupt:  # before the first iteration: there is nothing to finish
        return 130
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
