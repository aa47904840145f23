import json
from urllib.parse import parse_qs

import pytest

from internvl_operator.cluster.http import HttpReply, HttpTimedOut
from internvl_operator.cluster.prometheus import Prometheus, PrometheusFault

URL = "http://prometheus:9090/team"


class Server:
    """Answers each request with the same reply, and keeps what it was asked."""

    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    async def request(self, method, url, *, headers, body, timeout_s, max_bytes):
        self.asked.append((method, url, headers, parse_qs(body.decode())))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def vector(*rows):
    answer = {"status": "success", "data": {"resultType": "vector", "result": list(rows)}}
    return HttpReply(200, json.dumps(answer).encode())


def prometheus(reply, **more):
    server = Server(reply)
    return Prometheus(URL, server, timeout_s=2.0, **more), server


async def test_a_vector_becomes_samples_without_what_is_no_finite_number():
    client, server = prometheus(
        vector(
            {"metric": {"__name__": "up", "application": "a"}, "value": [1.5, "2"]},
            {"metric": {"application": "b"}, "value": [1.5, "NaN"]},
            {"metric": {"application": "c"}, "value": [1.5, "+Inf"]},
            {"metric": {"application": "d"}, "histogram": [1.5, {}]},
            "nonsense",
        )
    )
    (sample,) = await client.query("sum by (application) (x)")
    assert (sample.name, sample.labels, sample.value) == ("up", {"application": "a"}, 2.0)
    method, url, headers, form = server.asked[0]
    assert (method, url) == ("POST", f"{URL}/api/v1/query")
    assert form == {"query": ["sum by (application) (x)"], "timeout": ["2s"]}
    assert "Authorization" not in headers


async def test_the_token_is_read_anew_for_each_query():
    tokens = iter(["first", "second"])
    client, server = prometheus(vector(), token=lambda: next(tokens))
    await client.query("x")
    await client.query("x")
    assert [headers["Authorization"] for _, _, headers, _ in server.asked] == [
        "Bearer first",
        "Bearer second",
    ]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (HttpTimedOut("no complete answer"), "no complete answer"),
        (HttpReply(401, b""), "another token"),
        (HttpReply(200, b"<html>"), "not a Prometheus"),
        (HttpReply(422, b'{"status":"error","error":"found duplicate series"}'), "found duplicate series"),
        (
            HttpReply(200, b'{"status":"success","data":{"resultType":"matrix","result":[]}}'),
            "does not answer",
        ),
        (HttpReply(200, b"[]"), "answers 200"),
    ],
)
async def test_anything_else_is_a_sentence_with_the_address_and_without_the_token(reply, says):
    client, _ = prometheus(reply, token=lambda: "s3cret")
    with pytest.raises(PrometheusFault) as fault:
        await client.query("x")
    assert says in str(fault.value) and URL in str(fault.value) and "s3cret" not in str(fault.value)
