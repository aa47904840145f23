"""Traces of requests, read line by line: Azure's CSV, Mooncake's JSON lines, and a plain form of our own.

* Azure LLM 2023 and LMM 2025 (CSV with a head): `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`, and `NumImages`,
  which holds the square of the number of pictures in the published file; its root is taken.
* Mooncake (JSON lines): `timestamp` in ms, `input_length`, `output_length`.
* Ours (JSON lines): `at` in seconds, `prompt_tokens`, `output_tokens`, and perhaps `pictures` like `2*448x448`.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from math import isfinite, isqrt
from pathlib import Path
from typing import Any, TextIO

from internvl_operator.errors import Rejected
from internvl_operator.load.plans import Planned
from internvl_operator.load.shapes import Shape, Size, parse_pictures

MOST_PICTURES = 16
"""Of one request: more are cut off, as the gateway would refuse them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Which trace, and what is changed about it."""

    file: Path
    speed: float = 1.0
    """2 sends it in half the time."""
    duration_s: float = float("inf")
    """Ends it after so long."""
    most_prompt_tokens: int
    most_output_tokens: int
    """Longer prompts and answers are cut: models have limits."""
    size: Size
    """Of pictures in traces that only count them."""


@dataclass(frozen=True, slots=True)
class _Row:
    at_s: float
    prompt_tokens: int
    output_tokens: int
    pictures: tuple[Size, ...]


def replay(wanted: Replay) -> Iterator[Planned]:
    """The requests of a trace; its first one goes out at once.

    Raises:
        Rejected: the file cannot be read, or a line is none of a trace; it is named.
    """
    try:
        with wanted.file.open(encoding="utf-8") as lines:
            yield from _planned(wanted, lines)
    except (OSError, UnicodeDecodeError) as fault:
        raise Rejected(f"{wanted.file} cannot be read: {fault}", field="--trace") from fault


def _planned(wanted: Replay, lines: TextIO) -> Iterator[Planned]:
    first: float | None = None
    before = 0.0
    for number, row in _rows(wanted, lines):
        first = row.at_s if first is None else first
        at_s = (row.at_s - first) / wanted.speed
        if not isfinite(at_s) or at_s < before:
            raise Rejected(f"line {number} of {wanted.file} is earlier than the one before", field="--trace")
        before = at_s
        if at_s >= wanted.duration_s:
            return
        shape = Shape(
            max(1, min(row.prompt_tokens, wanted.most_prompt_tokens)),
            max(1, min(row.output_tokens, wanted.most_output_tokens)),
            row.pictures[:MOST_PICTURES],
        )
        yield Planned(at_s, shape)


def _rows(wanted: Replay, lines: TextIO) -> Iterator[tuple[int, _Row]]:
    head = lines.readline()
    if head.startswith("{"):
        read, number = _of_json, 1
        rest: Iterator[Any] = (json.loads(line) for line in chain((head,), lines) if line.strip())
    else:
        read, number = _of_azure, 2
        rest = csv.DictReader(lines, fieldnames=head.strip().split(","))
    while True:
        try:
            item = next(rest)
            row = read(item, wanted.size)
        except StopIteration:
            return
        except (KeyError, TypeError, ValueError, OverflowError, csv.Error) as fault:
            raise Rejected(
                f"line {number} of {wanted.file} is no line of a trace ({_why(fault)}): it wants TIMESTAMP, "
                "ContextTokens and GeneratedTokens (CSV), or timestamp, input_length and output_length, or at, "
                "prompt_tokens and output_tokens (JSON lines)",
                field="--trace",
            ) from fault
        yield number, row
        number += 1


def _of_azure(item: Mapping[str, str], size: Size) -> _Row:
    pictures = (size,) * isqrt(int(item.get("NumImages") or 0))
    # Seven digits of a second, one more than Python reads.
    day, _, fraction = item["TIMESTAMP"].partition(".")
    at_s = datetime.fromisoformat(day + "+00:00").timestamp() + float(f"0.{fraction[:7] or 0}")
    return _Row(at_s, int(item["ContextTokens"]), int(item["GeneratedTokens"]), pictures)


def _of_json(item: Mapping[str, Any], size: Size) -> _Row:
    if "timestamp" in item:
        return _Row(
            float(item["timestamp"]) / 1000, int(item["input_length"]), int(item["output_length"]), ()
        )
    pictures = str(item.get("pictures") or "")
    return _Row(
        float(item["at"]),
        int(item["prompt_tokens"]),
        int(item["output_tokens"]),
        parse_pictures(pictures, field="--trace") if pictures else (),
    )


def _why(fault: Exception) -> str:
    return f"no {fault}" if isinstance(fault, KeyError) else str(fault)
