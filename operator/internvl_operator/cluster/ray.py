"""Ray's REST API on the head node: reading and writing the Serve applications, reading the nodes.

Called by `ray_watch` and `ray_writer` only. Everything foreign ends here: an answer becomes a
`ServeState`, anything else becomes a `RayFault` whose reason says what is wrong.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from internvl_operator.addresses import parse_ray_address
from internvl_operator.api.conditions import Reason
from internvl_operator.cluster.http import (
    HttpFault,
    HttpReply,
    HttpTimedOut,
    HttpTooLarge,
    HttpTransport,
)

APPLICATIONS_PATH = "/api/serve/applications/"
NODES_PATH = "/api/v0/nodes?detail=true&limit=1000"
EXPORTERS_PATH = "/api/prometheus/sd"

POOLS_TIMEOUT_S = 5.0
"""Shorter than that of the applications, which are asked next: a hang must be seen within 15 s. Exporters: likewise."""
WRITE_TIMEOUT_S = 30.0
"""A first PUT starts Serve, which takes seconds."""
MAX_BYTES = 16 * 1024 * 1024

PASSED_THROUGH = ("proxy_location", "http_options", "grpc_options", "target_capacity")
"""Top-level keys that Serve reports and a PUT would reset when it leaves them out."""


class RayFault(Exception):
    """Ray gave no usable answer, for one of Reason.RAY_*, NOT_RAY, SERVE_UNAVAILABLE or WRITE_FAILED."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class ServeState:
    """One answer of Serve. Key order and values are those of the answer, byte for byte when dumped again."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Those of `PASSED_THROUGH` that Serve reported, unless null."""
    applications: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Details by application name, `deployed_app_config` among them."""
    started: bool = False
    """Whether Serve runs on this Ray cluster at all."""
    has_proxy: bool = False
    """Whether at least one of its HTTP proxies is healthy."""


class ServeApi(Protocol):
    """What the writer and the poller need of a Ray address."""

    address: str

    async def fetch(self) -> ServeState:
        """Read all applications, or raise a `RayFault`."""
        ...

    async def put(self, body: bytes) -> None:
        """Replace the whole set of declarative applications, or raise a `RayFault`."""
        ...

    async def fetch_pools(self, label: str) -> frozenset[str]:
        """Values that live nodes have for `label`, or raise a `RayFault`."""
        ...

    async def fetch_exporters(self) -> tuple[str, ...]:
        """`host:port` of the metrics exporters of live nodes, and of others, or raise a `RayFault`."""
        ...


class RayClient:
    """The real `ServeApi`, over a shared transport. Holds no connection of its own."""

    def __init__(
        self, address: str, transport: HttpTransport, *, timeout_s: float, token: str | None = None
    ) -> None:
        self.address = parse_ray_address(address)
        self._transport = transport
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json"}
        if token is not None:
            # As KubeRay sends it: proxies eat `Authorization`.
            self._headers["X-Ray-Authorization"] = f"Bearer {token}"

    async def fetch(self) -> ServeState:
        """Read all applications, declarative and imperative, in one request."""
        return parse_serve_state(
            self._object(await self._send("GET", APPLICATIONS_PATH, timeout_s=self._timeout_s))
        )

    async def put(self, body: bytes) -> None:
        """Replace the whole set. Serve has accepted it, not yet deployed it, when this returns."""
        await self._send("PUT", APPLICATIONS_PATH, body=body, timeout_s=WRITE_TIMEOUT_S)

    async def fetch_pools(self, label: str) -> frozenset[str]:
        """Read the values of one node label from Ray's state API."""
        timeout_s = min(self._timeout_s, POOLS_TIMEOUT_S)
        answer = self._object(await self._send("GET", NODES_PATH, timeout_s=timeout_s))
        try:
            nodes: Sequence[Mapping[str, Any]] = answer["data"]["result"]["result"]
            return frozenset(
                str(node["labels"][label])
                for node in nodes
                if node.get("state") == "ALIVE" and label in (node.get("labels") or {})
            )
        except (KeyError, TypeError, AttributeError) as fault:
            raise RayFault(
                Reason.NOT_RAY, f"{self.address} does not list its nodes as Ray 2.60 does"
            ) from fault

    async def fetch_exporters(self) -> tuple[str, ...]:
        """Read what Ray tells a Prometheus: one list of addresses, nodes first."""
        reply = await self._send("GET", EXPORTERS_PATH, timeout_s=min(self._timeout_s, POOLS_TIMEOUT_S))
        try:
            return tuple(str(target) for group in json.loads(reply.body) for target in group["targets"])
        except (ValueError, RecursionError, KeyError, TypeError) as fault:
            raise RayFault(
                Reason.NOT_RAY, f"{self.address} does not list its exporters as Ray 2.60 does"
            ) from fault

    async def _send(
        self, method: str, path: str, *, timeout_s: float, body: bytes | None = None
    ) -> HttpReply:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            reply = await self._transport.request(
                method,
                f"{self.address}{path}",
                headers=headers,
                body=body,
                timeout_s=timeout_s,
                max_bytes=MAX_BYTES,
            )
        except HttpTimedOut as fault:
            raise RayFault(
                Reason.RAY_TIMED_OUT, f"Ray at {self.address} did not answer within {timeout_s:g} s"
            ) from fault
        except HttpTooLarge as fault:
            raise RayFault(Reason.NOT_RAY, str(fault)) from fault
        except HttpFault as fault:
            raise RayFault(Reason.RAY_UNREACHABLE, f"Ray at {self.address}: {fault}") from fault
        if reply.status != 200:
            raise self._fault(reply)
        return reply

    def _fault(self, reply: HttpReply) -> RayFault:
        text = _excerpt(reply.body)
        match reply.status:
            case 401 | 403:
                return RayFault(
                    Reason.RAY_UNAUTHORIZED,
                    f"Ray at {self.address} wants another token ({reply.status})",
                )
            case 400:
                return RayFault(
                    Reason.WRITE_FAILED, f"Ray Serve at {self.address} refused the config: {text}"
                )
            case 501:
                return RayFault(
                    Reason.NOT_RAY,
                    f"Ray at {self.address} has no Serve; run `pip install 'ray[serve]'` there",
                )
            case 500 | 502 | 503 | 504:
                return RayFault(
                    Reason.SERVE_UNAVAILABLE,
                    f"Ray at {self.address} answers {reply.status}, not yet ready: {text}",
                )
            case status if 300 <= status < 400:
                return RayFault(
                    Reason.NOT_RAY,
                    f"{self.address} redirects ({status}), which is not followed; give the final address",
                )
            case status:
                return RayFault(
                    Reason.NOT_RAY, f"{self.address} answers {status}: not a Ray dashboard with Serve"
                )

    def _object(self, reply: HttpReply) -> dict[str, Any]:
        try:
            answer = json.loads(reply.body)
        except (ValueError, RecursionError) as fault:
            raise RayFault(
                Reason.NOT_RAY, f"{self.address} answers something else than JSON: not a Ray dashboard"
            ) from fault
        if not isinstance(answer, dict):
            raise RayFault(Reason.NOT_RAY, f"{self.address} does not answer as a Ray dashboard does")
        return answer


