"""The kinds of objects that a service with a Ray cluster of its own consists of, and what is kept of each object.

One table: `object_watch` watches what stands here, and nothing else is known of a service's objects. Secrets are
missing on purpose: they are created and never read.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from internvl_operator.api import labels, names
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.observe_pod import see_pod
from internvl_operator.cluster.observe_scale import see_scale
from internvl_operator.plan.observation import PodSeen, ScaleSeen
from internvl_operator.render.cluster_objects import Manifest
from internvl_operator.render.serve_schema import encode_json

Kept = str | PodSeen | ScaleSeen
"""What is kept of an object: the text of `keep`, or a value. Two of them are equal when nothing changed for `plan`."""

_VOLATILE = ("managedFields", "resourceVersion", "generation")
"""Metadata that changes, or takes room, without a meaning for `plan`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """One kind, and which objects of it are a service's."""

    name: str
    """A key of `cluster.kubernetes.OBJECTS`."""
    selector: Mapping[str, str | None]
    """Labels that the API server selects by; None: any value."""
    label: str
    """One of them, whose value says whose object it is."""
    values_of: Callable[[ServiceKey], tuple[str, ...]]
    """Those values, for a service."""
    keep: Callable[[Manifest], Kept]
    is_optional: bool = False
    """Watched only once some service announces it (`render.optional_objects`): not every cluster knows it."""


def keep_with_status(found: Manifest) -> str:
    """As JSON: as dicts, the Ray clusters of a thousand services would take ten times the memory."""
    metadata = {key: value for key, value in found["metadata"].items() if key not in _VOLATILE}
    # Lists name neither kind nor version, events do.
    rest = {key: value for key, value in found.items() if key not in ("kind", "apiVersion", "metadata")}
    status = {key: value for key, value in rest.get("status", {}).items() if key != "lastUpdateTime"}
    return encode_json({**rest, "metadata": metadata, **({"status": status} if status else {})})


def keep(found: Manifest) -> str:
    """Without the status, which others write often and nobody here reads."""
    return keep_with_status({key: value for key, value in found.items() if key != "status"})


def manifest_of(kept: str) -> Manifest:
    """The object again, as far as it was kept."""
    found: dict[str, Any] = json.loads(kept)
    return found


def _ours(name: str, *, keep: Callable[[Manifest], Kept] = keep, is_optional: bool = False) -> ObjectKind:
    """A kind that this operator writes."""
    return ObjectKind(
        name=name,
        selector={labels.MANAGED_BY: labels.COMPONENT, labels.SERVICE: None},
        label=labels.SERVICE,
        values_of=lambda key: (key.name,),
        keep=keep,
        is_optional=is_optional,
    )


KINDS: tuple[ObjectKind, ...] = (
    _ours("RayCluster", keep=keep_with_status),
    _ours("Service"),
    _ours("PodDisruptionBudget"),
    _ours("NetworkPolicy"),
    _ours("HTTPRoute", keep=keep_with_status, is_optional=True),
    _ours("Ingress", is_optional=True),
    _ours("PodMonitor", is_optional=True),
    ObjectKind(  # made by KubeRay, which gives them labels of its own
        name="Pod",
        selector={labels.RAY_CLUSTER: None},
        label=labels.RAY_CLUSTER,
        values_of=names.ray_clusters,
        keep=see_pod,
    ),
)

SCALES = _ours(labels.SCALE_KIND, keep=see_scale, is_optional=True)
"""Of services whose numbers are not fixed, wherever their replicas are: watched apart from `KINDS`."""
