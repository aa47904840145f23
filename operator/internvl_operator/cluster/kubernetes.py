"""The Kubernetes API, as far as this operator needs it: services, their status and finalizer, Events, the Lease.

Plain JSON in and out; each answer that is not a success leaves as an `ApiFault` with the status code.
Called by the stores and watches of this package, `handlers` and `__main__`; `cluster.lease` uses it as a `KubeLease`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx2
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType

from internvl_operator.api import labels
from internvl_operator.cluster.lease import LeaseConflict, LeaseUnreachable
from internvl_operator.errors import Rejected

REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
SILENCE_S = 38.0
"""A watch without news for this long is begun anew, so that a half-open connection is noticed within 60 s."""
PAGE = 200

Service = create_namespaced_resource(labels.GROUP, labels.VERSION, labels.KIND, labels.PLURAL)
Event = create_namespaced_resource("events.k8s.io", "v1", "Event", "events")
LeaseObject = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")

OBJECTS = {
    "RayCluster": create_namespaced_resource("ray.io", "v1", "RayCluster", "rayclusters"),
    "Service": create_namespaced_resource("", "v1", "Service", "services"),
    "PodDisruptionBudget": create_namespaced_resource(
        "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"
    ),
    "NetworkPolicy": create_namespaced_resource(
        "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"
    ),
    "HTTPRoute": create_namespaced_resource("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    "Ingress": create_namespaced_resource("networking.k8s.io", "v1", "Ingress", "ingresses"),
    "PodMonitor": create_namespaced_resource("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    "Pod": create_namespaced_resource("", "v1", "Pod", "pods"),
    "Secret": create_namespaced_resource("", "v1", "Secret", "secrets"),
    labels.SCALE_KIND: create_namespaced_resource(
        labels.GROUP, labels.VERSION, labels.SCALE_KIND, labels.SCALE_PLURAL
    ),
}
"""Kinds that belong to a service."""

_UNFIT_MANIFEST = "failed to create typed patch object"
"""Of the API server's sentence about an applied manifest with a field that its kind does not have."""

T = TypeVar("T")


