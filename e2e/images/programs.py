"""Images that hold one static program and nothing else: made here, without buildah."""

from __future__ import annotations

from pathlib import Path

from e2e.images.layout import Image, ImageLayout
from e2e.setup.cache import Cache, digest_of


def image_layout(cache: Cache) -> ImageLayout:
    """The one layout of this cache."""
    return ImageLayout(cache.path("images", "layout"))


def ensure_program_image(program: Path, *, cache: Cache) -> Image:
    """Return the image of a program that our cache holds in a folder named by its version and digest."""
    layout = image_layout(cache)
    # The folder of the cache says what the program is made of; this file says what the image is.
    image = Image(program.name, digest_of(program.parent.name, Path(__file__)))
    if layout.has(image):
        return image
    with cache.lock("images"):
        if not layout.has(image):
            layout.add_from_files(image, {f"/{program.name}": program}, entrypoint=[f"/{program.name}"])
    return image
