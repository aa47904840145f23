"""A seal is believed for the very files that were hashed, wherever they lie, and for no other."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from internvl_engines.contract.checkpoint import CheckpointNotFound, checkpoint_digest, file_sha256
from internvl_engines.store import seal as seal_module
from internvl_engines.store.layout import seal_file
from internvl_engines.store.seal import SETTLE_S, NotSealable, Seal, SealInvalid, read_seal, write_seal

LONG_AGO = 1_700_000_000
"""Whole seconds; when the weights of these tests were modified."""


def modify(file: Path, content: bytes, *, at: float) -> None:
    file.write_bytes(content)
    os.utime(file, (at, at))


def no_pause(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    modify(folder / "model-1.safetensors", b"one", at=LONG_AGO + 0.75)
    modify(folder / "model-2.safetensors", b"two", at=LONG_AGO + 0.25)
    return folder


@pytest.fixture
def sealed(checkpoint: Path) -> Path:
    assert write_seal(checkpoint, pause=no_pause) == checkpoint_digest(checkpoint)
    return checkpoint


def believed(checkpoint: Path) -> list[str]:
    """Names of the weight files whose contents nobody needs to read; what is told of them is true."""
    seal = read_seal(checkpoint)
    told = {file: seal.sha256(file) for file in sorted(checkpoint.glob("*.safetensors"))}
    assert all(sha256 in (None, file_sha256(file)) for file, sha256 in told.items())
    return [file.name for file, sha256 in told.items() if sha256 is not None]


BOTH = ["model-1.safetensors", "model-2.safetensors"]


def test_a_sealed_checkpoint_has_the_same_digest_and_no_weight_is_read(sealed: Path) -> None:
    seal = read_seal(sealed)

    def from_the_seal(file: Path) -> str:
        told = seal.sha256(file)
        assert told is not None
        return told

    assert checkpoint_digest(sealed, weights_sha256=from_the_seal) == checkpoint_digest(sealed)
    before = checkpoint_digest(sealed)
    (sealed / "config.json").write_text("{ }")
    assert checkpoint_digest(sealed, weights_sha256=from_the_seal) != before


def test_without_a_seal_nothing_is_believed(checkpoint: Path) -> None:
    assert believed(checkpoint) == []


def test_a_copy_that_keeps_times_is_believed_also_where_only_whole_seconds_are_kept(
    sealed: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(sealed, tmp_path / "copied")
    assert believed(copied) == BOTH
    for rounded in (LONG_AGO, LONG_AGO + 1):  # some cut the fraction off, some round
        for name in BOTH:
            os.utime(copied / name, (rounded, rounded))
        assert believed(copied) == BOTH


def test_a_copy_that_keeps_no_times_is_not_believed(sealed: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(sealed, tmp_path / "copied", copy_function=shutil.copyfile)
    assert seal_file(copied).exists()
    assert believed(copied) == []


@pytest.mark.parametrize(
    ("content", "at"),
    [
        (b"ONE", LONG_AGO + 1.75),
        (b"ONE", LONG_AGO - 0.25),
        (b"ONE", LONG_AGO + 0.5),
        (b"longer", LONG_AGO),
        (b"", LONG_AGO),
    ],
    ids=["newer", "older", "in the same second", "longer in the same second", "empty in the same second"],
)
def test_another_file_in_the_place_of_one_is_not_believed_and_the_rest_is(
    sealed: Path, content: bytes, at: float
) -> None:
    modify(sealed / "model-1.safetensors", content, at=at)
    assert believed(sealed) == ["model-2.safetensors"]


def test_files_that_changed_names_are_not_believed(sealed: Path) -> None:
    (sealed / "model-1.safetensors").rename(sealed / "model-3.safetensors")
    assert believed(sealed) == ["model-2.safetensors"]


def test_files_that_changed_places_are_not_believed(sealed: Path) -> None:
    os.utime(sealed / "model-2.safetensors", (LONG_AGO + 5, LONG_AGO + 5))
    write_seal(sealed, pause=no_pause)
    one, two = (sealed / name for name in BOTH)
    one.rename(sealed / "aside")
    two.rename(one)
    (sealed / "aside").rename(two)
    assert believed(sealed) == []


def test_a_seal_of_the_weights_before_says_nothing_of_those_that_came_after(
    sealed: Path, tmp_path: Path
) -> None:
    kept = shutil.copy2(seal_file(sealed), tmp_path / "kept.json")
    modify(sealed / "model-1.safetensors", b"ONE", at=LONG_AGO + 60)
    write_seal(sealed, pause=no_pause)
    assert believed(sealed) == BOTH
    shutil.copyfile(kept, seal_file(sealed))
    assert believed(sealed) == ["model-2.safetensors"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"sha256": "', '"sha256": "zz'),
        lambda text: text.replace('"bytes": 3', '"bytes": "three"'),
        lambda text: text.replace('"weights"', '"format": 2, "weights"'),
        lambda text: text.replace('"bytes": 3', '"bytes": 3, "inode": 7'),
    ],
    ids=[
        "empty",
        "half",
        "a list",
        "no digest",
        "no size",
        "of a later version",
        "of a later version's files",
    ],
)
def test_a_damaged_seal_is_told_with_its_path(sealed: Path, damage: Callable[[str], str]) -> None:
    file = seal_file(sealed)
    file.write_text(damage(file.read_text()))
    with pytest.raises(SealInvalid, match=r"model/seal\.json cannot be read .*seal the checkpoint again"):
        read_seal(sealed)


def test_a_seal_that_is_no_file_is_told(checkpoint: Path) -> None:
    seal_file(checkpoint).mkdir()
    with pytest.raises(SealInvalid):
        read_seal(checkpoint)


def test_files_of_just_now_are_sealed_when_a_second_has_passed(checkpoint: Path) -> None:
    last = checkpoint / "model-2.safetensors"
    last.touch()
    paused: list[float] = []

    def pass_time(seconds: float) -> None:
        paused.append(seconds)
        os.utime(last, (LONG_AGO, LONG_AGO))  # the clock cannot be turned on, so the file gets older

    write_seal(checkpoint, pause=pass_time)
    assert paused == [SETTLE_S] and SETTLE_S > 1
    assert believed(checkpoint) == BOTH


@pytest.mark.parametrize("ahead_s", [-0.5, 0.0, 3600.0])
def test_files_that_stay_new_are_not_sealed(checkpoint: Path, ahead_s: float) -> None:
    file = checkpoint / "model-2.safetensors"
    file.touch()
    new = file.stat().st_mtime + ahead_s
    os.utime(file, (new, new))
    with pytest.raises(NotSealable, match=r"model-2\.safetensors was modified just now or in the future"):
        write_seal(checkpoint, pause=lambda _: None)
    assert not seal_file(checkpoint).exists()


@pytest.mark.parametrize("time", [0, 1, 315_532_800, 946_684_800], ids=["1970", "nix", "zip", "bazel"])
def test_times_that_every_content_has_are_not_sealed(checkpoint: Path, time: int) -> None:
    os.utime(checkpoint / "model-1.safetensors", (time, time))
    with pytest.raises(NotSealable, match=r"model-1\.safetensors has a time .* any content"):
        write_seal(checkpoint, pause=no_pause)


def test_a_file_that_is_written_while_it_is_hashed_is_not_sealed_and_the_seal_before_stays(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = seal_file(sealed).read_bytes()

    def write_meanwhile(file: Path) -> str:
        told = file_sha256(file)
        file.write_bytes(b"ONE")
        return told

    monkeypatch.setattr(seal_module, "file_sha256", write_meanwhile)
    with pytest.raises(NotSealable, match="modified while it was read"):
        write_seal(sealed, pause=no_pause)
    assert seal_file(sealed).read_bytes() == before
    assert sorted(file.name for file in sealed.iterdir()) == ["config.json", *BOTH, "seal.json"]


def test_two_who_seal_at_once_leave_one_whole_seal(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seal_meanwhile(file: Path) -> str:
        monkeypatch.setattr(seal_module, "file_sha256", file_sha256)
        write_seal(checkpoint, pause=no_pause)
        return file_sha256(file)

    monkeypatch.setattr(seal_module, "file_sha256", seal_meanwhile)
    write_seal(checkpoint, pause=no_pause)
    assert believed(checkpoint) == BOTH
    assert sorted(file.name for file in checkpoint.iterdir()) == ["config.json", *BOTH, "seal.json"]


def test_a_folder_that_takes_no_seal_is_told_before_anything_is_hashed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr(seal_module, "file_sha256", lambda file: pytest.fail(f"{file} was read"))
    with pytest.raises(OSError, match="Read-only"):
        write_seal(checkpoint, pause=no_pause)


def test_an_incomplete_checkpoint_is_not_sealed(checkpoint: Path) -> None:
    (checkpoint / "config.json").unlink()
    with pytest.raises(CheckpointNotFound):
        write_seal(checkpoint, pause=no_pause)
    assert read_seal(checkpoint) == Seal()


def test_others_may_read_it(sealed: Path) -> None:
    assert seal_file(sealed).stat().st_mode & 0o777 == 0o644
