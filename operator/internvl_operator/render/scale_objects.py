"""The InternVLScale of one side: the number of its replicas, where `kubectl scale`, HPA and KEDA find it."""

from internvl_operator.api import labels, names
from internvl_operator.api.names import Role
from internvl_operator.api.scale import InternVLScaleStatus
from internvl_operator.api.scaling_spec import ScaledBy
from internvl_operator.render.cluster_objects import Manifest, Owner
from internvl_operator.render.groups import pod_labels


def render_scale(owner: Owner, role: Role, *, scaled_by: ScaledBy, replicas: int) -> Manifest:
    """The object with a number that the operator decided, or that somebody else may change."""
    decided = {"decided": replicas} if scaled_by is ScaledBy.OPERATOR else {}
    return {
        "apiVersion": labels.API_VERSION,
        "kind": labels.SCALE_KIND,
        "metadata": owner.metadata(names.scale_object(owner.key, role)),
        "spec": {"role": role.value, "owner": scaled_by.value, "replicas": replicas, **decided},
    }


def scale_status(owner: Owner, role: Role, *, running: int, scaled_by: str) -> InternVLScaleStatus:
    """What runs, and the labels of the side's pods."""
    selector = ",".join(f"{name}={value}" for name, value in sorted(pod_labels(owner.key, role).items()))
    return InternVLScaleStatus(replicas=running, selector=selector, owner=scaled_by)


def render_scale_status(owner: Owner, role: Role, status: InternVLScaleStatus) -> Manifest:
    """The status, to be applied to the object of that name."""
    name = names.scale_object(owner.key, role)
    return {
        "apiVersion": labels.API_VERSION,
        "kind": labels.SCALE_KIND,
        "metadata": {"name": name, "namespace": owner.key.namespace},
        "status": status.model_dump(mode="json", by_alias=True),
    }
