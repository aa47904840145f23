"""What a request looks like: its words, its pictures, its answer; and the mix of them that a user writes."""

import random
import re
from dataclasses import dataclass

from internvl_operator.errors import Rejected

_PICTURES = re.compile(r"(?:(?P<count>[1-9]\d?)\*)?(?P<width>[1-9]\d{0,4})x(?P<height>[1-9]\d{0,4})")
MOST_PIXELS = 16 * 1024 * 1024
"""Of one picture: they are drawn here, and kept."""
_WANTED = (
    "write it like text=0.5,448x448=0.4,2*896x448=0.1: text, or pictures of a width and height, and a share"
)


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels of a picture."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Shape:
    """One request, without its contents."""

    prompt_tokens: int
    """Words of text: about as many tokens."""
    output_tokens: int
    """`max_tokens`."""
    pictures: tuple[Size, ...] = ()


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of requests with these pictures; the empty tuple is text alone."""

    shares: tuple[tuple[tuple[Size, ...], float], ...]

    def draw(self, chance: random.Random) -> tuple[Size, ...]:
        """The pictures of the next request."""
        kinds, weights = zip(*self.shares, strict=True)
        return tuple(chance.choices(kinds, weights)[0])


def parse_mix(text: str) -> Mix:
    """Read `text=0.5,448x448=0.4,2*896x448=0.1`.

    Raises:
        Rejected: names the part that cannot be read.
    """
    shares = []
    for part in text.split(","):
        kind, _, share = part.strip().partition("=")
        shares.append((() if kind == "text" else parse_pictures(kind), _share(share, part)))
    if not any(share for _, share in shares):
        raise Rejected("every share is 0", field="--mix")
    return Mix(tuple(shares))


def parse_pictures(text: str, *, field: str = "--mix") -> tuple[Size, ...]:
    """Read `448x448` or `2*896x448`.

    Raises:
        Rejected: names `field`.
    """
    match = _PICTURES.fullmatch(text)
    if match is None:
        raise Rejected(f"{text!r} is no kind of request; {_WANTED}", field=field)
    size = Size(int(match["width"]), int(match["height"]))
    if size.width * size.height > MOST_PIXELS:
        raise Rejected(f"{text!r} has more than {MOST_PIXELS} pixels", field=field)
    return (size,) * int(match["count"] or 1)


def _share(text: str, part: str) -> float:
    try:
        share = float(text or 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise Rejected(f"{part.strip()!r} has no share that is a number; {_WANTED}", field="--mix")
    return share
