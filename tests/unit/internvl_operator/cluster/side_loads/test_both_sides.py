from dataclasses import replace

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.names import Role
from internvl_operator.cluster.load_readings import Readings
from internvl_operator.cluster.side_loads import LoadMeter
from internvl_operator.scaling.model import WorkKind
from internvl_runtimes.contract import metrics

KEY = ServiceKey("team", "nano")
MAIN, VISION = "team.nano", "team.nano.vision"
RUNNING = {Role.VISION: 2, Role.LANGUAGE: 1, Role.GATEWAY: 1}


AT_GATEWAY = {
    (metrics.AWAITED.name, "text"): 0.0,
    (metrics.AWAITED.name, "pictures"): 0.0,
    (metrics.AWAITED_TILES.name, ""): 0.0,
}
IN_LANGUAGE = {(metrics.QUEUE_DEPTH.name, "language"): 0.0, (metrics.RUNNING_SEQUENCES.name, ""): 0.0}
IN_VISION = {(metrics.QUEUE_DEPTH.name, "vision"): 0.0}
NOTHING_WAITS = AT_GATEWAY | IN_LANGUAGE | IN_VISION


def reading(rates, gauges=None, replicas=None, *, at=100.0):
    return Readings(
        at=at,
        window_s=5.0,
        rates=rates,
        gauges=NOTHING_WAITS | (gauges or {}),
        replicas=replicas or {"Gateway": 1, "LanguageModel": 1},
    )


ADMITTED = {
    (metrics.REQUESTS_ADMITTED.name, "text"): 1.0,
    (metrics.REQUESTS_ADMITTED.name, "pictures"): 3.0,
    (metrics.TILES_ADMITTED.name, ""): 30.0,
    (metrics.PROMPT_TOKENS_ADMITTED.name, "prompt"): 80.0,
    (metrics.PROMPT_TOKENS_ADMITTED.name, "visual"): 7680.0,
    (metrics.OUTPUT_TOKENS_ADMITTED.name, ""): 4000.0,
}
DONE = {
    (metrics.PROMPT_TOKENS_ARRIVED.name, "visual"): 1920.0,
    (metrics.SEQUENCES_BEGUN.name, ""): 2.0,
    (metrics.WORK.name, "decode"): 50.0,
}
ENCODED = reading(
    {
        (metrics.WORK.name, "vision"): 15.0,
        (metrics.SATURATED_WORK.name, "vision"): 12.0,
        (metrics.SATURATED_SECONDS.name, "vision"): 0.8,
    },
    {(metrics.QUEUE_DEPTH.name, "vision"): 6.0},
    {"VisionEncoder": 2},
)


def loads(main, vision=ENCODED, *, meter=None, expected=RUNNING):
    readings = {MAIN: main} if vision is None else {MAIN: main, VISION: vision}
    return (meter or LoadMeter(KEY)).loads(readings, expected, "")


def test_vision_is_the_tiles_that_were_admitted_and_what_full_replicas_did():
    side = loads(reading(ADMITTED))[Role.VISION]
    tiles = side.work[WorkKind.TILES]
    assert (tiles.arriving, tiles.waiting) == (30.0, 6.0)
    assert (tiles.done_while_full, tiles.seconds_while_full) == (60.0, 4.0), "of the whole window"
    assert side.requests == 3.0
    assert (side.answered_replicas, side.expected_replicas) == (3, 3), "the gateway's part of it counts too"


def test_answers_are_as_long_as_those_that_began():
    output = loads(reading({**ADMITTED, **DONE}))[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS]
    assert output.arriving == pytest.approx(4 * 25.0), "four requests, 50 tokens a second for two begun ones"


def test_before_an_answer_was_begun_it_is_as_long_as_most_are_or_as_it_may_be():
    for most, arriving in ((4000.0, 4 * 100.0), (40.0, 40.0)):
        asked = {**ADMITTED, (metrics.OUTPUT_TOKENS_ADMITTED.name, ""): most}
        output = loads(reading(asked))[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS]
        assert output.arriving == arriving


def test_what_waits_is_no_longer_than_was_asked_for():
    """Answers of one token need no decoding: nobody sees how long they become."""
    short = {**ADMITTED, (metrics.OUTPUT_TOKENS_ADMITTED.name, ""): 4.0}
    gauges = {(metrics.QUEUE_DEPTH.name, "language"): 2.0}
    meter = LoadMeter(KEY)
    found = [loads(reading(short, gauges), meter=meter)]
    none = {key: 0.0 for key in ADMITTED}
    found.append(loads(reading(none, gauges, at=105.0), meter=meter))  # and none comes any more
    work = [load[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS] for load in found]
    assert [(item.arriving, item.waiting) for item in work] == [(4.0, 2.0), (0.0, 2.0)]


