"""What the Ray nodes of one address say themselves: each node's exporter is read once a round, for all services there.

Where a node does not answer, its replicas are known for a while from before, and count as silent: who reads this sees
fewer replicas than run. So does a replica one of whose samples is no number. Where Ray says that no replica runs on a
node any more, they are forgotten at once.

A node that hangs must cost little: a round begins no more pages once one of this address has timed out, those that told
last are read first, and who timed out without that is not asked again for a while. Called by `cluster.load_watch`.
"""

import asyncio
import ipaddress
import math
from collections.abc import Callable, Collection, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from internvl_operator.addresses import is_loopback
from internvl_operator.cluster.exposition import Sample, parse_page
from internvl_operator.cluster.http import HttpFault, HttpTimedOut, HttpTransport
from internvl_operator.cluster.load_readings import COUNTERS, GAUGES, PRESENCE, Readings, Series
from internvl_operator.cluster.replica_counters import ReplicaCounters
from internvl_runtimes.contract.metrics import (
    APPLICATION_LABEL,
    DEPLOYMENT_LABEL,
    PREFIX,
    REPLICA_LABEL,
    REPORTS,
    Metric,
)

PATH = "/metrics"
TIMEOUT_S = 2.0
MAX_BYTES = 8 * 1024 * 1024
"""Of one page."""
PAGES_AT_ONCE = 4
"""Pages of one address that are asked for at a time: one that hangs leaves room to the others."""
HUNG_S = 10.0
"""So long a node is not asked again that did not answer in time; one that told just before is, once."""
FIND_EVERY_S = 10.0
"""Pause between two looks at where the exporters are, while each node has one."""
KEPT_S = 15.0
"""So long a replica counts whose node does not answer, while Ray says that replicas run there."""
PREFIXES = (f"{PREFIX}internvl_",)

_COUNTERS = {metric.exported: metric for metric in (*COUNTERS, REPORTS)}
"""With `REPORTS`, which moves at rest too: a load that begins is then over the last seconds, not over the rest."""
_GAUGES = {metric.exported: metric for metric in GAUGES}

Replica = tuple[str, str, str]
"""Application, deployment, and its own name."""


class ExporterFinder(Protocol):
    """Ray's own list of exporters."""

    address: str

    async def fetch_exporters(self) -> tuple[str, ...]:
        """`host:port` of each, or raise a `RayFault`."""
        ...


