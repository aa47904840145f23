import subprocess
import sys
from pathlib import Path

import pytest

from e2e.setup.cache import Cache
from e2e.setup.checkout import ensure_thin_environment, site_packages

# Each starts a process or two, which a busy machine may make wait.
pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def heavy(tmp_path: Path) -> Path:
    folder = tmp_path / "cache/envs/run-1"
    site_packages(folder).mkdir(parents=True)
    (site_packages(folder) / "installed_library.py").write_text("WHERE = 'cache'\n")
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(sys.executable)
    tool = folder / "bin/tool"
    tool.write_text(f"#!{folder}/bin/python\nimport sys; print(sys.prefix)\n")
    tool.chmod(0o755)
    (folder / "bin/kubectl").write_bytes(b"\x7fELF")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    package = folder / "operator/internvl_operator"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(
        "def main() -> int:\n    print('internvl of this checkout')\n    return 3\n"
    )
    (folder / "e2e/cluster").mkdir(parents=True)
    (folder / "e2e/cluster/__init__.py").write_text("WHERE = 'checkout'\n")
    return folder


def make(heavy: Path, root: Path) -> Path:
    return ensure_thin_environment(".venv", heavy=heavy, root=root, cache=Cache(heavy.parents[1]))


def run(*command: object) -> str:
    # Not here: `python -c` looks into the folder it runs in first, and that is the real checkout.
    return subprocess.run(
        list(map(str, command)), cwd="/", capture_output=True, text=True, check=True
    ).stdout.strip()


def test_it_imports_the_cached_libraries_and_the_code_of_its_checkout(heavy: Path, root: Path) -> None:
    thin = make(heavy, root)
    code = "import installed_library as a, e2e.cluster as b; print(a.WHERE, b.WHERE)"
    assert run(thin / "bin/python", "-c", code) == "cache checkout"


def test_the_folder_operator_does_not_shadow_the_standard_library(heavy: Path, root: Path) -> None:
    thin = make(heavy, root)
    assert run(thin / "bin/python", "-c", "import operator; print(operator.add(1, 2))") == "3"


def test_console_scripts_run_with_the_thin_interpreter(heavy: Path, root: Path) -> None:
    thin = make(heavy, root)
    assert run(thin / "bin/tool") == str(thin)


def test_programs_are_linked(heavy: Path, root: Path) -> None:
    assert (make(heavy, root) / "bin/kubectl").resolve() == heavy / "bin/kubectl"


def test_the_command_internvl_is_the_one_of_this_checkout(heavy: Path, root: Path) -> None:
    internvl = make(heavy, root) / "bin/internvl"
    ended = subprocess.run([internvl], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("internvl of this checkout\n", 3)


def test_it_is_made_once(heavy: Path, root: Path) -> None:
    mark = make(heavy, root) / "mark"
    mark.touch()
    make(heavy, root)
    assert mark.exists()


def test_it_is_made_anew_when_the_cached_environment_is_another(heavy: Path, root: Path) -> None:
    mark = make(heavy, root) / "mark"
    mark.touch()
    moved = heavy.rename(heavy.with_name("run-2"))
    thin = make(moved, root)
    assert not mark.exists()
    assert run(thin / "bin/python", "-c", "import installed_library as a; print(a.WHERE)") == "cache"


def test_one_that_was_interrupted_is_made_anew(heavy: Path, root: Path) -> None:
    half = root / ".venv"
    half.mkdir()
    (half / "mark").touch()
    make(heavy, root)
    assert not (half / "mark").exists()
