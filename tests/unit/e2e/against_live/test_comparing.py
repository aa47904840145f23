"""The same requests for both sides of the comparison, and how far two runs are from each other."""

import json

import numpy as np
import pytest

from e2e.bench.against_live.calibrating import Calibration
from e2e.bench.against_live.figures import Figures, compared, simulated_figures
from e2e.bench.against_live.traffic import (
    OUTPUT_TOKENS,
    Arrival,
    Kind,
    Phase,
    drawn,
    requests_of,
    write_trace,
)
from e2e.bench.autoscaling.policies.plans import Planned
from e2e.bench.autoscaling.simulator.run import simulate
from e2e.bench.autoscaling.simulator.sample import Targets
from e2e.bench.autoscaling.site import LanguageReplica, Site, Start, VisionReplica
from internvl_operator.load.shapes import Size
from internvl_operator.load.traces import Replay, replay

START = Start(pod_s=0.0, cold_s=6.0, drain_s=1.0)
SITE = Site(
    name="nano",
    title="made up",
    vision=VisionReplica(gpus=1, tiles_per_s=40.0, start=START),
    language=LanguageReplica(
        gpus=1,
        prompt_tokens_per_s=2000.0,
        step_s=0.004,
        sequence_s=0.001,
        sequences=8,
        chunk_tokens=512,
        start=START,
    ),
)
KNOWN = Calibration(SITE, Kind(20, 340), Kind(0, 20), pictures_beside_s=0.1, text_beside_s=0.05)
FIGURES = dict(
    answered=1.0,
    attained=0.9,
    vision_replica_s=200.0,
    language_replica_s=300.0,
    first_p50_s=0.5,
    first_p95_s=2.0,
    whole_p50_s=0.7,
    whole_p95_s=2.5,
)


def test_a_trace_is_replayed_as_it_is_simulated(tmp_path):
    arrivals = drawn((Phase(30, 0.5, 1.0), Phase(30, 4.0, 2.0)))
    assert arrivals[0].at == 0 and arrivals == drawn((Phase(30, 0.5, 1.0), Phase(30, 4.0, 2.0)))
    assert sum(arrival.has_pictures for arrival in arrivals) == pytest.approx(135, rel=0.3)
    trace = write_trace(arrivals, tmp_path / "trace.jsonl")
    sent = list(replay(Replay(file=trace, most_prompt_tokens=1000, most_output_tokens=1000, size=Size(1, 1))))
    requests = requests_of(arrivals, KNOWN.pictures, KNOWN.text)
    assert [one.at_s for one in sent] == pytest.approx(requests.at.tolist(), abs=1e-4)
    assert [len(one.shape.pictures) == 2 for one in sent] == (requests.tiles == 20).tolist()
    assert (
        {one.shape.output_tokens for one in sent} == set(requests.output_tokens.tolist()) == {OUTPUT_TOKENS}
    )
    assert json.loads(trace.read_text().splitlines()[0])["at"] == 0


def test_a_lone_request_takes_its_work_and_what_is_beside_it():
    requests = requests_of([Arrival(0.0, True), Arrival(20.0, True)], KNOWN.pictures, KNOWN.text)
    plan = Planned(np.ones(12), np.ones(12))
    run = simulate(requests, SITE, plan, begin_with=Targets(1, 1), end_s=40, seed=1)
    figures = simulated_figures(run, KNOWN, first_token_s=1.0, lasts_s=40)
    assert (figures.answered, figures.attained) == (1.0, 1.0)
    assert figures.first_p50_s == pytest.approx(0.1 + 20 / 40 + 340 / 2000, rel=0.05)
    assert figures.whole_p50_s - figures.first_p50_s == pytest.approx(OUTPUT_TOKENS * 0.0045, rel=0.15)
    assert figures.vision_replica_s == figures.language_replica_s == 40
    late = simulated_figures(run, KNOWN, first_token_s=0.5, lasts_s=40)
    assert late.attained == 0


def test_a_figure_that_is_too_far_off_misses_its_goal():
    simulated = Figures(**{**FIGURES, "attained": 0.99, "first_p95_s": 1.6})
    goals = {goal.what: goal for _, goal in compared(Figures(**FIGURES), simulated)}
    assert goals["within the objectives (share), off by (%)"].value == 10.0
    missed = [what for what, goal in goals.items() if not goal.ok]
    assert missed == ["first token with pictures, p95 (s), off by (%)"]
    rows = {row[0]: row[1:] for row, _ in compared(Figures(**FIGURES), simulated)}
    assert rows["first token with pictures, p95 (s)"] == ("2", "1.6", "-20%")


def test_a_live_figure_of_nothing_is_compared_too():
    live = Figures(**{**FIGURES, "attained": 0.0, "answered": 0.0})
    simulated = Figures(**{**FIGURES, "attained": 0.5, "answered": 0.0})
    found = {row[0]: (row[1:], goal.value) for row, goal in compared(live, simulated)}
    assert found["within the objectives (share)"] == (("0", "0.5", "+100%"), 100.0)
    assert found["requests answered (share)"] == (("0", "0", "+0%"), 0.0)
