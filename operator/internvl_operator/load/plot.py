"""The course of a load as SVG, written by hand: no plotting library comes with the product."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from internvl_operator.load.report import Run
from internvl_operator.load.tally import Tally

_WIDTH, _PANEL, _LEFT, _TOP, _GAP = 860, 190, 70, 50, 50
_COLOURS = ("#4c72b0", "#55a868", "#c44e52")


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    values: Sequence[float | None]


def encode_svg(run: Run, tally: Tally) -> str:
    """Two panels over time: requests per second, and seconds to the first token."""
    bins, width_s = tally.timeline.bins, tally.timeline.width_s
    rates = (
        _Line("due", [each.due / width_s for each in bins]),
        _Line("answered", [each.answered / width_s for each in bins]),
        _Line("failed", [each.failed / width_s for each in bins]),
    )
    waits = (
        _Line("median", [each.first_token.quantile(0.5) for each in bins]),
        _Line("95 of 100 at most", [each.first_token.quantile(0.95) for each in bins]),
    )
    seconds = len(bins) * width_s
    height = _TOP + 2 * (_PANEL + _GAP)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
            'font-size="12">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            f'<text x="{_LEFT}" y="20">{escape(f"{run.model}: {run.load}")}</text>',
            *_panel("requests per second", rates, seconds, _TOP),
            *_panel("seconds to the first token, by when it was due", waits, seconds, _TOP + _PANEL + _GAP),
            "</svg>\n",
        ]
    )


def _panel(title: str, lines: Sequence[_Line], seconds: float, top: int) -> list[str]:
    highest = max((value for line in lines for value in line.values if value is not None), default=0.0) or 1.0
    bottom, right = top + _PANEL, _WIDTH - 20
    parts = [
        f'<text x="{_LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>',
        f'<path d="M{_LEFT} {top}V{bottom}H{right}" fill="none" stroke="#999"/>',
        f'<text x="{_LEFT - 8}" y="{top + 10}" text-anchor="end">{highest:.3g}</text>',
        f'<text x="{_LEFT - 8}" y="{bottom}" text-anchor="end">0</text>',
        f'<text x="{_LEFT}" y="{bottom + 16}">0 s</text>',
        f'<text x="{right}" y="{bottom + 16}" text-anchor="end">{seconds:g} s</text>',
    ]
    for index, line in enumerate(lines):
        colour = _COLOURS[index]
        path = _path(line.values, highest, right - _LEFT, bottom)
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{right - 150 * (len(lines) - index) + 30}" y="{top - 8}" fill="{colour}">{line.name}</text>'
        )
    return parts


def _path(values: Sequence[float | None], highest: float, width: int, bottom: int) -> str:
    """A line through the middles of the bins; it is broken where there is no value."""
    steps, pen_down = [], False
    for index, value in enumerate(values):
        if value is not None:
            x = _LEFT + width * (index + 0.5) / len(values)
            steps.append(f"{'L' if pen_down else 'M'}{x:.1f} {bottom - _PANEL * value / highest:.1f}")
        pen_down = value is not None
    return "".join(steps)
