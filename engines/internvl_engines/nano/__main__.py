"""``python -m internvl_engines.nano train | evaluate | card | variants``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from internvl_engines.nano.schedule import STAGES, Schedule, stage_named

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "internvl-nano"
MEASURED = Path("build/bench/nano-eval.json")


def main() -> int:
    """Parse the command line and run one command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m internvl_engines.nano")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train and export; an interrupted training goes on")
    training.add_argument("--out", type=Path, default=Path("build/nano"), help="where the checkpoints go")
    training.add_argument("--work", type=Path, default=Path("build/nano/work"), help="states of the stages")
    training.add_argument(
        "--stage", choices=[stage.name for stage in STAGES], help="only this one, no export"
    )
    training.add_argument("--share", type=_share, default=1.0, help="of each stage's steps, above 0, up to 1")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument(
        "--processes", type=int, default=2, choices=range(1, 9), help="each with one thread"
    )
    evaluation = commands.add_parser("evaluate", help="exact answers on held-out pictures")
    evaluation.add_argument("--checkpoint", type=Path, default=SHIPPED)
    evaluation.add_argument("--questions-per-task", type=_positive, default=2000)
    evaluation.add_argument("--seed", type=int, default=0)
    evaluation.add_argument("--processes", type=_positive, default=2)
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


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return share


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _train(options: argparse.Namespace) -> int:
    # Here, not above: the evaluation needs no torch.
    from internvl_engines.nano.train import StateUnusable, train, write_trained

    schedule = Schedule(share=options.share, seed=options.seed)
    stages = (stage_named(options.stage),) if options.stage else STAGES
    try:
        train(options.work, schedule, stages=stages, workers=options.processes)
        if options.stage:
            return 0
        write_trained(options.work, "mpo", options.out / "internvl-nano-MPO", flash=False)
        write_trained(options.work, "router", options.out / "internvl-nano", flash=True)
    except StateUnusable as error:
        print(error, file=sys.stderr)
        return 1
    for name in ("internvl-nano-MPO", "internvl-nano"):
        _export(options.out / name)
    return 0


def _export(checkpoint: Path) -> None:
    from internvl_engines.export.language import export_language
    from internvl_engines.export.vision import export_vision
    from internvl_engines.store.layout import checkpoint_store

    print(f"checkpoint written to {checkpoint}", flush=True)
    for export in (export_vision, export_language):
        print(f"exported to {export(checkpoint, checkpoint_store(checkpoint)).folder}", flush=True)


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
