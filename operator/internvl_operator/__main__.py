"""The operator process: `python -m internvl_operator`. Composition root; nothing imports this module.

Settings come from `INTERNVL_OPERATOR_*`. The Lease is taken before Kopf starts, and the process exits at once
when it is lost: whoever starts it again makes it wait for its turn.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

from internvl_operator import VERSION
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.pods import PodSettings, parse_pod_settings
from internvl_operator.cluster.fleet import Fleet
from internvl_operator.cluster.http import AiohttpTransport
from internvl_operator.cluster.installation import Installation, wait_for_installation
from internvl_operator.cluster.kinds import SCALES
from internvl_operator.cluster.kubernetes import ApiFault, KubeLease, Kubernetes
from internvl_operator.cluster.lease import Lease, LeaseLost
from internvl_operator.cluster.load_watch import LoadWatch
from internvl_operator.cluster.object_store import KubeObjectStore
from internvl_operator.cluster.object_watch import ObjectWatch
from internvl_operator.cluster.scale_store import KubeScaleStore
from internvl_operator.cluster.service_store import KubeServiceStore, see_service
from internvl_operator.cluster.tokens import Tokens, ensure_token_key
from internvl_operator.errors import Rejected
from internvl_operator.handlers.liveness import Liveness
from internvl_operator.handlers.operator_metrics import OperatorMetrics
from internvl_operator.handlers.resync import KindGone, Resync
from internvl_operator.handlers.watching import Watcher
from internvl_operator.logs import configure_logging
from internvl_operator.reconcile.loop import WorkQueue
from internvl_operator.reconcile.reconciler import Reconciler
from internvl_operator.reconcile.scaler import Scaler
from internvl_operator.settings import ENV_PREFIX, Settings

log = logging.getLogger("internvl_operator")

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_LEASE_LOST = 3
EXIT_STOPPED = 4
STOP = "stop"
"""Name of the one part that may end."""
CRD_EVERY_S = 3.0
STALL_S = 120.0
"""A reconcile that runs, or a change that the watch owes, for longer than this means that we are stuck."""
GARBAGE_AFTER = 50_000
"""New objects after which Python looks for cycles of garbage. Its own 700 took a quarter of the CPU of a start with a
thousand services, and of rest with them: some of these looks walk all that is known, and little of the garbage here
is in cycles."""


@dataclass(frozen=True, slots=True)
class Options:
    """Command line of the process."""

    liveness: str | None
    log_level: str
    check: bool


def parse_options(arguments: Sequence[str]) -> Options:
    """Read the command line; exits with a usage message when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m internvl_operator", description=__doc__)
    parser.add_argument(
        "--liveness", metavar="URL", help="serve the liveness check there, e.g. http://127.0.0.1:8081/healthz"
    )
    parser.add_argument(
        "--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"), help="default: INFO"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="look whether the installation is whole, say what is missing, and end",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    found = parser.parse_args(arguments)
    return Options(liveness=found.liveness, log_level=found.log_level, check=found.check)


