import asyncio
import contextlib

import pytest

from internvl_runtimes.deployments.readiness import ProxyCheck, ReadinessServer


class Pipe:
    """Both ends of a connection, without a socket."""

    def __init__(self, request: bytes) -> None:
        self.reader = asyncio.StreamReader(limit=8192)
        self.reader.feed_data(request)
        self.reader.feed_eof()
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def always(value: bool):
    async def is_ready() -> bool:
        return value

    return is_ready


async def ask(is_ready: bool, request: bytes = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n") -> Pipe:
    pipe = Pipe(request)
    await ReadinessServer(always(is_ready), host="h", port=1)._answer(pipe.reader, pipe)
    return pipe


async def test_a_configured_gateway_is_ready():
    assert (await ask(True)).written.startswith(b"HTTP/1.1 200 ")


async def test_one_that_is_not_configured_is_not():
    assert (await ask(False)).written.startswith(b"HTTP/1.1 503 ")


async def test_rubbish_is_dropped():
    for request in (b"", b"no end", b"x" * 20_000):
        pipe = await ask(True, request)
        assert pipe.written == b"" and pipe.closed


async def test_a_port_that_is_still_held_is_tried_again(monkeypatch):
    tries = []

    class Server:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

        async def serve_forever(self):
            raise asyncio.CancelledError

    async def start_server(*_, **__):
        tries.append(1)
        if len(tries) < 3:
            raise OSError("address already in use")
        return Server()

    async def at_once(seconds):
        return None

    monkeypatch.setattr(asyncio, "start_server", start_server)
    monkeypatch.setattr(asyncio, "sleep", at_once)
    with contextlib.suppress(asyncio.CancelledError):
        await ReadinessServer(always(True), host="h", port=1).run()
    assert len(tries) == 3


HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsuccess"
UNHEALTHY = b"HTTP/1.1 503 Service Unavailable\r\n\r\nThis node is being drained."
REFUSED = ConnectionRefusedError(111, "refused")


@pytest.mark.parametrize(
    ("answers", "passes"),
    [
        ([HEALTHY], True),
        ([UNHEALTHY], False),
        ([b""], False),
        ([REFUSED], False),
        ([TimeoutError()], False),
        ([HEALTHY, UNHEALTHY], True),  # a drained one serves on
        ([HEALTHY, TimeoutError()], True),
        ([HEALTHY, REFUSED], False),
        ([HEALTHY, b""], False),
    ],
)
async def test_a_gateway_is_ready_only_with_the_proxy_that_clients_call(monkeypatch, answers, passes):
    asked, prepared = [], iter(answers)

    async def open_connection(host, port):
        asked.append((host, port))
        answer = next(prepared)
        if isinstance(answer, Exception):
            raise answer
        pipe = Pipe(answer)
        return pipe.reader, pipe

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    check = ProxyCheck("here", 8000)
    said = [await check.passes() for _ in answers]
    assert said[-1] is passes
    assert set(asked) == {("here", 8000)}
