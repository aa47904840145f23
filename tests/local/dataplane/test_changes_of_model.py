"""Another model in the same replicas, under load: every answer is made by one model, and no request fails."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from e2e.platform.second_model import make_second_model
from internvl_runtimes.contract.serve_args import ModelSource
from tests.local.dataplane.service import MODEL, Service, eventually, picture, question, right_answers

ASKERS = 3
SUM = question(text="What is two plus three?", temperature=0.0)


def test_a_change_of_model_under_load_fails_nothing_and_mixes_nothing(
    service: Service, checkpoint: Path, tmp_path: Path
) -> None:
    second = make_second_model(checkpoint, tmp_path / "second")
    bodies = [question(picture(seed), temperature=0.0) for seed in range(9)]
    bodies += [SUM]
    known = list(zip(right_answers(checkpoint, bodies), right_answers(second, bodies), strict=True))
    assert sum(old != new for old, new in known) >= 3, "the two models can be told apart"
    assert known[-1][0] != known[-1][1]
    stop, seen, faults = Event(), Counter[str](), []

    def said(body: dict[str, Any]) -> str:
        reply = service.ask(body)
        return reply.json()["choices"][0]["message"]["content"] if reply.status_code == 200 else reply.text

    def ask(first: int) -> None:
        at = first
        while not stop.is_set():
            at = (at + 1) % len(bodies)
            text = said(bodies[at])
            old, new = known[at]
            if text not in (old, new):
                faults.append(f"{text!r}, was {old!r}, is {new!r}")
            elif old != new:
                seen["old" if text == old else "new"] += 1

    model = {"model": ModelSource(uri=second.as_uri(), name=MODEL)}
    changes: dict[str, dict[str, Any]] = {
        role: {**model, "generation": f"{role[0]}2"} for role in ("vision", "language", "gateway")
    }
    with ThreadPoolExecutor(ASKERS) as pool:
        askers = [pool.submit(ask, first) for first in range(0, ASKERS * 3, 3)]
        try:
            eventually("answers of the old model", lambda: seen["old"])
            # Language first: for a while the two sides have different models, as they may whenever both change.
            first = {role: changes[role] for role in ("gateway", "language")}
            service.nodes.put_serve_config(service.config(**first))
            eventually("text answers of the new model", lambda: said(SUM) == known[-1][1])
            service.apply(**changes)
            after = [said(body) for body in bodies]
        finally:
            stop.set()
        for asker in askers:
            asker.result()
    print(f"{dict(seen)}, {len(faults)} faults")
    assert faults == []
    assert seen["new"] > 0
    assert after == [new for _, new in known]
