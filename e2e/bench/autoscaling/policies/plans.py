"""Plans that know more than any policy: two oracles, and a number that never moves.

An oracle is a good plan, not a lower bound: it knows the load of every second to come and orders early enough, but it
sizes by the load alone, one factor for the whole trace, and does not know single requests.
"""

import math

import numpy as np

from e2e.bench.autoscaling.policies.base import Context, Setting, SideContext
from e2e.bench.autoscaling.requests import Floats, Requests
from e2e.bench.autoscaling.simulator.pool import START_SPREAD
from e2e.bench.autoscaling.simulator.sample import Sample, Targets
from e2e.bench.autoscaling.site import Site, Start

ROUND_S = 5.0


class Planned:
    """Numbers that were known before."""

    interval_s = ROUND_S
    age_s = 0.0

    def __init__(self, vision: Floats, language: Floats) -> None:
        """Replicas in each `ROUND_S`."""
        self._vision: list[int] = vision.astype(np.int64).tolist()
        self._language: list[int] = language.astype(np.int64).tolist()

    def decide(self, sample: Sample) -> Targets:
        """What the plan has for now."""
        index = min(int(sample.at / ROUND_S), len(self._language) - 1)
        return Targets(self._vision[index], self._language[index])


def loads(requests: Requests, site: Site, seconds: int) -> tuple[Floats, Floats]:
    """Replicas that vision's and language's work keeps busy, in each second of its arrival."""
    second = np.minimum(requests.at.astype(np.int64), seconds - 1)
    encode = requests.tiles * site.encode_s_per_tile
    vision = np.bincount(second, requests.vision_s(site), minlength=seconds)
    language = np.bincount(second, requests.language_s(site) + encode, minlength=seconds)
    return vision.astype(np.float64), language.astype(np.float64)


def oracle(context: Context, setting: Setting, requests: Requests, seconds: int) -> Planned:
    """Knows the load to come, as means over `window_s`, and keeps `factor` times as many replicas."""
    vision, language = loads(requests, context.site, seconds)
    return Planned(
        _plan(vision, setting, context.vision, context.site.vision.start),
        _plan(language, setting, context.language, context.site.language.start),
    )


def _plan(load: Floats, setting: Setting, side: SideContext, start: Start) -> Floats:
    window = int(setting["window_s"])
    padded = np.concatenate((load, np.full(-len(load) % window, load[-1])))
    mean = np.repeat(padded.reshape(-1, window).mean(1), window)[: len(load)]
    need = np.ceil(mean * setting["factor"])
    rounds = math.ceil(len(need) / ROUND_S)
    need = np.array([need[int(i * ROUND_S) : int((i + 1) * ROUND_S)].max() for i in range(rounds)])
    # Ordered one start before it is needed; so what is needed again within a start is kept, a new one is paid as long.
    ahead = math.ceil(start.total_s * (1 + START_SPREAD) / ROUND_S) + 1
    return np.clip(_sliding_max(need, ahead), 1, side.most)


def _sliding_max(values: Floats, length: int) -> Floats:
    """Highest of each value and the `length` after it."""
    padded = np.concatenate((values, np.full(length, values[-1])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, length + 1)
    highest: Floats = windows.max(axis=1)
    return highest


def static_peak(context: Context, setting: Setting, requests: Requests, seconds: int) -> Planned:
    """`factor` times the highest minute, always."""
    both = loads(requests, context.site, seconds // 60 * 60)
    peaks = [float(load.reshape(-1, 60).mean(1).max()) * setting["factor"] for load in both]
    vision, language = (
        np.array([min(max(1, math.ceil(peak)), side.most)])
        for peak, side in zip(peaks, (context.vision, context.language), strict=True)
    )
    return Planned(vision.astype(np.float64), language.astype(np.float64))