class ApiFault(Exception):
    """The API server refused, or gave no answer (`code` 0). The text is one sentence."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message
        super().__init__(message)

    @property
    def is_gone(self) -> bool:
        """The object (or its kind) does not exist."""
        return self.code in (404, 410)

    @property
    def is_conflict(self) -> bool:
        """Somebody else wrote in between, or the object is another one by now."""
        return self.code == 409

    @property
    def is_undeclared(self) -> bool:
        """The kind's schema lacks a field that was applied; the API server says so with status 500."""
        return "field not declared in schema" in self.message

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later without anybody changing it."""
        return self.code in (0, 408, 409, 429) or (self.code >= 500 and not self.is_undeclared)


class Kubernetes:
    """One client of one API server."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    @classmethod
    def connect(cls) -> "Kubernetes":
        """From the pod's service account, `KUBECONFIG`, or `~/.kube/config`, in this order.

        Raises:
            Rejected: none of them can be used.
        """
        try:
            config = KubeConfig.from_env()
            timeout = httpx2.Timeout(REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
            return cls(
                AsyncClient(config, timeout=timeout, field_manager=labels.FIELD_MANAGER, trust_env=False)
            )
        except (ConfigError, OSError, ValueError, KeyError) as fault:
            raise Rejected(f"no usable Kubernetes configuration: {fault}", field="KUBECONFIG") from fault

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get_service(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The object, or None when there is none."""
        try:
            return dict(await _call(self._client.get(Service, name, namespace=namespace)))
        except ApiFault as fault:
            if fault.is_gone:
                return None
            raise

    async def list_services(self, namespace: str | None) -> list[dict[str, Any]]:
        """All objects of one namespace, or of all (None), by pages."""

        async def collect() -> list[dict[str, Any]]:
            found = self._client.list(Service, namespace=namespace or "*", chunk_size=PAGE)
            return [dict(item) async for item in found]

        return await _call(collect())

    async def apply_status(self, namespace: str, name: str, uid: str, status: dict[str, Any]) -> None:
        """Server-side apply of the whole status. `uid` keeps it off another object of the same name."""
        body = {
            "apiVersion": labels.API_VERSION,
            "kind": labels.KIND,
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "status": status,
        }
        await _call(
            self._client.patch(
                Service.Status,
                name,
                body,
                namespace=namespace,
                patch_type=PatchType.APPLY,
                field_manager=labels.FIELD_MANAGER,
                force=True,
            )
        )

    async def replace_finalizers(self, found: dict[str, Any], finalizers: list[str]) -> None:
        """Set the list, unless the object changed since it was read (then a conflict)."""
        meta = found["metadata"]
        patch = {
            "metadata": {
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
                "finalizers": finalizers,
            }
        }
        await _call(
            self._client.patch(
                Service, meta["name"], patch, namespace=meta["namespace"], patch_type=PatchType.MERGE
            )
        )

    async def create_event(self, event: dict[str, Any]) -> None:
        """Create one events.k8s.io/v1 Event, in the namespace that it names."""
        await _call(self._client.create(Event(**event)))

    async def has_service_kind(self, namespace: str | None) -> bool:
        """Whether the CRD is installed and served; asked by the same list that the watch begins with."""

        async def peek() -> None:
            async for _ in self._client.list(Service, namespace=namespace or "*", chunk_size=1):
                return

        try:
            await _call(peek())
        except ApiFault as fault:
            if fault.is_gone:
                return False
            raise
        return True

    async def list_objects(
        self,
        kind: str,
        namespace: str | None,
        selector: Mapping[str, str | None],
        take: Callable[[dict[str, Any]], None],
    ) -> str:
        """Give `take` each object of one of `OBJECTS` with these labels (None: any value), a page in memory at a time.

        Returns the version of the list.
        """

        async def give_out() -> str:
            found = self._client.list(
                OBJECTS[kind], namespace=namespace or "*", labels=dict(selector), chunk_size=PAGE
            )
            async for item in found:
                take(dict(item))
            return str(found.resourceVersion)

        return await _call(give_out())

    async def watch_objects(
        self, kind: str, namespace: str | None, selector: Mapping[str, str | None], version: str
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Changes after that version, as `ADDED`, `MODIFIED` or `DELETED` and the object.

        Ends when nothing was said for `SILENCE_S`: a dead connection says nothing either, and only another request
        tells the two apart.
        """
        stream = aiter(
            self._client.watch(
                OBJECTS[kind], namespace=namespace or "*", labels=dict(selector), resource_version=version
            )
        )
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    event = await _call(anext(stream, None))
            except TimeoutError:
                return
            if event is None:
                return
            what, found = event
            yield what, dict(found)

    async def get_object(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object, or None."""
        try:
            return dict(await _call(self._client.get(OBJECTS[kind], name, namespace=namespace)))
        except ApiFault as fault:
            if fault.is_gone:
                return None
            raise

    async def apply_object(self, manifest: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply of the whole manifest; what others wrote into our fields is written over."""
        meta = manifest["metadata"]
        found = await _call(
            self._client.patch(
                OBJECTS[manifest["kind"]],
                meta["name"],
                manifest,
                namespace=meta["namespace"],
                patch_type=PatchType.APPLY,
                field_manager=labels.FIELD_MANAGER,
                force=True,
                dry_run=dry_run,
            )
        )
        return dict(found)

    async def apply_object_status(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Server-side apply of the status that the manifest holds."""
        meta = manifest["metadata"]
        found = await _call(
            self._client.patch(
                OBJECTS[manifest["kind"]].Status,
                meta["name"],
                manifest,
                namespace=meta["namespace"],
                patch_type=PatchType.APPLY,
                field_manager=labels.FIELD_MANAGER,
                force=True,
            )
        )
        return dict(found)

    async def delete_object(self, kind: str, namespace: str, name: str) -> None:
        """Delete it; nothing happens when there is none."""
        try:
            await _call(self._client.delete(OBJECTS[kind], name, namespace=namespace))
        except ApiFault as fault:
            if not fault.is_gone:
                raise

    async def create_object(self, manifest: dict[str, Any]) -> None:
        """Create it; a conflict when there is one of that name."""
        await _call(self._client.create(OBJECTS[manifest["kind"]](**manifest)))

    async def read_lease(self, namespace: str, name: str) -> dict[str, Any]:
        """Read the Lease."""
        return dict(await _call(self._client.get(LeaseObject, name, namespace=namespace)))

    async def create_lease(self, lease: dict[str, Any]) -> dict[str, Any]:
        """Create the Lease, in the namespace that it names."""
        return dict(await _call(self._client.create(LeaseObject(**lease))))

    async def replace_lease(self, namespace: str, name: str, lease: dict[str, Any]) -> dict[str, Any]:
        """Replace the Lease if its resourceVersion still matches."""
        body: Any = LeaseObject(**lease)
        return dict(await _call(self._client.replace(body, name, namespace=namespace)))


class KubeLease:
    """The Lease's reads and writes, for `cluster.lease`."""

    def __init__(self, kubernetes: Kubernetes, *, namespace: str, name: str) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._name = name

    async def read(self) -> dict[str, Any] | None:
        """The Lease, or None."""
        try:
            return await self._kubernetes.read_lease(self._namespace, self._name)
        except ApiFault as fault:
            if fault.is_gone:
                return None
            raise LeaseUnreachable(fault.message) from fault

    async def create(self, lease: dict[str, Any]) -> dict[str, Any]:
        """Create it."""
        try:
            return await self._kubernetes.create_lease(lease)
        except ApiFault as fault:
            raise _lease_fault(fault) from fault

    async def replace(self, lease: dict[str, Any]) -> dict[str, Any]:
        """Replace it if nobody wrote it since."""
        try:
            return await self._kubernetes.replace_lease(self._namespace, self._name, lease)
        except ApiFault as fault:
            raise _lease_fault(fault) from fault


def _lease_fault(fault: ApiFault) -> Exception:
    return (LeaseConflict if fault.is_conflict else LeaseUnreachable)(fault.message)


async def _call(request: Awaitable[T]) -> T:
    """Await one request and translate every way that it can fail."""
    try:
        return await request
    except ApiError as fault:
        code = fault.status.code or fault.response.status_code
        if _UNFIT_MANIFEST in str(fault.status.message):
            code = 422  # it says 500, but nothing will pass until the manifest is another
        raise ApiFault(code, f"the API server answers {code}: {fault.status.message}") from fault
    except httpx2.HTTPStatusError as fault:
        code = fault.response.status_code
        raise ApiFault(code, f"the API server answers {code} without a reason") from fault
    except httpx2.TimeoutException as fault:
        raise ApiFault(0, f"the API server does not answer within {REQUEST_TIMEOUT_S:g} s") from fault
    except (httpx2.HTTPError, OSError) as fault:
        raise ApiFault(0, f"the API server cannot be reached: {fault or type(fault).__name__}") from fault
    except ConfigError as fault:
        raise ApiFault(0, f"no credentials for the API server: {fault}") from fault
