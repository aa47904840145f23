"""The readiness of a pod, answered by the replica in that very pod.

Serve's proxy would not do for a gateway: it answers from any pod's. A pod without a replica has nobody on this port,
and is not ready by that: so a disruption budget counts models that are loaded, not pods that run. A gateway says
nothing about the other sides: their loss must not take the pods away that tell clients about it. Called by `app`.
"""

import asyncio
import contextlib
from collections.abc import Callable

_HEADER_LIMIT = 8192
_REQUEST_WITHIN_S = 2.0
_BIND_AGAIN_S = 0.5


class ReadinessServer:
    """A server for a kubelet's probe: 200 while `is_ready()`, else 503. Any path, one request a connection."""

    def __init__(self, is_ready: Callable[[], bool], *, host: str, port: int) -> None:
        self._is_ready = is_ready
        self._host = host
        self._port = port

    async def run(self) -> None:
        """Serve until cancelled. While a replica before this one still holds the port, it is tried again."""
        while True:
            try:
                server = await asyncio.start_server(self._answer, self._host, self._port, limit=_HEADER_LIMIT)
            except OSError:
                await asyncio.sleep(_BIND_AGAIN_S)
                continue
            async with server:
                await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
        ):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _REQUEST_WITHIN_S)
            status = "200 OK" if self._is_ready() else "503 Service Unavailable"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()
