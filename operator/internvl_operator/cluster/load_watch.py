"""One round of looking at the load of all services that scale: from a Prometheus where one is set, else from the nodes.

A Prometheus answers for all services at once; a node is read once, however many services have replicas there. One
address that is broken makes only its own services' load unknown. One whose nodes hang, however many it has, holds the
others up for one time-out at most, and one whose head hangs for that of its list. Called by `reconcile.scaler`.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Set
from pathlib import Path

from internvl_operator.api import names
from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import DEPLOYMENTS, Role
from internvl_operator.cluster.http import HttpTransport
from internvl_operator.cluster.load_readings import Readings
from internvl_operator.cluster.node_loads import ExporterFinder, NodeLoads
from internvl_operator.cluster.prometheus import Prometheus, PrometheusFault
from internvl_operator.cluster.prometheus_loads import read_prometheus
from internvl_operator.cluster.promql import Scope
from internvl_operator.cluster.ray import RayFault
from internvl_operator.cluster.replica_counters import WINDOW_S
from internvl_operator.cluster.side_loads import LoadMeter
from internvl_operator.plan.backend import Backend, RayHome
from internvl_operator.plan.observation import LoadSeen, RaySeen
from internvl_operator.settings import ENV_PREFIX, Settings

log = logging.getLogger(__name__)

OWN_REPORT_S, REPORT_S = 1.0, 10.0
"""How often Ray reports in pods that we make, and by its own default."""
REPORT_SETTING = "RAY_metrics_report_interval_ms=1000"
"""What makes a Ray that is not ours report as often."""
PAGES_PER_S = 100.0
"""Pages of nodes that are read at most; with more nodes a round is later."""
PAGES_AT_ONCE = 16
"""Pages that are held at a time, of all addresses together: of the largest ones, 128 MiB."""

ASK_EVERY_S = 2.0
"""Pause between two rounds of queries at least: a Prometheus scrapes seldom more often, and knows nothing newer."""

KEPT_S = 600.0
"""So long the means of a service are kept that is not looked at: Ray may be away for a moment."""
NOT_YET = "its gateway has not told yet what arrives"
NONE_RUNS = "none of its replicas runs"

Places = Mapping[ServiceKey, tuple[RayHome, RaySeen]]


class LoadWatch:
    """Reads the load. Holds what must be known from round to round: counters, means."""

    def __init__(
        self,
        transport: HttpTransport,
        settings: Settings,
        *,
        find: Callable[[RayHome], ExporterFinder],
        now: Callable[[], float],
    ) -> None:
        """Take where it is read.

        Args:
            transport: sends all requests.
            settings: where a Prometheus is, if there is one.
            find: a client of a Ray address.
            now: seconds since 1970.
        """
        self._transport = transport
        self._settings = settings
        self._find = find
        self._now = now
        self._prometheus = _prometheus(transport, settings)
        self._scope = Scope(window_s=settings.prometheus_window_s, matchers=settings.prometheus_matchers)
        self._gate = asyncio.Semaphore(PAGES_AT_ONCE)
        self._nodes: dict[RayHome, NodeLoads] = {}
        self._meters: dict[ServiceKey, tuple[LoadMeter, float]] = {}
        self._said = ""

    @property
    def interval_s(self) -> float:
        """From one round to the next: longer with many nodes, so that looking stays cheap."""
        pages = sum(nodes.pages for nodes in self._nodes.values())
        least_s = pages / PAGES_PER_S if self._prometheus is None else ASK_EVERY_S
        return max(self._settings.load_interval_s, least_s)

    async def read(self, places: Places) -> Mapping[ServiceKey, LoadSeen]:
        """Look once at these services."""
        self._forget(places)
        if not places:
            return {}
        if self._prometheus is not None:
            return await self._ask(self._prometheus, places)
        return await self._look(places)

    def _say(self, trouble: str) -> None:
        """Once, and not each round."""
        if trouble and trouble != self._said:
            log.warning("%s", trouble)
        self._said = trouble

    def _forget(self, places: Places) -> None:
        homes = {home for home, _ in places.values()}
        self._nodes = {home: nodes for home, nodes in self._nodes.items() if home in homes}
        now = self._now()
        self._meters = {
            key: (meter, now if key in places else used)
            for key, (meter, used) in self._meters.items()
            if key in places or 0 <= now - used < KEPT_S
        }

    async def _ask(self, prometheus: Prometheus, places: Places) -> Mapping[ServiceKey, LoadSeen]:
        try:
            readings = await read_prometheus(prometheus, self._scope)
        except PrometheusFault as fault:
            self._say(f"no load is known: {fault}")
            return {key: LoadSeen(reason=Reason.PROMETHEUS_UNAVAILABLE, unknown=str(fault)) for key in places}
        self._say("")
        advice = (
            f"Prometheus at {prometheus.url} has no two samples of the last {self._scope.longest_s:g} s of its gateway; "
            f"let it scrape the Ray nodes each 5 s, or raise {ENV_PREFIX}PROMETHEUS_WINDOW_S to twice the scrape interval"
        )
        return {key: self._measured(key, readings, ray, advice=advice) for key, (_, ray) in places.items()}

    async def _look(self, places: Places) -> Mapping[ServiceKey, LoadSeen]:
        by_home: dict[RayHome, list[ServiceKey]] = {}
        for key, (home, _) in places.items():
            by_home.setdefault(home, []).append(key)
        found = await asyncio.gather(*(self._look_at(home, keys, places) for home, keys in by_home.items()))
        return {key: seen for part in found for key, seen in part.items()}

    async def _look_at(
        self, home: RayHome, keys: Collection[ServiceKey], places: Places
    ) -> Mapping[ServiceKey, LoadSeen]:
        nodes = self._nodes_of(home)
        hosts = {key: _hosts(key, places[key][1]) for key in keys}
        try:
            readings = await nodes.read(set().union(*hosts.values()))
        except RayFault as fault:
            return {key: LoadSeen(reason=Reason.METRICS_MISSING, unknown=fault.message) for key in keys}
        silent = {key: _silence(home, nodes, hosts[key]) for key in keys}
        return {
            key: self._measured(key, readings, places[key][1], advice=why, silent=why)
            for key, why in silent.items()
        }

    def _nodes_of(self, home: RayHome) -> NodeLoads:
        if home not in self._nodes:
            report_s = OWN_REPORT_S if home.backend is Backend.KUBERAY else REPORT_S
            self._nodes[home] = NodeLoads(
                self._find(home), self._transport, gate=self._gate, report_s=report_s, now=self._now
            )
        return self._nodes[home]

    def _measured(
        self,
        key: ServiceKey,
        readings: Mapping[str, Readings],
        ray: RaySeen,
        *,
        advice: str,
        silent: str = "",
    ) -> LoadSeen:
        """The load of one service, or `advice` where there is none."""
        meter, _ = self._meters.setdefault(key, (LoadMeter(key), self._now()))
        running = _running(key, ray)
        loads = meter.loads(readings, running, silent)
        sooner = _sooner(readings.get(names.main_application(key)))
        if loads is None:
            unknown = advice or (f"{NOT_YET}, and {sooner}" if sooner else NOT_YET)
            return LoadSeen(
                reason=Reason.METRICS_MISSING, unknown=unknown if any(running.values()) else NONE_RUNS
            )
        is_whole = all(load.answered_replicas >= load.expected_replicas for load in loads.values())
        reason = Reason.METRICS_SEEN if is_whole else Reason.METRICS_INCOMPLETE
        return LoadSeen(reason=reason, loads=loads, advice=sooner)


def _sooner(main: Readings | None) -> str:
    """Which setting of Ray would let changes of the load be seen sooner; empty where it reports often enough."""
    if main is None or main.report_s <= WINDOW_S:
        return ""
    return (
        f"Ray reports only every {main.report_s:.0f} s: start its nodes with {REPORT_SETTING}, "
        "and changes are seen sooner"
    )


def _prometheus(transport: HttpTransport, settings: Settings) -> Prometheus | None:
    if settings.prometheus_url is None:
        return None
    return Prometheus(
        settings.prometheus_url,
        transport,
        timeout_s=settings.prometheus_timeout_s,
        token=lambda: _token(settings.prometheus_token_file),
    )


def _token(path: str | None) -> str | None:
    """Read the file; None where there is none. What cannot be read is no token, and Prometheus says what it wants."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        log.warning("the token of Prometheus cannot be read from %s", path)
        return None


def _silence(home: RayHome, nodes: NodeLoads, hosts: Set[str]) -> str:
    """Why nobody tells what replicas on these hosts do; empty where each host's exporter answers."""
    if hosts and not nodes.pages:
        return f"Ray at {home.address} names no metrics exporter of the nodes that the replicas run on"
    return next((nodes.silent[host] for host in sorted(hosts & nodes.silent.keys())), "")


def _hosts(key: ServiceKey, ray: RaySeen) -> set[str]:
    """Addresses of the nodes that a service's replicas are on, in whatever state they are."""
    return {
        replica.node_ip
        for name in names.applications(key)
        if name in ray.applications
        for deployment in ray.applications[name].deployments.values()
        for replica in deployment.replicas
        if replica.node_ip is not None
    }


def _running(key: ServiceKey, ray: RaySeen) -> Mapping[Role, int]:
    """Replicas that run, by role."""
    found: dict[Role, int] = {}
    for role in Role:
        application = ray.applications.get(names.application(key, role))
        deployment = None if application is None else application.deployments.get(DEPLOYMENTS[role])
        found[role] = 0 if deployment is None else len(deployment.running)
    return found
