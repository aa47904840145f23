"""What many services cost one operator: seconds from an edit to the applied plan, memory, requests, a restart.

Real: etcd, kube-apiserver and controller manager on loopback, KubeRay's resource definition, the operator process
with the rights of `manifests/rbac`. Played by this script (`played/`): KubeRay and the kubelets, which write pods
and statuses into that API server, and the Ray dashboards, which are one HTTP server under all their names. The names
are told to the operator by an /etc/hosts in a mount namespace of its own, so this needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from e2e.bench.operator_at_rest import resident_mib
from e2e.bench.played import dashboards
from e2e.bench.played.kuberay import CLUSTERS, MERGE, Api, PlayedKubeRay
from e2e.bench.result import BenchResult, Goal
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.nodes.programs import ensure_kuberay
from e2e.demo.parts import OPERATOR, PYTHON, ROOT, SYSTEM_NAMESPACE
from e2e.setup.cache import Cache
from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey

SIZES = (100,)
"""What `make bench` measures."""
NAMESPACES = 10
EDITS = 100
EDIT_EVERY_S = 0.25
REST_S = 60.0
QUIET_S = 15.0
"""Pause after a change before anything at rest is counted."""
READY_WITHIN_S = 900.0
ADDRESS = "127.0.77.1"
"""All Ray clusters and Services are there; a loopback address that nobody else takes."""
USER = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR}"
SERVICES = f"/apis/{labels.API_VERSION}/{labels.PLURAL}"
READS = ("get", "list", "watch")
SCALED = {
    "vision": {"maxReplicas": 4, "capacity": {"tilesPerSecond": 20}},
    "language": {
        "maxReplicas": 4,
        "capacity": {"promptTokensPerSecond": 8000, "outputTokensPerSecond": 800},
    },
}
"""Bounds and figures with which one replica of each side is enough for the played load."""
OFFER = """
image: example.test/internvl-runtime:1
pools:
  vision: {nodeSelector: {pool: vision}, gpus: 1, tolerations: [{key: nvidia.com/gpu, operator: Exists}]}
  language: {nodeSelector: {pool: language}, gpus: 1}
"""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Figures for one number of services."""

    services: int
    create_s: float
    """From the first POST until all are Ready."""
    memory_mib: float
    memory_after_mib: float
    """Of the process that was started last, with all services known."""
    cpu_at_rest: float
    """Cores."""
    requests_per_s: float
    """To the API server, at rest, the Lease's renewal among them."""
    requests_by_verb: dict[str, int]
    writes_at_rest: int
    ray_requests_per_s: float
    edit_p50_s: float
    edit_p95_s: float
    edit_max_s: float
    resync_s: float
    """From the start of the process until every service was found Ready."""
    writes_after_restart: int
    ray_writes_after_restart: int


def run(sizes: tuple[int, ...] = SIZES) -> BenchResult:
    """Measure at each of these sizes, in one API server that grows."""
    return run_with(sizes)


def run_with(sizes: tuple[int, ...], *, scaled: bool = False) -> BenchResult:
    """The same. `scaled`: the numbers of both sides follow a load, which a played Prometheus tells."""
    figures = asyncio.run(_measure(tuple(sorted(sizes)), scaled))
    lines: tuple[tuple[str, Callable[[Upkeep], str]], ...] = (
        ("edit to applied plan, p50 (s)", lambda it: f"{it.edit_p50_s:.2f}"),
        ("edit to applied plan, p95 (s)", lambda it: f"{it.edit_p95_s:.2f}"),
        ("operator, resident memory (MiB)", lambda it: f"{it.memory_mib:.0f}"),
        ("the same after a restart (MiB)", lambda it: f"{it.memory_after_mib:.0f}"),
        ("operator, CPU at rest (cores)", lambda it: f"{it.cpu_at_rest:.2f}"),
        ("requests to the API server a second at rest", lambda it: f"{it.requests_per_s:.2f}"),
        ("requests to Ray a second at rest", lambda it: f"{it.ray_requests_per_s:.0f}"),
        ("writes at rest", lambda it: str(it.writes_at_rest)),
        ("start to every service looked at (s)", lambda it: f"{it.resync_s:.1f}"),
        ("writes after a restart", lambda it: str(it.writes_after_restart)),
        ("PUTs to Ray after a restart", lambda it: str(it.ray_writes_after_restart)),
        ("creation until all are Ready (s)", lambda it: f"{it.create_s:.0f}"),
    )
    most = figures[-1]
    each = most.requests_per_s / most.services
    return BenchResult(
        name="upkeep-scaled" if scaled else "upkeep",
        title=f"Upkeep of many services{' that scale by load' if scaled else ''}; KubeRay, kubelets and Ray are played "
        f"({REST_S:.0f} s at rest)",
        columns=("what", *(f"{item.services} services" for item in figures)),
        rows=tuple((what, *(show(item) for item in figures)) for what, show in lines),
        raw={"sizes": [asdict(item) for item in figures], "load_average": os.getloadavg()},
        goals=(
            Goal(f"edit to applied plan at {most.services}, p95 (s)", round(most.edit_p95_s, 2), "<=", 1.0),
            Goal("resident memory (MiB)", round(max(most.memory_mib, most.memory_after_mib)), "<=", 300),
            Goal("requests to the API server a service and second at rest", round(each, 4), "<=", 0.01),
            Goal("writes at rest", most.writes_at_rest, "<=", 0),
            Goal("writes after a restart", most.writes_after_restart, "<=", 0),
            Goal("PUTs to Ray after a restart", most.ray_writes_after_restart, "<=", 0),
            Goal("start to every service looked at (s)", round(most.resync_s, 1), "<=", 10.0),
        ),
    )


