"""Settings of one operator process: read once at its edge, passed down as a value.

`docs/settings.md` is generated from the fields and the strings below them (`api/reference.py`).
`Settings.from_env` takes a mapping (`os.environ` at the edge), so that nothing here reads the environment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from internvl_operator.addresses import parse_prometheus_url, parse_ray_address
from internvl_operator.errors import Rejected

ENV_PREFIX = "INTERNVL_OPERATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All knobs of the operator. Seconds where a name ends in `_s`."""

    ray_address: str | None = None
    """Ray dashboard (`http://host:8265`) for services that name none in `spec.backend`."""
    pods_file: str | None = None
    """File (YAML) that says how pods are made: image, pools, head. Without it no Ray cluster is made for a service."""
    token_key_secret: str = "internvl-operator-token-key"  # noqa: S105 - a name
    """Secret in the Lease's namespace that those Ray clusters' tokens are derived from; made when missing."""
    artifact_stores: tuple[str, ...] = ()
    """Folders (`file:///...`), as seen from the Ray nodes, searched before a checkpoint's own `artifacts/`."""
    namespaces: tuple[str, ...] = ()
    """Namespaces watched; empty: all."""

    lease_name: str = "internvl-operator"
    """Name of the Lease; `manifests/rbac` allows this one."""
    lease_namespace: str = "internvl-system"
    """Namespace of the Lease; it must exist. Also the one that the operator calls its Ray clusters from."""
    lease_duration_s: float = 15.0
    """How long the Lease of a process that died holds others up. Renewed after a third of it."""
    identity: str = "internvl-operator"
    """Holder written into the Lease; the edge adds what makes it unique (the pod's name)."""

    poll_interval_s: float = 2.0
    """Time from one look at a Ray address to the next; longer with over 400 addresses (1,000: 5 s)."""
    ray_timeout_s: float = 8.0
    """One request to Ray; with the interval it bounds how long a hang stays unseen (15 s)."""
    build_wait_s: float = 30.0
    """How long a write waits for other owners' applications that are being built; well below the deletion deadline."""
    probe_timeout_s: float = 20.0
    """Longest wait for the answer of the semantic probe."""
    probe_retry_s: float = 5.0
    """Pause after a probe that failed."""
    retry_min_s: float = 10.0
    """Pause before the first retry of a role that Serve gave up on; doubles with each retry."""
    retry_max_s: float = 300.0
    """Longest pause between two retries of a role."""
    moves_at_once: int = 1
    """How many services go over to another Ray head at a time. Each wants the room for a second Ray cluster."""
    deletion_deadline_s: float = 60.0
    """From the deletion timestamp; after it the finalizer goes, whatever Ray says."""

    scale_down_after_s: float = 300.0
    """Replicas that follow the load become fewer when fewer were needed for so long."""
    prometheus_url: str | None = None
    """Prometheus (`http://prometheus.monitoring.svc:9090`) that scrapes the Ray nodes. Without it the operator reads them."""
    prometheus_token_file: str | None = None
    """File with a bearer token for it; read for each query, so that a rotated one is taken up."""
    prometheus_matchers: str = ""
    """More label matchers of each query, where one Prometheus holds several clusters: `cluster="eu-1"`."""
    prometheus_window_s: float = 10.0
    """Window of the rates asked of it: twice the scrape interval, 5 s. Where fewer than two samples fall into it, 60 s."""
    prometheus_timeout_s: float = 5.0
    """Longest wait for the answer of one query."""
    load_interval_s: float = 1.0
    """Time from one look at the load to the next, of services that scale; longer with over 100 nodes; 2 s at least by Prometheus."""

    serve_http_host: str | None = None
    """Where Serve's HTTP proxies listen if our write is the one that starts Serve; unset: Serve's default. On loopback there is one, the head's."""
    serve_http_port: int | None = None
    """Their port, likewise."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read `INTERNVL_OPERATOR_<FIELD>`; lists are separated by commas; an empty value counts as unset.

        Raises:
            Rejected: an unknown variable with our prefix, or a value that does not parse.
        """
        known = {f"{ENV_PREFIX}{item.name.upper()}": item.name for item in fields(cls)}
        values: dict[str, object] = {}
        for variable in sorted(env):
            if not variable.startswith(ENV_PREFIX):
                continue
            name = known.get(variable)
            if name is None:
                raise Rejected(f"unknown setting; known are {', '.join(sorted(known))}", field=variable)
            if env[variable].strip():
                values[name] = _parse(variable, name, env[variable].strip())
        return cls(**values)  # type: ignore[arg-type]


_ADDRESSES = {"ray_address": parse_ray_address, "prometheus_url": parse_prometheus_url}
_MATCHER = r'[a-zA-Z_]\w*(=|!=|=~|!~)"[^"\\{}]*"'
_MATCHERS = re.compile(rf"{_MATCHER}(,\s*{_MATCHER})*")


def _parse(variable: str, name: str, text: str) -> object:
    if name in ("artifact_stores", "namespaces"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if name in _ADDRESSES:
        try:
            return _ADDRESSES[name](text)
        except Rejected as fault:
            raise Rejected(fault.message, field=variable) from fault
    if name == "prometheus_matchers" and not _MATCHERS.fullmatch(text):
        raise Rejected('must be PromQL label matchers without braces, like cluster="eu-1"', field=variable)
    try:
        if name in ("serve_http_port", "moves_at_once"):
            return int(_positive(int(text)))
        if name.endswith("_s"):
            return _positive(float(text))
    except ValueError:
        raise Rejected(f"{text!r} is not a positive number", field=variable) from None
    return text


def _positive(value: float) -> float:
    if not 0 < value < 1_000_000:
        raise ValueError(value)
    return value
