"""Which Ray address a service belongs to. `reconcile.reconciler` asks this before it can ask Ray."""

from internvl_operator.plan.observation import ServiceSeen
from internvl_operator.settings import Settings


def ray_address(service: ServiceSeen, settings: Settings) -> str | None:
    """The dashboard's address in its normal form (`addresses`), or None when nobody names one.

    The spec's own address comes first. With an unreadable spec the address that was written to last is used,
    so that such a service can still be deleted.
    """
    if service.spec is not None and service.spec.backend is not None:
        return service.spec.backend.ray.address
    if service.spec is None and service.status is not None and service.status.ray_address is not None:
        return service.status.ray_address
    return settings.ray_address
