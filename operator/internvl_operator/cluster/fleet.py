"""All Ray addresses that services live on: per address one client, one poller and one writer.

Work that takes long (a write, a probe) runs beside the reconcile that asked for it and wakes the service
when it is done. Called by `reconcile.reconciler`; made by `__main__` and `standalone`.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from internvl_operator.addresses import is_loopback
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.http import HttpTransport
from internvl_operator.cluster.probe import fetch_probe
from internvl_operator.cluster.ray import RayClient, ServeApi
from internvl_operator.cluster.ray_watch import RayWatch
from internvl_operator.cluster.ray_writer import RayWriter
from internvl_operator.cluster.serve_merge import Submission
from internvl_operator.cluster.tokens import Tokens
from internvl_operator.plan.backend import RayHome
from internvl_operator.plan.decision import ProbeRequest
from internvl_operator.plan.observation import ProbeSeen, RaySeen, RayUnavailable, WriteSeen
from internvl_operator.render.serve_schema import HttpOptions, ServeApplication
from internvl_operator.settings import Settings
from internvl_runtimes.contract import pods

log = logging.getLogger(__name__)

LOOKS_PER_S = 200.0
"""At all Ray addresses together: a thousand are looked at each 5 s, and a hang there is still seen within 15 s."""


def look_interval_s(addresses: int, settings: Settings) -> float:
    """From one look at an address to the next: with many addresses longer, so that looking stays cheap."""
    return max(settings.poll_interval_s, addresses / LOOKS_PER_S)


Place = tuple[ServiceKey, RayHome]
"""A service at one of its addresses: it has two while it moves from one Ray cluster to another."""


@dataclass(frozen=True, slots=True)
class _Site:
    """What runs for one Ray address."""

    watch: RayWatch
    writer: RayWriter
    tasks: tuple[asyncio.Task[None], ...]


class Fleet:
    """The Ray side of the world. Must live inside a running event loop; `close` ends all its tasks."""

    def __init__(
        self,
        transport: HttpTransport,
        settings: Settings,
        *,
        wake: Callable[[ServiceKey], None],
        now: Callable[[], datetime],
        fence: Callable[[], None] = lambda: None,  # raises NotYet when this process may not write
        connect: Callable[[RayHome], ServeApi] | None = None,  # tests give a fake Serve
        tokens: Tokens | None = None,  # of the Ray clusters that we make
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._wake = wake
        self._now = now
        self._fence = fence
        self._connect = connect or self._client
        self._tokens = tokens
        self._sites: dict[RayHome, _Site] = {}
        self._homes: dict[ServiceKey, set[RayHome]] = {}
        self._probes: dict[Place, ProbeSeen] = {}
        self._probing: dict[Place, tuple[str, asyncio.Task[None]]] = {}

    def snapshot(self, key: ServiceKey, home: RayHome) -> RaySeen | RayUnavailable | None:
        """What is known of the address; from now on the service is woken when its part changes.

        None: the address was not asked yet; the service is woken by the first answer.
        """
        self._homes.setdefault(key, set()).add(home)
        site = self._site(home)
        site.watch.subscribe(key)
        return site.watch.seen

    def known(self, key: ServiceKey, home: RayHome) -> RaySeen | RayUnavailable | None:
        """The same of a service that lives there already, without asking anything; None for another one."""
        return self._sites[home].watch.seen if self._lives(key, home) else None

    def api(self, home: RayHome) -> ServeApi:
        """A client of an address, for what is asked there beside Serve."""
        return self._connect(home)

    def stay(self, key: ServiceKey, homes: Collection[RayHome]) -> None:
        """The service lives nowhere else any more: stop asking an address that nobody lives on."""
        for home in self._homes.get(key, set()).difference(homes):
            self._leave(key, home)

    def submit(
        self,
        key: ServiceKey,
        home: RayHome,
        applications: tuple[ServeApplication, ...],
        remove: tuple[str, ...],
    ) -> None:
        """Hand this to the writer of the address. Call after `snapshot`."""
        mappings = tuple(app.to_mapping() for app in applications)
        self._sites[home].writer.submit(key, Submission(mappings, remove))

    def write_seen(self, key: ServiceKey, home: RayHome) -> WriteSeen | None:
        """How the last submission went."""
        return self._sites[home].writer.outcome(key) if self._lives(key, home) else None

    def probe(self, key: ServiceKey, home: RayHome, request: ProbeRequest) -> None:
        """Probe beside the reconcile; at most one a service and address, the newest subject wins."""
        running = self._probing.get((key, home))
        if running is not None:
            if running[0] == request.subject:
                return
            running[1].cancel()
        task = asyncio.create_task(self._run_probe((key, home), request), name=f"probe {key}")
        self._probing[key, home] = (request.subject, task)

    def probe_seen(self, key: ServiceKey, home: RayHome) -> ProbeSeen | None:
        """The last finished probe of this service there, in this process."""
        return self._probes.get((key, home))

    def release(self, key: ServiceKey) -> None:
        """The service is gone: forget it."""
        self.stay(key, ())

    def keys(self) -> frozenset[ServiceKey]:
        """Services that have a Ray address."""
        return frozenset(self._homes)

    def is_writing(self, key: ServiceKey, home: RayHome) -> bool:
        """Whether a submission of this service waits or is being written there."""
        return self._lives(key, home) and self._sites[home].writer.is_writing(key)

    async def close(self) -> None:
        """Stop everything and wait until it has stopped."""
        tasks = [task for _, task in self._probing.values()]
        tasks += [task for site in self._sites.values() for task in site.tasks]
        self._sites.clear()
        self._homes.clear()
        self._probing.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_probe(self, place: Place, request: ProbeRequest) -> None:
        key, _ = place
        try:
            seen = await fetch_probe(request, self._transport, now=self._now)
        except Exception as fault:
            # A bug; swallowed silently, the service would wait for this probe for ever.
            log.exception("the probe of %s broke", key)
            error = f"the probe broke: {type(fault).__name__}: {fault}"
            seen = ProbeSeen(at=self._now(), subject=request.subject, error=error)
        self._probes[place] = seen
        self._probing.pop(place, None)
        self._wake(key)

    def _lives(self, key: ServiceKey, home: RayHome) -> bool:
        return home in self._homes.get(key, ())

    def _leave(self, key: ServiceKey, home: RayHome) -> None:
        running = self._probing.pop((key, home), None)
        if running is not None:
            running[1].cancel()
        self._probes.pop((key, home), None)
        self._homes[key].discard(home)
        if not self._homes[key]:
            del self._homes[key]
        site = self._sites[home]
        site.watch.unsubscribe(key)
        site.writer.forget(key)
        if site.watch.subscribers == 0:
            del self._sites[home]
            for task in site.tasks:
                task.cancel()

    def _client(self, home: RayHome) -> ServeApi:
        token = None
        if home.owner is not None and self._tokens is not None:
            token = self._tokens.token_of(home.owner, home.uid)
        return RayClient(home.address, self._transport, timeout_s=self._settings.ray_timeout_s, token=token)

    def _site(self, home: RayHome) -> _Site:
        # By the whole home: who writes the address of another's cluster into a spec gets no token with it.
        site = self._sites.get(home)
        if site is None:
            site = self._sites[home] = self._open(home)
        return site

    def _open(self, home: RayHome) -> _Site:
        loop = asyncio.get_running_loop()
        api = self._connect(home)
        watch = RayWatch(
            api,
            interval_s=lambda: look_interval_s(len(self._sites), self._settings),
            now=self._now,
            monotonic=loop.time,
            wake=self._wake,
            reads_pools=home.owner is None,  # in pods, replicas are placed by their worker group
        )
        writer = RayWriter(
            api,
            now=self._now,
            on_state=watch.offer,
            on_outcome=self._wake,
            fence=self._fence,
            build_wait_s=self._settings.build_wait_s,
            initial_options=initial_options(self._settings) if home.owner is None else _OWN_CLUSTER,
        )
        return _Site(
            watch,
            writer,
            (
                loop.create_task(watch.run(), name=f"watch {home.address}"),
                loop.create_task(writer.run(), name=f"write {home.address}"),
            ),
        )


_OWN_CLUSTER: dict[str, Any] = {
    "proxy_location": "EveryNode",
    "http_options": {"host": "0.0.0.0", "port": pods.HTTP_PORT},  # noqa: S104 - inside pods, behind a Service
}
"""How Serve is started in a cluster of the service's own."""


def initial_options(settings: Settings) -> dict[str, Any]:
    """How Serve is started in a Ray cluster that is shared, where our write is the one that starts it.

    Proxies on loopback serve one machine alone, and those of several Ray nodes on it would share the port: a
    connection that falls to one which has no routes yet is answered 404, after the service was said to be Ready.
    So there is one, the head's.
    """
    options = HttpOptions(host=settings.serve_http_host, port=settings.serve_http_port).to_mapping()
    if not options:
        return {}
    location = {"proxy_location": "HeadOnly"} if is_loopback(settings.serve_http_host or "") else {}
    return {**location, "http_options": options}
