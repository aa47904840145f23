"""The readiness of a pod, answered by the replica in that very pod.

Serve's proxy would not do for a gateway: it answers from any pod's. But it must be there too: clients call it. A pod
without a replica has nobody on this port, and is not ready by that: so a disruption budget counts models that are loaded, not pods that run. A gateway says
nothing about the other sides: their loss must not take the pods away that tell clients about it. Called by `app`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

_HEADER_LIMIT = 8192
_REQUEST_WITHIN_S = 2.0
_BIND_AGAIN_S = 0.5
_PROXY_WITHIN_S = 1.0
_ASK_PROXY = b"GET /-/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class ReadinessServer:
    """A server for a kubelet's probe: 200 while `is_ready()`, else 503. Any path, one request a connection."""

    def __init__(self, is_ready: Callable[[], Awaitable[bool]], *, host: str, port: int) -> None:
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
            status = "200 OK" if await self._is_ready() else "503 Service Unavailable"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()


class ProxyCheck:
    """Whether clients are answered at the HTTP proxy of this pod: once it knew its routes, as long as it answers at all.

    A proxy whose node is drained says that it is not healthy, but goes on serving, and a pod that ends must stay ready:
    Kubernetes then sends clients to it where there is no other.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._was_healthy = False

    async def passes(self) -> bool:
        """Ask it now. It speaks for itself here, never for another pod's."""
        try:
            async with asyncio.timeout(_PROXY_WITHIN_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                with contextlib.closing(writer):
                    writer.write(_ASK_PROXY)
                    words = (await reader.readline()).split()
        except TimeoutError:
            return self._was_healthy  # it is busy
        except OSError:
            return False
        self._was_healthy = self._was_healthy or words[1:2] == [b"200"]
        return self._was_healthy and bool(words)
