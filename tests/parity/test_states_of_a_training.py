"""What lies in the working folder of a training: whole after any interruption, and gone on from only where it fits."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
pytest.importorskip("transformers", reason="needs the training environment")

STEPS = 3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of three steps that draw nothing: the bias of the words moves by chance. A state after each step."""
    from internvl_engines.nano import train
    from internvl_engines.nano.stages.see import See

    def backward(self, drawer, progress):
        progress.add_loss("chance", 0.0)
        (self._model.word_bias * drawer.rng.random()).sum().backward()

    monkeypatch.setattr(See, "backward", backward)
    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    monkeypatch.setattr(train.Schedule, "steps", lambda self, stage: STEPS)


def learn(work: Path, *names: str, seed: int = 0, workers: int = 1) -> None:
    from internvl_engines.nano.schedule import Schedule, stage_named
    from internvl_engines.nano.train import train

    train(work, Schedule(seed=seed), stages=tuple(map(stage_named, names)), workers=workers)


def state(work: Path, name: str) -> dict:
    return torch.load(work / f"{name}.pt", weights_only=True)


def refused(match: str):
    from internvl_engines.nano.train import StateUnusable

    return pytest.raises(StateUnusable, match=match)


def test_a_write_that_breaks_off_leaves_the_state_before_it(tmp_path, monkeypatch):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    learn(straight, "see")
    save, calls = torch.save, []

    def full_disk(content, stream):
        calls.append(content["step"])
        if len(calls) == 2:
            stream.write(b"half of it")
            raise OSError("No space left on device")
        save(content, stream)

    with monkeypatch.context() as patch:
        patch.setattr("internvl_engines.nano.train.torch.save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            learn(broken, "see")
    assert state(broken, "see")["step"] == 1
    learn(broken, "see")
    assert torch.equal(
        state(broken, "see")["model"]["word_bias"], state(straight, "see")["model"]["word_bias"]
    )
    assert sorted(file.name for file in broken.iterdir()) == ["see.pt"]


def test_a_stage_whose_predecessor_is_missing_or_unfinished_is_refused_before_any_process_starts(tmp_path):
    with refused(r"see\.pt is missing: do the stage 'see' first"):
        learn(tmp_path, "read", workers=2)
    learn(tmp_path, "see")
    torch.save(state(tmp_path, "see") | {"step": 1, "optimizers": {}}, tmp_path / "see.pt")
    with refused(r"see\.pt is of a stage that is not finished"):
        learn(tmp_path, "read", workers=2)


def test_a_stage_is_not_done_anew_under_later_ones_that_began_with_it(tmp_path):
    learn(tmp_path, "see", "read")
    (tmp_path / "see.pt").unlink()
    with refused(r"see\.pt is missing, and read\.pt began with it: put it back, or delete these"):
        learn(tmp_path, "see", "read")
    (tmp_path / "read.pt").unlink()
    learn(tmp_path, "see", "read")


@pytest.mark.parametrize(("step", "optimizer"), [(2, None), (4, None), (3, {}), (4, {})])
def test_a_state_of_another_number_of_steps_is_refused(tmp_path, step, optimizer):
    learn(tmp_path, "see")
    torch.save(state(tmp_path, "see") | {"step": step, "optimizers": optimizer}, tmp_path / "see.pt")
    with refused(rf"see\.pt is of step {step}.*; the stage has 3 steps now: delete it"):
        learn(tmp_path, "see")


def test_a_state_of_another_seed_is_refused(tmp_path):
    learn(tmp_path, "see")
    with refused(
        r"\(1\.0, 0, 1\), not \(1\.0, 1, 1\): delete it to do the stage again, or name another --work"
    ):
        learn(tmp_path, "see", seed=1)


@pytest.mark.parametrize(("there", "here"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_a_stage_is_not_finished_in_another_precision_and_may_be_followed_by_one(
    tmp_path, monkeypatch, there, here
):
    def on_a_machine_of(precision):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": precision == "bfloat16"})

    on_a_machine_of(there)
    learn(tmp_path, "see")
    whole = state(tmp_path, "see")
    torch.save(whole | {"step": 1, "optimizers": {}}, tmp_path / "see.pt")
    on_a_machine_of(here)
    with refused(
        rf"see\.pt was begun with products in {there}, and this processor does them in {here}: go on"
    ):
        learn(tmp_path, "see")
    torch.save(whole, tmp_path / "see.pt")
    learn(tmp_path, "read")


@pytest.mark.parametrize("content", [{"step": 3}, [1, 2]])
def test_a_file_that_is_no_state_is_refused_by_its_name(tmp_path, content):
    torch.save(content, tmp_path / "see.pt")
    with refused(r"see\.pt is no state of a stage: delete it"):
        learn(tmp_path, "see")


def test_weights_of_another_shape_are_refused_by_their_file(tmp_path):
    learn(tmp_path, "see")
    content = state(tmp_path, "see")
    content["model"]["word_bias"] = torch.zeros(3)
    torch.save(content, tmp_path / "see.pt")
    with refused(r"see\.pt is of a model of another shape: delete it"):
        learn(tmp_path, "read")
    from internvl_engines.nano.train import write_trained

    with refused(r"see\.pt is of a model of another shape"):
        write_trained(tmp_path, "see", tmp_path / "checkpoint", flash=True)
    assert not (tmp_path / "checkpoint").exists()
