"""``python -m internvl_engines.nano train | evaluate | card | variants``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "internvl-nano"
MEASURED = Path("build/bench/nano-eval.json")


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
    evaluation.add_argument("--questions-per-task", type=int, default=2000)
    evaluation.add_argument("--seed", type=int, default=0)
    evaluation.add_argument("--processes", type=int, default=2)
    evaluation.add_argument("--out", type=Path, default=MEASURED)
    card = commands.add_parser("card", help="fill the measured parts of the model card")
    card.add_argument("card", type=Path, nargs="*", default=[SHIPPED / "README.md"])
    card.add_argument("--checkpoint", type=Path, default=SHIPPED)
    card.add_argument("--measured", type=Path, default=MEASURED)
    variants = commands.add_parser("variants", help="checkpoints of other forms, for tests")
    variants.add_argument("name", nargs="*", help="default: all")
    variants.add_argument("--checkpoint", type=Path, default=SHIPPED)
    variants.add_argument("--out", type=Path, default=Path("build/nano/variants"))
    options = parser.parse_args()
    commands_by_name = {"train": _train, "evaluate": _evaluate, "card": _card, "variants": _variants}
    return commands_by_name[options.command](options)


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
    from internvl_engines.nano.evaluate import EvaluationFailed, evaluate

    try:
        ok = evaluate(
            options.checkpoint,
            options.out,
            questions_per_task=options.questions_per_task,
            seed=options.seed,
            processes=options.processes,
        )
    except EvaluationFailed as error:
        print(f"nano-eval: {error}", file=sys.stderr)
        return 2
    return 0 if ok else 1


def _card(options: argparse.Namespace) -> int:
    from internvl_engines.nano.card import CardRefused, fill_card

    try:
        for card in options.card:
            print(f"{card}: {', '.join(fill_card(card, options.checkpoint, options.measured))}")
    except CardRefused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _variants(options: argparse.Namespace) -> int:
    from internvl_engines.nano.variants import VARIANTS, export_variant, make_variants

    if unknown := set(options.name) - set(VARIANTS):
        print(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    for checkpoint in make_variants(options.checkpoint, options.out, tuple(options.name) or tuple(VARIANTS)):
        print(export_variant(checkpoint), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
