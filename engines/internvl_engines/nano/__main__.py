"""``python -m internvl_engines.nano train | evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "internvl-nano"


def main() -> None:
    """Parse the command line and run one command."""
    parser = argparse.ArgumentParser(prog="python -m internvl_engines.nano")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train internvl-nano; an interrupted training goes on")
    training.add_argument("--out", type=Path, default=Path("build/nano/checkpoint"))
    training.add_argument(
        "--work", type=Path, default=Path("build/nano/work"), help="where the state is kept"
    )
    training.add_argument("--steps", type=int, default=None)
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.command == "train":
        _train(options)


def _train(options: argparse.Namespace) -> None:
    import torch

    from internvl_engines.nano.train import Schedule, train

    torch.set_num_threads(options.threads)
    steps = options.steps or Schedule().steps
    train(options.out, options.work, Schedule(steps=steps, seed=options.seed))


if __name__ == "__main__":
    main()