class NodeLoads:
    """Reads the exporters of one Ray address, and remembers the counters of each replica."""

    def __init__(
        self,
        finder: ExporterFinder,
        transport: HttpTransport,
        *,
        gate: asyncio.Semaphore,
        report_s: float,
        now: Callable[[], float],
    ) -> None:
        """Take where the nodes are found.

        Args:
            finder: the Ray address.
            transport: reads the pages.
            gate: bounds how many pages are held at a time, of all addresses together.
            report_s: how often Ray reports there, until it was seen.
            now: seconds since 1970.
        """
        self._finder = finder
        self._transport = transport
        self._gate = gate
        self._own_gate = asyncio.Semaphore(PAGES_AT_ONCE)
        self._report_s = report_s
        self._now = now
        self._exporters: tuple[str, ...] = ()
        self._found_at: float | None = None
        self._replicas: dict[Replica, ReplicaCounters] = {}
        self._nodes: dict[Replica, str] = {}
        self._told: set[Replica] = set()
        self._told_last: set[str] = set()
        """Exporters of replicas that told something in the round before."""
        self._hung: dict[str, tuple[float, str]] = {}
        """Exporters that are not asked: since when, and a sentence why."""
        self._hangs = False
        """Whether one did not answer in time in this round."""
        self.silent: Mapping[str, str] = {}
        """Sentences about the exporters that did not answer in the last round, by the address of their node."""

    @property
    def pages(self) -> int:
        """How many were asked in the last round."""
        return len(self._exporters)

    async def read(self, hosts: Collection[str]) -> Mapping[str, Readings]:
        """Read once. `hosts`: addresses of the nodes that matter. Readings by the name of the application.

        Raises:
            RayFault: Ray does not say where its exporters are.
        """
        await self._find(hosts)
        self._told_last = {self._nodes[replica] for replica in self._told}
        self._told.clear()
        self._exporters = tuple(
            sorted(
                (one for one in self._exporters if _host(one) in hosts),
                key=lambda one: one not in self._told_last,
            )
        )
        self._hung = {one: hung for one, hung in self._hung.items() if one in self._exporters}
        self._hangs = False
        faults = await asyncio.gather(*(self._look(exporter) for exporter in self._exporters))
        found = dict(zip(self._exporters, faults, strict=True))
        self.silent = {_host(exporter): fault for exporter, fault in found.items() if fault}
        self._drop({exporter for exporter, fault in found.items() if not fault}, hosts, self._now())
        return self._readings()

    async def _look(self, exporter: str) -> str:
        """Take in a node's page when it comes: another node that hangs must not make it look later than it is.

        Returns a sentence why there is none, else nothing.
        """
        hung_at, fault = self._hung.get(exporter, (-math.inf, ""))
        if 0 <= self._now() - hung_at < HUNG_S:
            return fault
        async with self._own_gate:
            if self._hangs:
                return fault or f"the node {exporter} was not asked for its load, because another one hangs"
            async with self._gate:
                page = await self._page(exporter)
                if isinstance(page, str):
                    return page
                self._take(exporter, page, self._now())
                return ""

    async def _find(self, hosts: Collection[str]) -> None:
        now = self._now()
        is_fresh = self._found_at is not None and 0 <= now - self._found_at < FIND_EVERY_S
        if is_fresh and {_host(exporter) for exporter in self._exporters} >= set(hosts):
            return
        allowed = [item for item in await self._finder.fetch_exporters() if self._may_ask(item, hosts)]
        self._exporters = tuple(dict.fromkeys(allowed))
        self._found_at = now

    def _may_ask(self, exporter: str, hosts: Collection[str]) -> bool:
        """Whether it is a node's: what Ray says is not trusted further than the nodes that its replicas run on."""
        host, port = _host(exporter), exporter.rpartition(":")[2]
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        is_port = port.isdigit() and 1024 <= int(port) <= 65535
        is_far = not (address.is_loopback or address.is_link_local or address.is_multicast)
        is_local = address.is_loopback and is_loopback(urlsplit(self._finder.address).hostname or "")
        return is_port and host in hosts and (is_far or is_local)

    async def _page(self, exporter: str) -> bytes | str:
        """The page, or a sentence why there is none."""
        try:
            reply = await self._transport.request(
                "GET",
                f"http://{exporter}{PATH}",
                headers={"Accept": "text/plain"},
                timeout_s=TIMEOUT_S,
                max_bytes=MAX_BYTES,
            )
        except HttpFault as fault:
            why = f"the node {exporter} does not tell its load: {fault}"
            if isinstance(fault, HttpTimedOut):
                self._hangs = True
                if exporter not in self._told_last:
                    self._hung[exporter] = self._now(), why
            return why
        self._hung.pop(exporter, None)
        if reply.status != 200:
            return f"the node {exporter} does not tell its load: it answers {reply.status}"
        return reply.body

    def _take(self, exporter: str, page: bytes, now: float) -> None:
        """Take in what the page says of replicas that are present.

        Ray shows the counters of a replica that is gone for as long as its node lives, its gauges for two reports.
        Source: ray 2.60, `_private/telemetry/open_telemetry_metric_recorder.py`, `_create_observable_callback`.
        """
        present: set[Replica] = set()
        counters: dict[Replica, dict[Series, float]] = {}
        gauges: dict[Replica, dict[Series, float]] = {}
        for sample in parse_page(page, PREFIXES):
            replica = _replica(sample)
            if sample.name in _COUNTERS:
                _keep_largest(counters.setdefault(replica, {}), _COUNTERS[sample.name], sample)
            elif sample.name in _GAUGES:
                _keep_largest(gauges.setdefault(replica, {}), _GAUGES[sample.name], sample)
            elif sample.name == PRESENCE.exported:
                present.add(replica)
        for replica in present:
            values = counters.get(replica, {})
            if any(map(math.isnan, (*values.values(), *gauges.get(replica, {}).values()))):
                continue
            known = self._replicas.setdefault(replica, ReplicaCounters(self._report_s))
            known.take(now, values, gauges.get(replica, {}))
            self._nodes[replica] = exporter
            self._told.add(replica)

    def _drop(self, answered: Collection[str], hosts: Collection[str], now: float) -> None:
        """Forget replicas that are gone: their node answered without them, has not answered for long, or has none."""
        for replica, node in list(self._nodes.items()):
            is_old = not 0 <= now - self._replicas[replica].looked_at <= KEPT_S
            if replica not in self._told and (node in answered or is_old or _host(node) not in hosts):
                del self._replicas[replica], self._nodes[replica]

    def _readings(self) -> Mapping[str, Readings]:
        by_application: dict[str, list[Replica]] = {}
        for replica in self._replicas:
            by_application.setdefault(replica[0], []).append(replica)
        return {name: self._sum(replicas) for name, replicas in by_application.items()}

    def _sum(self, replicas: list[Replica]) -> Readings:
        """Of the replicas of one application. Of one that was seen once there is no rate yet."""
        rates: dict[Series, float] = {}
        gauges: dict[Series, float] = {}
        told: dict[str, int] = {}
        for replica in replicas:
            _add(rates, self._replicas[replica].rates())
            _add(gauges, self._replicas[replica].gauges)
            if replica in self._told:
                told[replica[1]] = told.get(replica[1], 0) + 1
        found = [self._replicas[replica] for replica in replicas]
        return Readings(
            at=max(one.looked_at for one in found),
            window_s=max(one.window_s for one in found),
            report_s=min(one.seen_interval_s for one in found),
            rates=rates,
            gauges=gauges,
            replicas=told,
        )


def _replica(sample: Sample) -> Replica:
    application, deployment, replica = (
        sample.labels.get(label, "") for label in (APPLICATION_LABEL, DEPLOYMENT_LABEL, REPLICA_LABEL)
    )
    return application, deployment, replica


def _host(exporter: str) -> str:
    return exporter.rpartition(":")[0].strip("[]")


def _keep_largest(values: dict[Series, float], metric: Metric, sample: Sample) -> None:
    """One replica may be told twice, by the worker before and the one now. A number counts, if one of them is one."""
    series = (metric.name, next((sample.labels.get(tag, "") for tag in metric.tags), ""))
    known = values.get(series, math.nan)
    values[series] = sample.value if math.isnan(known) else max(known, sample.value)


def _add(sums: dict[Series, float], values: Mapping[Series, float]) -> None:
    for series, value in values.items():
        sums[series] = sums.get(series, 0.0) + value
