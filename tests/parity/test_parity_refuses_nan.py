"""The check that guards every artifact is not passed by a graph that gives NaN."""

import math

import numpy as np
import pytest
import torch

from internvl_engines.verify import parity


def test_nan_in_one_of_many_cases_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = iter(
        [np.zeros((1, 2), np.float32), np.array([[0, np.nan]], np.float32), np.zeros((1, 2), np.float32)]
    )
    monkeypatch.setattr(parity, "run_graph", lambda session, inputs: [next(outputs)])
    cases = [(torch.zeros(1, 2),)] * 3
    difference = parity.largest_difference(torch.nn.Identity(), None, cases)  # type: ignore[arg-type]
    assert math.isnan(difference)
    with pytest.raises(parity.ParityFailed, match="differs from the reference by nan"):
        parity.require("vit.onnx", difference, tolerance=1e-3)
