"""An InternVLScale of the API server as the value that `plan` reads. Pure translation; called by `cluster.kinds`."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from internvl_operator.api import labels
from internvl_operator.api.scale import InternVLScaleStatus
from internvl_operator.plan.observation import ScaleSeen


def see_scale(found: Mapping[str, Any]) -> ScaleSeen:
    """One InternVLScale as the plan reads it."""
    meta, spec = found["metadata"], found.get("spec", {})
    return ScaleSeen(
        name=meta["name"],
        service_uid=next(
            (
                str(owner["uid"])
                for owner in meta.get("ownerReferences") or ()
                if owner.get("kind") == labels.KIND
            ),
            None,
        ),
        owner=str(spec.get("owner", "")),
        replicas=int(spec.get("replicas") or 0),
        decided=spec.get("decided"),
        writer=_writer(meta.get("managedFields") or ()),
        status=_status(found.get("status")),
        deleting="deletionTimestamp" in meta,
    )


def _writer(managed: Any) -> str:
    """The field manager that wrote `spec.replicas` last, which the API server notes; empty where it was us."""
    writers = [
        entry
        for entry in managed
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        and entry.get("manager") != labels.FIELD_MANAGER
    ]
    newest = max(writers, key=lambda entry: str(entry.get("time", "")), default=None)
    return "" if newest is None else str(newest.get("manager", ""))


def _status(found: Mapping[str, Any] | None) -> InternVLScaleStatus | None:
    try:
        return None if not found else InternVLScaleStatus.model_validate(found)
    except ValidationError:
        return None
