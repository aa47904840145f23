"""What the replicas raise and send is pickled by Ray."""

import pickle
from typing import Any

import numpy as np
import pytest

from internvl_runtimes.protocol.handover import (
    Features,
    FeaturesInvalid,
    ImageFeatures,
    Overloaded,
    PictureUnreadable,
    PromptTooLong,
    features_digest,
)
from internvl_runtimes.protocol.problems import DeadlinePassed


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("full", 2.5),
        PictureUnreadable(3, "ends too early"),
        PromptTooLong("too long"),
        FeaturesInvalid("x"),
        DeadlinePassed("late"),
    ],
)
def test_an_error_crosses_processes_whole(error: Any) -> None:
    received = pickle.loads(pickle.dumps(error))
    assert (type(received), str(received), vars(received)) == (type(error), str(error), vars(error))


def test_rows_changed_on_the_way_are_seen() -> None:
    rows, images = np.ones((2, 3), np.float32), (ImageFeatures(1, 1, (2,)),)
    sent = Features("r", rows, images, "rev", "g", features_digest(rows, images, "rev"))
    received: Features = pickle.loads(pickle.dumps(sent, protocol=5))
    received.check(hidden_size=3, revision="rev", image_count=1)
    received.rows[1, 2] += 1e-3
    with pytest.raises(FeaturesInvalid, match="digest"):
        received.check(hidden_size=3, revision="rev", image_count=1)
