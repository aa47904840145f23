from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_operator.api.conditions import ConditionStatus, ConditionType, Reason
from internvl_operator.api.status import (
    Condition,
    FailureStatus,
    ModelStatus,
    ProbeStatus,
    RolesStatus,
    RoleStatus,
    Status,
    parse_stored_status,
)

TIMES = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))
STATUSES = st.builds(
    Status,
    observed_generation=st.integers(0, 9),
    url=st.none() | st.text(),
    model=st.none() | st.builds(ModelStatus, name=st.text(), revision=st.none() | st.text()),
    roles=st.builds(
        RolesStatus,
        vision=st.builds(RoleStatus, ready=st.none() | st.integers(0, 9), failed_at=st.none() | TIMES),
    ),
    probe=st.none() | st.builds(ProbeStatus, subject=st.text(), time=TIMES),
    last_failure=st.none()
    | st.builds(FailureStatus, time=TIMES, reason=st.sampled_from(Reason), message=st.text()),
    conditions=st.lists(
        st.builds(
            Condition,
            type=st.sampled_from(ConditionType),
            status=st.sampled_from(ConditionStatus),
            reason=st.sampled_from(Reason),
            message=st.text(),
            lastTransitionTime=TIMES,
        ),
        max_size=3,
    ).map(tuple),
)


@pytest.mark.timeout(20)
@settings(max_examples=60)
@given(STATUSES)
def test_a_stored_status_reads_back_equal(status):
    stored = status.to_mapping()
    again = parse_stored_status(stored)
    assert again == status
    assert again.to_mapping() == stored


@pytest.mark.parametrize("stored", [None, {}, {"conditions": 7}, {"conditions": [{"type": "New"}]}])
def test_an_unreadable_status_is_no_status(stored):
    assert parse_stored_status(stored) is None


def test_fields_of_another_version_are_ignored():
    assert parse_stored_status({"observedGeneration": 3, "brandNew": 1}) == Status(observed_generation=3)


def test_times_are_written_in_utc_and_whole_seconds():
    moment = datetime(2026, 1, 1, 1, 0, 0, 999, tzinfo=timezone(timedelta(hours=1)))
    stored = Status(probe=ProbeStatus(subject="s", time=moment)).to_mapping()
    assert stored["probe"]["time"] == "2026-01-01T00:00:00Z"


def test_reasons_are_documented_camel_case():
    for reason in Reason:
        assert reason.value[0].isupper() and reason.value.isalnum()
        assert reason.meaning.endswith(".") and reason.action.endswith(".")
    for kind in ConditionType:
        assert kind.meaning.endswith(".")