def parse_serve_state(answer: Mapping[str, Any]) -> ServeState:
    """Take what is needed of Serve's instance details.

    Raises:
        RayFault: with NOT_RAY, when there are no applications as Serve gives them.
    """
    applications = answer.get("applications")
    if not isinstance(applications, dict) or not all(isinstance(app, dict) for app in applications.values()):
        raise RayFault(Reason.NOT_RAY, "the answer holds no Serve applications: not a Ray dashboard")
    return ServeState(
        options={key: answer[key] for key in PASSED_THROUGH if answer.get(key) is not None},
        applications=applications,
        started=bool(answer.get("controller_info")),
        has_proxy=_has_proxy(answer.get("proxies")),
    )


def _has_proxy(proxies: object) -> bool:
    return isinstance(proxies, dict) and any(
        isinstance(proxy, dict) and proxy.get("status") == "HEALTHY" for proxy in proxies.values()
    )


def encode_serve_config(options: Mapping[str, Any], applications: Sequence[Mapping[str, Any]]) -> bytes:
    """The PUT body. Order is kept, so that an entry read from Serve is written back byte for byte."""
    return json.dumps({**options, "applications": list(applications)}).encode()


def _excerpt(body: bytes, limit: int = 400) -> str:
    return " ".join(body[: 4 * limit].decode(errors="replace").split())[:limit]
