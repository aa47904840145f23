"""The Visual Resolution Router's decision (InternVL3.5-Flash), from probabilities to a bit a tile. Pure.

Called by the vision encoder with all tiles of one request, thumbnails included. The scope is one request,
as in the published model code: a wider one would let other requests' tiles decide, a narrower one
(one picture) would change the quantile. With one tile nothing is ever compressed, because no value is
greater than a quantile of itself.
"""

import numpy as np
import numpy.typing as npt


def route(
    probabilities: npt.NDArray[np.float32], *, relative_threshold: float, absolute_threshold: float
) -> npt.NDArray[np.bool_]:
    """Which tiles are compressed.

    Args:
        probabilities: float32 [n], p0 of each tile of one request, n >= 1.
        relative_threshold: quantile that p0 must exceed, 0 to 1.
        absolute_threshold: least p0.

    Returns:
        bool [n]: `p0 > quantile(p0, relative_threshold)` and `p0 >= absolute_threshold`, the quantile with
        linear interpolation in float32, as torch's.
    """
    p0 = np.asarray(probabilities, np.float32)
    above = p0 > quantile(p0, relative_threshold)
    return above & (p0 >= np.float32(absolute_threshold))


def quantile(values: npt.NDArray[np.float32], q: float) -> np.float32:
    """Linear quantile in float32 arithmetic, operation by operation as torch's (numpy's rounds otherwise).

    A last bit matters here: the comparison is strict, and one tile's p0 often is the quantile itself.
    """
    ordered = np.sort(np.asarray(values, np.float32))
    rank = np.float32(q) * np.float32(len(ordered) - 1)
    below = int(rank)
    weight = np.float32(rank - np.float32(below))
    above = below + 1 if weight > 0 else below
    low, high = ordered[below], ordered[above]
    return _lerp(low, high, weight)


def _lerp(low: np.float32, high: np.float32, weight: np.float32) -> np.float32:
    # torch computes from the nearer end; its vector code fuses multiplication and addition, so the product
    # is not rounded: float64 holds a product of two float32 exactly.
    span = np.float64(high - low)
    if weight < 0.5:
        return np.float32(np.float64(low) + np.float64(weight) * span)
    return np.float32(np.float64(high) - span * np.float64(np.float32(1) - weight))
