"""What lies left of, right of, above and below a shape, where nobody would argue about it."""

from __future__ import annotations

import math

from internvl_engines.nano.scenes import Scene, Shape

AXES = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
"""Unit vectors in the picture; y grows downwards."""
CLEAR, DOUBTFUL, EMPTY = 40.0, 60.0, 75.0
"""Degrees off the axis: lies there; may be said to lie there; nothing there within this."""


def degrees_off(shape: Shape, x: float, y: float, direction: str) -> float:
    """Angle between the axis of a direction and the way from a shape's centre to a point, 0 to 180."""
    across, down = AXES[direction]
    right, low = x - shape.x, y - shape.y
    return math.degrees(
        math.acos(max(-1.0, min(1.0, (right * across + low * down) / math.hypot(right, low))))
    )


def lies(shape: Shape, direction: str, origin: Shape) -> bool:
    """Whether a shape clearly lies in that direction from ``origin``."""
    return degrees_off(origin, shape.x, shape.y, direction) <= CLEAR


def neighbour(scene: Scene, origin: Shape, direction: str) -> Shape | None:
    """The one shape that lies there; None where that is unclear or nothing does."""
    angles = sorted(
        (degrees_off(origin, other.x, other.y, direction), index)
        for index, other in enumerate(scene.shapes)
        if other is not origin
    )
    if not angles or angles[0][0] > CLEAR or _print_lies(scene, origin, direction):
        return None
    return None if len(angles) > 1 and angles[1][0] <= DOUBTFUL else scene.shapes[angles[0][1]]


def is_empty(scene: Scene, origin: Shape, direction: str) -> bool:
    """Whether nothing at all lies there."""
    return not _print_lies(scene, origin, direction) and all(
        degrees_off(origin, other.x, other.y, direction) > EMPTY
        for other in scene.shapes
        if other is not origin
    )


def _print_lies(scene: Scene, origin: Shape, direction: str) -> bool:
    # A print is long: one end of it there is enough to make somebody name it.
    return any(
        degrees_off(origin, x, y, direction) <= EMPTY
        for line in scene.prints
        for left, top, right, bottom in (line.box,)
        for x in (left, line.x, right)
        for y in (top, line.y, bottom)
    )
