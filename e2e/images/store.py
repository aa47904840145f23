"""What containerd keeps of images: one template in the cache, imported into once, from which nodes begin.

A node's store is the template's with hard links for the files, which nobody writes to, and copies of the
databases; made in a second, and it takes no room.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from e2e.cluster.errors import ClusterFailed
from e2e.images.layout import Image, ImageLayout
from e2e.setup import progress
from e2e.setup.cache import Cache
from internvl_operator.standalone.processes import ProcessKeeper

_NAMESPACE = "k8s.io"
"""containerd's namespace that a kubelet looks into."""
_POLL_S = 0.02
_WITHIN_S = 90.0
_IMPORT_WITHIN_S = 600.0
_CONTAINERD = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{socket}"
"""


class ImageStore:
    """The template. Call its methods only under its lock: `with store.lock():`."""

    def __init__(self, cache: Cache, layout: ImageLayout) -> None:
        self._cache = cache
        self._layout = layout
        self.folder = cache.path("images", "store")
        self._known_path = cache.path("images", "store.json")

    def known_blobs(self) -> set[str]:
        """Digests of the blobs of all images in it."""
        return {digest for digests in self._read_known().values() for digest in digests}

    def add(self, images: Sequence[Image]) -> None:
        """Import the images that are not in it."""
        known = self._read_known()
        missing = [image for image in images if known.get(image.name) != self._layout.blobs(image)]
        if not missing:
            return
        with tempfile.TemporaryDirectory(prefix="internvl-images-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            kept = folder / "containerd"
            kept.mkdir()
            with ProcessKeeper(kept) as keeper:
                socket = self._start_containerd(keeper, kept)
                for image in missing:
                    with progress.step(f"importing {image.name}"):
                        import_image(self._layout, image, socket=socket, known=self.known_blobs())
                    known[image.name] = self._layout.blobs(image)
                    self._write_known(known)
                keeper.stop("containerd")

    def clone(self, target: Path) -> None:
        """Make the store of a node that does not run."""
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", str(self.folder), str(target)], check=True)
        for database in self.folder.rglob("*.db"):
            copy = target / database.relative_to(self.folder)
            copy.unlink()
            shutil.copy2(database, copy)

    def _start_containerd(self, keeper: ProcessKeeper, folder: Path) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration, socket, log = folder / "config.toml", folder / "containerd.sock", folder / "log"
        configuration.write_text(_CONTAINERD.format(root=self.folder, state=folder / "state", socket=socket))
        # Its mounts, while it unpacks, are seen by nobody else and go with it.
        command = ["/usr/bin/unshare", "--mount", "--propagation", "private"]
        program = shutil.which("containerd") or "/usr/bin/containerd"
        keeper.start("containerd", [*command, program, "--config", str(configuration)], log=log)
        deadline = time.monotonic() + _WITHIN_S
        while not _answers(socket):
            if time.monotonic() > deadline or keeper.exit_status("containerd") is not None:
                raise ClusterFailed(f"containerd does not start:\n{log.read_text()[-2000:]}")
            time.sleep(_POLL_S)
        return socket

    def _read_known(self) -> dict[str, list[str]]:
        if not (self._known_path.exists() and self.folder.exists()):
            return {}
        known: dict[str, list[str]] = json.loads(self._known_path.read_text())
        return known

    def _write_known(self, known: dict[str, list[str]]) -> None:
        aside = self._known_path.with_suffix(".new")
        aside.write_text(json.dumps(known))
        aside.rename(self._known_path)


def import_image(layout: ImageLayout, image: Image, *, socket: Path, known: Iterable[str]) -> None:
    """Import into a running containerd what it does not know of an image.

    Raises:
        ClusterFailed: containerd refused it.
    """
    with tempfile.TemporaryFile() as archive:
        layout.write_archive(image, archive, known=frozenset(known))
        archive.seek(0)
        done = subprocess.run(
            ["ctr", "--address", str(socket), "--namespace", _NAMESPACE, "images", "import", "-"],
            stdin=archive,
            capture_output=True,
            text=True,
            check=False,
            timeout=_IMPORT_WITHIN_S,
        )
    if done.returncode != 0:
        raise ClusterFailed(f"containerd does not take {image.name}: {done.stderr.strip()}")


def _answers(socket: Path) -> bool:
    done = subprocess.run(
        ["ctr", "--address", str(socket), "--connect-timeout", "1s", "version"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
