from datetime import UTC, datetime

import pytest

from internvl_operator.api.scaling_spec import ScheduleSpec, seconds_of


def schedule(cron: str, duration: str, zone: str = "UTC") -> ScheduleSpec:
    return ScheduleSpec(cron=cron, duration=duration, time_zone=zone, vision=2)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-05-04T07:59:59", False),  # a Monday
        ("2026-05-04T08:00:00", True),
        ("2026-05-04T08:00:00.250", True),
        ("2026-05-04T17:59:59", True),
        ("2026-05-04T18:00:00", False),
        ("2026-05-09T12:00:00", False),  # a Saturday
    ],
)
def test_it_lasts_from_its_time_for_its_duration(now, is_open):
    assert schedule("0 8 * * 1-5", "10h").is_open(at(now)) is is_open


def test_it_may_last_beyond_midnight():
    night = schedule("0 22 * * *", "8h")
    assert night.is_open(at("2026-05-05T05:00:00"))
    assert not night.is_open(at("2026-05-05T07:00:00"))


def test_it_follows_the_clock_of_its_zone():
    berlin = schedule("0 8 * * *", "1h", "Europe/Berlin")
    assert berlin.is_open(at("2026-07-01T06:30:00"))
    assert not berlin.is_open(at("2026-07-01T07:30:00"))
    assert berlin.is_open(at("2026-12-01T07:30:00"))
    assert not berlin.is_open(at("2026-12-01T06:30:00"))


def test_a_night_in_which_the_clock_is_put_forward_has_its_schedule():
    assert schedule("30 2 * * *", "2h", "Europe/Berlin").is_open(at("2026-03-29T02:00:00"))


@pytest.mark.parametrize(
    ("cron", "duration", "open_at", "shut_at"),
    [
        ("30 2 * * *", "3h", ("00:30", "01:00", "01:29", "01:30", "03:29"), ("00:29", "03:30")),
        ("0 * * * *", "30m", ("00:10", "01:10", "02:10"), ("00:40", "01:40", "02:40")),
        ("*/30 * * * *", "10m", ("00:35", "01:05", "01:35"), ("00:15", "01:15", "01:45")),
        ("0 1 * * *", "2h", ("00:00", "00:59"), ("01:00", "01:30")),
    ],
)
def test_a_night_in_which_an_hour_comes_twice_has_it_once(cron, duration, open_at, shut_at):
    """From 3:00 it is 2:00 again in Berlin, at 1:00 UTC. What comes every hour comes in both."""
    berlin = schedule(cron, duration, "Europe/Berlin")
    assert all(berlin.is_open(at(f"2026-10-25T{time}:00")) for time in open_at)
    assert not any(berlin.is_open(at(f"2026-10-25T{time}:00")) for time in shut_at)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0)]
)
def test_durations(text, seconds):
    assert seconds_of(text) == seconds