def main(arguments: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run the operator until a signal; returns the exit status."""
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    configure_logging(options.log_level)
    gc.set_threshold(GARBAGE_AFTER, *gc.get_threshold()[1:])
    try:
        settings = _with_unique_identity(Settings.from_env(os.environ if env is None else env))
        offer = read_offer(settings)
        return asyncio.run(_check(settings, offer) if options.check else _run(settings, offer, options))
    except Rejected as fault:
        log.error("%s", fault)
        return EXIT_USAGE


def read_offer(settings: Settings) -> PodSettings | None:
    """Read the pods' file; None when no Ray cluster is to be made for services.

    Raises:
        Rejected: it is missing or wrong; names the setting.
    """
    if settings.pods_file is None:
        return None
    try:
        return parse_pod_settings(Path(settings.pods_file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as fault:
        raise Rejected(f"cannot be read: {fault}", field=f"{ENV_PREFIX}PODS_FILE") from fault
    except Rejected as fault:
        raise Rejected(str(fault), field=f"{ENV_PREFIX}PODS_FILE {settings.pods_file}") from fault


def _with_unique_identity(settings: Settings) -> Settings:
    """Two processes must never hold one identity: the Lease is theirs to fight for."""
    unique = f"{settings.identity}_{socket.gethostname()}_{os.getpid()}_{uuid4().hex[:8]}"
    return replace(settings, identity=unique)


@dataclass(frozen=True, slots=True)
class Pods:
    """What is needed where Ray clusters are made for services."""

    offer: PodSettings
    tokens: Tokens


async def _check(settings: Settings, offer: PodSettings | None) -> int:
    kubernetes = Kubernetes.connect()
    try:
        whole = await wait_for_installation(
            Installation(kubernetes, settings, offer), print, now=_now, sleep=asyncio.sleep
        )
    finally:
        await kubernetes.close()
    return 0 if whole else EXIT_INCOMPLETE


async def _run(settings: Settings, offer: PodSettings | None, options: Options) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    log.info("internvl-operator %s starts as %s", VERSION, settings.identity)
    kubernetes = Kubernetes.connect()
    liveness = Liveness(options.liveness) if options.liveness else None
    lease = Lease(
        KubeLease(kubernetes, namespace=settings.lease_namespace, name=settings.lease_name),
        name=settings.lease_name,
        namespace=settings.lease_namespace,
        identity=settings.identity,
        duration_s=settings.lease_duration_s,
        monotonic=loop.time,
    )
    try:
        if liveness is not None:
            await liveness.start()
        if not await _unless(stop, _wait_for_kind(kubernetes, settings)):
            return 0
        if not await _unless(stop, lease.acquire()):
            return 0
        keeper = asyncio.create_task(_keep(lease), name="lease")
        pods = None
        if offer is not None:
            key = await ensure_token_key(kubernetes, settings.lease_namespace, settings.token_key_secret)
            pods = Pods(offer, Tokens(key))
        status = await _operate(settings, pods, kubernetes, lease, liveness, stop)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        return status
    finally:
        await lease.release()
        if liveness is not None:
            await liveness.close()
        await kubernetes.close()


async def _operate(
    settings: Settings,
    pods: Pods | None,
    kubernetes: Kubernetes,
    lease: Lease,
    liveness: Liveness | None,
    stop: asyncio.Event,
) -> int:
    """Reconcile until `stop`, or until a part of the process ends that should not."""
    loop = asyncio.get_running_loop()
    async with AiohttpTransport() as transport:
        queue: WorkQueue[ServiceKey] = WorkQueue(lambda key: reconciler.reconcile(key), clock=loop)
        fleet = Fleet(
            transport,
            settings,
            wake=queue.add,
            now=_now,
            fence=lease.check,
            tokens=None if pods is None else pods.tokens,
        )
        watch = objects = None
        if pods is not None:
            watch = ObjectWatch(Kubernetes.connect, namespaces=settings.namespaces, wake=queue.add)
            objects = KubeObjectStore(kubernetes, watch, pods.tokens, monotonic=loop.time)
        watched_scales = ObjectWatch(
            Kubernetes.connect, namespaces=settings.namespaces, wake=queue.add, kinds=(SCALES,)
        )
        loads = LoadWatch(transport, settings, find=fleet.api, now=lambda: _now().timestamp())
        metrics = OperatorMetrics()
        scaler = Scaler(
            loads,
            fleet,
            quiet_s=settings.scale_down_after_s,
            wake=queue.add,
            now=_now,
            offer=None if pods is None else pods.offer,
            recorder=metrics,
        )
        store = KubeServiceStore(kubernetes, identity=settings.identity, monotonic=loop.time)
        reconciler = Reconciler(
            store,
            fleet,
            settings,
            now=_now,
            objects=objects,
            offer=None if pods is None else pods.offer,
            scaler=scaler,
            scales=KubeScaleStore(kubernetes, watched_scales, monotonic=loop.time),
            fence=lease.check,
        )

        def read_anew(key: ServiceKey) -> None:
            reconciler.tell(key, None)
            queue.add(key)

        resync = Resync(
            lambda: _list_all(kubernetes, settings),
            add=read_anew,
            known=fleet.keys,
            monotonic=loop.time,
            sleep=asyncio.sleep,
        )

        def on_event(key: ServiceKey, version: str, deleted: bool, listed: Mapping[str, Any] | None) -> None:
            resync.on_key(key, version, deleted)
            reconciler.tell(key, None if listed is None else see_service(listed))

        if liveness is not None:
            liveness.show(metrics)
            # Not the Lease: an outage of the API server is no reason to restart every operator after it.
            liveness.add(
                (
                    lambda: "a reconcile is stuck" if queue.longest_s() > STALL_S else None,
                    lambda: "the watch has stalled" if resync.stalled_for() > STALL_S else None,
                )
            )
        parts = {
            asyncio.create_task(queue.run(), name="work queue"),
            asyncio.create_task(resync.run(), name="resync"),
            asyncio.create_task(scaler.run(), name="scaling"),
            asyncio.create_task(Watcher(on_event, namespaces=settings.namespaces).run(), name="watch"),
            asyncio.create_task(watched_scales.run(), name="watch of scales"),
            asyncio.create_task(stop.wait(), name=STOP),
        }
        if watch is not None:
            parts.add(asyncio.create_task(watch.run(), name="watch of objects"))
        ended, running = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await fleet.close()
    return _status_of(ended)


def _status_of(ended: set[asyncio.Task[Any]]) -> int:
    for task in ended:
        fault = task.exception()
        if isinstance(fault, KindGone):
            log.error("%s; stopping", fault)
            return EXIT_STOPPED
        if fault is not None:
            log.error("the %s ended: %s: %s", task.get_name(), type(fault).__name__, fault)
            return EXIT_STOPPED
        if task.get_name() != STOP:
            log.error("the %s ended", task.get_name())
            return EXIT_STOPPED
    log.info("stopping")
    return 0


async def _list_all(kubernetes: Kubernetes, settings: Settings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for namespace in settings.namespaces or (None,):
        found += await kubernetes.list_services(namespace)
    return found


async def _wait_for_kind(kubernetes: Kubernetes, settings: Settings) -> None:
    """Until the CRD is there and the API server lets us list; says what it waits for whenever that changes."""
    told = ""
    while True:
        namespace = settings.namespaces[0] if settings.namespaces else None
        try:
            if await kubernetes.has_service_kind(namespace):
                return
            trouble = "the CRD of InternVLService is not installed: kubectl apply -f manifests/crds"
        except ApiFault as fault:
            trouble = fault.message
        if trouble != told:
            log.warning("waiting: %s", trouble)
            told = trouble
        await asyncio.sleep(CRD_EVERY_S)


async def _keep(lease: Lease) -> NoReturn:
    try:
        await lease.keep()
    except LeaseLost as fault:
        log.critical("lost the lease (%s); exiting at once, another process may act now", fault)
    except Exception:
        log.critical("cannot keep the lease; exiting at once", exc_info=True)
    else:
        log.critical("the lease is no longer kept; exiting at once")
    logging.shutdown()
    os._exit(EXIT_LEASE_LOST)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await the work; False if `stop` came first. A fault of the work is raised."""
    task = asyncio.create_task(work)
    stopper = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopper}, return_when=asyncio.FIRST_COMPLETED)
    stopper.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
