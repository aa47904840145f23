"""A trace with a line that is none: what was sent until there is told, then the line."""

import argparse
import asyncio
import json

import pytest

from internvl_operator.errors import Rejected
from internvl_operator.load import command
from internvl_operator.load.outcomes import Outcome

LINE = {"at": 0.0, "prompt_tokens": 8, "output_tokens": 4}


class Server:
    """Answers each request a moment after it came."""

    def __init__(self, url, *, clock, **how):
        self.clock = clock

    async def __aenter__(self):
        return self

    async def __aexit__(self, *fault):
        return None

    async def send(self, body, due, pictures):
        sent = self.clock()
        await asyncio.sleep(0)
        return Outcome(due=due, sent=sent, ended=self.clock(), pictures=pictures, tokens=4)


def run(monkeypatch, tmp_path, *lines):
    monkeypatch.setattr(command, "ChatClient", Server)
    trace, figures, said = tmp_path / "trace.jsonl", tmp_path / "figures.json", []
    trace.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    options = argparse.Namespace(
        url="http://server:8000", model="nano", token_file=None, timeout=5.0, ignore_eos=True, seed=0,
        most_in_flight=8, first_token=1.0, between_tokens=1.0, json=figures, plot=None, trace=trace, speed=1.0,
        duration=None, prompt_tokens=None, max_tokens=None, picture="448x448", rate=None, mix=None,
    )  # fmt: skip
    with pytest.raises(Rejected) as fault:
        command.run_load(options, said.append)
    return str(fault.value), said, figures


def test_the_figures_of_what_was_sent_are_told_before_the_line_that_is_none(monkeypatch, tmp_path):
    fault, said, figures = run(monkeypatch, tmp_path, LINE, LINE, {"at": "soon"})
    assert fault.startswith("--trace: line 3 of ")
    assert len(said) == 1 and json.loads(figures.read_text())["requests"]["answered"] == 2


def test_a_trace_that_is_none_from_its_first_line_has_no_figures(monkeypatch, tmp_path):
    fault, said, figures = run(monkeypatch, tmp_path, {"at": "soon"})
    assert fault.startswith("--trace: line 1 of ") and not said and not figures.exists()
