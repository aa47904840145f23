"""What `python -m internvl_engines.nano` refuses before it begins."""

import pytest

from internvl_engines.nano import __main__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --share 0", "--share: 0 is not above 0 and up to 1"),
        ("train --share nan", "--share: nan is not above 0 and up to 1"),
        ("train --share 1.5", "--share: 1.5 is not above 0 and up to 1"),
        ("train --processes 0", "--processes: invalid choice: 0"),
        ("train --stage listen", "--stage: invalid choice: 'listen'"),
        ("evaluate --questions-per-task 0", "--questions-per-task: 0 is less than 1"),
        ("evaluate --processes 0", "--processes: 0 is less than 1"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_by_its_name(
    arguments: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("_train", "_evaluate"):
        monkeypatch.setattr(__main__, command, lambda options: 0)
    monkeypatch.setattr("sys.argv", ["nano", *arguments.split()])
    with pytest.raises(SystemExit, match="2"):
        __main__.main()
    assert said in capsys.readouterr().err
