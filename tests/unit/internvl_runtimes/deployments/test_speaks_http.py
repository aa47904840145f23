"""The ASGI application: routes, bodies, streams, problems."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from internvl_runtimes.contract import metrics, routes
from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.deployments.gateway import Gateway
from internvl_runtimes.deployments.handles import Lost
from internvl_runtimes.deployments.http import GatewayHttp
from internvl_runtimes.protocol.handover import Chunk, ImageFeatures, Overloaded
from tests.unit.internvl_runtimes.deployments.fakes import (
    Clock,
    FakeSides,
    Recorded,
    answer,
    data_url,
    gateway_config,
    png,
)


class Client:
    """Speaks ASGI to the application, below a route prefix."""

    def __init__(self, admission: Admission, sides: FakeSides) -> None:
        clock = Clock()
        limited = replace(admission, config=gateway_config(max_body_bytes=20_000))
        self.sides, self.recorded = sides, Recorded()
        self.gateway = Gateway(
            vision=lambda _: sides,
            language=sides,
            recorder=self.recorded,
            load=lambda _: limited,
            clock=clock,
            pause=clock.pause,
        )
        self.app = GatewayHttp(self.gateway, self.recorded, log=lambda *a, **k: None)
        self.sent: list[Any] = []

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> "Client":
        await self.gateway.reconfigure(gateway_config())
        parts = [body[: len(body) // 2], body[len(body) // 2 :]]

        async def receive() -> dict[str, Any]:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Any) -> None:
            self.sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": "/ns/name" + path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
            "root_path": "/ns/name",
            "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        }
        await self.app(scope, receive, send)
        return self

    async def chat(self, **more: Any) -> "Client":
        part = {"type": "image_url", "image_url": {"url": data_url(png())}}
        body = {"model": "tiny", "messages": [{"role": "user", "content": [part]}], **more}
        return await self.request("POST", "/v1/chat/completions", json.dumps(body).encode())

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.sent[0]["headers"]}

    @property
    def content(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def events(self) -> list[Any]:
        blocks = self.content.decode().split("\n\n")
        assert blocks[-1] == "" and blocks[-2] == "data: [DONE]"
        return [json.loads(block.removeprefix("data: ")) for block in blocks[:-2]]


async def test_a_whole_answer(admission: Admission) -> None:
    client = await Client(admission, FakeSides(answer("red"))).chat()
    assert client.status == 200
    assert client.json["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "red"},
        "finish_reason": "stop",
    }
    assert client.json["usage"]["total_tokens"] == 12
    assert client.json["usage"]["prompt_tokens_details"] == {"image_tokens": 2}
    assert "encode;dur=300.0" in client.headers["server-timing"]
    assert client.headers["content-length"] == str(len(client.content))
    assert client.recorded.total(metrics.REQUESTS, outcome="ok") == 1


async def test_a_streamed_answer(admission: Admission) -> None:
    client = await Client(admission, FakeSides(answer("red"))).chat(
        stream=True, stream_options={"include_usage": True}
    )
    assert client.headers["content-type"].startswith("text/event-stream")
    deltas = [e["choices"][0]["delta"] for e in client.events[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "r"}, {"content": "ed"}, {}]
    assert client.events[-2]["choices"][0]["finish_reason"] == "stop"
    assert client.events[-2]["internvl"]["tiles"] == 1
    assert client.events[-1]["usage"]["completion_tokens"] == 3
    assert len({event["id"] for event in client.events}) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_who_wants_the_routes_learns_what_became_of_each_tile(
    admission: Admission, stream: bool
) -> None:
    images = (ImageFeatures(2, 1, (4, 1, 4)), ImageFeatures(1, 1, (4,)))
    client = await Client(admission, FakeSides(answer("red", images=images, tiles=4))).chat(
        stream=stream, internvl={"routes": True}
    )
    told = (client.events[-1] if stream else client.json)["internvl"]
    assert told["images"] == [
        {"columns": 2, "rows": 1, "tokens_per_tile": [4, 1, 4]},
        {"columns": 1, "rows": 1, "tokens_per_tile": [4]},
    ]
    assert (told["tiles"], told["seconds"]["encode"]) == (4, 0.3)


@pytest.mark.parametrize("asked", [{}, {"internvl": {}}, {"internvl": {"routes": False}}, {"internvl": None}])
async def test_who_does_not_ask_is_not_told_the_routes(
    admission: Admission, asked: dict[str, object]
) -> None:
    images = (ImageFeatures(1, 1, (4,)),)
    whole = await Client(admission, FakeSides(answer(images=images))).chat(**asked)
    assert "internvl" not in whole.json
    streamed = await Client(admission, FakeSides(answer(images=images))).chat(stream=True, **asked)
    assert "images" not in streamed.events[-1]["internvl"]


async def test_without_asking_a_stream_has_no_usage(admission: Admission) -> None:
    client = await Client(admission, FakeSides(answer())).chat(stream=True)
    assert all("usage" not in event for event in client.events)


async def test_a_problem_before_the_first_chunk_has_its_status_in_a_stream_too(admission: Admission) -> None:
    client = await Client(admission, FakeSides([Overloaded("full", 3.0)])).chat(stream=True)
    assert (client.status, client.headers["retry-after"]) == (429, "3")
    assert client.json["error"]["code"] == "overloaded"
    assert client.recorded.total(metrics.ERRORS, reason="overloaded") == 1
    assert client.recorded.total(metrics.REQUESTS, outcome="refused") == 1


async def test_a_problem_inside_a_stream_is_an_event(admission: Admission) -> None:
    client = await Client(admission, FakeSides([Chunk("r", (1,)), Lost("actor")])).chat(stream=True)
    assert client.status == 200
    assert client.events[-1]["error"]["code"] == "role_unavailable"
    assert client.recorded.total(metrics.REQUESTS, outcome="failed") == 1


async def test_a_body_above_the_limit_is_not_read(admission: Admission) -> None:
    client = Client(admission, FakeSides(answer()))
    await client.request("POST", "/v1/chat/completions", b"x" * 30_000)
    assert (client.status, client.json["error"]["code"]) == (413, "body_too_large")
    declared = Client(admission, FakeSides(answer()))
    await declared.request("POST", "/v1/chat/completions", b"", {"content-length": "30000"})
    assert declared.status == 413


@pytest.mark.parametrize(("given", "kept"), [("my-id_1.2", True), ("a b", False), ("x" * 65, False)])
async def test_a_sane_request_id_is_kept(admission: Admission, given: str, kept: bool) -> None:
    client = Client(admission, FakeSides(answer()))
    await client.request("GET", "/healthz", headers={"x-request-id": given})
    assert (client.headers["x-request-id"] == given) is kept


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/chat/completions", 404),
        ("POST", "/v1/embeddings", 404),
    ],
)
async def test_a_route_has_its_status(admission: Admission, method: str, path: str, status: int) -> None:
    client = await Client(admission, FakeSides(answer())).request(method, path)
    assert client.status == status


async def test_models_names_the_one_model(admission: Admission) -> None:
    client = await Client(admission, FakeSides(answer())).request("GET", "/v1/models")
    [card] = client.json["data"]
    assert (card["id"], card["max_model_len"]) == ("tiny", 512)


async def test_a_cancelled_request_is_counted_and_closed(admission: Admission) -> None:
    client = Client(admission, FakeSides([Chunk("r", (1,))], endless=True))
    task = asyncio.ensure_future(client.chat(stream=True))
    while len(client.sent) < 2:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert client.sides.closed == 1
    assert client.recorded.total(metrics.REQUESTS, outcome="cancelled") == 1


async def test_the_probe_leaves_vision_alone_where_it_is_told_to(admission: Admission) -> None:
    without = await Client(admission, FakeSides(answer())).request("GET", routes.PROBE_WITHOUT_VISION)
    assert without.status == 200 and "vision" not in without.json and not without.sides.encodes
    both = await Client(admission, FakeSides(answer())).request("GET", routes.PROBE)
    assert both.status == 200 and both.json["vision"]["ok"] and both.sides.encodes
