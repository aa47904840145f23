"""`podPatch`: a merge patch on the pod template of a role, and what guards it.

Three guards: the patch reaches only what is listed here; what the operator made is still there afterwards; the pod
fulfils the Pod Security Standard `restricted`. A field that Kubernetes gets later is refused until it is listed.
"""

from collections.abc import Mapping
from typing import Any

from internvl_operator.api import labels
from internvl_operator.errors import Rejected
from internvl_operator.render.restricted import check_restricted, entries, mapping

RAY_CONTAINER = "ray-worker"
"""Where Ray runs; KubeRay takes the first container for it."""

_POD = frozenset(
    {"containers", "dnsConfig", "dnsPolicy", "hostAliases", "imagePullSecrets", "initContainers"}
    | {"priorityClassName", "resourceClaims", "runtimeClassName", "schedulerName", "securityContext"}
    | {"terminationGracePeriodSeconds", "topologySpreadConstraints", "volumes"}
)
_RAY = frozenset({"name", "resources", "securityContext", "volumeMounts"})
_METADATA = frozenset({"annotations", "labels"})
_OWNED_METADATA = (f"{labels.GROUP}/", "ray.io/", "app.kubernetes.io/")
_OLD_SECURITY = ("container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/")
"""Annotations that once were fields of the security context, and still count."""
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
}
_MAY_CHANGE = frozenset(
    {
        "spec.priorityClassName",
        "spec.runtimeClassName",
        "spec.securityContext",  # `restricted` says what must stay of it
        "spec.terminationGracePeriodSeconds",
        "spec.topologySpreadConstraints",
        f"spec.containers[{RAY_CONTAINER}].securityContext",
    }
)

Template = Mapping[str, Any]


def patch_template(template: Template, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The template with the patch in it.

    Raises:
        Rejected: names the path in the patch that is not allowed.
    """
    _check_reach(patch)
    patched: dict[str, Any] = _merge(template, patch, "", "")
    _check_kept(template, patched, "", "")
    try:
        check_restricted(patched["spec"])
    except Rejected as fault:
        raise Rejected(fault.message, field=f"spec.{fault.field}") from fault
    return patched


def _check_reach(patch: Mapping[str, Any]) -> None:
    _only(patch, frozenset({"metadata", "spec"}), "")
    metadata = mapping(patch.get("metadata"), "metadata")
    _only(metadata, _METADATA, "metadata.")
    for kind in _METADATA:
        for name, value in mapping(metadata.get(kind), f"metadata.{kind}").items():
            if name.startswith((*_OWNED_METADATA, *_OLD_SECURITY)):
                raise Rejected("is not the user's; leave it out", field=f"metadata.{kind}[{name}]")
            if not isinstance(value, str):
                raise Rejected("must be text; put it in quotes", field=f"metadata.{kind}[{name}]")
    spec = mapping(patch.get("spec"), "spec")
    _only(spec, _POD, "spec.")
    for path, container in entries(spec, "containers", "spec."):
        if container["name"] == RAY_CONTAINER:
            _only(container, _RAY, f"{path}.")


def _only(given: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    for name in given:
        if name not in known:
            message = f"is not allowed in a patch; allowed here are {', '.join(sorted(known))}"
            raise Rejected(message, field=f"{path}{name}")


def _merge(base: Any, patch: Any, path: str, field: str) -> Any:
    """JSON merge patch (null takes away); lists with names are merged by them, others are replaced."""
    if isinstance(patch, Mapping):
        merged = dict(base) if isinstance(base, Mapping) else {}
        for name, value in patch.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = _merge(merged.get(name), value, _below(path, name), name)
        return merged
    if isinstance(patch, list) and field in _MERGE_KEYS:
        return _merge_list(base if isinstance(base, list) else [], patch, path, _MERGE_KEYS[field])
    return patch


def _merge_list(base: list[Any], patch: list[Any], path: str, key: str) -> list[Any]:
    merged = {item[key]: item for item in base}
    for number, item in enumerate(patch):
        name = mapping(item, f"{path}[{number}]").get(key)
        if not isinstance(name, str):
            raise Rejected(f"needs a {key}", field=f"{path}[{number}]")
        merged[name] = _merge(merged.get(name), item, f"{path}[{name}]", "")
    return list(merged.values())


def _check_kept(before: Any, after: Any, path: str, field: str) -> None:
    """Whatever was in the template is in the patched one."""
    if path in _MAY_CHANGE:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name, value in before.items():
            _check_kept(value, after.get(name), _below(path, name), name)
    elif isinstance(before, list) and isinstance(after, list) and field in _MERGE_KEYS:
        key = _MERGE_KEYS[field]
        found = {item[key]: item for item in after}
        for item in before:
            _check_kept(item, found.get(item[key]), f"{path}[{item[key]}]", "")
    elif before != after:
        raise Rejected("is the operator's and must stay as it is", field=path)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
