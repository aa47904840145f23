"""A training that was interrupted ends with the same weights as one that was not."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
pytest.importorskip("transformers", reason="needs the training environment")

SHARE = 0.001
FEW = 4
"""Samples, or tiles of larger pictures, that are drawn at once."""


class PowerCut(Exception):
    """Somebody pulled the plug."""


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a second take a tenth of it; what goes on does not hang on how much a step draws."""
    from internvl_engines.nano.dataset import Drawer

    for name in ("single", "several", "compared", "pages", "partly_named", "print_in_tiles", "texts"):
        drawn = getattr(Drawer, name)
        monkeypatch.setattr(
            Drawer, name, lambda self, count, drawn=drawn, **how: drawn(self, min(count, FEW), **how)
        )


@pytest.mark.timeout(400)
def test_interrupted_and_resumed_is_the_same_as_straight_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from internvl_engines.nano import train
    from internvl_engines.nano.schedule import STAGES, Schedule, stage_before, stage_named
    from internvl_engines.nano.stages.both import Both
    from internvl_engines.nano.stages.router import Router

    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    schedule = Schedule(share=SHARE)
    # Two steps of `both`, one or two of the others; the router remembers a window of ratios.
    monkeypatch.setattr(
        train.Schedule, "steps", lambda self, stage: 2 if stage.name in ("both", "router") else 1
    )
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train.train(straight, schedule, workers=1)

    for lesson in (Both, Router):
        backward, calls = lesson.backward, []

        def cut(self, drawer, progress, backward=backward, calls=calls):
            calls.append(drawer)
            if len(calls) == 2:
                raise PowerCut
            backward(self, drawer, progress)

        with monkeypatch.context() as patch:
            patch.setattr(lesson, "backward", cut)
            with pytest.raises(PowerCut):
                train.train(resumed, schedule, workers=1)
    train.train(resumed, schedule, workers=1)

    for stage in STAGES:
        one, other = (
            torch.load(folder / f"{stage.name}.pt", weights_only=True) for folder in (straight, resumed)
        )
        assert one["remembered"] == other["remembered"]
        assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"]), stage
    moved = torch.load(straight / "both.pt", weights_only=True)["model"]
    kept = torch.load(straight / "router.pt", weights_only=True)["model"]
    changed = {name for name in kept if not torch.equal(kept[name], moved[name])}
    assert any("gating" in name for name in changed)
    last = stage_before(stage_named("both"))
    before = torch.load(straight / f"{last.name}.pt", weights_only=True)["model"]

    def largest_step(part: str) -> float:
        matrices = [name for name in before if name.startswith(part) and before[name].ndim == 2]
        return max((moved[name] - before[name]).square().mean().sqrt().item() for name in matrices)

    tower, language = largest_step("vision.vision_model.encoder."), largest_step("language.model.layers.")
    assert 0 < tower == pytest.approx(stage_named("both").tower_rate * language, rel=0.3)

    with pytest.raises(train.StateUnusable, match="delete it"):
        train.train(resumed, Schedule(share=SHARE, seed=1), workers=1)
    (resumed / "see.pt").write_bytes(b"half a file")
    with pytest.raises(train.StateUnusable, match=r"see\.pt cannot be read"):
        train.train(resumed, schedule, workers=1)
    (resumed / "both.pt").unlink()
    with pytest.raises(train.StateUnusable, match="do the stage 'both' first"):
        train._weights_after(resumed, stage_named("both").name)
