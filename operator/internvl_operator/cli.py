"""The `internvl` command.

internvl up -f service.yaml     serve what the file says, without Kubernetes
internvl load URL               send an open-loop load and tell what callers saw
internvl version
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from internvl_operator import VERSION
from internvl_operator.errors import Rejected
from internvl_operator.load.options import add_options

EXIT_REJECTED = 2
EXIT_BROKEN_PIPE = 141
"""As a shell has it of a program that SIGPIPE ended."""


def build_parser() -> argparse.ArgumentParser:
    """All subcommands and their options."""
    parser = argparse.ArgumentParser(prog="internvl", description="Serve InternVL on Ray.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    up = commands.add_parser(
        "up",
        help="serve an InternVLService from a file, without Kubernetes",
        description="Serve what the file says until Ctrl-C. Starts a Ray of its own, unless the file or --ray "
        "names one. Edits of the file are taken in while it runs.",
    )
    up.add_argument("-f", "--file", required=True, type=Path, metavar="FILE", help="InternVLServices as YAML")
    up.add_argument("--ray", metavar="URL", help="dashboard of a running Ray, e.g. http://127.0.0.1:8265")
    up.add_argument(
        "--artifacts",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="artifact store to search before the checkpoint's own; may be given more than once",
    )
    up.add_argument(
        "--once",
        action="store_true",
        help="end as soon as all is Ready; the exit status tells whether it was",
    )
    up.add_argument("-v", "--verbose", action="store_true", help="log what is written and why")
    load = commands.add_parser(
        "load",
        help="send a load to a server and tell what callers saw",
        description="Send requests when the plan says, whatever became of earlier ones, to any server that speaks "
        "OpenAI's chat completions. Every latency is counted from the moment a request was due.",
    )
    add_options(load)
    commands.add_parser("version", help="print the version")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does. Python would say so once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def _run(options: argparse.Namespace) -> int:
    if options.command == "version":
        print(VERSION)
        return 0
    return _load(options) if options.command == "load" else _up(options)


def _load(options: argparse.Namespace) -> int:
    # Imported here, as below.
    from internvl_operator.load.command import run_load

    try:
        return run_load(options, lambda line: print(line, flush=True))
    except Rejected as fault:
        print(f"internvl: {fault}", file=sys.stderr)
        return EXIT_REJECTED


def _up(options: argparse.Namespace) -> int:
    # Imported here: `internvl version` must not wait for the HTTP library.
    from internvl_operator.logs import configure_logging
    from internvl_operator.standalone.up import UpOptions, run_up

    configure_logging("INFO" if options.verbose else "ERROR")
    try:
        return run_up(
            UpOptions(
                file=options.file, ray=options.ray, artifacts=tuple(options.artifacts), once=options.once
            ),
            lambda line: print(line, flush=True),
        )
    except Rejected as fault:
        print(f"internvl: {fault}", file=sys.stderr)
        return EXIT_REJECTED


if __name__ == "__main__":
    sys.exit(main())
