"""The Pod Security Standard `restricted`, for pods that a user may have changed; a little stricter where that is simpler.

KubeRay makes the pods, not the user: what a cluster refuses to its users must not come true by our hands. And no pod
gets a service account's token, by whatever volume.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from internvl_operator.errors import Rejected

_VOLUMES = frozenset(
    {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_PROJECTED = frozenset({"configMap", "downwardAPI", "secret"})
_POD_CONTEXT = frozenset(
    {"fsGroup", "fsGroupChangePolicy", "runAsGroup", "runAsNonRoot", "runAsUser", "seccompProfile"}
    | {"supplementalGroups", "supplementalGroupsPolicy"}
)
_CONTEXT = frozenset(
    {"allowPrivilegeEscalation", "capabilities", "readOnlyRootFilesystem", "runAsGroup", "runAsNonRoot"}
    | {"runAsUser", "seccompProfile"}
)
_HOOKS = ("livenessProbe", "readinessProbe", "startupProbe")


def check_restricted(pod: Mapping[str, Any]) -> None:
    """Look at the spec of a pod.

    Raises:
        Rejected: names the path below `spec` that breaks the standard.
    """
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            raise Rejected("pods of the service may not share the node's", field=name)
    _check_pod_context(mapping(pod.get("securityContext"), "securityContext"))
    for path, volume in entries(pod, "volumes", ""):
        _check_volume(volume, path)
    for kind in ("containers", "initContainers"):
        for path, container in entries(pod, kind, ""):
            _check_container(container, path)


def mapping(value: object, path: str) -> Mapping[str, Any]:
    """A mapping of fields; absent counts as empty.

    Raises:
        Rejected: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Rejected("must be a mapping of fields", field=path)
    return value


def entries(owner: Mapping[str, Any], field: str, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Path and content of each named entry of a list; absent counts as empty.

    Raises:
        Rejected: it is no list, or an entry has no name.
    """
    found = owner.get(field)
    if found is not None and not isinstance(found, list | tuple):
        raise Rejected("must be a list", field=f"{path}{field}")
    for number, item in enumerate(found or ()):
        entry = mapping(item, f"{path}{field}[{number}]")
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            raise Rejected("needs a name", field=f"{path}{field}[{number}]")
        yield f"{path}{field}[{name}]", entry


def _check_pod_context(context: Mapping[str, Any]) -> None:
    _check_fields(context, _POD_CONTEXT, "securityContext")
    if context.get("runAsNonRoot") is not True:
        raise Rejected("must stay true", field="securityContext.runAsNonRoot")
    if context.get("seccompProfile") is None:
        raise Rejected("must stay", field="securityContext.seccompProfile")
    _check_identity(context, "securityContext")


def _check_identity(context: Mapping[str, Any], path: str) -> None:
    """What pod and container may both say."""
    if context.get("runAsNonRoot", True) is not True:
        raise Rejected("must be true", field=f"{path}.runAsNonRoot")
    user = context.get("runAsUser")
    if user is not None and (not isinstance(user, int) or isinstance(user, bool) or user <= 0):
        raise Rejected("must be the number of a user other than root", field=f"{path}.runAsUser")
    if "seccompProfile" in context:
        profile = mapping(context["seccompProfile"], f"{path}.seccompProfile")
        if profile.get("type") not in ("RuntimeDefault", "Localhost"):
            raise Rejected("must be RuntimeDefault or Localhost", field=f"{path}.seccompProfile.type")


def _check_volume(volume: Mapping[str, Any], path: str) -> None:
    sources = set(volume) - {"name"}
    if not sources or not sources <= _VOLUMES:
        raise Rejected(f"must be one of {', '.join(sorted(_VOLUMES))}", field=path)
    projected = mapping(volume.get("projected"), f"{path}.projected")
    sources_of = projected.get("sources") or ()
    if not isinstance(sources_of, list | tuple):
        raise Rejected("must be a list", field=f"{path}.projected.sources")
    for number, source in enumerate(sources_of):
        where = f"{path}.projected.sources[{number}]"
        _check_fields(mapping(source, where), _PROJECTED, where)


def _check_container(container: Mapping[str, Any], path: str) -> None:
    context = mapping(container.get("securityContext"), f"{path}.securityContext")
    _check_fields(context, _CONTEXT, f"{path}.securityContext")
    _check_identity(context, f"{path}.securityContext")
    if context.get("allowPrivilegeEscalation") is not False:
        raise Rejected("must be false", field=f"{path}.securityContext.allowPrivilegeEscalation")
    capabilities = mapping(context.get("capabilities"), f"{path}.securityContext.capabilities")
    if capabilities.get("drop") != ["ALL"]:
        raise Rejected("must be [ALL]", field=f"{path}.securityContext.capabilities.drop")
    if capabilities.get("add") not in (None, [], ["NET_BIND_SERVICE"]):
        raise Rejected("may be [NET_BIND_SERVICE] only", field=f"{path}.securityContext.capabilities.add")
    ports = container.get("ports") or ()
    if not isinstance(ports, list | tuple):
        raise Rejected("must be a list", field=f"{path}.ports")
    for number, port in enumerate(ports):
        if mapping(port, f"{path}.ports[{number}]").get("hostPort"):
            raise Rejected("pods of the service may not take a node's port", field=f"{path}.ports[{number}]")
    for hook in _HOOKS:
        _check_hook(mapping(container.get(hook), f"{path}.{hook}"), f"{path}.{hook}")
    lifecycle = mapping(container.get("lifecycle"), f"{path}.lifecycle")
    for name in lifecycle:
        _check_hook(mapping(lifecycle[name], f"{path}.lifecycle.{name}"), f"{path}.lifecycle.{name}")


def _check_hook(hook: Mapping[str, Any], path: str) -> None:
    """The kubelet carries it out, from the node: it may ask this pod only."""
    for way in ("httpGet", "tcpSocket"):
        if mapping(hook.get(way), f"{path}.{way}").get("host"):
            raise Rejected("may ask this pod only; leave it out", field=f"{path}.{way}.host")


def _check_fields(given: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    for name in given:
        if name not in known:
            raise Rejected(
                f"is not allowed here; allowed are {', '.join(sorted(known))}", field=f"{path}.{name}"
            )
