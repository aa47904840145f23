"""The life of one `internvl up`: Ray, the reconciler, the file, Ctrl-C."""

import asyncio
import contextlib
import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import watchfiles

from internvl_operator.addresses import parse_ray_address
from internvl_operator.api.conditions import ConditionStatus, ConditionType
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.labels import POOL
from internvl_operator.cluster.fleet import Fleet
from internvl_operator.cluster.http import AiohttpTransport
from internvl_operator.cluster.load_watch import LoadWatch
from internvl_operator.cluster.ray import RayClient, RayFault
from internvl_operator.errors import Rejected
from internvl_operator.reconcile.loop import WorkQueue
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.reconcile.scaler import Scaler
from internvl_operator.settings import Settings
from internvl_operator.standalone.console import Console
from internvl_operator.standalone.file_store import FileServiceStore
from internvl_operator.standalone.local_ray import LocalRay, RayNode
from internvl_operator.standalone.service_file import WrittenService, read_service_file

RAY_START_S = 300.0
_STILL_S = 30.0
"""Between two lines that say how long the start of Ray has taken."""
ONCE_S = 600.0
GATEWAY_CPUS = 2
"""Room on the head for the gateway and Serve's own actors."""


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Command line of `internvl up`."""

    file: Path
    ray: str | None = None
    artifacts: tuple[Path, ...] = ()
    once: bool = False


def run_up(options: UpOptions, write: Callable[[str], object]) -> int:
    """Run until Ctrl-C (or until Ready, with `once`); returns the exit status.

    Raises:
        Rejected: the file or an option cannot be used; nothing was started.
    """
    written = read_service_file(options.file)
    settings = Settings(
        ray_address=parse_ray_address(options.ray) if options.ray else None,
        artifact_stores=tuple(path.resolve().as_uri() for path in options.artifacts),
    )
    return asyncio.run(_Up(options, settings, written, write).run())


def plan_nodes(written: Sequence[WrittenService]) -> tuple[RayNode, ...]:
    """The smallest set of raylets on which everything in the file fits: one a pool, the first is the head."""
    needed: dict[str | None, int] = {}
    for service in written:
        for role in (service.spec.vision, service.spec.language):
            needed[role.pool] = needed.get(role.pool, 0) + math.ceil(role.cores) * role.most_replicas
    anywhere = needed.pop(None, 0) + GATEWAY_CPUS * len(written)
    pools = list(needed) or [None]
    return tuple(
        RayNode(f"node-{index}", pool, needed.get(pool, 0) + (anywhere if index == 0 else 0))
        for index, pool in enumerate(pools)
    )


class _Up:
    def __init__(
        self,
        options: UpOptions,
        settings: Settings,
        written: tuple[WrittenService, ...],
        write: Callable[[str], object],
    ) -> None:
        self._options = options
        self._settings = settings
        self._written = written
        self._console = Console(write, now=lambda: datetime.now().astimezone())
        self._stop = asyncio.Event()
        self._store = FileServiceStore(now=_now, show=self._console.show)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        async with AiohttpTransport() as transport, contextlib.AsyncExitStack() as stack:
            ray = await self._ray_of_our_own(transport, stack)
            if self._stop.is_set():
                return 130
            return await self._reconcile(transport, ray)

    async def _ray_of_our_own(
        self, transport: AiohttpTransport, stack: contextlib.AsyncExitStack
    ) -> LocalRay | None:
        """Start Ray, unless every service names one or the command line does."""
        ours = [service for service in self._written if service.spec.backend is None]
        if self._settings.ray_address or not ours:
            return None
        nodes = plan_nodes(ours)
        ray = LocalRay(nodes)
        stack.push_async_callback(self._stop_ray, ray)
        self._console.say(f"starting Ray ({len(nodes)} node(s)), logs in {ray.folder}/*/session_latest/logs")
        await self._start_ray(ray, transport)
        self._settings = replace(
            self._settings,
            ray_address=ray.address,
            serve_http_host="127.0.0.1",
            serve_http_port=ray.http_port,
        )
        return ray

    async def _start_ray(self, ray: LocalRay, transport: AiohttpTransport) -> None:
        """Start the head, then the other nodes; back when each pool is there and Serve can be asked, or on Ctrl-C.

        Raises:
            Rejected: a node does not start, or not in time.
        """
        loop = asyncio.get_running_loop()
        client = RayClient(ray.address, transport, timeout_s=self._settings.ray_timeout_s)
        pools = {node.pool for node in ray.nodes.values() if node.pool}
        head, *others = ray.nodes
        began = said = loop.time()
        ray.start(head)
        while not self._stop.is_set():
            if not others and await _has_pools(client, pools):
                self._console.say(f"Ray is up after {loop.time() - began:.0f} s, dashboard {ray.address}")
                return
            if others and ray.head_answers():
                for name in others:
                    ray.start(name)
                others = []
            if given_up := ray.start_again_what_failed():
                raise Rejected(f"Ray did not start: {ray.end_of_log(given_up[0])}")
            if loop.time() - began > RAY_START_S:
                raise Rejected(
                    f"Ray is not up after {RAY_START_S:.0f} s; its head said: {ray.end_of_log(head)}"
                )
            if loop.time() - said > _STILL_S:
                said = loop.time()
                self._console.say(f"Ray is still starting, {said - began:.0f} s so far")
            await asyncio.sleep(0.25)

    async def _stop_ray(self, ray: LocalRay) -> None:
        self._console.say("stopping Ray")
        await asyncio.to_thread(ray.close)
        self._console.say("nothing is left running")

    async def _reconcile(self, transport: AiohttpTransport, ray: LocalRay | None) -> int:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[ServiceKey] = WorkQueue(lambda key: reconciler.reconcile(key), clock=loop)
        fleet = Fleet(transport, self._settings, wake=queue.add, now=_now)
        loads = LoadWatch(transport, self._settings, find=fleet.api, now=lambda: _now().timestamp())
        scaler = Scaler(loads, fleet, quiet_s=self._settings.scale_down_after_s, wake=queue.add, now=_now)
        reconciler = Reconciler(self._store, fleet, self._settings, now=_now, scaler=scaler)
        for key in self._store.load(self._written):
            queue.add(key)
        tasks = [
            asyncio.create_task(queue.run(), name="work queue"),
            asyncio.create_task(scaler.run(), name="scaling"),
            asyncio.create_task(self._follow_file(queue), name="file"),
        ]
        try:
            status = await self._until_done(tasks, ray)
            await self._take_down(queue, await self._living_elsewhere(ray))
            return status
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await fleet.close()

    async def _until_done(self, tasks: list[asyncio.Task[None]], ray: LocalRay | None) -> int:
        """Until Ctrl-C, a fault, or (with `once`) Ready."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._stop.is_set():
            if self._options.once and self._all_ready():
                return 0
            if self._options.once and loop.time() - began > ONCE_S:
                self._console.say(f"not Ready after {ONCE_S:.0f} s")
                return 1
            for task in tasks:
                if task.done():
                    task.result()
            if ray is not None and (ended := ray.ended()):
                self._console.say(f"Ray has ended: {ray.end_of_log(ended[0])}")
                return 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.25)
        self._console.say("stopping")
        return 1 if self._options.once else 0

    def _all_ready(self) -> bool:
        for key in self._store.present():
            status = self._store.status(key)
            ready = status.condition(ConditionType.READY) if status else None
            if ready is None or ready.status is not ConditionStatus.TRUE:
                return False
        return True

    async def _follow_file(self, queue: WorkQueue[ServiceKey]) -> None:
        """Take in each change of the file; a broken edit is told, and the last good one stays."""
        file = self._options.file.resolve()
        said = ""
        async for _ in watchfiles.awatch(
            file.parent,
            recursive=False,  # the folder may be a home or a checkout
            watch_filter=lambda _, name: Path(name).name == file.name,
            debounce=300,
            rust_timeout=500,
        ):
            try:
                changed = self._store.load(read_service_file(self._options.file))
            except Rejected as fault:
                if str(fault) != said:
                    self._console.say(f"{fault} (the last good version stays)")
                said = str(fault)
                continue
            said = ""
            for key in changed:
                self._console.say(f"{key}  the file changed")
                queue.add(key)

    async def _living_elsewhere(self, ray: LocalRay | None) -> set[ServiceKey]:
        """Services on a Ray that outlives us."""
        found = [await self._store.read(key) for key in self._store.present()]
        return {
            seen.key
            for seen in found
            if seen is not None and (ray is None or (seen.spec is not None and seen.spec.backend is not None))
        }

    async def _take_down(self, queue: WorkQueue[ServiceKey], keys: set[ServiceKey]) -> None:
        """Remove the applications of these services from Rays that are not ours. A second Ctrl-C leaves them."""
        if not keys:
            return
        self._stop.clear()
        for key in keys:
            self._store.delete({key})
            queue.add(key)
        while remaining := keys & set(self._store.present()):
            if self._stop.is_set():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.1)
        if left := remaining | (keys & self._store.left_behind):
            names = ", ".join(str(key) for key in sorted(left))
            self._console.say(f"left in Ray Serve: the applications of {names}")
        else:
            self._console.say("all applications are removed")


def _now() -> datetime:
    return datetime.now(UTC)


async def _has_pools(client: RayClient, pools: set[str]) -> bool:
    with contextlib.suppress(RayFault):
        if pools <= await client.fetch_pools(POOL):
            await client.fetch()
            return True
    return False
