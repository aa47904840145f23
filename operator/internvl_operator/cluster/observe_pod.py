"""A pod of the API server as the value that `plan` reads. Pure translation; called by `cluster.kinds`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from internvl_operator.api import labels
from internvl_operator.plan.observation import PodSeen


def see_pod(pod: Mapping[str, Any]) -> PodSeen:
    """One pod as the plan reads it."""
    meta, status = pod["metadata"], pod.get("status", {})
    given = meta.get("labels", {})
    trouble, detail = _pod_trouble(status)
    return PodSeen(
        name=meta["name"],
        group=str(given.get("ray.io/group", "")),
        cluster=str(given.get(labels.RAY_CLUSTER, "")) if labels.ROLE in given else "",
        phase=str(status.get("phase", "")),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
        node=pod.get("spec", {}).get("nodeName"),
        address=status.get("podIP"),
        trouble=trouble,
        detail=detail,
        unscheduled_since=_unscheduled_since(status),
        deleting="deletionTimestamp" in meta,
    )


_NO_TROUBLE = ("ContainerCreating", "PodInitializing")


def _pod_trouble(status: Mapping[str, Any]) -> tuple[str, str]:
    """Reason and sentence of what keeps a pod from running; empty while nothing does."""
    own = list(status.get("containerStatuses") or ())
    for container in [*(status.get("initContainerStatuses") or ()), *own]:
        waiting = container.get("state", {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        ended = container.get("lastState", {}).get("terminated") or {}
        last = f"last ended with {ended.get('exitCode')}: {ended.get('reason')}"
        if reason and reason not in _NO_TROUBLE:
            return reason, f"{waiting.get('message') or reason}{f' ({last})' if ended else ''}"
        if ended and container in own and not container.get("ready"):
            return "Restarted", last  # between two crashes it looks well
    homeless = _without_node(status)
    if homeless is not None:
        return str(homeless.get("reason") or "Unschedulable"), str(homeless.get("message") or "")
    if status.get("phase") == "Failed":
        return str(status.get("reason") or "Failed"), str(status.get("message") or "the pod has failed")
    return "", ""


def _unscheduled_since(status: Mapping[str, Any]) -> datetime | None:
    since = (_without_node(status) or {}).get("lastTransitionTime")
    return None if since is None else datetime.fromisoformat(str(since))


def _without_node(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The condition that says that no node was found for the pod."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            found: Mapping[str, Any] = condition
            return found
    return None
