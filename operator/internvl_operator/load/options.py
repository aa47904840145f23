"""The options of `internvl load`. Nothing heavy is imported here: every command waits for it."""

import argparse
from pathlib import Path

RATE, DURATION_S = 1.0, 60.0
PROMPT_TOKENS, OUTPUT_TOKENS = 32, 64
MIX = "text=0.5,448x448=0.5"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument("url", metavar="URL", help="of the API, e.g. http://127.0.0.1:8000/default/internvl")
    parser.add_argument("--model", help="name of the model; the server's first one when left out")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="bearer token for the server")
    plan = parser.add_argument_group("what is sent")
    plan.add_argument("--rate", type=_positive, metavar="N", help=f"requests per second ({RATE:g})")
    plan.add_argument(
        "--duration", type=_positive, metavar="S", help=f"seconds ({DURATION_S:g}; of a trace: all of it)"
    )
    plan.add_argument(
        "--mix",
        metavar="KINDS",
        help=f"shares of text and pictures: text=0.5,448x448=0.4,2*896x448=0.1 ({MIX})",
    )
    plan.add_argument(
        "--arrivals",
        choices=("poisson", "constant"),
        default="poisson",
        help="at random moments, as from many callers (default), or evenly",
    )
    plan.add_argument(
        "--trace", type=Path, metavar="FILE", help="replay a trace: Azure's CSV, Mooncake's JSON lines"
    )
    plan.add_argument(
        "--speed", type=_positive, default=1.0, metavar="N", help="send a trace so many times as fast"
    )
    plan.add_argument(
        "--picture", default="448x448", metavar="SIZE", help="pictures of a trace that only counts them"
    )
    plan.add_argument(
        "--prompt-tokens",
        type=_whole,
        metavar="N",
        help=f"words of text ({PROMPT_TOKENS}); of a trace: most",
    )
    plan.add_argument(
        "--max-tokens",
        type=_whole,
        metavar="N",
        help=f"tokens of an answer ({OUTPUT_TOKENS}); of a trace: most",
    )
    plan.add_argument(
        "--ignore-eos", action="store_true", help="let every answer have all of them; not all servers do"
    )
    plan.add_argument("--seed", type=int, default=0, help="another one gives another plan (0)")
    bounds = parser.add_argument_group("bounds")
    bounds.add_argument(
        "--timeout", type=_positive, default=300.0, metavar="S", help="seconds of one request (300)"
    )
    bounds.add_argument(
        "--most-in-flight",
        type=_whole,
        default=2000,
        metavar="N",
        help="what is due while so many wait for their answers is not sent and counts as failed (2000)",
    )
    said = parser.add_argument_group("what is said")
    said.add_argument(
        "--first-token", type=_positive, default=1.0, metavar="S", help="objective for the first token (1)"
    )
    said.add_argument(
        "--between-tokens", type=_positive, default=0.05, metavar="S", help="objective between tokens (0.05)"
    )
    said.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    said.add_argument("--plot", type=Path, metavar="FILE", help="draw the course of the load there, as SVG")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value
