"""What a replica manages within the objectives: the profile that some peers want to be configured with.

Measured with ten replicas of a side, since one alone has a request in its way too often: it attains 99 % at 5 to 20 % of
its speed only, and a peer that planned with that would look worse than it is.
"""

import numpy as np

from e2e.bench.autoscaling.judge.outcome import outcome
from e2e.bench.autoscaling.requests import Requests
from e2e.bench.autoscaling.simulator.run import simulate
from e2e.bench.autoscaling.simulator.sample import Sample, Targets
from e2e.bench.autoscaling.site import Site
from e2e.bench.autoscaling.traces.shapes import picture_requests, text_requests
from e2e.bench.autoscaling.traces.stream import arrivals

PROFILED = {"light": (0.98, 0.87), "heavy": (0.86, 0.72)}
"""By site: share of its full speed at which a replica of vision, and of language, attains 99 %; by `measured`."""
SECONDS = 900
ATTAINED = 0.99
REPLICAS = 10
MANY = 100
SEED = 7


def profiled(site: Site, *, vision: bool) -> float:
    """Most units per second of a replica within the objectives: tiles, or seconds of a full replica.

    A coupled site is taken to manage what its language side does.
    """
    of_vision, of_language = PROFILED[site.name.split("-")[0]]
    return site.vision.tiles_per_s * of_vision if vision else of_language


class _Fixed:
    interval_s = 60.0
    age_s = 0.0

    def __init__(self, targets: Targets) -> None:
        self._targets = targets

    def decide(self, sample: Sample) -> Targets:
        return self._targets


def measured(site: Site, *, vision: bool, steps: int = 6) -> float:
    """Bisect the load of a replica, the other side having plenty; Poisson arrivals of the shapes' requests."""
    least, most = 0.0, 1.0
    targets = Targets(REPLICAS, MANY) if vision else Targets(MANY, REPLICAS)
    for _ in range(steps):
        load = (least + most) / 2
        requests = _requests(site, load, vision=vision)
        run = simulate(requests, site, _Fixed(targets), begin_with=targets, end_s=SECONDS)
        if outcome(run, 0, SECONDS).attained >= ATTAINED:
            least = load
        else:
            most = load
    return least


def _requests(site: Site, load: float, *, vision: bool) -> Requests:
    """Pictures alone for vision; half of the requests with pictures for language."""
    rng = np.random.default_rng(SEED)
    shares = (1.0, 0.0) if vision else (0.5, 0.5)
    n = 20_000
    chosen = rng.random(n) < shares[0]
    tiles, prompt, output = (
        np.where(chosen, one, other)
        for one, other in zip(picture_requests(rng, n), text_requests(rng, n), strict=True)
    )
    sample = Requests(np.zeros(n), tiles, prompt, output)
    each = sample.vision_s(site) if vision else sample.language_s(site)
    at = arrivals(np.full(SECONDS, REPLICAS * load / float(np.mean(each))), 1.0, rng)
    index = rng.integers(0, n, len(at))
    return Requests(at, tiles[index], prompt[index], output[index])
