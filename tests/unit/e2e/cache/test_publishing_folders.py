import threading
from pathlib import Path

import pytest

from e2e.setup.cache import Cache, digest_of


def write_program(folder: Path) -> None:
    (folder / "program").write_text("content")


def test_the_folder_is_filled_aside_and_appears_whole(tmp_path: Path) -> None:
    final = tmp_path / "bin" / "etcd-v1"
    seen_while_filling = []

    def fill(folder: Path) -> None:
        write_program(folder)
        seen_while_filling.append((folder != final, final.exists()))

    assert Cache(tmp_path).publish_folder(final, fill) == final
    assert seen_while_filling == [(True, False)]
    assert (final / "program").read_text() == "content"


def test_a_folder_that_is_there_is_not_built_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    builds = []
    for _ in range(2):
        cache.publish_folder(tmp_path / "bin" / "etcd-v1", builds.append)
    assert len(builds) == 1


@pytest.mark.parametrize("error", [RuntimeError("no compiler"), KeyboardInterrupt()])
def test_a_build_that_fails_or_is_interrupted_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    final = tmp_path / "bin" / "etcd-v1"

    def fill(folder: Path) -> None:
        write_program(folder)
        raise error

    with pytest.raises(type(error)):
        Cache(tmp_path).publish_folder(final, fill)
    assert list(final.parent.iterdir()) == []
    assert Cache(tmp_path).publish_folder(final, write_program).is_dir(), "the lock was not let go"


def test_what_a_killed_run_left_aside_is_removed_by_the_next(tmp_path: Path) -> None:
    cache, final = Cache(tmp_path), tmp_path / "bin" / "etcd-v1"
    killed = final.parent / f".{final.name}.x1y2"
    of_another = final.parent / ".etcd-v2.x1y2"
    for folder in (killed, of_another):
        folder.mkdir(parents=True)
    cache.publish_folder(final, write_program)
    assert not killed.exists()
    assert of_another.exists()


def test_two_runs_at_once_build_once(tmp_path: Path) -> None:
    final = tmp_path / "bin" / "etcd-v1"
    first_builds, may_finish = threading.Event(), threading.Event()
    builders: list[str] = []

    def fill(folder: Path) -> None:
        builders.append(threading.current_thread().name)
        first_builds.set()
        assert may_finish.wait(timeout=1)
        write_program(folder)

    def run() -> None:
        Cache(tmp_path).publish_folder(final, fill)

    first = threading.Thread(target=run, name="first")
    second = threading.Thread(target=run, name="second")
    first.start()
    assert first_builds.wait(timeout=1)
    second.start()
    may_finish.set()
    for thread in (first, second):
        thread.join(timeout=1)
    assert builders == ["first"]
    assert (final / "program").exists()


def test_whoever_waits_for_the_lock_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holds, may_end = threading.Event(), threading.Event()
    said: list[str] = []

    def hold() -> None:
        with Cache(tmp_path).lock("etcd-v1"):
            holds.set()
            may_end.wait(timeout=1)

    def say(text: str) -> None:
        said.append(text)
        may_end.set()  # the lock is let go only after the waiter has spoken

    monkeypatch.setattr("e2e.setup.progress.say", say)
    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(timeout=1)
    with Cache(tmp_path).lock("etcd-v1"):
        holder.join(timeout=1)
    assert said[0] == "waiting for another run that makes etcd-v1 ..."


def test_an_environment_without_its_marker_is_made_from_nothing(tmp_path: Path) -> None:
    cache, final = Cache(tmp_path), tmp_path / "envs" / "run-1"
    final.mkdir(parents=True)
    (final / "half-installed").touch()

    def fill(folder: Path) -> None:
        assert not folder.exists()
        folder.mkdir()
        (folder / "installed").touch()

    for _ in range(2):  # the second time it is complete: fill would find the folder and fail
        cache.complete_in_place(final, fill)
        assert sorted(path.name for path in final.iterdir()) == [".complete", "installed"]


def test_the_cache_lies_where_the_environment_says(tmp_path: Path) -> None:
    assert Cache.from_environment({"INTERNVL_CACHE": str(tmp_path)}).root == tmp_path
    assert Cache.from_environment({}).root == Path.home() / ".cache" / "internvl-operator"
    assert Cache.from_environment({"INTERNVL_CACHE": ""}).root == Path.home() / ".cache" / "internvl-operator"


def test_digests_keep_their_parts_apart(tmp_path: Path) -> None:
    file = tmp_path / "go.sum"
    file.write_text("ab")
    assert digest_of(b"ab", b"c") != digest_of(b"a", b"bc")
    assert digest_of(file) == digest_of(b"ab")
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
