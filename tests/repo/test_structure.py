"""The shape of the repository itself: habits that no linter knows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "internvl_operator": ROOT / "operator",
    "internvl_runtimes": ROOT / "runtimes",
    "internvl_engines": ROOT / "engines",
}
TRACKED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files"], check=True, capture_output=True, text=True
).stdout.splitlines()


def run_python(code: str) -> str:
    path = ":".join(str(folder) for folder in PACKAGES.values())
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": path, "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_folder_named_operator_never_becomes_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert run_python("import operator; print(operator.add(1, 2))").strip() == "3"


def test_each_folder_of_a_package_holds_that_package_only() -> None:
    for package, folder in PACKAGES.items():
        python = [p for p in TRACKED if p.startswith(f"{folder.name}/") and p.endswith(".py")]
        assert python
        assert all(p.startswith(f"{folder.name}/{package}/") for p in python)


@pytest.mark.parametrize(
    "module", ["internvl_runtimes.contract.serve_args", "internvl_engines.contract.artifact"]
)
def test_a_contract_loads_neither_ray_nor_numpy_nor_an_engine(module: str) -> None:
    heavy = run_python(
        f"import sys, {module}; print([m for m in ('ray', 'numpy', 'torch', 'onnxruntime') if m in sys.modules])"
    )
    assert heavy.strip() == "[]"


def test_tests_have_no_packages() -> None:
    assert [p for p in TRACKED if p.startswith("tests/") and p.endswith("__init__.py")] == []


def test_no_module_is_called_by_a_word_that_says_nothing() -> None:
    empty_words = {"utils.py", "helpers.py", "common.py", "misc.py", "util.py", "constants.py"}
    assert [p for p in TRACKED if Path(p).name in empty_words] == []


def test_every_package_says_what_belongs_there() -> None:
    silent = [
        p
        for p in TRACKED
        if p.endswith("__init__.py") and not (ROOT / p).read_text().lstrip().startswith(('"""', "'''"))
    ]
    assert silent == []


def test_every_module_path_named_in_a_docstring_or_page_exists() -> None:
    pattern = re.compile(r"`(internvl_(?:operator|runtimes|engines)(?:\.[a-z_]+)+)")
    # Inside the operator the layers are named without the package: `plan.checks`.
    inner = re.compile(
        r"`((?:api|render|plan|cluster|reconcile|handlers|standalone)(?:\.(?!py`)[a-z_]+)+)`|"
        r"`((?:api|render|plan|cluster|reconcile|handlers|standalone)(?:/[a-z_]+)+)\.py`"
    )
    missing = []
    for name in TRACKED:
        if not name.endswith((".py", ".md")) or name.startswith("tests/"):
            continue
        text = (ROOT / name).read_text()
        found = pattern.findall(text)
        if name.startswith("operator/"):
            found += [
                f"internvl_operator.{(dotted or path).replace('/', '.')}"
                for dotted, path in inner.findall(text)
            ]
        for dotted in found:
            parts = dotted.split(".")
            base = PACKAGES[parts[0]]
            # The last part may be a function or class: the module before it must exist then.
            whole, before = base.joinpath(*parts), base.joinpath(*parts[:-1])
            modules = (whole.with_suffix(".py"), before.with_suffix(".py"))
            if not (whole.is_dir() or any(module.is_file() for module in modules)):
                missing.append((name, dotted))
    assert missing == []


def test_no_registry_or_download_address_is_committed() -> None:
    words = re.compile(r"(?:pypi|pythonhosted|proxy\.golang|registry\.npmjs|crates)\.(?:org|io)")
    found = [
        p
        for p in TRACKED
        if (ROOT / p).suffix in {".txt", ".toml", ".py", ".md", ".yaml", ".yml", ".mod", ""}
        and (ROOT / p).is_file()
        and p != "tests/repo/test_structure.py"
        and words.search((ROOT / p).read_text(errors="ignore"))
    ]
    assert found == []


def test_the_contract_names_the_ray_that_is_pinned() -> None:
    from internvl_runtimes.contract.pods import RAY_VERSION

    assert f"ray=={RAY_VERSION}" in (ROOT / "constraints.txt").read_text().splitlines()
