"""kubectl as the administrator of a cluster."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.errors import ClusterFailed

TIMEOUT_S = 1800  # a load runs through one of these


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs the environment's kubectl for one cluster."""

    kubeconfig: Path

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        """Its output.

        Raises:
            ClusterFailed: It failed; the text is what it said.
        """
        done = subprocess.run(
            self._command(*words),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if done.returncode != 0:
            raise ClusterFailed(f"kubectl {' '.join(words[:4])}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def watch(self, *words: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """`get` with these words, for one kind of object, while the block runs.

        Its value gives every state that the objects have had by now, oldest first, however seldom one asks.
        """
        with tempfile.TemporaryDirectory() as folder:
            seen = Path(folder, "seen.json")
            with seen.open("wb") as file:
                process = subprocess.Popen(self._command("get", *words, "--watch", "-o", "json"), stdout=file)
            try:
                yield lambda: _documents(seen.read_text())
            finally:
                process.kill()
                process.wait()

    def _command(self, *words: str) -> list[str]:
        program = Path(sys.executable).with_name("kubectl")
        return [str(program), "--kubeconfig", str(self.kubeconfig), *words]


def _documents(text: str) -> list[dict[str, Any]]:
    """JSON objects that stand one after the other; the last one may not be written to its end."""
    found, decoder, at = [], json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        found.append(document)
    return found
