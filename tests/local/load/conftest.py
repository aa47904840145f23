"""A small server on loopback that speaks OpenAI's chat completions, well or badly."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class Server:
    """Answers each request as `answer` says; keeps the bodies that it got."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.answer: Answer = stream_of("red", "box")
        self.url = ""
        self.stopped_at: float | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        self.url = f"http://127.0.0.1:{port}/default/nano"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _start(self) -> int:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/default/nano/v1/models", self._models)
        app.router.add_post("/default/nano/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "nano", "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.tokens.add(request.headers.get("authorization", ""))
        return await self.answer(request, body)


def events_of(*pieces: str, usage: int | None = None, finish: bool = True) -> list[bytes]:
    """The events of an answer in these pieces, as the gateway sends them."""
    said: list[dict[str, Any]] = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
    said += [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    if finish:
        said.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    if usage is not None:
        said.append({"choices": [], "usage": {"completion_tokens": usage}})
    return [b"data: " + json.dumps(each).encode() + b"\n\n" for each in said] + [b"data: [DONE]\n\n"]


def stream_of(*pieces: str, pause_s: float = 0.0, usage: int | None = None, finish: bool = True) -> Answer:
    """An answer in pieces, with a pause before each."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in events_of(*pieces, usage=usage, finish=finish):
            if b'"content": "' in event and b'"content": ""' not in event:
                await asyncio.sleep(pause_s)
            await response.write(event)
        return response

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers at once until a test says otherwise."""
    with Server() as running:
        yield running
