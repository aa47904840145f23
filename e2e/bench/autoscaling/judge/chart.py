"""A small line and point chart, drawn with Pillow, which the project has anyway; no plotting library is needed."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#0b6e4f", "#c1121f", "#e09f3e", "#3a86ff", "#8338ec", "#6c757d", "#ff006e", "#9c6644", "#111111")
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 24, 34
FONT = 11
LINE = 17
"""Height of a line of the legend, in pixels."""
TICKS = 4


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour, joined or not."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """What one direction means."""

    label: str
    least: float
    most: float
    percent: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1; beyond the ends it lies on them."""
        span = self.most - self.least or 1.0
        return min(max((value - self.least) / span, 0.0), 1.0)

    def text(self, value: float) -> str:
        """How a value is written."""
        if self.percent:
            return f"{value:.0%}"
        return f"{value:.0f}" if self.most - self.least >= TICKS else f"{value:.1f}"


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]


def draw(
    panels: Sequence[Panel], *, columns: int, size: tuple[int, int], legend: Sequence[Series]
) -> Image.Image:
    """Panels in rows, each of `size` pixels, and one legend below all."""
    rows = -(-len(panels) // columns)
    width, height = size
    lines = _lines(legend, columns * width)
    picture = Image.new("RGB", (columns * width, rows * height + LINE * len(lines) + 6), "white")
    pen = ImageDraw.Draw(picture)
    for number, panel in enumerate(panels):
        _panel(pen, panel, (number % columns) * width, (number // columns) * height, width, height)
    for number, line in enumerate(lines):
        _legend(pen, line, rows * height + 4 + number * LINE)
    return picture.quantize(colors=128, dither=Image.Dither.NONE)


def _lines(legend: Sequence[Series], width: int) -> list[list[Series]]:
    """The legend in as many lines as fit."""
    font = ImageFont.load_default(FONT)
    lines: list[list[Series]] = [[]]
    left = 10.0
    for series in legend:
        wide = 25 + font.getlength(series.label)
        if lines[-1] and left + wide > width:
            lines.append([])
            left = 10.0
        lines[-1].append(series)
        left += wide
    return lines


def _panel(pen: ImageDraw.ImageDraw, panel: Panel, left: int, top: int, width: int, height: int) -> None:
    font = ImageFont.load_default(FONT)
    x0, x1 = left + LEFT, left + width - RIGHT
    y0, y1 = top + height - BOTTOM, top + TOP

    def place(x: float, y: float) -> tuple[float, float]:
        return x0 + panel.x.share(x) * (x1 - x0), y0 - panel.y.share(y) * (y0 - y1)

    pen.text((x0, top + 6), panel.title, fill="black", font=font)
    for tick in range(TICKS + 1):
        x = panel.x.least + (panel.x.most - panel.x.least) * tick / TICKS
        y = panel.y.least + (panel.y.most - panel.y.least) * tick / TICKS
        across, up = place(x, panel.y.least)[0], place(panel.x.least, y)[1]
        pen.line([(across, y0), (across, y1)], fill="#e5e5e5")
        pen.line([(x0, up), (x1, up)], fill="#e5e5e5")
        pen.text((across, y0 + 3), panel.x.text(x), fill="#555555", font=font, anchor="ma")
        pen.text((x0 - 4, up), panel.y.text(y), fill="#555555", font=font, anchor="rm")
    pen.text(((x0 + x1) / 2, y0 + 17), panel.x.label, fill="#555555", font=font, anchor="ma")
    pen.text((left + 4, top + 6), panel.y.label, fill="#555555", font=font)
    for series in panel.series:
        spots = [place(x, y) for x, y in series.points]
        if series.joined and len(spots) > 1:
            pen.line(spots, fill=series.colour, width=2)
        else:
            for x, y in spots:
                pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=series.colour)


def _legend(pen: ImageDraw.ImageDraw, legend: Sequence[Series], top: int) -> None:
    font = ImageFont.load_default(FONT)
    left = 10.0
    for series in legend:
        pen.rectangle([left, top + 2, left + 9, top + 11], fill=series.colour)
        pen.text((left + 13, top), series.label, fill="black", font=font)
        left += 25 + pen.textlength(series.label, font=font)
