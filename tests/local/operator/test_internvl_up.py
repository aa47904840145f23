"""`internvl up` with a Ray of its own: edits, Ctrl-C, and a kill."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INTERNVL = ROOT / ".venv" / "bin" / "internvl"
MODEL = ROOT / "engines" / "internvl_engines" / "models" / "internvl-nano"
SERVICE = f"""\
apiVersion: serving.internvl.io/v1alpha1
kind: InternVLService
metadata: {{name: up}}
spec:
  model: {{uri: "file://{MODEL}"}}
  language: {{pool: l, maxModelLen: 1024}}
"""


class Up:
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.temporary = folder
        self.log = folder / f"up-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [INTERNVL, "up", *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)},
            )

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def folders(self) -> list[Path]:
        """What it has made for its Ray."""
        return list(self.temporary.glob("ivr-*"))


@pytest.fixture
def up() -> Iterator[Callable[..., Up]]:
    started: list[Up] = []
    # Not below pytest's own folder: the paths of Ray's sockets would be too long.
    folder = Path(tempfile.mkdtemp(prefix="up-"))

    def start(*arguments: str) -> Up:
        started.append(Up(folder, *arguments))
        return started[-1]

    yield start
    for item in started:
        if item.process.poll() is None:
            item.process.send_signal(signal.SIGINT)
            item.process.wait(timeout=120)
        print(item.text)
    shutil.rmtree(folder)


def processes_below(folder: Path) -> list[str]:
    """Command lines of processes that belong to that run, by the home folder in their environment."""
    wanted, found = f"HOME={folder}/home".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
            except OSError:
                continue
    return found


def test_a_file_is_served_followed_and_taken_down(up, tmp_path, eventually):
    file = tmp_path / "service.yaml"
    file.write_text(SERVICE)
    first = up("-f", str(file))
    took_s = eventually(
        lambda: "answers at http://127.0.0.1:" in first.text or first.process.poll() is not None,
        "Ready, or the end",
        within_s=400,
    )
    assert first.process.poll() is None
    print(f"\ninternvl up: Ready after {took_s:.1f} s")
    assert "curl -s http://127.0.0.1:" in first.text
    (folder,) = first.folders

    file.write_text(SERVICE.replace("maxModelLen", "maxModelLength"))
    eventually(
        lambda: "spec.language.maxModelLength: this field does not exist" in first.text, "the error is told"
    )
    assert f"{file}:6: " in first.text
    before = first.text.count("answers at")
    file.write_text(SERVICE.replace("1024", "900"))
    eventually(lambda: "the file changed" in first.text, "the edit is taken in")
    eventually(lambda: first.text.count("answers at") > before, "Ready again", within_s=300)

    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(timeout=120) == 0
    assert processes_below(folder) == []
    assert not folder.exists()


def test_a_killed_run_takes_its_ray_with_it(up, tmp_path, eventually):
    file = tmp_path / "service.yaml"
    file.write_text(SERVICE)
    killed = up("-f", str(file))
    eventually(
        lambda: killed.folders and len(processes_below(killed.folders[0])) > 2, "Ray starts", within_s=300
    )
    (folder,) = killed.folders
    killed.process.kill()
    killed.process.wait()
    eventually(lambda: processes_below(folder) == [], "Ray ends with a killed `internvl up`")
    eventually(lambda: not folder.exists(), "its folder goes")
