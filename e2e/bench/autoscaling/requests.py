"""The traffic of one case: when each request comes, and the work in it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from e2e.bench.autoscaling.site import Site

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

MANY_TILES = 7
"""From so many tiles on a request is one of many pictures, or of a large one."""


class RequestClass(StrEnum):
    """By the pictures in a request."""

    TEXT = "text"
    PICTURE = "picture"
    """Up to six tiles: a small picture."""
    PICTURES = "pictures"


@dataclass(frozen=True, slots=True)
class Requests:
    """Arrays of one length, ordered by `at`."""

    at: Floats
    """Seconds from the beginning."""
    tiles: Ints
    """0: only text."""
    prompt_tokens: Ints
    """Of text and of pictures."""
    output_tokens: Ints

    def __post_init__(self) -> None:
        if not len(self.at) == len(self.tiles) == len(self.prompt_tokens) == len(self.output_tokens):
            raise ValueError("arrays of several lengths")
        if np.any(np.diff(self.at) < 0):
            raise ValueError("requests must be ordered by their arrival")

    def __len__(self) -> int:
        return len(self.at)

    def vision_s(self, site: Site) -> Floats:
        """Seconds of a vision replica in each request."""
        return self.tiles / site.vision.tiles_per_s

    def language_s(self, site: Site) -> Floats:
        """Seconds of a full language replica in each request: its prompt and its answer, without an encoder."""
        return (
            self.prompt_tokens / site.language.prompt_tokens_per_s
            + self.output_tokens / site.language.output_tokens_per_s
        )

    def of(self, kind: RequestClass) -> NDArray[np.bool_]:
        """Which requests are of this class."""
        if kind is RequestClass.TEXT:
            has_none: NDArray[np.bool_] = self.tiles == 0
            return has_none
        is_large: NDArray[np.bool_] = self.tiles >= MANY_TILES
        return is_large if kind is RequestClass.PICTURES else (self.tiles > 0) & ~is_large

    def before(self, end_s: float) -> "Requests":
        """Those that come before a time."""
        n = int(np.searchsorted(self.at, end_s))
        return Requests(self.at[:n], self.tiles[:n], self.prompt_tokens[:n], self.output_tokens[:n])


def merged(*streams: Requests) -> Requests:
    """Several streams as one, in the order of arrival."""
    at = np.concatenate([stream.at for stream in streams])
    order = np.argsort(at, kind="stable")
    return Requests(
        at[order],
        np.concatenate([stream.tiles for stream in streams])[order],
        np.concatenate([stream.prompt_tokens for stream in streams])[order],
        np.concatenate([stream.output_tokens for stream in streams])[order],
    )
