"""The guards of tests/unit/conftest.py bite: each is run in a pytest of its own and seen to fail."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

GUARDS = Path(__file__).parents[1] / "unit" / "conftest.py"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)", "opened a connection"),
        ("import time; time.sleep(0.01)", "slept 0.01 s"),
        ("import asyncio; asyncio.run(asyncio.sleep(0.01))", "slept 0.01 s"),
        ("while True: pass", "Timeout"),
    ],
)
def test_a_unit_test_that_leaves_the_process_fails(
    pytester: pytest.Pytester, body: str, complaint: str
) -> None:
    unit = pytester.mkpydir("tests") / "unit"
    unit.mkdir()
    (unit / "conftest.py").write_text(
        GUARDS.read_text().replace("UNIT_TIMEOUT_S = 30.0", "UNIT_TIMEOUT_S = 3.0")
    )
    (unit / "test_x.py").write_text(f"def test_x():\n    {body}\n")
    result = pytester.runpytest_subprocess(str(unit), "-p", "no:cacheprovider")
    assert result.ret != 0
    assert complaint in result.stdout.str() + result.stderr.str()
