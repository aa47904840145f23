import asyncio
from pathlib import Path

import pytest

from internvl_operator.api.conditions import Reason
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.plan.decision import EventKind, EventNote, FinalizerChange
from internvl_operator.settings import Settings
from internvl_operator.standalone.service_file import WrittenService
from internvl_operator.standalone.up import UpOptions, _Up

OURS, THEIRS = ServiceKey("default", "ours"), ServiceKey("default", "theirs")
MODEL = {"model": {"uri": "file:///m"}}
WRITTEN = (
    WrittenService(OURS, parse_spec(MODEL)),
    WrittenService(THEIRS, parse_spec({**MODEL, "backend": {"ray": {"address": "http://ray:8265"}}})),
)


class Queue:
    """Lets go what is added, as the reconciler does: properly, with something left, or not at all."""

    def __init__(self, up: _Up, outcome: str) -> None:
        self.up, self.outcome, self.tasks = up, outcome, []

    def add(self, key: ServiceKey) -> None:
        self.tasks.append(asyncio.ensure_future(self._end(key)))

    async def _end(self, key: ServiceKey) -> None:
        store = self.up._store
        seen = await store.read(key)
        if self.outcome == "abandoned":
            note = EventNote(kind=EventKind.WARNING, reason=Reason.DELETING, message="may stay behind")
            await store.emit_event(seen, note)
        if self.outcome != "hangs":
            await store.change_finalizer(seen, FinalizerChange.REMOVE)
        else:
            self.up._stop.set()


@pytest.fixture
def lines():
    return []


@pytest.fixture
async def up(lines):
    up = _Up(UpOptions(file=Path("service.yaml")), Settings(), WRITTEN, lines.append)
    up._store.load(WRITTEN)
    for key in (OURS, THEIRS):
        await up._store.change_finalizer(await up._store.read(key), FinalizerChange.ADD)
    return up


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("removed", "all applications are removed"),
        ("abandoned", "left in Ray Serve: the applications of default/theirs"),
        ("hangs", "left in Ray Serve: the applications of default/theirs"),
    ],
)
async def test_the_last_line_tells_what_became_of_the_applications(up, lines, outcome, said):
    await up._take_down(Queue(up, outcome), {THEIRS})

    assert lines[-1].endswith(said)


async def test_our_own_ray_takes_its_services_down_with_it_and_only_the_others_are_removed(up):
    assert await up._living_elsewhere(None) == {OURS, THEIRS}
    assert await up._living_elsewhere(object()) == {THEIRS}


async def test_only_the_folder_of_the_file_is_watched_and_not_the_tree_below_it(tmp_path, lines):
    for index in range(20):
        (tmp_path / f"folder-{index}").mkdir()
    up = _Up(UpOptions(file=tmp_path / "service.yaml"), Settings(), WRITTEN, lines.append)
    before = inotify_watches()
    task = asyncio.create_task(up._follow_file(Queue(up, "removed")))
    while inotify_watches() == before and not task.done():
        await asyncio.sleep(0)
    watched = inotify_watches() - before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert watched == 1


def inotify_watches() -> int:
    count = 0
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            count += entry.read_text().count("inotify wd:")
        except OSError:
            continue  # closed meanwhile
    return count
