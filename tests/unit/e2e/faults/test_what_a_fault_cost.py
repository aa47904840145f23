"""The figures of a case follow from the requests and from what the status said, and from nothing else."""

from e2e.faults.measured import Request, Spoken, changes, healed_after_s, outages, untrue_s


def right(*ends: float) -> list[Request]:
    return [Request(began=end - 1, ended=end, outcome="right") for end in ends]


def said(at: float, ready: str = "True", reason: str = "Ready") -> Spoken:
    return Spoken(at, ready, reason)


def test_a_pause_longer_than_a_request_takes_is_an_outage() -> None:
    found = outages(right(100, 101, 110, 111), until=112)
    assert [(outage.began, outage.ended) for outage in found] == [(101, 110)]


def test_no_answer_until_the_end_is_an_outage() -> None:
    assert [outage.seconds for outage in outages(right(100), until=120)] == [20]


def test_healed_is_when_the_last_of_requests_outages_and_status_is_well() -> None:
    requests = [*right(100, 101, 109, 110), Request(102, 104, "failed")]
    calm = [said(100), said(110)]
    assert healed_after_s(requests, calm, fault_at=101, until=110) == 8  # the outage ended at 109
    ill = [said(100), said(112, "False", "ReplicaUnhealthy"), said(113)]
    assert healed_after_s(requests, ill, fault_at=101, until=110) == 11


def test_what_costs_nothing_is_healed_at_once() -> None:
    assert healed_after_s(right(100, 101, 102), [said(100)], fault_at=100.5, until=102) == 0


def test_a_status_that_says_ready_in_an_outage_is_not_true_after_a_moment() -> None:
    requests = right(100, 120, 121)
    assert untrue_s(requests, [said(99)], until=121) == 15  # from 105 to 120
    noticed = [said(99), said(108, "False"), said(120)]
    assert untrue_s(requests, noticed, until=121) == 3  # from 105 to 108


def test_an_api_server_that_is_away_says_nothing_untrue() -> None:
    assert untrue_s(right(100, 120, 121), [said(99), said(101, ""), said(120)], until=121) == 0


def test_each_sentence_of_the_status_is_told_once() -> None:
    spoken = [said(99), said(100), said(103, "False", "RayUnavailable"), said(104, "False", "RayUnavailable")]
    assert changes(spoken, since=101) == [
        "-2.0 s Ready=True Ready: ",
        "+2.0 s Ready=False RayUnavailable: ",
    ]
