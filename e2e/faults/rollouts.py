"""Cases about changes: broken ones, hasty ones, and everything around us restarted at each step of one."""

import time
from collections.abc import Callable
from functools import partial

from e2e.cluster.control_plane import Component
from e2e.faults.case import Case
from e2e.platform.world import World

SEEN_WITHIN_S = 30.0
"""A failed rollout says what is wrong within this time."""


def _roll_vision(world: World, memory: str) -> None:
    world.apply({"vision": {"memory": memory}})


def _at_each_step(restart: Callable[[World], None], memory: str, world: World) -> None:
    """Restart something when a roll has begun, when the new pod is there, when it runs, when the old one goes."""
    before = {pod["metadata"]["name"] for pod in world.pods("vision")}

    def new_pods() -> list[dict[str, object]]:
        return [pod for pod in world.story.role_pods("vision") if pod["metadata"]["name"] not in before]

    def old_goes() -> bool:
        living = {pod["metadata"]["name"] for pod in world.pods("vision")}
        return not living & before

    steps: list[tuple[str, Callable[[], bool]]] = [
        ("the edit is accepted", lambda: True),
        ("the new pod exists", lambda: bool(new_pods())),
        ("the new pod runs", lambda: any(_runs(pod) for pod in new_pods())),
        ("the old pod goes", old_goes),
    ]
    _roll_vision(world, memory)
    for what, reached in steps:
        world.wait(what, reached, within_s=120)
        restart(world)


def _runs(pod: dict[str, object]) -> bool:
    status = pod.get("status")
    return isinstance(status, dict) and status.get("phase") == "Running"


def _image_missing(world: World) -> None:
    _fails_then_heals(world, {"vision": {"image": "internvl.example/nothing:1"}}, ("ImageUnavailable",))


def _pool_missing(world: World) -> None:
    _fails_then_heals(world, {"vision": {"pool": "broken"}}, ("PoolNotFound",))


def _model_missing(world: World) -> None:
    wrong = {"model": {"uri": "pvc://models/nothing-here"}}
    _fails_then_heals(world, wrong, ("ModelNotFound",))


def _fails_then_heals(world: World, spec: dict[str, dict[str, str]], reasons: tuple[str, ...]) -> None:
    world.apply(spec)
    world.wait(
        f"the status names {' or '.join(reasons)}",
        lambda: any(world.story.condition(kind).get("reason") in reasons for kind in ("Ready", "Degraded")),
        within_s=SEEN_WITHIN_S,
    )
    time.sleep(5)  # what is broken stays broken for a while, under load
    world.apply()


def _five_edits(world: World) -> None:
    for memory in ("1810Mi", "1820Mi", "1830Mi", "1840Mi", "1850Mi"):
        _roll_vision(world, memory)
        time.sleep(1)


def _revert(world: World) -> None:
    before = {pod["metadata"]["name"] for pod in world.pods("vision")}
    _roll_vision(world, "1860Mi")
    world.wait(
        "a new vision pod exists",
        lambda: not {pod["metadata"]["name"] for pod in world.pods("vision")} <= before,
        within_s=60,
    )
    world.apply()


def _vision_memory(memory: str) -> dict[str, dict[str, str]]:
    return {"vision": {"memory": memory}}


_RESTARTS: dict[str, tuple[str, Callable[[World], None], str]] = {
    "operator": ("our operator (both pods)", lambda world: world.restart_operator(), "1710Mi"),
    "kuberay": ("KubeRay", lambda world: world.restart_kuberay(), "1720Mi"),
    "api-server": (
        "the API server (kill -9)",
        lambda world: world.kill_and_start(Component.API_SERVER),
        "1730Mi",
    ),
    "etcd": ("etcd (kill -9)", lambda world: world.kill_and_start(Component.ETCD), "1740Mi"),
}

CASES: tuple[Case, ...] = (
    *(
        Case(
            name=f"rollout-with-{name}-restarted",
            title=f"{what} restarted at each of four steps of a roll of the vision pods",
            act=partial(_at_each_step, restart, memory),
            heals_within_s=150,  # with the whole drain time of the old pod
        )
        for name, (what, restart, memory) in _RESTARTS.items()
    ),
    Case(
        name="five-edits-in-five-seconds",
        title="five edits of the vision pods in five seconds",
        act=_five_edits,
        heals_within_s=120,
    ),
    Case(
        name="revert-in-the-middle",
        title="an edit of the vision pods, taken back when the new pod exists",
        act=_revert,
        heals_within_s=90,
    ),
    Case(
        name="image-that-does-not-exist",
        title="an edit of the vision image to one that nobody has, taken back",
        act=_image_missing,
        heals_within_s=60,
        untrue_s=5,
    ),
    Case(
        name="pool-that-does-not-exist",
        title="an edit to a pool that nobody offers, taken back",
        act=_pool_missing,
        heals_within_s=60,
        untrue_s=5,
    ),
    Case(
        name="model-that-does-not-exist",
        title="an edit to a checkpoint that is not there, taken back",
        act=_model_missing,
        heals_within_s=120,  # with the whole drain time of the stand-in's pods
        untrue_s=5,
    ),
)
