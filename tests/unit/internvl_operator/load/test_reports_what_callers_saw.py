"""Quantiles, tallies, the table, the JSON and the plot."""

import json
import random
from xml.etree import ElementTree

import pytest

from internvl_operator.load.outcomes import Outcome
from internvl_operator.load.plot import encode_svg
from internvl_operator.load.quantiles import Quantiles
from internvl_operator.load.report import Run, encode_json, encode_table
from internvl_operator.load.tally import MOST_BINS, MOST_ERRORS, Objectives, Tally, Timeline

RUN = Run("http://host/x", "nano", "5 requests/s for 60 s", 1_700_000_000.5)


def answered(due: float, *, first: float = 0.5, between: float = 0.01, tokens: int = 11, **more) -> Outcome:
    last = due + first + between * (tokens - 1)
    return Outcome(due=due, sent=due, ended=last, first=due + first, last=last, tokens=tokens, **more)


def failed(due: float, error: str = "HTTP 429 queue_full") -> Outcome:
    return Outcome(due=due, sent=due, ended=due + 0.1, error=error)


def tally_of(*outcomes: Outcome) -> Tally:
    tally = Tally(Objectives(1.0, 0.05), started=100.0)
    for outcome in outcomes:
        tally.add(outcome)
    return tally


def test_quantiles_are_at_most_two_percent_above_the_true_ones():
    chance = random.Random(3)
    values = sorted(chance.lognormvariate(-2, 1.5) for _ in range(20_000))
    found = Quantiles()
    for value in values:
        found.add(value)
    for share in (0.5, 0.95, 0.99, 1.0):
        true = values[round(share * len(values)) - 1]
        assert true * 0.999 <= (found.quantile(share) or 0) <= true * 1.02
    assert found.largest == values[-1] == found.quantile(1.0)


def test_quantiles_take_bounded_memory_and_zero():
    found = Quantiles()
    for number in range(100_000):
        found.add(number / 1000)
    assert len(found._buckets) < 1000
    assert Quantiles().quantile(0.5) is None
    found = Quantiles()
    found.add(0.0)
    assert found.quantile(0.99) == 0.0


def test_merged_quantiles_are_those_of_all_values():
    one, other, both = Quantiles(), Quantiles(), Quantiles()
    for number in range(1, 200):
        (one if number % 3 else other).add(number)
        both.add(number)
    one.merge(other)
    assert [one.quantile(share) for share in (0.1, 0.5, 0.9)] == [
        both.quantile(share) for share in (0.1, 0.5, 0.9)
    ]
    assert (one.count, one.sum, one.largest) == (both.count, both.sum, both.largest)


def test_a_timeline_keeps_its_length_in_bounds_and_loses_nothing():
    timeline = Timeline()
    for second in range(10_000):
        timeline.at(second).due += 1
    assert len(timeline.bins) <= MOST_BINS
    assert sum(each.due for each in timeline.bins) == 10_000
    assert timeline.width_s == 64


def test_latencies_count_from_when_a_request_was_due():
    late = Outcome(due=100.0, sent=103.0, first=103.5, last=104.5, ended=104.5, tokens=11)
    assert (late.late_s, late.first_token_s, late.whole_s) == (3.0, 3.5, 4.5)
    assert late.between_tokens_s == pytest.approx(0.1)


def test_objectives_are_met_by_both_or_not_at_all_and_never_by_a_failure():
    tally = tally_of(
        answered(100.0),
        answered(101.0, first=1.2),
        answered(102.0, between=0.06),
        answered(103.0, tokens=1),
        failed(104.0),
    )
    assert (tally.due, tally.answered, tally.failed, tally.met) == (5, 4, 1, 2)


def test_a_failure_in_the_middle_of_an_answer_has_a_first_token_and_no_end():
    broken = Outcome(due=100.0, sent=100.0, first=100.2, last=100.4, ended=101.0, tokens=3, error="timed out")
    tally = tally_of(broken)
    assert tally.first_token[False].count == 1
    assert (tally.whole.count, tally.answered, tally.tokens) == (0, 0, 0)


def test_kinds_of_errors_are_bounded():
    tally = tally_of(*(failed(100.0, f"error {number}") for number in range(500)))
    assert len(tally.errors) == MOST_ERRORS + 1
    assert tally.errors["other"] == 500 - MOST_ERRORS
    assert tally.failed == 500


def test_the_table_says_rates_latencies_objectives_and_errors():
    tally = tally_of(
        *(answered(100.0 + n, pictures=n % 2 == 0) for n in range(1, 10)), failed(110.0), failed(110.0)
    )
    table = encode_table(RUN, tally)
    words = [line.split() for line in table.splitlines()]
    assert ["11", "9", "2"] in words
    assert ["per", "second", "1.10", "0.89", "0.20"] in words
    assert ["first", "token,", "text", "0.500", "0.500", "0.500", "0.500"] in words
    assert "within 1 s to the first token and 50 ms between tokens: 81.8% of all that were due" in table
    assert "2 failed: HTTP 429 queue_full" in table
    assert "too slow" not in table


def test_a_generator_that_was_too_slow_says_so():
    tally = tally_of(Outcome(due=100.0, sent=100.3, first=101, last=101, ended=101, tokens=1))
    assert "This machine was too slow for the load: 1 in 100 went out 0.300 s late" in encode_table(
        RUN, tally
    )


def test_a_load_without_an_answer_has_a_table_too():
    assert "0.0% of all that were due" in encode_table(RUN, tally_of(failed(101.0)))
    assert "0.0% of all that were due" in encode_table(RUN, tally_of())


def test_requests_that_were_due_at_one_moment_have_no_rate():
    tally = tally_of(answered(100.0))
    assert ["per", "second", "1.67", "0.00"] in [
        line.split() for line in encode_table(RUN, tally).splitlines()
    ]
    assert encode_json(RUN, tally)["rates"]["due"] is None


def test_the_json_has_the_same_figures():
    tally = tally_of(*(answered(100.0 + n) for n in range(1, 5)), failed(102.5))
    said = json.loads(json.dumps(encode_json(RUN, tally)))
    assert said["requests"] == {"due": 5, "answered": 4, "failed": 1}
    assert said["started_at"] == 1_700_000_000.5
    assert said["errors"] == {"HTTP 429 queue_full": 1}
    assert said["within_objectives"] == 0.8
    assert said["seconds_by"]["first token, text"]["p95"] == pytest.approx(0.5, rel=0.02)
    assert said["seconds_by"]["first token, pictures"]["p95"] is None
    assert said["timeline"]["due"] == [0, 1, 2, 1, 1]
    assert said["timeline"]["width_s"] == 1


def test_the_plot_is_svg_with_a_line_for_each_course_and_gaps_where_nothing_was_due():
    tally = tally_of(answered(100.5), answered(101.5), answered(104.5), failed(104.6))
    root = ElementTree.fromstring(encode_svg(Run("u", "a<b", "load & more", 0.0), tally))
    paths = [
        each.get("d") or ""
        for each in root.iter("{http://www.w3.org/2000/svg}path")
        if each.get("stroke-width")
    ]
    assert len(paths) == 5
    medians = paths[3]
    assert (medians.count("M"), medians.count("L")) == (2, 1)
    assert "a<b: load & more" in [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
