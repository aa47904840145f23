"""Prometheus' text format, as far as the data plane's metrics need it. Pure; called by `cluster.node_loads` and `cluster.prometheus`.

A page of a Ray node holds thousands of lines of others, so that lines are chosen by the start of their name before
they are taken apart. A number that is not finite is no measurement: it is NaN here, whatever it was.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?[ \t]+(?P<value>\S+)(?:[ \t]+-?\d+)?[ \t]*"
)
_LABEL = re.compile(r'[ \t]*(?P<name>[a-zA-Z_]\w*)[ \t]*=[ \t]*"(?P<value>(?:[^"\\]|\\.)*)"[ \t]*(?:,|$)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_ESCAPE = re.compile(r"\\.")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: a name, its labels, a number. NaN: it is none."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse_page(page: bytes, prefixes: tuple[str, ...]) -> Iterator[Sample]:
    """Samples whose names begin with one of `prefixes`. Lines that are not of the format are left out."""
    return _parse(page.decode(errors="replace").splitlines(), prefixes)


def _parse(lines: Iterable[str], prefixes: tuple[str, ...]) -> Iterator[Sample]:
    for line in lines:
        if not line.startswith(prefixes):
            continue
        match = _LINE.fullmatch(line)
        labels = None if match is None else _labels(match["labels"] or "")
        if match is not None and labels is not None:
            value = finite(match["value"])
            yield Sample(match["name"], labels, math.nan if value is None else value)


def finite(text: object) -> float | None:
    """A number as Prometheus writes it; None for what is none, and for NaN and infinity."""
    try:
        value = float(text) if isinstance(text, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _labels(text: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if match is None:
            return None
        found[match["name"]] = _ESCAPE.sub(lambda part: _ESCAPES.get(part[0], part[0]), match["value"])
        position = match.end()
    return found