async def _measure(sizes: tuple[int, ...], scaled: bool) -> list[Upkeep]:
    with ControlPlane(audited=[SYSTEM_NAMESPACE]) as plane:
        async with _installed(plane, largest=sizes[-1], scaled=scaled) as world:
            return [await world.measure(size) for size in sizes]


@contextlib.asynccontextmanager
async def _installed(plane: ControlPlane, *, largest: int, scaled: bool) -> AsyncIterator[_World]:
    """The world around the operator, and the operator."""
    _install(plane)
    layout = plane.layout
    trust = ssl.create_default_context(cafile=str(layout.certificate("authority")))
    trust.load_cert_chain(layout.certificate("admin"), layout.key("admin"))
    connector = aiohttp.TCPConnector(ssl=trust, limit=32)
    session = aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**20
    )
    async with session:
        api = Api(session, plane.server)
        world = _World(plane, api, PlayedKubeRay(api), largest, scaled)
        await world.start_around()
        played = asyncio.create_task(world.kuberay.run())
        try:
            yield world
        finally:
            played.cancel()
            await asyncio.gather(played, return_exceptions=True)


def _install(plane: ControlPlane) -> None:
    """The definitions and the operator's rights."""
    kuberay = ensure_kuberay(Cache.from_environment()) / "crds" / "ray.io_rayclusters.yaml"
    for file in (ROOT / "manifests" / "crds", kuberay):
        _kubectl(plane, "apply", "--server-side", "-f", str(file))
    while not all(_is_served(plane, path) for path in (CLUSTERS, SERVICES)):
        time.sleep(0.2)  # `kubectl wait` ends with an error while a new definition has no conditions at all
    for name in (SYSTEM_NAMESPACE, *(f"team-{number}" for number in range(NAMESPACES))):
        _kubectl(plane, "create", "namespace", name)
    _kubectl(plane, "apply", "-R", "-f", str(ROOT / "manifests" / "rbac"))


def _is_served(plane: ControlPlane, path: str) -> bool:
    with contextlib.suppress(OSError):  # one that is busy reading definitions answers late
        return plane.client.request("GET", path).status == 200
    return False


