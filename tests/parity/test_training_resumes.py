"""A training that was interrupted ends with the same weights as one that was not."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
pytest.importorskip("transformers", reason="needs the training environment")

STEPS = 6


class PowerCut(Exception):
    """Somebody pulled the plug."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.timeout(240)
def test_interrupted_and_resumed_is_the_same_as_straight_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from internvl_engines.nano import dataset, train
    from internvl_engines.nano.stages import Schedule

    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    schedule = Schedule(steps=STEPS)
    train.train(tmp_path / "straight", tmp_path / "work-1", schedule)

    def cut(step: int, **options):
        if step == 5:
            raise PowerCut
        return dataset.batches_of_step(step, **options)

    monkeypatch.setattr(train, "batches_of_step", cut)
    with pytest.raises(PowerCut):
        train.train(tmp_path / "resumed", tmp_path / "work-2", schedule)
    monkeypatch.setattr(train, "batches_of_step", dataset.batches_of_step)
    train.train(tmp_path / "resumed", tmp_path / "work-2", schedule)

    straight, resumed = (tmp_path / name / "model.safetensors" for name in ("straight", "resumed"))
    assert straight.read_bytes() == resumed.read_bytes()
    with pytest.raises(ValueError, match="another schedule"):
        train.train(tmp_path / "other", tmp_path / "work-2", Schedule(steps=STEPS + 1))
