"""What ONNX Runtime would tell its makers stays untold."""

import os
import subprocess
import sys
from pathlib import Path

OPEN = """
import sys
from pathlib import Path
from internvl_runtimes.engines.onnxruntime_session import open_session
open_session(Path(sys.argv[1]), threads=1)
"""
MODELS = Path(__file__).parents[2] / "engines/internvl_engines/models"


def test_a_session_leaves_nothing_in_the_users_home(tmp_path: Path) -> None:
    graph = next(MODELS.rglob("projector_keep.onnx"))
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-B", "-c", OPEN, graph], env=kept | home, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []
