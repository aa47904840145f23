from dataclasses import replace
from datetime import UTC, datetime

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.spec import parse_spec
from internvl_operator.errors import NotYet, Rejected
from internvl_operator.plan.decision import FinalizerChange
from internvl_operator.standalone.file_store import FileServiceStore
from internvl_operator.standalone.service_file import WrittenService

A = ServiceKey("default", "a")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def written(**spec) -> WrittenService:
    return WrittenService(A, parse_spec({"model": {"uri": "file:///m"}, **spec}))


@pytest.fixture
def store():
    return FileServiceStore(now=lambda: NOW, show=lambda *_: None)


async def test_an_edit_is_a_new_generation_and_a_save_without_change_is_none(store):
    store.load([written()])

    assert store.load([written()]) == ()
    assert (await store.read(A)).generation == 1
    assert store.load([written(vision={"pool": "v"})]) == (A,)
    assert (await store.read(A)).generation == 2


async def test_a_service_that_leaves_the_file_is_deleted_properly(store):
    store.load([written()])
    await store.change_finalizer(await store.read(A), FinalizerChange.ADD)

    assert store.load([]) == (A,)
    seen = await store.read(A)
    assert seen.deleting_since == NOW

    await store.change_finalizer(seen, FinalizerChange.REMOVE)
    assert store.present() == ()


async def test_a_service_that_comes_back_while_it_is_deleted_lives_on(store):
    store.load([written()])
    await store.change_finalizer(await store.read(A), FinalizerChange.ADD)
    store.load([])

    assert store.load([written()]) == (A,)
    assert (await store.read(A)).deleting_since is None


async def test_the_backend_cannot_move_because_the_old_one_would_be_left_as_it_is(store):
    store.load([written()])
    moved = written(backend={"ray": {"address": "http://elsewhere:8265"}})

    with pytest.raises(Rejected, match=r"spec\.backend"):
        store.load([replace(moved)])
    assert (await store.read(A)).spec.backend is None


async def test_a_service_that_leaves_the_file_before_its_finalizer_is_never_written(store):
    store.load([written()])
    seen = await store.read(A)
    store.load([])

    with pytest.raises(NotYet):
        await store.change_finalizer(seen, FinalizerChange.ADD)


async def test_a_service_that_is_being_deleted_already_is_no_change_of_the_file(store):
    store.load([written()])
    await store.change_finalizer(await store.read(A), FinalizerChange.ADD)
    store.load([])

    assert store.load([]) == ()