def test_a_rush_that_has_not_begun_does_not_make_answers_look_short():
    meter = LoadMeter(KEY)
    loads(reading({**ADMITTED, **DONE}), meter=meter)
    rush = {key: 20 * value for key, value in ADMITTED.items()} | DONE
    output = loads(reading(rush, at=102.0), meter=meter)[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS]
    assert output.arriving == pytest.approx(80 * 25.0)


def test_answers_that_are_being_written_do_not_look_short():
    """From rest to ten answers a second, each of 300 tokens, written within 12 s."""
    meter, found = LoadMeter(KEY), {}
    loads(reading(ADMITTED, at=0.0), meter=meter)
    for second in range(2, 302, 2):
        before, now = min(10 * (second - 2), 120), min(10 * second, 120)
        rates = {
            **ADMITTED,
            (metrics.SEQUENCES_BEGUN.name, ""): 10.0,
            (metrics.WORK.name, "decode"): 25.0 * (before + now) / 2,
        }
        gauges = {(metrics.RUNNING_SEQUENCES.name, ""): float(now)}
        output = loads(reading(rates, gauges, at=float(second)), meter=meter)[Role.LANGUAGE]
        found[second] = output.work[WorkKind.OUTPUT_TOKENS].arriving / 4
    assert found[12] == pytest.approx(300, rel=0.25), "the first of them are written just now"
    assert found[20] == pytest.approx(300, rel=0.1) and found[300] == pytest.approx(300, rel=0.02)


def test_compressed_tiles_count_with_the_tokens_that_they_became():
    prompt = loads(reading({**ADMITTED, **DONE}))[Role.LANGUAGE].work[WorkKind.PROMPT_TOKENS]
    # Admitted: 256 a tile. Encoded: 1,920 tokens from 15 tiles, which are 128 each.
    assert prompt.arriving == pytest.approx(80 + 7680 / 2)


def test_tiles_wait_in_the_gateways_and_in_the_replicas_together():
    """Three hundred pictures of a tile, and one replica that has taken sixty-four of them."""
    for taken in (0.0, 64.0):
        gauges = {(metrics.AWAITED_TILES.name, ""): 300.0 - taken}
        replica = reading({}, {(metrics.QUEUE_DEPTH.name, "vision"): taken}, {"VisionEncoder": 1})
        found = loads(reading(ADMITTED, gauges), replica if taken else None)
        assert found[Role.VISION].work[WorkKind.TILES].waiting == 300.0


def test_sequences_wait_in_the_replicas_or_without_any_in_the_gateways():
    gauges = {
        (metrics.AWAITED.name, "pictures"): 5.0,
        (metrics.AWAITED.name, "text"): 1.0,
        (metrics.QUEUE_DEPTH.name, "language"): 2.0,
    }
    main = reading({**ADMITTED, **DONE}, gauges)
    found = loads(main)
    assert found[Role.VISION].running == 5.0
    assert found[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS].waiting == pytest.approx(2 * 25.0)
    alone = loads(replace(main, replicas={"Gateway": 1}))
    assert alone[Role.LANGUAGE].work[WorkKind.OUTPUT_TOKENS].waiting == pytest.approx(6 * 25.0)


def test_without_a_gateway_nothing_is_known():
    assert loads(reading(ADMITTED, None, {"LanguageModel": 1})) is None
    assert LoadMeter(KEY).loads({VISION: ENCODED}, RUNNING, "") is None


@pytest.mark.parametrize("series", ADMITTED)
def test_an_arrival_that_is_no_number_is_not_zero(series):
    """Prometheus leaves out a sum with NaN in it."""
    assert loads(reading({key: rate for key, rate in ADMITTED.items() if key != series})) is None


def without(readings, series):
    return replace(readings, gauges={key: value for key, value in readings.gauges.items() if key != series})


@pytest.mark.parametrize("series", AT_GATEWAY)
def test_what_waits_in_a_gateway_and_is_no_number_is_not_zero(series):
    assert loads(without(reading(ADMITTED), series)) is None


