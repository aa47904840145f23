"""``python -m internvl_engines.nano train | evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "internvl-nano"


def main() -> int:
    """Parse the command line and run one command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m internvl_engines.nano")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train and export; an interrupted training goes on")
    training.add_argument("--out", type=Path, default=Path("build/nano/checkpoint"))
    training.add_argument(
        "--work", type=Path, default=Path("build/nano/work"), help="where the state is kept"
    )
    training.add_argument("--steps", type=int, default=None)
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--threads", type=int, default=2)
    evaluation = commands.add_parser("evaluate", help="exact answers on held-out pictures")
    evaluation.add_argument("--checkpoint", type=Path, default=SHIPPED)
    evaluation.add_argument("--pictures", type=int, default=2000)
    evaluation.add_argument("--seed", default="0")
    evaluation.add_argument("--out", type=Path, default=Path("build/bench/nano-eval.json"))
    options = parser.parse_args()
    return _train(options) if options.command == "train" else _evaluate(options)


def _train(options: argparse.Namespace) -> int:
    # Here, not above: the evaluation needs no torch.
    import torch

    from internvl_engines.export.language import export_language
    from internvl_engines.export.vision import export_vision
    from internvl_engines.nano.stages import Schedule
    from internvl_engines.nano.train import train
    from internvl_engines.store.layout import checkpoint_store

    torch.set_num_threads(options.threads)
    steps = options.steps or Schedule().steps
    train(options.out, options.work, Schedule(steps=steps, seed=options.seed))
    for export in (export_vision, export_language):
        print(f"exported to {export(options.out, checkpoint_store(options.out)).folder}", flush=True)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from internvl_engines.nano.evaluate import evaluate

    ok = evaluate(options.checkpoint, options.out, pictures=options.pictures, seed=options.seed)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