def _kubectl(plane: ControlPlane, *arguments: str) -> None:
    command = [str(PYTHON.with_name("kubectl")), "--kubeconfig", str(plane.kubeconfig()), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def key_of(number: int) -> ServiceKey:
    """The service of that number."""
    return ServiceKey(f"team-{number % NAMESPACES}", f"s{number:04}")


@dataclass(slots=True)
class _World:
    """One API server, what is played around it, and the operator."""

    plane: ControlPlane
    api: Api
    kuberay: PlayedKubeRay
    largest: int
    scaled: bool
    _made: int = 0
    _log_offset: int = 0

    @property
    def operator_log(self) -> Path:
        return self.plane.layout.logs / "operator.log"

    async def start_around(self) -> None:
        """The dashboards, and what the operator is told of the world."""
        folder, keys = self.plane.directory, map(key_of, range(self.largest))
        names = [
            f"{ADDRESS} {key.name}-ray-head-svc.{key.namespace}.svc {key.name}.{key.namespace}.svc"
            for key in keys
        ]
        (folder / "hosts").write_text("\n".join(("127.0.0.1 localhost", *names)) + "\n")
        (folder / "pods.yaml").write_text(OFFER)
        command = [sys.executable, "-m", dashboards.__name__, ADDRESS]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        log = self.plane.layout.logs / "dashboards.log"
        self.plane.keeper.start("dashboards", command, log=log, environment=environment, folder=ROOT)
        await _until(self._answers, "the played dashboards answer", within_s=30.0)

    async def _answers(self) -> bool:
        try:
            await self._asked()
        except aiohttp.ClientError:
            return False
        return True

    def start_operator(self) -> None:
        """In a mount namespace of its own, for the sake of /etc/hosts."""
        folder = self.plane.directory
        script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
        inner = ("sh", "-c", script, "sh", folder / "hosts", PYTHON, "-m", "internvl_operator")
        kubeconfig = self.plane.service_account_kubeconfig(namespace=SYSTEM_NAMESPACE, name=OPERATOR)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("INTERNVL_OPERATOR_")
        }
        self._log_offset = self.operator_log.stat().st_size if self.operator_log.exists() else 0
        self.plane.keeper.start(
            OPERATOR,
            ["/usr/bin/unshare", "--mount", "--propagation", "private", *inner],
            log=self.operator_log,
            environment={
                **kept,
                "KUBECONFIG": str(kubeconfig),
                "INTERNVL_OPERATOR_PODS_FILE": str(folder / "pods.yaml"),
                "INTERNVL_OPERATOR_LEASE_NAMESPACE": SYSTEM_NAMESPACE,
                **({"INTERNVL_OPERATOR_PROMETHEUS_URL": f"http://{ADDRESS}:8265"} if self.scaled else {}),
            },
            folder=ROOT,
        )

    async def measure(self, size: int) -> Upkeep:
        """Grow to that many services, and measure everything."""
        _say(f"{size} services: creating")
        if self._made == 0:
            self.start_operator()
        create_s = await self._grow(size)
        await asyncio.sleep(QUIET_S)
        _say(f"all Ready after {create_s:.0f} s; {REST_S:.0f} s at rest")
        pid = self.plane.keeper.pid(OPERATOR)
        began, before, asked, cpu_s = time.monotonic(), self._audited(), await self._asked(), _cpu_s(pid)
        await asyncio.sleep(REST_S)
        elapsed = time.monotonic() - began
        rest, asked_then = self._audited() - before, await self._asked()
        cpu, memory = (_cpu_s(pid) - cpu_s) / elapsed, resident_mib(pid)
        _say("edits")
        edits = sorted(await self._edit(size))
        await asyncio.sleep(QUIET_S)
        _say("a restart")
        self.plane.keeper.stop(OPERATOR, grace_s=30)
        before, asked_before = self._audited(), await self._asked()
        self.start_operator()
        began = time.monotonic()
        await _until(lambda: self._all_looked_at(size), "every service is looked at", within_s=300.0)
        resync_s = time.monotonic() - began
        await asyncio.sleep(2 * QUIET_S)
        after, asked_after = self._audited() - before, await self._asked()
        return Upkeep(
            services=size,
            create_s=create_s,
            memory_mib=memory,
            memory_after_mib=resident_mib(self.plane.keeper.pid(OPERATOR)),
            cpu_at_rest=cpu,
            requests_per_s=sum(rest.values()) / elapsed,
            requests_by_verb=dict(rest),
            writes_at_rest=_writes(rest),
            ray_requests_per_s=(sum(asked_then.values()) - sum(asked.values())) / elapsed,
            edit_p50_s=edits[len(edits) // 2],
            edit_p95_s=edits[math.ceil(0.95 * len(edits)) - 1],
            edit_max_s=edits[-1],
            resync_s=resync_s,
            writes_after_restart=_writes(after),
            ray_writes_after_restart=asked_after["applications written"]
            - asked_before["applications written"],
        )

    async def _grow(self, size: int) -> float:
        began, room = time.monotonic(), asyncio.Semaphore(8)

        async def create(key: ServiceKey) -> None:
            async with room:
                await self.api.request("POST", _services(key.namespace), _service(key, self.scaled))

        await asyncio.gather(*(create(key_of(number)) for number in range(self._made, size)))
        self._made = size

        async def are_ready() -> bool:
            found = await self.api.request("GET", SERVICES)
            wanted = {"Ready", "ScalingActive", "MetricsAvailable"} if self.scaled else {"Ready"}
            ready = sum(wanted <= _true_of(service) for service in found["items"])
            print(f"\r    {ready} of {size} Ready", end="", file=sys.stderr, flush=True)
            return ready == size

        await _until(are_ready, f"{size} services are Ready", within_s=READY_WITHIN_S, every_s=2.0)
        print(file=sys.stderr)
        return time.monotonic() - began

    async def _edit(self, size: int) -> list[float]:
        """Seconds from the edit of a replica number until RayCluster and Serve configuration both have it.

        Those edited last time were the oldest; each service is edited once.
        """
        chosen = [key_of(number) for number in range(max(0, size - EDITS), size)]
        since: dict[ServiceKey, float] = {}
        for key in chosen:
            since[key] = time.monotonic()
            path = f"{_services(key.namespace)}/{key.name}"
            await self.api.request("PATCH", path, {"spec": {"gateway": {"replicas": 2}}}, headers=MERGE)
            await asyncio.sleep(max(0.0, EDIT_EVERY_S - (time.monotonic() - since[key])))
        taken: dict[ServiceKey, float] = {}

        async def all_taken() -> bool:
            puts: dict[str, float] = {}
            async with self.api.session.get(f"http://{ADDRESS}:8265{dashboards.PUTS_PATH}") as answer:
                puts.update({service: at for service, at in await answer.json()})
            for key, at in since.items():
                serve = puts.get(f"{key.name}.{key.namespace}.svc", 0.0)
                cluster = self.kuberay.replicas_since.get((f"{key.name}-ray", 5))
                if cluster is not None and serve > at:
                    taken[key] = max(cluster, serve) - at
            return len(taken) == len(chosen)

        await _until(all_taken, "every edit is applied", within_s=600.0)
        return list(taken.values())

    async def _all_looked_at(self, size: int) -> bool:
        with self.operator_log.open("rb") as log:
            log.seek(self._log_offset)
            text = log.read().decode(errors="replace")
        return len(set(re.findall(r"reconciler: (\S+): the service is Ready", text))) >= size

    def _audited(self) -> Counter[str]:
        """Requests of the operator by verb and resource, from the API server's own audit log."""
        counts: Counter[str] = Counter()
        with self.plane.audit_log.open() as lines:
            for event in map(json.loads, lines):
                # A watch is written down twice, when it begins and when it ends.
                is_end_of_watch = event["verb"] == "watch" and event["stage"] != "ResponseStarted"
                if event["user"]["username"] == USER and not is_end_of_watch:
                    what = event.get("objectRef", {}).get("resource", event["requestURI"])
                    counts[f"{event['verb']} {what}"] += 1
        return counts

    async def _asked(self) -> Counter[str]:
        """Requests to the played dashboards by what they were."""
        async with self.api.session.get(f"http://{ADDRESS}:8265{dashboards.COUNTS_PATH}") as answer:
            return Counter(await answer.json())


def _services(namespace: str) -> str:
    return f"/apis/{labels.API_VERSION}/namespaces/{namespace}/{labels.PLURAL}"


def _service(key: ServiceKey, scaled: bool) -> dict[str, Any]:
    more = SCALED if scaled else {}
    return {
        "apiVersion": labels.API_VERSION,
        "kind": labels.KIND,
        "metadata": {"name": key.name},
        "spec": {
            "model": {"uri": "pvc://models/internvl-nano"},
            "vision": {"pool": "vision", **more.get("vision", {})},
            "language": {"pool": "language", **more.get("language", {})},
        },
    }


def _true_of(service: dict[str, Any]) -> set[str]:
    """Conditions that are true."""
    found = service.get("status", {}).get("conditions") or ()
    return {item["type"] for item in found if item["status"] == "True"}


def _writes(counts: Counter[str]) -> int:
    """Requests that change something, the Lease's renewal apart."""
    return sum(
        count
        for what, count in counts.items()
        if what.split()[0] not in READS and not what.endswith(" leases")
    )


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _until(
    is_reached: Callable[[], Awaitable[bool]], what: str, *, within_s: float, every_s: float = 0.1
) -> None:
    deadline = time.monotonic() + within_s
    while not await is_reached():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:.0f} s: {what}")
        await asyncio.sleep(every_s)


def _say(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)
