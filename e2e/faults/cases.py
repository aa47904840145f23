"""The cases: what is broken, and what it may cost. `docs/failure-modes.md` is made from what they measured."""

import time

from e2e.cluster.control_plane import Component
from e2e.faults import rollouts
from e2e.faults.case import Case
from e2e.faults.disk import full_disk
from e2e.faults.network import cut_between
from e2e.faults.redis import with_redis
from e2e.platform.world import World

TWO_GATEWAYS = {"gateway": {"replicas": 2}}
CUT_S = 20.0
AWAY_S = 3.0


def _kill_vision(world: World) -> None:
    world.kill_process("vision", "VisionEncoder")


def _kill_language(world: World) -> None:
    world.kill_process("language", "LanguageModel")


def _kill_gateway(world: World) -> None:
    world.kill_process("gateway", "Gateway")


def _kill_head(world: World) -> None:
    world.kill_process("head", "gcs_server")


def _drain(world: World) -> None:
    node = world.pods("vision")[0]["spec"]["nodeName"]
    words = (
        "--pod-selector",
        "ray.io/cluster,serving.internvl.io/service",
        "--delete-emptydir-data",
        "--force",
    )
    try:
        world.kubectl("drain", node, "--timeout=120s", "--ignore-daemonsets", *words)
        world.wait("the vision pod runs elsewhere", world.is_whole, within_s=120)
    finally:
        world.kubectl("uncordon", node)


def _power_cut(world: World) -> None:
    node = world.pods("vision")[0]["spec"]["nodeName"]
    world.cluster.power_cut(node)
    try:
        world.wait(
            "the vision pod runs elsewhere",
            lambda: any(p["spec"].get("nodeName") not in (None, node) for p in world.pods("vision")),
            within_s=150,
        )
    finally:
        world.cluster.restart(node)


def _fill_disk(world: World) -> None:
    node = world.pods("vision")[0]["spec"]["nodeName"]
    with full_disk(world.cluster, node):
        world.wait(
            "the vision pod runs elsewhere",
            lambda: any(p["spec"].get("nodeName") not in (None, node) for p in world.pods("vision")),
            within_s=150,
        )


def _cut_pools(world: World) -> None:
    node = world.pods("vision")[0]["spec"]["nodeName"]
    with cut_between(world.cluster, node, "language"):
        time.sleep(CUT_S)


CASES: tuple[Case, ...] = (
    Case(
        name="vision-replica-killed",
        title="kill -9 of the only vision replica",
        act=_kill_vision,
        heals_within_s=40,
    ),
    Case(
        name="language-replica-killed",
        title="kill -9 of the only language replica",
        act=_kill_language,
        heals_within_s=40,
        may_break_streams=True,
    ),
    Case(
        name="gateway-replica-killed",
        title="kill -9 of one of two gateway replicas",
        act=_kill_gateway,
        heals_within_s=40,
        spec=TWO_GATEWAYS,
        may_lose=4,  # those that it was answering: its proxy lives and says so
        may_break_streams=True,
    ),
    Case(
        name="vision-pod-deleted",
        title="kubectl delete pod, the only vision pod",
        act=lambda world: world.delete_pod("vision"),
        heals_within_s=90,  # with the whole drain time of the old pod
    ),
    Case(
        name="language-pod-deleted",
        title="kubectl delete pod, the only language pod",
        act=lambda world: world.delete_pod("language"),
        heals_within_s=90,  # with the whole drain time of the old pod
        may_break_streams=True,
    ),
    Case(
        name="only-gateway-pod-deleted",
        title="kubectl delete pod, the only gateway pod",
        act=lambda world: world.delete_pod("gateway"),
        heals_within_s=90,  # with the whole drain time of the old pod
    ),
    Case(
        name="gateway-pod-deleted",
        title="kubectl delete pod, one of two gateway pods",
        act=lambda world: world.delete_pod("gateway"),
        heals_within_s=60,
        spec=TWO_GATEWAYS,
    ),
    Case(
        name="gateway-pod-lost",
        title="one of two gateway pods gone at once (no grace)",
        act=lambda world: world.delete_pod("gateway", grace_s=0),
        heals_within_s=60,
        spec=TWO_GATEWAYS,
        may_lose=8,  # those that were inside it
        may_break_streams=True,
    ),
    Case(
        name="head-killed",
        title="kill -9 of Ray's head (GCS), without Redis",
        act=_kill_head,
        heals_within_s=120,
        may_lose=2000,  # stated: without Redis the head's death is an outage, in which clients are refused at once
        may_break_streams=True,
        untrue_s=15,
    ),
    Case(
        name="head-killed-with-redis",
        title="kill -9 of Ray's head (GCS), with Redis",
        act=_kill_head,
        prepare=with_redis,
        heals_within_s=120,
    ),
    Case(
        name="node-drained",
        title="kubectl drain of the node with the only vision pod",
        act=_drain,
        heals_within_s=90,
    ),
    Case(
        name="node-power-cut",
        title="power cut of the node with the only vision pod",
        act=_power_cut,
        heals_within_s=160,
        untrue_s=60,
    ),
    Case(
        name="node-disk-full",
        title="the disk of the node with the only vision pod is full",
        act=_fill_disk,
        heals_within_s=120,
        untrue_s=30,
    ),
    Case(
        name="pools-cut-apart",
        title=f"no packets between the vision and the language node for {CUT_S:.0f} s",
        act=_cut_pools,
        heals_within_s=90,
        untrue_s=30,
    ),
    Case(
        name="api-server-restarted",
        title=f"kill -9 of the API server, started again after {AWAY_S:.0f} s",
        act=lambda world: world.kill_and_start(Component.API_SERVER, away_s=AWAY_S),
        heals_within_s=30,
    ),
    Case(
        name="etcd-killed",
        title=f"kill -9 of etcd, started again after {AWAY_S:.0f} s",
        act=lambda world: world.kill_and_start(Component.ETCD, away_s=AWAY_S),
        heals_within_s=30,
    ),
    *rollouts.CASES,
)
