"""The processes that run cases end with whoever started them."""

import subprocess
import sys
from pathlib import Path

from e2e.bench.result import ROOT

DEADLINE_S = 60.0
TWO_AT_WORK = """
import os, time
from e2e.bench.autoscaling.running import workers

def work():
    os.write(1, b"works\\n")
    time.sleep(%g)  # it ends by itself, if it must

if __name__ == "__main__":
    with workers(2) as pool:
        pool.submit(work)
        pool.submit(work)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "two_at_work.py"
    script.write_text(TWO_AT_WORK % (2 * DEADLINE_S))
    with subprocess.Popen(
        [sys.executable, script], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == [b"works\n"] * 2
        parent.kill()
        # Both hold the other end of the pipe, so it ends with the later of them.
        rest, _ = parent.communicate(timeout=DEADLINE_S)
    assert rest == b""
