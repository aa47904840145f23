"""The gateway's HTTP: an ASGI application over `Gateway`, in OpenAI's wire form.

Plain ASGI and no framework, for two reasons: a client that goes away must cancel the work at once, which is
simply this coroutine being cancelled (Serve does that); and the import of a framework would cost every start.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel

from internvl_runtimes.contract import metrics, routes
from internvl_runtimes.deployments.admission import Admitted
from internvl_runtimes.deployments.gateway import Gateway
from internvl_runtimes.deployments.metrics import Recorder
from internvl_runtimes.protocol import openai
from internvl_runtimes.protocol.handover import Chunk, Finished
from internvl_runtimes.protocol.problems import BodyTooLarge, Problem, RouteUnknown, problem_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STAGES = ("queue", "decode", "encode", "transfer", "wait", "prefill", "generate", "total")


class GatewayHttp:
    """The ASGI application."""

    def __init__(
        self, gateway: Gateway, recorder: Recorder, *, log: Callable[..., None], says_request_id: bool = True
    ) -> None:
        """Make the application.

        Args:
            gateway: what answers.
            recorder: where measurements go.
            log: where failures of ours go, called as a logger's method.
            says_request_id: whether to put `x-request-id` on responses. Serve's proxy does it itself, with the
                id that it put on the request.
        """
        self._gateway = gateway
        self._recorder = recorder
        self._log = log
        self._says_request_id = says_request_id
        self._routes: dict[tuple[str, str], Callable[[_Exchange], Awaitable[None]]] = {
            ("POST", routes.CHAT_COMPLETIONS): self._chat,
            ("GET", routes.MODELS): self._models,
            ("GET", routes.HEALTHZ): self._healthz,
            ("GET", routes.READYZ): self._readyz,
            ("GET", routes.PROBE): self._probe,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._serve(_Exchange(scope, receive, send, says_request_id=self._says_request_id))

    async def _serve(self, exchange: "_Exchange") -> None:
        counted = exchange.path == routes.CHAT_COMPLETIONS
        outcome = "ok"
        try:
            handler = self._routes.get((exchange.method, exchange.path))
            if handler is None:
                raise RouteUnknown(f"No {exchange.method} {exchange.path} here.")
            await handler(exchange)
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception as error:
            problem = problem_of(error)
            outcome = "refused" if problem.status < 500 else "failed"
            self._recorder.record(metrics.ERRORS, reason=problem.code)
            if problem.status >= 500:
                self._log("Request %s failed: %s", exchange.request_id, problem.code, exc_info=error)
            await exchange.fail(problem)
        finally:
            if counted:
                self._recorder.record(metrics.REQUESTS, outcome=outcome)

    async def _chat(self, exchange: "_Exchange") -> None:
        body = await exchange.body(self._gateway.admission.config.max_body_bytes)
        admitted = await self._gateway.admit(body)
        del body  # tens of megabytes, and the answer may take minutes
        async with aclosing(self._gateway.answer(admitted, exchange.request_id)) as chunks:
            if admitted.chat.stream:
                await exchange.stream(_events(chunks, admitted, exchange.request_id))
            else:
                await _whole(exchange, chunks, admitted)

    async def _models(self, exchange: "_Exchange") -> None:
        admission = self._gateway.admission
        card = openai.ModelCard(
            id=admission.config.model.name,
            max_model_len=admission.max_model_len,
        )
        await exchange.reply(200, openai.ModelList(data=(card,)))

    async def _healthz(self, exchange: "_Exchange") -> None:
        await exchange.reply(200, {"status": "ok"})

    async def _readyz(self, exchange: "_Exchange") -> None:
        ready = self._gateway.is_ready
        await exchange.reply(200 if ready else 503, {"status": "ready" if ready else "not configured"})

    async def _probe(self, exchange: "_Exchange") -> None:
        answer = await self._gateway.probe(sees=exchange.query != routes.WITHOUT_VISION)
        await exchange.reply(200 if answer.ok else 503, answer)


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, says_request_id: bool) -> None:
        self._says_request_id = says_request_id
        self._receive = receive
        self._send = send
        self._begun = False
        self._streaming = False
        self.method: str = scope["method"]
        root = scope.get("root_path", "")
        # Serve gives the whole path and the route prefix apart.
        self.path: str = scope["path"].removeprefix(root) if root else scope["path"]
        self.query: str = scope.get("query_string", b"").decode("latin-1")
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        given = self._headers.get(b"x-request-id", b"").decode("latin-1")
        self.request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex

    async def body(self, limit: int) -> bytes:
        """The whole body, or `BodyTooLarge` as soon as that is known."""
        declared = self._headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            raise BodyTooLarge(f"The body has {int(declared)} bytes, at most {limit} are read.")
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise asyncio.CancelledError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise BodyTooLarge(f"The body has more than {limit} bytes.")
            if not message.get("more_body", False):
                return b"".join(parts)

    async def reply(
        self, status: int, body: BaseModel | Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with JSON."""
        content = (
            body.model_dump_json(exclude_none=True) if isinstance(body, BaseModel) else json.dumps(body)
        ).encode()
        await self._begin(
            status,
            {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})},
        )
        await self._send({"type": "http.response.body", "body": content})

    async def stream(self, events: AsyncGenerator[str, None]) -> None:
        """Answer with server-sent events; the head goes out with the first, so that a problem before has a status."""
        async with aclosing(events):
            async for event in events:
                if not self._begun:
                    headers = {
                        "content-type": "text/event-stream; charset=utf-8",
                        "cache-control": "no-cache",
                    }
                    await self._begin(200, headers)
                    self._streaming = True
                await self._event(event)
        await self._event("[DONE]")
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, problem: Problem) -> None:
        """Answer with the problem; inside a stream, as its last event."""
        if not self._begun:
            await self.reply(problem.status, problem.body(), problem.headers())
        elif self._streaming:
            await self._event(json.dumps(problem.body()))
            await self._event("[DONE]")
            await self._send({"type": "http.response.body", "body": b""})

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self._begun = True
        every = {**headers, **({"x-request-id": self.request_id} if self._says_request_id else {})}
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in every.items()],
            }
        )

    async def _event(self, data: str) -> None:
        await self._send(
            {"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True}
        )


async def _whole(exchange: _Exchange, chunks: AsyncGenerator[Chunk, None], admitted: Admitted) -> None:
    text, finished = "", None
    async for chunk in chunks:
        text += chunk.text
        finished = chunk.finished
    assert finished is not None, "an answer's last chunk says how it ended"
    completion = openai.ChatCompletion(
        id=f"chatcmpl-{exchange.request_id}",
        created=int(time.time()),
        model=admitted.chat.model,
        choices=(openai.Choice(message=openai.AnswerMessage(content=text), finish_reason=finished.reason),),
        usage=_usage(finished),
        internvl=_details(finished, admitted) if admitted.chat.wants_routes else None,
    )
    await exchange.reply(200, completion, {"server-timing": server_timing(finished.seconds)})


async def _events(
    chunks: AsyncGenerator[Chunk, None], admitted: Admitted, request_id: str
) -> AsyncGenerator[str, None]:
    created = int(time.time())

    def event(
        choices: Iterable[openai.ChunkChoice],
        usage: openai.Usage | None = None,
        details: openai.Details | None = None,
    ) -> str:
        return openai.ChatCompletionChunk(
            id=f"chatcmpl-{request_id}",
            created=created,
            model=admitted.chat.model,
            choices=tuple(choices),
            usage=usage,
            internvl=details,
        ).model_dump_json(exclude_none=True)

    finished: Finished | None = None
    first = True
    async for chunk in chunks:
        finished = chunk.finished
        if first:
            yield event([openai.ChunkChoice(delta=openai.Delta(role="assistant", content=""))])
            first = False
        if chunk.text:
            yield event([openai.ChunkChoice(delta=openai.Delta(content=chunk.text))])
    assert finished is not None, "an answer's last chunk says how it ended"
    details = _details(finished, admitted)
    yield event([openai.ChunkChoice(delta=openai.Delta(), finish_reason=finished.reason)], details=details)
    options = admitted.chat.stream_options
    if options is not None and options.include_usage:
        yield event([], usage=_usage(finished))


def server_timing(seconds: Mapping[str, float]) -> str:
    """Stage times as a `Server-Timing` header, in milliseconds."""
    return ", ".join(f"{stage};dur={value * 1000:.1f}" for stage, value in _stages(seconds).items())


def _stages(seconds: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(seconds[stage], 6) for stage in _STAGES if stage in seconds}


def _details(finished: Finished, admitted: Admitted) -> openai.Details:
    images = tuple(
        openai.PictureRoutes(columns=image.columns, rows=image.rows, tokens_per_tile=image.tokens_per_tile)
        for image in finished.images
    )
    return openai.Details(
        seconds=_stages(finished.seconds),
        tiles=finished.tiles,
        images=images if admitted.chat.wants_routes else None,
    )


def _usage(finished: Finished) -> openai.Usage:
    return openai.Usage(
        prompt_tokens=finished.prompt_tokens,
        completion_tokens=finished.completion_tokens,
        total_tokens=finished.prompt_tokens + finished.completion_tokens,
        prompt_tokens_details=openai.PromptTokensDetails(image_tokens=finished.visual_tokens),
    )


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
