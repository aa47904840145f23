"""One streamed chat completion, and what it took. The border where aiohttp's errors end in this package."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from internvl_operator.errors import Rejected
from internvl_operator.load.outcomes import Outcome
from internvl_runtimes.contract import routes

MOST_BYTES = 1 << 20
"""Of one event of a stream, and of what is read of an error."""
_LISTING_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 2.0
"""Less than servers keep a connection that is idle: one that they close just then would count as their failure."""


class _Broken(Exception):
    """The answer is none, in a few words."""


@dataclass(slots=True)
class _Progress:
    first: float | None = None
    last: float | None = None
    pieces: int = 0
    tokens: int | None = None
    finished: bool = False


class ChatClient:
    """Asks one server. Opened inside an event loop."""

    def __init__(
        self, url: str, *, clock: Callable[[], float], timeout_s: float, token: str | None = None
    ) -> None:
        """Make a client.

        Args:
            url: of the API, with or without `/v1`.
            clock: seconds, monotonic.
            timeout_s: of a whole request.
            token: bearer token.
        """
        self._base = url.rstrip("/").removesuffix(routes.CHAT_COMPLETIONS).removesuffix("/v1")
        self._clock = clock
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._headers = {"Content-Type": "application/json", "User-Agent": "internvl-load"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Unlimited: the sender bounds what is in flight, and a wait here would look like the server's.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.close()

    async def model(self) -> str:
        """The name of the server's first model.

        Raises:
            Rejected: it names none, or does not answer.
        """
        url = self._base + routes.MODELS
        try:
            async with self._open.get(
                url, timeout=aiohttp.ClientTimeout(total=_LISTING_TIMEOUT_S)
            ) as response:
                listed = json.loads(await response.content.read(MOST_BYTES))
                return str(listed["data"][0]["id"])
        except (aiohttp.ClientError, OSError) as fault:  # OSError: also time-outs
            raise Rejected(f"{url} does not answer: {_why(fault)}", field="URL") from fault
        except (ValueError, KeyError, IndexError, TypeError) as fault:
            raise Rejected(f"{url} names no model; give its name with --model", field="URL") from fault

    async def send(self, body: bytes, due: float, pictures: bool) -> Outcome:
        """Ask, and read the answer to its end. Raises nothing: what goes wrong is in the outcome."""
        sent, progress, error = self._clock(), _Progress(), None
        try:
            await self._ask(body, progress)
        except _Broken as fault:
            error = str(fault)
        except TimeoutError:
            error = "timed out"
        except aiohttp.ClientConnectionError as fault:
            error = "connection: " + _why(fault)
        except (aiohttp.ClientError, OSError, ValueError):
            error = "connection: the answer broke off"
        return Outcome(
            due=due,
            sent=sent,
            ended=self._clock(),
            first=progress.first,
            last=progress.last,
            tokens=progress.pieces if progress.tokens is None else progress.tokens,
            pictures=pictures,
            error=error,
        )

    async def _ask(self, body: bytes, progress: _Progress) -> None:
        url = self._base + routes.CHAT_COMPLETIONS
        async with self._open.post(url, data=body, timeout=self._timeout, allow_redirects=False) as response:
            if response.status != 200:
                raise _Broken(f"HTTP {response.status}{_code(await response.content.read(MOST_BYTES))}")
            async for event in _events(response.content):
                try:
                    self._take(event, progress)
                except (KeyError, TypeError, ValueError, AttributeError):
                    raise _Broken("an event that is none of a chat completion") from None
        if not progress.finished:
            raise _Broken("the stream ended before the answer")

    def _take(self, event: dict[str, Any], progress: _Progress) -> None:
        if "error" in event:
            raise _Broken(f"in the stream{_code_of(event)}")
        for choice in event.get("choices") or ():
            if (choice.get("delta") or {}).get("content"):
                progress.last = self._clock()
                progress.first = progress.first or progress.last
                progress.pieces += 1
            progress.finished = progress.finished or choice.get("finish_reason") is not None
        if usage := event.get("usage"):
            progress.tokens = int(usage["completion_tokens"])

    @property
    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "a client is used inside its block"
        return self._session


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events, up to `[DONE]`."""
    held = b""
    async for part in stream.iter_any():
        *lines, held = (held + part).split(b"\n")
        if len(held) > MOST_BYTES:
            raise _Broken(f"an event of more than {MOST_BYTES} bytes")
        for line in lines:
            data = line.removeprefix(b"data:").strip()
            if not line.startswith(b"data:") or data == b"[DONE]":
                continue
            try:
                event = json.loads(data)
            except ValueError:
                raise _Broken("an event that is no JSON") from None
            if not isinstance(event, dict):
                raise _Broken("an event that is no JSON object")
            yield event


def _code(body: bytes) -> str:
    try:
        return _code_of(json.loads(body))
    except ValueError:
        return ""


def _code_of(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    code = (error.get("code") or error.get("type")) if isinstance(error, dict) else None
    return f" {code}"[:60] if isinstance(code, str) else ""


def _why(fault: Exception) -> str:
    if isinstance(fault, aiohttp.ClientConnectorError):
        return fault.os_error.strerror or type(fault.os_error).__name__
    return (
        "closed by the server" if isinstance(fault, aiohttp.ServerDisconnectedError) else type(fault).__name__
    )
