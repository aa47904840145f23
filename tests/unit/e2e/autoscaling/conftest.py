"""The first test that simulates compiles the simulator's loops: seconds, and more on a busy machine."""

from pathlib import Path

import pytest

COMPILED_WITHIN_S = 180.0


@pytest.hookimpl(tryfirst=True)  # before the limit that every unit test gets
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(COMPILED_WITHIN_S))
