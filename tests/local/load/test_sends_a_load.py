"""`internvl load` against a real server on loopback."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import web

from internvl_operator import cli
from tests.local.load.conftest import Server, events_of, stream_of


def load(server: Server, folder: Path, *options: str) -> dict[str, Any]:
    """Run the command in this process; returns its JSON."""
    file = folder / "load.json"
    status = cli.main(["load", server.url, "--json", str(file), *options])
    said: dict[str, Any] = json.loads(file.read_text())
    assert status == (0 if said["requests"]["answered"] else 1)
    return said


def test_a_load_is_sent_at_its_rate_and_all_answers_are_counted(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = stream_of("red", "box", usage=7)
    plot = tmp_path / "load.svg"
    options = ["--rate", "50", "--duration", "2", "--arrivals", "constant", "--plot", str(plot)]
    said = load(server, tmp_path, *options, "--mix", "text=0.5,64x32=0.5", "--max-tokens", "9")
    assert said["model"] == "nano", "the server's own name for it"
    assert said["requests"] == {"due": 100, "answered": 100, "failed": 0}
    assert said["rates"]["due"] == pytest.approx(50)
    assert len(server.bodies) == 100
    assert {body["max_tokens"] for body in server.bodies} == {9}
    pictures = [len(body["messages"][0]["content"]) - 1 for body in server.bodies]
    assert 30 <= sum(pictures) <= 70
    counts = {name: values["count"] for name, values in said["seconds_by"].items()}
    assert counts["first token, pictures"] == sum(pictures)
    assert counts["first token, text"] == 100 - sum(pictures)
    assert "100       100         0" in capsys.readouterr().out
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_latencies_are_the_servers(server: Server, tmp_path: Path) -> None:
    server.answer = stream_of("a", "b", "c", pause_s=0.2, usage=5)
    said = load(server, tmp_path, "--rate", "20", "--duration", "1", "--mix", "text")
    p50 = {name: values["p50"] for name, values in said["seconds_by"].items()}
    assert p50["first token, text"] >= 0.2
    assert p50["whole answer"] >= 0.6
    assert 0.05 < p50["between tokens"] <= p50["whole answer"] / 4, (
        "five tokens by the server's count: four gaps"
    )
    assert said["within_objectives"] == 0, "50 ms between tokens were wanted"


def test_a_server_that_stops_for_a_while_is_seen_by_all_that_were_due_then(
    server: Server, tmp_path: Path
) -> None:
    """Coordinated omission: a closed loop would have sent nothing, and reported nothing, during the stop."""

    async def after_the_stop(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        server.stopped_at = server.stopped_at or time.monotonic()
        await asyncio.sleep(max(0.0, server.stopped_at + 1.5 - time.monotonic()))
        return await stream_of("x")(request, body)

    server.answer = after_the_stop
    said = load(
        server, tmp_path, "--rate", "40", "--duration", "2", "--arrivals", "constant", "--mix", "text"
    )
    assert said["requests"]["answered"] == 80
    assert said["seconds_by"]["first token, text"]["p50"] > 0.5, (
        "half of them were due in the stop's first second"
    )
    assert said["seconds_by"]["first token, text"]["largest"] > 1.5


def test_a_trace_is_replayed(server: Server, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    lines = [
        {"at": 0.1 * n, "prompt_tokens": 5 + n, "output_tokens": 3, "pictures": "2*32x32" if n % 2 else ""}
        for n in range(10)
    ]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    began = time.monotonic()
    said = load(server, tmp_path, "--trace", str(trace), "--speed", "2")
    assert time.monotonic() - began >= 0.45
    assert said["requests"]["answered"] == 10
    asked = sorted(
        (len(parts[-1]["text"].split()), len(parts) - 1)
        for parts in (body["messages"][0]["content"] for body in server.bodies)
    )
    assert asked == [(5 + n, 2 if n % 2 else 0) for n in range(10)]


async def _refuse(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"error": {"code": "queue_full", "message": "full"}}, status=429)


async def _fail_plainly(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(status=502, text="<html>")


async def _fail_in_the_stream(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(events_of("a", finish=False)[1])
    await response.write(b'data: {"error": {"type": "server_error", "code": "role_unavailable"}}\n\n')
    return response


async def _break_off(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(events_of("a", finish=False)[1])
    assert request.transport is not None
    request.transport.abort()
    return response


async def _hang(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def _talk_nonsense(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text="data: red box\n\n", content_type="text/event-stream")


async def _count_otherwise(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text='data: {"choices": [], "usage": {"tokens": 3}}\n\n')


async def _never_end_a_line(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(body=b"data: " + b"x" * (3 << 20), content_type="text/event-stream")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (_refuse, "HTTP 429 queue_full"),
        (_fail_plainly, "HTTP 502"),
        (_fail_in_the_stream, "in the stream role_unavailable"),
        (_break_off, "connection: the answer broke off"),
        (_hang, "timed out"),
        (_talk_nonsense, "an event that is no JSON"),
        (_count_otherwise, "an event that is none of a chat completion"),
        (_never_end_a_line, "an event of more than 1048576 bytes"),
        (stream_of("a", finish=False), "the stream ended before the answer"),
    ],
)
def test_each_kind_of_failure_has_its_name(server: Server, tmp_path: Path, answer: Any, error: str) -> None:
    server.answer = answer
    # A busy machine must not make a time-out of what is another failure.
    timeout = ["--timeout", "1" if answer is _hang else "60"]
    options = ["--rate", "20", "--duration", "0.5", "--arrivals", "constant", "--mix", "text"]
    said = load(server, tmp_path, *options, *timeout)
    assert said["errors"] == {error: 10}
    assert said["within_objectives"] == 0


def test_the_token_of_a_file_is_sent_and_never_said(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("very-secret\n")
    load(server, tmp_path, "--rate", "20", "--duration", "0.5", "--token-file", str(token))
    assert server.tokens == {"Bearer very-secret"}
    said = capsys.readouterr()
    assert "very-secret" not in said.out + said.err + (tmp_path / "load.json").read_text()


def test_a_server_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["load", "http://127.0.0.1:9/x"]) == cli.EXIT_REJECTED
    assert "internvl: URL: http://127.0.0.1:9/x/v1/models does not answer" in capsys.readouterr().err


def start_endless_load(server: Server, file: Path) -> subprocess.Popen[str]:
    """A load as a process of its own; returns when 50 requests have come."""
    command = [sys.executable, "-m", "internvl_operator.cli", "load", server.url, "--rate", "50"]
    running = subprocess.Popen(
        [*command, "--duration", "600", "--mix", "text", "--json", str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(server.bodies) < 50:
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.05)
    return running


def test_ctrl_c_ends_a_load_and_prints_what_came(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    running = start_endless_load(server, file)
    os.kill(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 0
    assert out.startswith("Ended early")
    assert json.loads(file.read_text())["requests"]["answered"] >= 1


def test_sigterm_ends_the_sending_and_waits_for_what_was_sent(server: Server, tmp_path: Path) -> None:
    file, may_answer = tmp_path / "load.json", threading.Event()

    async def answer_when_told(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.to_thread(may_answer.wait, 120)
        return await stream_of("x")(request, body)

    server.answer = answer_when_told
    running = start_endless_load(server, file)
    os.kill(running.pid, signal.SIGTERM)
    may_answer.set()
    out, _ = running.communicate(timeout=120)
    assert running.returncode == 0
    assert out.startswith("Ended early")
    requests = json.loads(file.read_text())["requests"]
    assert requests == {"due": len(server.bodies), "answered": len(server.bodies), "failed": 0}
