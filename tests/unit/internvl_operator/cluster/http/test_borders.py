import aiohttp
import pytest

from internvl_operator.cluster.http import AiohttpTransport, HttpTimedOut, HttpTooLarge, HttpUnreachable

FAR = "http://ray:8265/"


class Reply:
    """A response of aiohttp as far as the transport looks at it."""

    status, url = 200, FAR

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.content = self

    async def iter_any(self):
        for part in self.parts:
            yield part

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None


@pytest.fixture
async def transport():
    async with AiohttpTransport() as opened:
        yield opened


async def ask(transport, *, max_bytes: int = 100):
    return await transport.request("GET", FAR, headers={}, timeout_s=1.0, max_bytes=max_bytes)


def answer(monkeypatch, reply) -> list[dict]:
    calls = []

    def request(self, method, url, **options):
        calls.append(options)
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)
    return calls


async def test_an_answer_is_read_up_to_its_limit_and_not_a_byte_more(transport, monkeypatch):
    answer(monkeypatch, Reply(b"x" * 60, b"x" * 40))
    assert len((await ask(transport)).body) == 100

    answer(monkeypatch, Reply(b"x" * 60, b"x" * 41))
    with pytest.raises(HttpTooLarge):
        await ask(transport)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (TimeoutError(), HttpTimedOut),
        (aiohttp.ServerTimeoutError(), HttpTimedOut),
        (aiohttp.ServerDisconnectedError(), HttpUnreachable),
        (aiohttp.InvalidURL("http://:"), HttpUnreachable),
        (aiohttp.ClientPayloadError("cut"), HttpUnreachable),
        (ConnectionResetError("reset"), HttpUnreachable),
        (UnicodeError("label empty or too long"), HttpUnreachable),
    ],
)
async def test_no_error_of_the_library_or_the_system_leaves_the_border(transport, monkeypatch, fault, seen):
    answer(monkeypatch, fault)
    with pytest.raises(seen):
        await ask(transport)


async def test_redirects_are_not_followed_and_proxies_of_the_shell_not_used(transport, monkeypatch):
    calls = answer(monkeypatch, Reply(b""))
    await ask(transport)
    assert calls[0]["allow_redirects"] is False
    assert transport._session.trust_env is False


async def test_many_that_hang_leave_room_for_those_that_answer(transport, monkeypatch):
    """aiohttp opens a hundred connections at the most; the next request would wait, and time out, for nothing."""
    answer(monkeypatch, Reply(b""))
    await ask(transport)
    assert transport._session.connector.limit == 0
