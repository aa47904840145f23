"""A real Prometheus of Debian's package that scrapes Ray nodes, as a context manager; for tests.

The package is only unpacked, into the cache: installed, it would start daemons.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cluster.errors import StartFailed
from e2e.setup.cache import Cache
from internvl_operator.standalone.ports import FreePorts
from internvl_operator.standalone.processes import ProcessKeeper

_NAME = "prometheus"
_START_S = 90.0


@dataclass(slots=True)
class PrometheusServer:
    """Finds the nodes by Ray's own HTTP discovery.

    Args:
        ray: address of the Ray dashboard.
        scrape_s: pause between two scrapes.
    """

    ray: str
    scrape_s: int = 2

    port: int = field(init=False)
    _folder: Path = field(init=False)
    _keeper: ProcessKeeper = field(init=False)
    _program: Path = field(init=False)

    @property
    def url(self) -> str:
        """What the operator is told."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._program = ensure_prometheus(Cache.from_environment())
        self.port = FreePorts().take()
        self._folder = Path(tempfile.mkdtemp(prefix="ivp-"))
        self._keeper = ProcessKeeper(self._folder).__enter__()
        try:
            self.start()
        except BaseException:
            self._keeper.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keeper.close()

    def start(self) -> None:
        """Start it, at first or again on the same data, and wait until it answers."""
        configuration = self._folder / "prometheus.yml"
        configuration.write_text(
            f"global: {{scrape_interval: {self.scrape_s}s, scrape_timeout: {self.scrape_s}s}}\n"
            "scrape_configs:\n"
            f"- {{job_name: ray, http_sd_configs: [{{url: '{self.ray}/api/prometheus/sd', refresh_interval: 5s}}]}}\n"
        )
        log = self._folder / "prometheus.log"
        command = [
            str(self._program),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self._keeper.start(_NAME, command, log=log, environment={"PATH": os.defpath})
        deadline = time.monotonic() + _START_S
        while not self._is_ready():
            if time.monotonic() > deadline or self._keeper.exit_status(_NAME) is not None:
                raise StartFailed(f"Prometheus does not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._keeper.kill(_NAME)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


def ensure_prometheus(cache: Cache) -> Path:
    """The program, from Debian's package.

    Raises:
        StartFailed: the package cannot be fetched; the message has apt-get's words.
    """
    folder = cache.path("debian", _NAME)
    program = folder / "usr" / "bin" / _NAME
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        for arguments in (["apt-get", "update", "-q"], ["apt-get", "download", _NAME]):
            done = subprocess.run(arguments, cwd=place, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise StartFailed(f"{' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        (package,) = Path(place).glob("*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    return program
