"""The liveness endpoint: 200 while the process does its work, 503 with the reason when it does not; and its metrics.

Served from the first moment, also while waiting for the Lease: a process that waits is alive.
"""

import json
from collections.abc import Callable, Iterable
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import web

from internvl_operator.errors import Rejected

METRICS_PATH = "/metrics"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Check = Callable[[], str | None]
"""Returns None when all is well, else what is wrong in a sentence."""


class MetricsPage(Protocol):
    """The operator's own metrics."""

    def encode(self) -> bytes:
        """In Prometheus' text format."""
        ...


class Liveness:
    """One small HTTP server."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme != "http" or not parts.hostname or port is None:
            raise Rejected(f"{endpoint!r} must be like http://127.0.0.1:8081/healthz", field="--liveness")
        self._host, self._port, self._path = parts.hostname, port, parts.path or "/healthz"
        self._checks: list[Check] = []
        self._page: MetricsPage | None = None
        self._runner: web.AppRunner | None = None

    def add(self, checks: Iterable[Check]) -> None:
        """Ask these as well, from now on."""
        self._checks.extend(checks)

    def show(self, page: MetricsPage) -> None:
        """Serve this below `/metrics`, from now on."""
        self._page = page

    async def start(self) -> None:
        """Listen.

        Raises:
            Rejected: the address cannot be listened on.
        """
        app = web.Application()
        app.router.add_get(self._path, self._answer)
        app.router.add_get(METRICS_PATH, self._show)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as fault:
            raise Rejected(f"cannot listen: {fault.strerror or fault}", field="--liveness") from fault

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def faults(self) -> list[str]:
        """What is wrong now."""
        return [fault for check in self._checks if (fault := check()) is not None]

    async def _show(self, request: web.Request) -> web.Response:
        """Empty while this process waits for the Lease: it has decided nothing."""
        body = b"" if self._page is None else self._page.encode()
        return web.Response(body=body, headers={"Content-Type": METRICS_TYPE})

    async def _answer(self, request: web.Request) -> web.Response:
        faults = self.faults()
        body = json.dumps({"alive": not faults, "faults": faults})
        return web.Response(text=body, content_type="application/json", status=503 if faults else 200)
