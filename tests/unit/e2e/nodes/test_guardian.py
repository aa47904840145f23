from pathlib import Path

import pytest

from e2e.cluster.nodes import guardian
from e2e.cluster.nodes.guardian import Record


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    for controller in ("memory", "pids"):
        (tmp_path / "cgroups" / controller).mkdir(parents=True)
    monkeypatch.setattr(guardian, "CGROUPS", tmp_path / "cgroups")
    return Record(
        owner=1,
        directory=str(tmp_path / "cluster"),
        bridge="unit-bridge",
        veth_prefix="unit-veth",
        cgroup="ours",
        settings={},
    )


def test_a_record_is_read_as_it_was_written(record: Record, tmp_path: Path) -> None:
    record.write(tmp_path / "record.json")
    assert Record.read(tmp_path / "record.json") == record
    assert [path.name for path in tmp_path.glob("record*")] == ["record.json"]


def test_nothing_is_left_of_a_cluster_that_never_was(record: Record) -> None:
    assert guardian.leftovers(record) == []


def test_cgroups_are_removed_from_the_innermost_on(record: Record) -> None:
    for controller in ("memory", "pids"):
        (guardian.CGROUPS / controller / "ours/node/kubepods/pod").mkdir(parents=True)
        (guardian.CGROUPS / controller / "others").mkdir()
    assert len(guardian.leftovers(record)) == 8
    guardian.kill_and_remove_cgroups("ours")
    assert guardian.leftovers(record) == []
    assert (guardian.CGROUPS / "memory/others").is_dir()


def test_the_folder_of_a_cluster_is_removed(record: Record) -> None:
    Path(record.directory, "nodes").mkdir(parents=True)
    assert guardian.undo(record) == []
    assert not Path(record.directory).exists()
