"""The images of our own code: `runtime` for Ray's pods, `operator` for the operator."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from e2e.images.base import BASE, ensure_base
from e2e.images.buildah import Buildah
from e2e.images.layout import Image
from e2e.images.programs import image_layout
from e2e.setup import tools
from e2e.setup.cache import Cache, digest_of

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is made from."""

    name: str
    dockerfile: str
    code: tuple[str, ...]
    """Folders and files of the checkout that it copies."""


RUNTIME = Recipe(
    "runtime",
    "runtimes/Dockerfile",
    (
        "runtimes/internvl_runtimes",
        "engines/internvl_engines/__init__.py",
        "engines/internvl_engines/__main__.py",
        "engines/internvl_engines/contract",
        "engines/internvl_engines/store",
    ),
)
OPERATOR = Recipe(
    "operator",
    "operator/Dockerfile",
    (
        "operator/internvl_operator",
        "runtimes/internvl_runtimes/__init__.py",
        "runtimes/internvl_runtimes/contract",
        "engines/internvl_engines/__init__.py",
        "engines/internvl_engines/contract",
    ),
)
_DEPENDENCIES = ("pyproject.toml", "constraints.txt", ".dockerignore")
_FORM = "layers not compressed"
"""Changed when images are kept in another way."""


def ensure_image(recipe: Recipe, *, cache: Cache, root: Path = ROOT) -> Image:
    """Return the image of a checkout, in our layout; built when these inputs were never built before."""
    layout = image_layout(cache)
    image = Image(recipe.name, digest_of_inputs(recipe, base=BASE, root=root))
    if layout.has(image):
        return image
    with cache.lock("images"):
        if not layout.has(image):
            buildah = Buildah(cache)
            ensure_base(buildah, cache=cache)
            arguments, volumes = _ways_out(cache)
            buildah.build(
                root / recipe.dockerfile,
                image,
                context=root,
                arguments={"BASE": BASE.name, "UV_VERSION": tools.UV_VERSION, **arguments},
                volumes=volumes,
            )
            buildah.push(image, layout)
    return image


def digest_of_inputs(recipe: Recipe, *, base: Image, root: Path) -> str:
    """Digest of everything that an image is made from."""
    files = [root / name for name in (recipe.dockerfile, *_DEPENDENCIES)]
    for name in recipe.code:
        path = root / name
        files += [path] if path.is_file() else _source_files(path)
    return digest_of(_FORM, base.tag, [str(path.relative_to(root)) for path in files], *files)


def _source_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _ways_out(cache: Cache) -> tuple[dict[str, str], dict[Path, str]]:
    """How a build reaches the package index: as this machine does, with what was downloaded before."""
    arguments = {
        name: os.environ[name] for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX") if name in os.environ
    }
    uv_cache = Path(tools.uv_environment(cache)["UV_CACHE_DIR"])
    uv_cache.mkdir(parents=True, exist_ok=True)
    volumes = {uv_cache: "/cache/uv"}
    arguments["UV_CACHE_DIR"] = "/cache/uv"
    authority = os.environ.get("SSL_CERT_FILE")
    if authority:
        volumes[Path(authority)] = "/cache/authority.crt"
        arguments |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), "/cache/authority.crt")
    return arguments, volumes