@pytest.mark.parametrize("series", IN_LANGUAGE | IN_VISION)
def test_a_side_of_which_what_waits_is_no_number_is_known_in_part(series):
    """Else a backlog would ask for nothing, and nobody would say so."""
    found = loads(without(reading(ADMITTED), series), without(ENCODED, series))
    silent, other = (Role.VISION, Role.LANGUAGE) if series in IN_VISION else (Role.LANGUAGE, Role.VISION)
    assert found[silent].answered_replicas == 1 < found[silent].expected_replicas, "the gateway alone"
    assert found[other].answered_replicas == found[other].expected_replicas


def test_a_gateway_that_was_seen_once_has_not_told_yet():
    assert loads(reading({(metrics.WORK.name, "decode"): 5.0})) is None


def test_the_work_of_full_replicas_is_told_once_a_window():
    meter, told = LoadMeter(KEY), []
    for step in range(6):
        found = loads(reading(ADMITTED, at=100.0 + 2 * step), meter=meter)
        told.append(found[Role.VISION].work[WorkKind.TILES].seconds_while_full)
    assert told == [4.0, 0, 0, 4.0, 0, 0], "windows of five seconds, looked at every two"


def test_what_a_full_replica_does_seldom_is_told_once_it_is_enough_to_be_measured():
    decoding = {
        (metrics.SATURATED_WORK.name, "prefill"): 100.0,
        (metrics.SATURATED_SECONDS.name, "prefill"): 0.1,
        (metrics.SATURATED_WORK.name, metrics.BESIDE_PREFILL): 3.0,
    }
    meter, told = LoadMeter(KEY), []
    for step in range(10):
        main = reading({**ADMITTED, **DONE, **decoding}, at=100.0 + 5 * step)
        prompt = loads(main, meter=meter)[Role.LANGUAGE].work[WorkKind.PROMPT_TOKENS]
        told.append((prompt.done_while_full, prompt.seconds_while_full, prompt.outputs_beside))
    enough = (pytest.approx(2000.0), pytest.approx(2.0), pytest.approx(60.0))
    assert told.count((0, 0, 0)) == 8 and enough in told, (
        "half a second a window, two seconds are a measurement"
    )


def test_a_silent_replica_is_missing_from_those_that_answered():
    silent = reading({}, None, {"VisionEncoder": 1})
    found = loads(reading(ADMITTED), silent)
    assert (found[Role.VISION].answered_replicas, found[Role.VISION].expected_replicas) == (2, 3)
    assert found[Role.LANGUAGE].answered_replicas == found[Role.LANGUAGE].expected_replicas == 2


def test_a_draining_replica_that_still_tells_does_not_stand_in_for_a_silent_gateway():
    draining = reading({}, None, {"VisionEncoder": 3})
    main = reading(ADMITTED, None, {"Gateway": 1, "LanguageModel": 2})
    found = loads(main, draining, expected={**RUNNING, Role.GATEWAY: 2})
    for role, answered, running in ((Role.VISION, 3, 4), (Role.LANGUAGE, 2, 3)):
        side = found[role]
        assert (side.answered_replicas, side.expected_replicas) == (answered, running)


def test_a_batch_that_is_longer_than_a_window_counts_with_all_of_its_seconds():
    """Calls of 8 s, 16 tiles each, in windows of 5 s."""
    ends = [8.0 * number for number in range(1, 16)]
    meter, done, seconds = LoadMeter(KEY), 0.0, 0.0
    for end in range(5, 125, 5):
        tiles = 16 * sum(end - 5 < at <= end for at in ends)
        full = reading(
            {
                (metrics.SATURATED_WORK.name, "vision"): tiles / 5,
                (metrics.SATURATED_SECONDS.name, "vision"): 1.0,
            },
            replicas={"VisionEncoder": 1},
        )
        found = loads(reading(ADMITTED, at=100.0 + end), full, meter=meter)
        work = found[Role.VISION].work[WorkKind.TILES]
        assert work.done_while_full > 0 or work.seconds_while_full == 0, "no seconds without their tiles"
        done, seconds = done + work.done_while_full, seconds + work.seconds_while_full
    assert done / seconds == pytest.approx(2.0, rel=0.05)


def test_replicas_that_end_no_batch_for_a_minute_are_told_to_be_stuck():
    stuck = reading({(metrics.SATURATED_SECONDS.name, "vision"): 1.0}, replicas={"VisionEncoder": 1})
    meter = LoadMeter(KEY)
    told = [
        loads(reading(ADMITTED, at=100.0 + end), stuck, meter=meter)[Role.VISION]
        .work[WorkKind.TILES]
        .seconds_while_full
        for end in range(5, 75, 5)
    ]
    assert told == [0] * 12 + [65.0, 0], "seconds are not gathered for ever"
