"""Guards of the unit suite: no socket, no sleep, no Ray, no test that hangs.

Each guard has a test in tests/repo/test_unit_guards.py that sees it bite.
"""

import asyncio
import socket
import time

import pytest

UNIT_TIMEOUT_S = 30.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every unit test a limit, unless it says otherwise itself: for a hang, not for a slow machine."""
    for item in items:
        if "tests/unit/" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(UNIT_TIMEOUT_S))


class ReachedOutside(AssertionError):
    """A unit test tried to leave the process or to wait for the clock."""


@pytest.fixture(autouse=True)
def _stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_connect(*args: object, **kwargs: object) -> None:
        raise ReachedOutside(
            "a unit test opened a connection; use a fake transport, or move it to tests/local"
        )

    def refuse_sleep(seconds: float) -> None:
        raise ReachedOutside(f"a unit test slept {seconds} s; pass a clock or poll with a deadline")

    real_async_sleep = asyncio.sleep

    async def yield_only(seconds: float, result: object = None) -> object:
        if seconds > 0:
            refuse_sleep(seconds)
        return await real_async_sleep(0, result)

    monkeypatch.setattr(socket.socket, "connect", refuse_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse_connect)
    monkeypatch.setattr(socket.socket, "bind", refuse_connect)
    monkeypatch.setattr(time, "sleep", refuse_sleep)
    monkeypatch.setattr(asyncio, "sleep", yield_only)
    monkeypatch.setenv("KUBECONFIG", "/nonexistent")
    monkeypatch.setenv("RAY_ADDRESS", "unit-tests-have-no-ray")
