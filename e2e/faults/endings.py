"""Cases about deletion: in every phase, and with those gone who would have to clean up. Nothing may stick or stay."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from e2e.bench.result import Goal
from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes.addons import KUBERAY_NAME, KUBERAY_NAMESPACE
from e2e.faults.case import Outcome
from e2e.platform.chart import RELEASE, SYSTEM
from e2e.platform.namespace import ClientImage, make_namespace, remove_namespace
from e2e.platform.world import NAME, NAMESPACE, World

KINDS = (
    *("internvlservices", "internvlscales", "rayclusters", "pods", "services", "secrets", "configmaps"),
    *("poddisruptionbudgets", "networkpolicies", "persistentvolumeclaims", "jobs", "endpointslices"),
)
NOT_OURS = {"pod/client", "configmap/kube-root-ca.crt", "persistentvolumeclaim/models"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A deletion in some phase."""

    name: str
    title: str
    reach: Callable[[World, ExitStack], None]
    """Brings the service into the phase; what it takes away is given back by the stack, after the end."""
    gone_within_s: float = 90.0
    whole_namespace: bool = False


def run_ending(case: Ending, world: World) -> Outcome:
    """Run one case; there is no service after it."""
    began, trouble, gone_s = time.monotonic(), "", case.gone_within_s
    left: list[str] = []
    try:
        with ExitStack() as back:
            case.reach(world, back)
            deleted_at = time.monotonic()
            _delete(world, whole_namespace=case.whole_namespace)
            is_over = partial(_is_gone if case.whole_namespace else _is_clean, world)
            world.wait("nothing is left", is_over, within_s=case.gone_within_s)
            gone_s = time.monotonic() - deleted_at
    except (ClusterFailed, AssertionError, OSError) as error:
        trouble, left = str(error), leftovers(world)
    if case.whole_namespace:
        remove_namespace(world.cluster, NAMESPACE)  # and what of it is outside of it
        make_namespace(world.cluster, NAMESPACE, client=ClientImage.of(world.operator))
        world.wait("the client runs", world.has_client)
    goals = [
        Goal("seconds until nothing is left", round(gone_s, 1), "<=", case.gone_within_s),
        Goal("troubles", 1 if trouble else 0, "<=", 0),
    ]
    figures = {
        "title": case.title,
        "gone_after_s": round(gone_s, 1),
        "left": left,
        "case_s": round(time.monotonic() - began, 1),
        "trouble": trouble,
    }
    return Outcome(case.name, figures, [goal.as_json() for goal in goals])


def _is_gone(world: World) -> bool:
    return world.cluster.get(f"/api/v1/namespaces/{NAMESPACE}") == {}


def _is_clean(world: World) -> bool:
    return not leftovers(world)


def leftovers(world: World) -> list[str]:
    """What is in the namespace beside what was there before the service."""
    words = ("-n", NAMESPACE, "get", ",".join(KINDS), "-o", "json", "--ignore-not-found")
    answer = world.kubectl(*words)
    items = json.loads(answer)["items"] if answer.strip() else []
    found = {f"{item['kind'].lower()}/{item['metadata']['name']}" for item in items}
    return sorted(found - NOT_OURS)


def _delete(world: World, *, whole_namespace: bool) -> None:
    if whole_namespace:
        world.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    else:
        world.kubectl("-n", NAMESPACE, "delete", "ivl", NAME, "--wait=false")


def _just_applied(world: World, back: ExitStack) -> None:
    del back
    world.apply()


def _pods_starting(world: World, back: ExitStack) -> None:
    del back
    world.apply()
    world.wait("Ray's head exists", lambda: bool(world.pods("head")), within_s=60)


def _ready(world: World, back: ExitStack) -> None:
    del back
    world.apply()
    world.wait("the service is whole", world.is_whole)


def _rolling(world: World, back: ExitStack) -> None:
    _ready(world, back)
    world.apply({"vision": {"memory": "1640Mi"}})
    world.wait("a second vision pod exists", lambda: len(world.pods("vision")) == 2, within_s=60)


def _no_room(world: World, back: ExitStack) -> None:
    del back
    world.apply({"vision": {"gpus": 8}})
    world.wait("the status says so", lambda: world.story.ready().get("reason") == "InsufficientResources")


def _without_kuberay(world: World, back: ExitStack) -> None:
    _ready(world, back)
    _scale(world, back, KUBERAY_NAMESPACE, KUBERAY_NAME, 1)


def _without_operator(world: World, back: ExitStack) -> None:
    _ready(world, back)
    _scale(world, back, SYSTEM, RELEASE, 2)


def _with_ray_dead(world: World, back: ExitStack) -> None:
    _ready(world, back)
    _scale(world, back, KUBERAY_NAMESPACE, KUBERAY_NAME, 1)  # or it would make a new head at once
    world.delete_pod("head", grace_s=0)


def _scale(world: World, back: ExitStack, namespace: str, name: str, replicas: int) -> None:
    """To nothing, and to `replicas` again after the case."""
    words = ("-n", namespace, "scale", "deployment", name)
    back.callback(world.kubectl, *words, f"--replicas={replicas}")
    world.kubectl(*words, "--replicas=0")
    listed = ("-n", namespace, "get", "pods", "-o", "name")
    world.wait(f"no pod of {name} is left", lambda: not world.kubectl(*listed).strip(), within_s=60)


ENDINGS: tuple[Ending, ...] = (
    Ending(
        name="deleted-when-just-applied", title="deleted in the second of its creation", reach=_just_applied
    ),
    Ending(name="deleted-while-starting", title="deleted while its pods start", reach=_pods_starting),
    Ending(name="deleted-when-ready", title="deleted when Ready", reach=_ready),
    Ending(name="deleted-while-rolling", title="deleted in the middle of a roll", reach=_rolling),
    Ending(name="deleted-without-room", title="deleted while a pod waits for GPUs", reach=_no_room),
    Ending(name="deleted-with-ray-dead", title="deleted with Ray's head dead", reach=_with_ray_dead),
    Ending(name="deleted-after-kuberay", title="deleted with KubeRay gone first", reach=_without_kuberay),
    Ending(
        name="deleted-after-operator", title="deleted with our operator gone first", reach=_without_operator
    ),
    Ending(
        name="namespace-deleted",
        title="its whole namespace deleted",
        reach=_ready,
        whole_namespace=True,
        gone_within_s=120,
    ),
)
