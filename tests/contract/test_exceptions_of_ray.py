"""What Ray raises in a handle's call, as the gateway takes it: lost, so sent again, or the caller's own fault."""

import warnings
from types import SimpleNamespace

import pytest

from internvl_runtimes.deployments.handles import Lost
from internvl_runtimes.protocol.problems import RoleUnavailable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own use of pydantic is not ours to mend
    from ray import exceptions as ray_errors
    from ray.serve import exceptions as serve_errors
    from ray.serve._private.common import DeploymentID
    from ray.serve._private.router import AsyncioRouter

    from internvl_runtimes.deployments.ray_handles import translate


def upstream_crash() -> Exception:
    """What the language side's router makes of a vision replica that died with an encode."""
    router = SimpleNamespace(deployment_id=DeploymentID("LanguageModel", "team.nano"))
    return AsyncioRouter._make_upstream_crash_error(router, ray_errors.ActorDiedError())


@pytest.mark.parametrize(
    "error",
    [
        ray_errors.ActorDiedError(),
        ray_errors.ObjectLostError("a" * 28, None, ""),
        ray_errors.NodeDiedError("gone"),
        upstream_crash(),
        serve_errors.ReplicaUnavailableError("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_died_on_the_way_is_lost_and_not_the_requests_fault(error):
    assert isinstance(translate(error, role="language"), Lost)


def test_what_our_own_code_raised_comes_back_as_it_was():
    own = RoleUnavailable("not yet")
    assert translate(own, role="vision") is own
    bare = serve_errors.RayServeException("something else of Serve's")
    assert translate(bare, role="vision") is bare
