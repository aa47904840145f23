import shutil
from pathlib import Path

import pytest

from e2e.images.base import BASE, debian_mirror
from e2e.images.build import OPERATOR, ROOT, RUNTIME, Recipe, digest_of_inputs

RECIPES = pytest.mark.parametrize("recipe", [RUNTIME, OPERATOR], ids=lambda recipe: recipe.name)
DEB822 = """\
Types: deb
URIs: http://mirror.test/security
Suites: bookworm-security

Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
"""


@pytest.mark.parametrize(
    ("sources", "mirror"),
    [
        (DEB822, "http://mirror.test/debian"),
        ("deb http://mirror.test/debian bookworm main\n", "http://mirror.test/debian"),
        ("deb [signed-by=/k] http://mirror.test/debian bookworm main\n", "http://mirror.test/debian"),
        ("deb http://mirror.test/tools stable main\n", None),
    ],
)
def test_the_base_comes_from_where_this_machine_gets_debian(sources: str, mirror: str | None) -> None:
    assert debian_mirror(sources) == mirror


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "constraints.txt", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    for recipe in (RUNTIME, OPERATOR):
        (tmp_path / recipe.dockerfile).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / recipe.dockerfile, tmp_path / recipe.dockerfile)
        for name in recipe.code:
            target = tmp_path / name
            if name.endswith(".py"):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("")
            else:
                target.mkdir(parents=True, exist_ok=True)
                (target / "module.py").write_text("before = 1\n")
    return tmp_path


@RECIPES
def test_changed_code_is_another_image_and_compiled_code_is_not(recipe: Recipe, checkout: Path) -> None:
    before = digest_of_inputs(recipe, base=BASE, root=checkout)
    folder = checkout / recipe.code[0]
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/module.pyc").write_bytes(b"x")
    assert digest_of_inputs(recipe, base=BASE, root=checkout) == before
    (folder / "module.py").write_text("after = 2\n")
    assert digest_of_inputs(recipe, base=BASE, root=checkout) != before


@RECIPES
def test_all_that_a_dockerfile_copies_is_part_of_the_digest(recipe: Recipe) -> None:
    lines = (ROOT / recipe.dockerfile).read_text().splitlines()
    copied = [
        line.split()[1].rstrip("/") for line in lines if line.startswith("COPY ") and "--from" not in line
    ]
    sources = [name for name in copied if name not in ("pyproject.toml", "constraints.txt")]
    assert sources
    for source in sources:
        assert any(name == source or name.startswith(f"{source}/") for name in recipe.code), source


@RECIPES
def test_an_image_runs_as_a_user_that_may_enter_its_working_directory(recipe: Recipe) -> None:
    text = (ROOT / recipe.dockerfile).read_text()
    user = text[text.index("useradd --uid 1000 --create-home") :].splitlines()[0].split()[-1]
    assert f"WORKDIR /home/{user}" in text
    assert "USER 1000:1000" in text
