import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from e2e.setup.stages import Outcome, render_table, run_stages

ROOT = Path(__file__).resolve().parents[4]


def test_a_failing_stage_does_not_stop_the_others_and_the_whole_fails() -> None:
    out = io.StringIO()
    assert run_stages([("first", "exit 3"), ("second", "true")], out) == 1
    table = out.getvalue().splitlines()
    assert any(line.startswith("first") and line.endswith("FAILED (status 3)") for line in table)
    assert any(line.startswith("second") and line.endswith("ok") for line in table)


def test_the_whole_succeeds_when_every_stage_does() -> None:
    assert run_stages([("first", "true"), ("second", "test 1 -eq 1")], io.StringIO()) == 0


def test_a_stage_beside_runs_while_the_others_do_and_its_output_comes_in_one_piece(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for pipe in (here, there):
        os.mkfifo(pipe)
    out = io.StringIO()
    # Each waits for a line of the other: one after the other they would never end.
    stages = [
        ("& calm", f"echo calm begins; echo x > {here}; read line < {there}; echo calm ends"),
        ("busy", f"read line < {here}; echo x > {there}"),
    ]
    assert run_stages(stages, out) == 0
    assert "calm begins\ncalm ends\n" in out.getvalue()


def test_a_failure_beside_the_others_fails_the_whole() -> None:
    out = io.StringIO()
    assert run_stages([("& calm", "exit 4"), ("busy", "true")], out) == 1
    assert any(
        line.startswith("calm") and line.endswith("FAILED (status 4)") for line in out.getvalue().splitlines()
    )


def test_the_table_ends_with_the_time_of_the_whole() -> None:
    table = render_table([Outcome("unit", 61.24, 0), Outcome("local", 100.0, 1)], total_s=120.04)
    assert table.splitlines()[-1] == "total    120.0 s"


def test_the_table_tells_the_time_of_all_processes_of_a_stage() -> None:
    out = io.StringIO()
    spin = "import time\nwhile time.process_time() < 0.1: pass"
    assert run_stages([("spins", f"{sys.executable} -c '{spin}'; true"), ("waits", "true")], out) == 0
    found = dict(re.findall(r"^(\w+) +[\d.]+ s +([\d.]+) s CPU", out.getvalue(), re.MULTILINE))
    assert float(found["spins"]) >= 0.1 > float(found["waits"])


def test_ctrl_c_waits_for_the_stage_to_clean_up(tmp_path: Path) -> None:
    begun, cleaned = tmp_path / "begun", tmp_path / "cleaned"
    os.mkfifo(begun)
    stage = f"trap 'touch {cleaned}; exit 1' INT; echo x > {begun}; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [sys.executable, "-m", "e2e.setup.stages", "cleans up", stage],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        # A background job of a shell ignores it, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        begun.read_text()
        os.killpg(running.pid, signal.SIGINT)
    assert running.returncode == 130
    assert cleaned.exists()
