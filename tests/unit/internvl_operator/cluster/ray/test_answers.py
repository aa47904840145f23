import json

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.cluster.http import HttpReply, HttpTimedOut, HttpTooLarge, HttpUnreachable
from internvl_operator.cluster.ray import RayClient, RayFault


class Transport:
    def __init__(self, reply: HttpReply | Exception) -> None:
        self.reply = reply
        self.sent: list[tuple[str, str, dict[str, str], bytes | None]] = []

    async def request(self, method, url, *, headers, body=None, timeout_s, max_bytes):
        self.sent.append((method, url, headers, body))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def client(reply: HttpReply | Exception) -> RayClient:
    return RayClient("http://ray:8265/", Transport(reply), timeout_s=8.0)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (HttpUnreachable("refused"), Reason.RAY_UNREACHABLE),
        (HttpTimedOut("slow"), Reason.RAY_TIMED_OUT),
        (HttpTooLarge("big"), Reason.NOT_RAY),
        (HttpReply(401, b""), Reason.RAY_UNAUTHORIZED),
        (HttpReply(403, b""), Reason.RAY_UNAUTHORIZED),
        (HttpReply(301, b""), Reason.NOT_RAY),
        (HttpReply(404, b"nginx"), Reason.NOT_RAY),
        (HttpReply(501, b""), Reason.NOT_RAY),
        (HttpReply(503, b"GCS may be down"), Reason.SERVE_UNAVAILABLE),
        (HttpReply(500, b"Traceback"), Reason.SERVE_UNAVAILABLE),
        (HttpReply(400, b"ValidationError"), Reason.WRITE_FAILED),
        (HttpReply(200, b"<html>"), Reason.NOT_RAY),
        (HttpReply(200, b"[]"), Reason.NOT_RAY),
        (HttpReply(200, b'{"applications": []}'), Reason.NOT_RAY),
        (HttpReply(200, b'{"applications": {"a": 1}}'), Reason.NOT_RAY),
        (HttpReply(200, b"[" * 100_000), Reason.NOT_RAY),
    ],
)
async def test_each_bad_answer_has_its_reason(reply, reason):
    with pytest.raises(RayFault) as caught:
        await client(reply).fetch()

    assert caught.value.reason is reason
    assert caught.value.message


async def test_a_ray_where_serve_never_ran_is_empty_and_not_started():
    empty = b'{"controller_info": {}, "proxies": {}, "applications": {}, "target_capacity": null}'

    state = await client(HttpReply(200, empty)).fetch()

    assert not state.started
    assert state.options == {}


async def test_a_redirect_is_an_answer_and_no_other_address_is_called():
    ray = client(HttpReply(302, b""))

    with pytest.raises(RayFault, match="redirects"):
        await ray.fetch()

    assert [url for _, url, _, _ in ray._transport.sent] == ["http://ray:8265/api/serve/applications/"]


async def test_pools_are_those_of_living_nodes():
    nodes = [
        {"state": "ALIVE", "labels": {"p": "vision"}},
        {"state": "ALIVE", "labels": None},
        {"state": "DEAD", "labels": {"p": "language"}},
    ]
    body = json.dumps({"data": {"result": {"result": nodes}}}).encode()

    assert await client(HttpReply(200, body)).fetch_pools("p") == {"vision"}


async def test_the_exporters_of_all_groups_are_one_list():
    body = json.dumps([{"labels": {"job": "ray"}, "targets": ["10.0.0.1:8080", "10.0.0.2:8080"]}]).encode()
    assert await client(HttpReply(200, body)).fetch_exporters() == ("10.0.0.1:8080", "10.0.0.2:8080")


@pytest.mark.parametrize("body", [b"<html>", b'{"error": "x"}', b"[{}]", b"[[]]"])
async def test_a_list_of_exporters_of_another_form_is_no_ray(body):
    with pytest.raises(RayFault) as fault:
        await client(HttpReply(200, body)).fetch_exporters()
    assert fault.value.reason is Reason.NOT_RAY
