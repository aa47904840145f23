"""The router's decision against torch.quantile, which the published model code calls."""

import numpy as np
import pytest

from internvl_runtimes.engines.routing import quantile, route

torch = pytest.importorskip("torch", reason="needs the training environment")


def test_quantiles_and_decisions_are_those_of_torch():
    rng = np.random.default_rng(3)
    for _ in range(3000):
        p0 = rng.random(int(rng.integers(1, 60))).astype(np.float32)
        if rng.random() < 0.3:
            p0 = np.round(p0 * 8) / np.float32(8)  # ties
        relative = float(rng.choice([rng.random(), 0.0, 0.1, 0.25, 0.5, 0.9, 1.0]))
        absolute = float(rng.choice([0.0, 0.5]))
        theirs = torch.from_numpy(p0)
        limit = torch.quantile(theirs, relative)
        assert quantile(p0, relative) == limit.item()
        expected = (theirs > limit) & (theirs >= absolute)
        ours = route(p0, relative_threshold=relative, absolute_threshold=absolute)
        assert ours.tolist() == expected.tolist()
