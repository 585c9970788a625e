"""The command: accelerate launch -m training.rl --config RECIPE [--section rl_zero]."""

from __future__ import annotations

import argparse
import sys

from training.launch import command
from training.rl.settings import load_settings
from training.rl.train import train


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the run failed, 2 the request was wrong, 130/143 stopped by a signal."""

    def work(options: argparse.Namespace) -> int:
        settings = load_settings(options.config, options.section, options.set, options.output)
        return train(settings, restart=options.restart, restart_if_changed=options.restart_if_changed)

    what = "Reinforcement learning on a run's problems; when it is stopped, only answers in flight are lost."
    sections = (
        "rl begins with RUN/sft/model and writes RUN/rl, rl_zero with RUN/model and RUN/rl-zero [%(default)s]"
    )
    example = "--set learning_rate=2e-6 --set optimizer.clip=0.5"
    return command("rl", what, example, work, arguments, sections=sections)


if __name__ == "__main__":
    sys.exit(main())
