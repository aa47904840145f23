"""Where Ray Serve has a handle's call: in the caller's own queue until a replica takes it."""

import warnings
from concurrent.futures import Future
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own use of pydantic is not ours to mend
    from ray.serve.handle import DeploymentResponse

    from internvl_runtimes.deployments.ray_handles import RayFeatures


def test_an_encode_is_queued_until_a_replica_has_taken_it_or_it_has_failed() -> None:
    for settle in (
        lambda future: future.set_result(object()),
        lambda future: future.set_exception(OSError()),
    ):
        taken: Future[Any] = Future()
        features = RayFeatures(DeploymentResponse(taken, object()))
        assert features.is_queued
        settle(taken)
        assert not features.is_queued
