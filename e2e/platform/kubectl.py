"""kubectl as the administrator of a cluster."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
        program = Path(sys.executable).with_name("kubectl")
        done = subprocess.run(
            [program, "--kubeconfig", self.kubeconfig, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if done.returncode != 0:
            raise ClusterFailed(f"kubectl {' '.join(words[:4])}: {done.stderr.strip()}")
        return done.stdout
