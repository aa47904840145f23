import io

from e2e.setup.stages import Outcome, render_table, run_stages


def test_a_failing_stage_does_not_stop_the_others_and_the_whole_fails() -> None:
    out = io.StringIO()
    assert run_stages([("first", "exit 3"), ("second", "true")], out) == 1
    table = out.getvalue().splitlines()
    assert any(line.startswith("first") and line.endswith("FAILED (status 3)") for line in table)
    assert any(line.startswith("second") and line.endswith("ok") for line in table)


def test_the_whole_succeeds_when_every_stage_does() -> None:
    assert run_stages([("first", "true"), ("second", "test 1 -eq 1")], io.StringIO()) == 0


def test_the_table_ends_with_the_sum() -> None:
    table = render_table([Outcome("unit", 61.24, 0), Outcome("local", 100.0, 1)])
    assert table.splitlines()[-1] == "total    161.2 s"
