"""Which Ray cluster a service belongs to, and who makes it. `reconcile.reconciler` asks this before it can ask Ray."""

from dataclasses import dataclass
from enum import StrEnum

from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import House
from internvl_operator.plan.observation import ServiceSeen
from internvl_operator.settings import Settings


class Backend(StrEnum):
    """Who makes the Ray cluster."""

    RAY = "ray"
    """Somebody else: it is only written to."""
    KUBERAY = "kuberay"
    """We, by a RayCluster of the service's own."""


@dataclass(frozen=True, slots=True)
class RayHome:
    """One Ray cluster, as a service knows it."""

    backend: Backend
    address: str
    """The dashboard's address in its normal form (`addresses`)."""
    owner: ServiceKey | None = None
    """The service whose own cluster it is; its token is that service's. None: without a token."""
    uid: str = ""
    """Of the owner: a later service of the same name has another token."""


def ray_home(service: ServiceSeen, settings: Settings, house: House = House.FIRST) -> RayHome | None:
    """Where the service lives, or None when nobody says. `house` counts only where it has Ray clusters of its own.

    The spec's own address comes first, then the operator's settings, then a cluster of its own where the
    settings say how pods are made. With an unreadable spec the address that was written to last is used, so that
    such a service can still be deleted.
    """
    own = RayHome(Backend.KUBERAY, names.head_address(service.key, house), service.key, service.uid)
    if service.spec is not None and service.spec.backend is not None:
        return RayHome(Backend.RAY, service.spec.backend.ray.address)
    if service.spec is None and service.status is not None and service.status.ray_address is not None:
        known = service.status.ray_address
        is_own = known in [names.head_address(service.key, one) for one in House]
        return own if is_own else RayHome(Backend.RAY, known)
    if settings.ray_address is not None:
        return RayHome(Backend.RAY, settings.ray_address)
    return None if settings.pods_file is None else own
