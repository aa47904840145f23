"""One bounded HTTP exchange: what `cluster.ray` and `cluster.probe` speak through.

The transport is a Protocol, so that both are tested without a socket. `AiohttpTransport` is the border
where aiohttp's errors end: nothing above this module sees one.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import aiohttp

USER_AGENT = "internvl-operator"
"""Never a browser's: Ray hides `runtime_env` values from anything that looks like one."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A complete answer."""

    status: int
    body: bytes


class HttpFault(Exception):
    """No complete answer came. The text is a sentence for people."""


class HttpUnreachable(HttpFault):
    """The connection was refused, not possible, or broke off."""


class HttpTimedOut(HttpFault):
    """The answer was not complete in time."""


class HttpTooLarge(HttpFault):
    """The answer is larger than the caller allows."""


class HttpTransport(Protocol):
    """Sends one request. Redirects are not followed: they are an answer like any other."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        timeout_s: float,
        max_bytes: int,
    ) -> HttpReply:
        """Return the complete answer, or raise an `HttpFault`."""
        ...


class AiohttpTransport:
    """The real transport: one shared session, opened when first used inside the event loop."""

    def __init__(self, *, connect_timeout_s: float = 3.0) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        timeout_s: float,
        max_bytes: int,
    ) -> HttpReply:
        """Send one request and read the whole answer, within `timeout_s` and `max_bytes`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Unlimited: addresses that hang must not take the connections of those that answer.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"User-Agent": USER_AGENT},
            )
        connect_s = min(self._connect_timeout_s, timeout_s)
        try:
            async with self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_s),
            ) as response:
                return HttpReply(status=response.status, body=await _read_bounded(response, max_bytes))
        except TimeoutError as fault:  # also aiohttp's own timeouts, which inherit from it
            raise HttpTimedOut(f"no complete answer from {url} within {timeout_s:g} s") from fault
        except (aiohttp.InvalidURL, UnicodeError) as fault:  # the second from encoding a host's name
            raise HttpUnreachable(f"{url} is not an address that can be called") from fault
        except (aiohttp.ClientError, OSError) as fault:
            raise HttpUnreachable(f"cannot reach {url}: {_why(fault)}") from fault


async def _read_bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > max_bytes:
            raise HttpTooLarge(f"the answer of {response.url} is larger than {max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _why(fault: Exception) -> str:
    if isinstance(fault, aiohttp.ClientConnectorError):
        return fault.os_error.strerror or type(fault.os_error).__name__
    return str(fault) or type(fault).__name__
