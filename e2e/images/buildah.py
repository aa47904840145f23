"""Runs buildah: no daemon, no registry, its storage in our cache."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from e2e.images.layout import Image, ImageLayout
from e2e.setup import progress
from e2e.setup.cache import Cache

_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'


class Buildah:
    """Builds images and puts them into a layout."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._storage = cache.path("images", "buildah")

    def has(self, image: Image) -> bool:
        """Whether buildah's own storage has the image."""
        words = self._command("images", "--quiet", image.name)
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def build_from_text(self, dockerfile: str, image: Image, *, context: Path) -> None:
        """Build what a short Dockerfile says."""
        with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as file:
            file.write(dockerfile)
            file.flush()
            self.build(Path(file.name), image, context=context)

    def build(
        self,
        dockerfile: Path,
        image: Image,
        *,
        context: Path,
        arguments: Mapping[str, str] | None = None,
        volumes: Mapping[Path, str] | None = None,
    ) -> None:
        """Build an image; steps whose input did not change are taken from earlier builds.

        Args:
            dockerfile: What to do.
            image: What to call it.
            context: The folder that it copies from.
            arguments: Values of its ARGs.
            volumes: Folders and files of this machine that its commands see; they do not get into the image.
        """
        options = [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
        options += [f"--volume={path}:{point}" for path, point in (volumes or {}).items()]
        progress.run_command(
            self._command(
                *("bud", "--isolation", "chroot", "--layers", "--network", "host", "--format", "oci"),
                *("--signature-policy", str(self._policy())),
                *(*options, "--file", str(dockerfile), "--tag", image.name, str(context)),
            ),
            title=f"building image {image.repository}",
            log=self._cache.path("logs", f"image-{image.repository}.log"),
            describe_line=lambda _count, line: f"({line[:60]})",
        )

    def push(self, image: Image, layout: ImageLayout) -> None:
        """Put an image into the layout; layers that are there already are not written again."""
        with tempfile.TemporaryDirectory(dir=self._storage) as folder:
            archive = Path(folder, "image.tar")
            progress.run_command(
                self._command(
                    *("push", "--signature-policy", str(self._policy())),
                    *(image.name, f"docker-archive:{archive}:{image.name}"),
                ),
                title=f"keeping image {image.repository}",
                log=self._cache.path("logs", f"image-{image.repository}-push.log"),
            )
            layout.add_docker_archive(image, archive)

    def _command(self, *words: str) -> list[str]:
        return [
            *("buildah", "--root", str(self._storage), "--runroot", "/run/internvl-buildah"),
            *("--storage-driver", "overlay", *words),
        ]

    def _policy(self) -> Path:
        path = self._storage / "policy.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_POLICY)
        return path
