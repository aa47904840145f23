"""How the options of `internvl load` become a run."""

import argparse
import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from internvl_operator.errors import Rejected
from internvl_operator.load.bodies import Asked, Bodies
from internvl_operator.load.client import ChatClient
from internvl_operator.load.options import DURATION_S, MIX, OUTPUT_TOKENS, PROMPT_TOKENS, RATE
from internvl_operator.load.plans import Planned, Rate, plan_rate
from internvl_operator.load.plot import encode_svg
from internvl_operator.load.report import Run, encode_json, encode_table
from internvl_operator.load.sending import Sender
from internvl_operator.load.shapes import Mix, parse_mix, parse_pictures
from internvl_operator.load.tally import Objectives, Tally
from internvl_operator.load.traces import Replay, replay

EXIT_NO_ANSWER = 1


def run_load(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run a load to its end, or to Ctrl-C or SIGTERM; returns the exit status.

    Raises:
        Rejected: an option, a file or the server cannot be used.
    """
    _check(options)
    with contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_load(options, say))
    return EXIT_NO_ANSWER


async def _load(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    token = _read_token(options.token_file) if options.token_file else None
    async with ChatClient(
        options.url, clock=time.monotonic, timeout_s=options.timeout, token=token
    ) as client:
        model = options.model or await client.model()
        bodies = Bodies(Asked(model=model, ignore_eos=options.ignore_eos), seed=options.seed)
        if options.trace is None:
            bodies.draw(_mix(options))
        sender = Sender(bodies.make, client.send, most_in_flight=options.most_in_flight, clock=time.monotonic)
        objectives = Objectives(options.first_token, options.between_tokens)
        run = Run(options.url, model, _in_words(options), started_at=time.time())
        tally, faults = Tally(objectives, started=time.monotonic()), list[Rejected]()
        try:
            with _stopped_by_sigterm(sender, say):
                await sender.run(_usable(_plan(options), faults), tally)
        except asyncio.CancelledError:  # Ctrl-C: what came until then is said
            say("Ended early; what was in flight is not in the figures.")
    if faults and not tally.due:
        raise faults[0]
    say(encode_table(run, tally))
    if options.json:
        options.json.write_text(json.dumps(encode_json(run, tally), indent=1) + "\n", encoding="utf-8")
    if options.plot:
        options.plot.write_text(encode_svg(run, tally), encoding="utf-8")
    if faults:
        raise faults[0]
    return 0 if tally.answered else EXIT_NO_ANSWER


@contextlib.contextmanager
def _stopped_by_sigterm(sender: Sender, say: Callable[[str], None]) -> Iterator[None]:
    """A SIGTERM ends the sending at once: a pod has little time then, and the next request may be due much later."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        told.set()
        sender.stop()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    if told.is_set():
        say("Ended early; what was sent is in the figures.")


def _usable(plan: Iterator[Planned], faults: list[Rejected]) -> Iterator[Planned]:
    """The plan up to a line that is none, which is told in `faults`: what was sent until then is waited for."""
    try:
        yield from plan
    except Rejected as fault:
        faults.append(fault)


def _plan(options: argparse.Namespace) -> Iterator[Planned]:
    if options.trace is None:
        return plan_rate(
            Rate(
                per_s=options.rate or RATE,
                duration_s=options.duration or DURATION_S,
                mix=_mix(options),
                prompt_tokens=options.prompt_tokens or PROMPT_TOKENS,
                output_tokens=options.max_tokens or OUTPUT_TOKENS,
                arrivals=options.arrivals,
                seed=options.seed,
            )
        )
    return replay(
        Replay(
            file=options.trace,
            speed=options.speed,
            duration_s=options.duration or float("inf"),
            most_prompt_tokens=options.prompt_tokens or 1 << 20,
            most_output_tokens=options.max_tokens or 1 << 20,
            size=parse_pictures(options.picture, field="--picture")[0],
        )
    )


def _mix(options: argparse.Namespace) -> Mix:
    return parse_mix(options.mix or MIX)


def _check(options: argparse.Namespace) -> None:
    """Refuse what would be noticed only after the load."""
    address = urlsplit(options.url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise Rejected(f"{options.url!r} is no address like http://host:8000/default/internvl", field="URL")
    if options.trace is not None:
        for name in ("rate", "mix"):
            if getattr(options, name) is not None:
                raise Rejected(f"a trace says when and what is sent; leave --{name} out", field=f"--{name}")
    else:
        _mix(options)
    if options.plot and options.plot.suffix != ".svg":
        raise Rejected(f"{options.plot} does not end in .svg, the only kind that is drawn", field="--plot")
    for name in ("json", "plot"):
        file = getattr(options, name)
        if file is not None and not file.absolute().parent.is_dir():
            raise Rejected(f"the folder of {file} is not there", field=f"--{name}")


def _read_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise Rejected(f"{file} cannot be read: {fault}", field="--token-file") from fault


def _in_words(options: argparse.Namespace) -> str:
    if options.trace is not None:
        return f"trace {options.trace.name} at {options.speed:g} times its speed"
    mix = options.mix or MIX
    duration_s = options.duration or DURATION_S
    return f"{options.rate or RATE:g} requests/s for {duration_s:g} s ({options.arrivals}), {mix}"
