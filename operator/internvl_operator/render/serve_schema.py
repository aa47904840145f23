"""Our own strict model of Ray Serve's REST configuration: only the fields that we write, with stable bytes.

Serve drops unknown keys silently, so a misspelt one would do nothing; here it does not type-check. Other
owners' applications never pass through these types: the writer keeps them as the mappings Serve gave.
A contract test parses the output with Ray's own `ServeDeploySchema`.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)


class ServeValue(BaseModel):
    """Frozen, unknown keys refused, absent rather than null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_mapping(self) -> dict[str, Any]:
        """JSON values; fields that are None are left out, as Serve leaves out what was not set."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_json(self) -> str:
        """Stable bytes."""
        return encode_json(self.to_mapping())


class RayActorOptions(ServeValue):
    """Where a replica may run and what it reserves. A change replaces all replicas of the deployment."""

    num_cpus: float
    num_gpus: float | None = None
    memory: int | None = None
    """Bytes."""
    resources: dict[str, float] | None = None
    label_selector: dict[str, str] | None = None


class ServeDeployment(ServeValue):
    """One deployment of an application."""

    name: str
    num_replicas: int
    may_rest: bool = False
    """The number may become 0, which Serve takes only as a bound of its own autoscaling. Then every number is written
    as such bounds, because to change over between both forms makes Serve build the application anew."""
    max_ongoing_requests: int
    max_queued_requests: int
    user_config: dict[str, Any]
    """A dump of VisionConfig, LanguageConfig or GatewayConfig. A change is applied in place."""
    graceful_shutdown_wait_loop_s: float
    graceful_shutdown_timeout_s: float
    health_check_period_s: float
    health_check_timeout_s: float
    ray_actor_options: RayActorOptions
    max_surge_percent: int | None = None
    """Replicas, in percent, that a rolling update may start before it stops old ones. Left out: none."""

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        del written["may_rest"]
        if self.may_rest:
            written["autoscaling_config"] = _bounds(written.pop("num_replicas"))
        return written

    @model_validator(mode="before")
    @classmethod
    def _read(cls, written: Any) -> Any:
        found = _bounded(written) if isinstance(written, Mapping) else None
        if found is None:
            return written
        rest = {key: value for key, value in written.items() if key != "autoscaling_config"}
        return {**rest, "num_replicas": found, "may_rest": True}


class ServeApplication(ServeValue):
    """One application. A change of `import_path` or `args` rebuilds it and replaces all its replicas."""

    name: str
    route_prefix: str | None
    import_path: str
    args: dict[str, Any]
    deployments: tuple[ServeDeployment, ...]

    def to_mapping(self) -> dict[str, Any]:
        """JSON values. `route_prefix` is written even when null: left out, Serve takes it for `/`."""
        return {**super().to_mapping(), "route_prefix": self.route_prefix}

    def deployment(self, name: str) -> ServeDeployment:
        """The deployment of that name; KeyError when there is none."""
        return {item.name: item for item in self.deployments}[name]

    def matches(self, deployed: Mapping[str, Any] | None) -> bool:
        """Whether Serve's `deployed_app_config` is exactly this application."""
        return deployed is not None and self.to_mapping() == deployed

    def scaled(self, replicas: Mapping[str, int]) -> "ServeApplication":
        """The same with these numbers of replicas, by the deployment's name."""
        deployments = tuple(
            item.model_copy(update={"num_replicas": replicas.get(item.name, item.num_replicas)})
            for item in self.deployments
        )
        return self.model_copy(update={"deployments": deployments})


def replicas_of(entry: Mapping[str, Any]) -> int | None:
    """Replicas that one deployment of a configuration asks for, whoever wrote it; None where it states no number."""
    found = entry.get("num_replicas", _bounded(entry))
    return found if isinstance(found, int) else None


def _bounds(replicas: int) -> dict[str, int]:
    """Bounds that leave Serve no choice, but for 0: then it starts one replica by itself for a request that comes."""
    return {"min_replicas": replicas, "initial_replicas": replicas, "max_replicas": max(1, replicas)}


def _bounded(entry: Mapping[str, Any]) -> int | None:
    """The number whose bounds stand there; None where there are none, or others."""
    bounds = entry.get("autoscaling_config")
    found = bounds.get("initial_replicas") if isinstance(bounds, Mapping) else None
    return found if isinstance(found, int) and bounds == _bounds(found) else None


def parse_application(config: Mapping[str, Any] | None) -> ServeApplication | None:
    """Serve's `deployed_app_config`, if it is one that we would write as it is; else None."""
    try:
        found = ServeApplication.model_validate(config)
    except ValidationError:
        return None
    return found if found.matches(config) else None


class HttpOptions(ServeValue):
    """Where Serve's proxies listen. Counts only when a write starts Serve."""

    host: str | None = None
    port: int | None = None


class ServeConfig(ServeValue):
    """A whole body of `PUT /api/serve/applications/` when nobody else has anything in Serve."""

    http_options: HttpOptions | None = None
    applications: tuple[ServeApplication, ...]

    def to_mapping(self) -> dict[str, Any]:
        """JSON values."""
        options = {} if self.http_options is None else {"http_options": self.http_options.to_mapping()}
        return {**options, "applications": [item.to_mapping() for item in self.applications]}


def encode_json(value: object) -> str:
    """Sorted keys, no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
