"""What `internvl load` refuses before anything is sent."""

import os
import subprocess
import sys

import pytest

from internvl_operator import cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["host:8000"], "URL: 'host:8000' is no address"),
        (["http://h", "--mix", "some"], "--mix: 'some' is no kind"),
        (["http://h", "--trace", "t", "--rate", "3"], "--rate: a trace says when"),
        (["http://h", "--trace", "t", "--mix", "text"], "--mix: a trace says when"),
        (["http://h", "--plot", "load.png"], "--plot: load.png does not end in .svg"),
        (["http://h", "--json", "/no/such/folder/f"], "--json: the folder of /no/such/folder/f is not there"),
        (["http://h", "--token-file", "/no/such/file"], "--token-file: /no/such/file cannot be read"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(capsys, arguments, said):
    assert cli.main(["load", *arguments]) == cli.EXIT_REJECTED
    assert f"internvl: {said}" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--rate", "0"], ["--duration", "inf"], ["--max-tokens", "0"]])
def test_a_number_that_is_none_is_named(capsys, option):
    with pytest.raises(SystemExit):
        cli.main(["load", "http://h", *option])
    assert f"argument {option[0]}" in capsys.readouterr().err


def test_a_reader_that_has_gone_ends_it_without_a_traceback():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from internvl_operator import cli; import sys; sys.exit(cli.main(['version']))",
        ],
        stdout=_closed_pipe(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (cli.EXIT_BROKEN_PIPE, "")


def _closed_pipe() -> int:
    """The end to write to, of a pipe that nobody reads."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


def test_the_command_wants_neither_ray_nor_torch_nor_numpy():
    code = (
        "import sys, internvl_operator.load.command; "
        "print([m for m in ('ray', 'torch', 'numpy', 'PIL', 'kopf') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
