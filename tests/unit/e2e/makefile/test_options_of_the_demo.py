import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]

# Each starts a process or two, which a busy machine may make wait.
pytestmark = pytest.mark.timeout(20)


def make(*words: str, environment: dict[str, str] | None = None) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in ("KUBECONFIG", "MAKEFLAGS")}
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=ROOT,
        env=clean | (environment or {}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_kubeconfig_on_the_command_line_is_passed_on_and_needs_no_own_cluster() -> None:
    commands = make("--dry-run", "demo", "KUBECONFIG=/my/config")
    assert '--kubeconfig "/my/config"' in commands
    assert "e2e.setup run cluster" not in commands


def test_a_kubeconfig_of_the_shell_is_not() -> None:
    commands = make("--dry-run", "demo", environment={"KUBECONFIG": "/my/config"})
    assert "kubeconfig" not in commands
    assert "e2e.setup run cluster" in commands


@pytest.mark.parametrize("question", ['what\'s the "price" in $x?', "$(shell date)", "a  b"])
def test_a_question_reaches_the_command_letter_by_letter(question: str) -> None:
    show = 'show:;@printf %s "$$QUESTION"'
    assert make("--eval", show, "show", f"QUESTION={question}") == question
    assert make("--eval", show, "show", environment={"QUESTION": question}) == question
    assert '--question "$QUESTION"' in make("--dry-run", "demo", f"QUESTION={question}")


@pytest.mark.parametrize(
    "target", ["setup", "check", "generate", "test", "demo", "bench", "nano", "nano-eval", "up", "clean"]
)
def test_every_target_is_in_the_help(target: str) -> None:
    assert re.search(rf"\x1b\[1m{target} *\x1b", make("help"))


def test_python_may_keep_byte_code_whatever_the_shell_says() -> None:
    show = 'show:;@printf %s "$$PYTHONDONTWRITEBYTECODE"'
    assert make("--eval", show, "show", environment={"PYTHONDONTWRITEBYTECODE": "1"}) == ""
