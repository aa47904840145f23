"""Serve's answer as the values that `plan` reads. Pure translation; called by `ray_watch`.

Fields that Serve leaves out while something starts or dies are expected to be missing.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from internvl_operator.cluster.ray import ServeState
from internvl_operator.plan.observation import ApplicationSeen, DeploymentSeen, RaySeen, ReplicaSeen

_HOST = re.compile(r"[A-Za-z0-9._:-]*")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_WILDCARDS = ("", "0.0.0.0", "::", "127.0.0.1", "localhost", "::1")  # noqa: S104 - compared, not bound


def see_ray(address: str, state: ServeState, *, at: datetime, node_pools: frozenset[str] | None) -> RaySeen:
    """One good answer of a Ray address."""
    return RaySeen(
        address=address,
        at=at,
        applications={name: _application(name, details) for name, details in state.applications.items()},
        node_pools=node_pools,
        http_address=http_address(address, state),
    )


def http_address(address: str, state: ServeState) -> str | None:
    """Where Serve's HTTP proxy answers, as seen from here: on the Ray head, unless it is bound elsewhere.

    A proxy that listens on all addresses, or on loopback while Ray itself was reached, is on Ray's own host.
    What Serve says is not trusted further than a host, a port and a plain path: the probe is sent there.
    """
    options = state.options.get("http_options")
    if not state.started or not isinstance(options, Mapping) or not state.has_proxy:
        return None
    host, port = str(options.get("host") or ""), options.get("port", 8000)
    root_path = str(options.get("root_path") or "")
    is_port = isinstance(port, int) and 1 <= port <= 65535
    if not (is_port and _HOST.fullmatch(host) and _ROOT_PATH.fullmatch(root_path)):
        return None
    if host in _WILDCARDS:
        host = urlsplit(address).hostname or host
    scheme = "https" if options.get("ssl_certfile") else "http"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}{root_path.rstrip('/')}"


def _application(name: str, details: Mapping[str, Any]) -> ApplicationSeen:
    return ApplicationSeen(
        name=name,
        status=str(details.get("status", "")),
        message=str(details.get("message") or ""),
        declarative=details.get("source") != "imperative",
        config=details.get("deployed_app_config"),
        deployments={
            str(key): _deployment(str(key), value)
            for key, value in (details.get("deployments") or {}).items()
        },
    )


def _deployment(name: str, details: Mapping[str, Any]) -> DeploymentSeen:
    config = details.get("deployment_config") or {}
    return DeploymentSeen(
        name=name,
        status=str(details.get("status", "")),
        message=str(details.get("message") or ""),
        target_replicas=int(details.get("target_num_replicas") or 0),
        replicas=tuple(
            sorted(
                (
                    ReplicaSeen(
                        id=str(replica.get("replica_id", "")),
                        state=str(replica.get("state", "")),
                        node_id=replica.get("node_id"),
                        node_ip=replica.get("node_ip"),
                    )
                    for replica in details.get("replicas") or ()
                ),
                key=lambda replica: replica.id,
            )
        ),
        user_config=config.get("user_config") or {},
    )
