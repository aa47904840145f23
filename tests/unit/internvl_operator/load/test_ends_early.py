"""A trace with a line that is none, and SIGTERM: what was sent until then is told."""

import argparse
import asyncio
import json
import os
import signal
import time

import pytest

from internvl_operator.errors import Rejected
from internvl_operator.load import command
from internvl_operator.load.outcomes import Outcome

LINE = {"at": 0.0, "prompt_tokens": 8, "output_tokens": 4}


class Server:
    """Answers each request a moment after it came."""

    on_send = None

    def __init__(self, url, *, clock, **how):
        self.clock = clock

    async def __aenter__(self):
        return self

    async def __aexit__(self, *fault):
        return None

    async def send(self, body, due, pictures):
        sent = self.clock()
        if self.on_send:
            self.on_send()
        await asyncio.sleep(0)
        return Outcome(due=due, sent=sent, ended=self.clock(), pictures=pictures, tokens=4)


def options_of(tmp_path, *lines):
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return argparse.Namespace(
        url="http://server:8000", model="nano", token_file=None, timeout=5.0, ignore_eos=True, seed=0,
        most_in_flight=8, first_token=1.0, between_tokens=1.0, json=tmp_path / "figures.json", plot=None,
        trace=trace, speed=1.0, duration=None, prompt_tokens=None, max_tokens=None, picture="448x448", rate=None, mix=None,
    )  # fmt: skip


def run(monkeypatch, tmp_path, *lines):
    monkeypatch.setattr(command, "ChatClient", Server)
    options, said = options_of(tmp_path, *lines), []
    with pytest.raises(Rejected) as fault:
        command.run_load(options, said.append)
    return str(fault.value), said, options.json


def test_the_figures_of_what_was_sent_are_told_before_the_line_that_is_none(monkeypatch, tmp_path):
    fault, said, figures = run(monkeypatch, tmp_path, LINE, LINE, {"at": "soon"})
    assert fault.startswith("--trace: line 3 of ")
    assert len(said) == 1 and json.loads(figures.read_text())["requests"]["answered"] == 2


def test_a_trace_that_is_none_from_its_first_line_has_no_figures(monkeypatch, tmp_path):
    fault, said, figures = run(monkeypatch, tmp_path, {"at": "soon"})
    assert fault.startswith("--trace: line 1 of ") and not said and not figures.exists()


def test_sigterm_ends_a_load_whose_next_request_is_due_much_later(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "ChatClient", Server)
    monkeypatch.setattr(Server, "on_send", staticmethod(lambda: os.kill(os.getpid(), signal.SIGTERM)))
    options, said = options_of(tmp_path, LINE, {**LINE, "at": 30.0}), []
    began = time.monotonic()
    assert command.run_load(options, said.append) == 0
    assert time.monotonic() - began < 20
    assert said[0] == "Ended early; what was sent is in the figures."
    assert json.loads(options.json.read_text())["requests"] == {"due": 1, "answered": 1, "failed": 0}
