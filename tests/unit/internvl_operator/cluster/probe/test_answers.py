import json

import pytest

from internvl_operator.cluster.http import HttpReply, HttpTimedOut
from internvl_operator.cluster.probe import fetch_probe
from internvl_operator.plan.decision import ProbeRequest

REQUEST = ProbeRequest(url="http://ray:8000/ns/a/-/probe", subject="s", timeout_s=5.0)
ROLE = {"ok": True, "generation": "g", "revision": "r"}


async def probe(reply, clock):
    class Transport:
        async def request(self, method, url, **_):
            assert (method, url) == ("GET", REQUEST.url)
            if isinstance(reply, Exception):
                raise reply
            return reply

    return await fetch_probe(REQUEST, Transport(), now=clock.now)


@pytest.mark.parametrize("status", [200, 503])
async def test_an_answer_counts_whatever_its_status(status, clock):
    body = json.dumps({"ok": status == 200, "gateway": ROLE, "vision": ROLE, "language": ROLE}).encode()

    seen = await probe(HttpReply(status, body), clock)

    assert seen.subject == "s"
    assert seen.error is None
    assert seen.answer.ok is (status == 200)


@pytest.mark.parametrize(
    "reply",
    [
        HttpReply(404, b"Path not found"),
        HttpReply(503, b"Request dropped due to backpressure"),
        HttpReply(200, b"{}"),
        HttpReply(200, b""),
        HttpReply(302, b""),
        HttpTimedOut("no complete answer within 5 s"),
    ],
)
async def test_everything_else_is_one_sentence(reply, clock):
    seen = await probe(reply, clock)

    assert seen.answer is None
    assert seen.error
    assert "\n" not in seen.error
