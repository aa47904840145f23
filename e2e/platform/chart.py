"""The chart as Helm renders it, without a cluster."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e.cluster.errors import ClusterFailed
from e2e.cluster.nodes.programs import ensure_helm
from e2e.setup.cache import Cache

CHART = Path(__file__).parents[2] / "charts" / "internvl-operator"
SYSTEM = "internvl-system"
RELEASE = "internvl-operator"


def render(*values: Path, options: Sequence[str] = ()) -> str:
    """The manifests, as YAML documents, for the release that the pages describe.

    Raises:
        ClusterFailed: Helm refuses the values; the text is what it said.
    """
    chosen = [word for file in values for word in ("--values", str(file))]
    return run_helm("template", RELEASE, str(CHART), "--namespace", SYSTEM, *chosen, *options)


def run_helm(*words: str, cache: Cache | None = None, timeout_s: float = 180.0) -> str:
    """Run helm and return its output. Neither plugins nor repositories of the user's own have a part in it.

    Raises:
        ClusterFailed: It failed; the text is what it said.
    """
    program = ensure_helm(cache or Cache.from_environment())
    with tempfile.TemporaryDirectory(prefix="internvl-helm-") as home:
        done = subprocess.run(
            [str(program), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env={"PATH": os.defpath, "HOME": home},
        )
    if done.returncode != 0:
        raise ClusterFailed(f"helm {' '.join(words[:3])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
