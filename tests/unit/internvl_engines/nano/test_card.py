"""The measured parts of the card: filled from the file, never from that of other weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from internvl_engines.contract.checkpoint import checkpoint_digest
from internvl_engines.nano.card import CardRefused, fill_card

SHIPPED = Path(__file__).parents[4] / "engines/internvl_engines/models/internvl-nano"
GROUP = {
    "asked": 200,
    "right": {"kept": 198, "routed": 197, "random": 170, "compressed": 150},
    "kept_tokens": 1000,
    "routed_tokens": 550,
}


def measured(folder: Path, **changes: Any) -> Path:
    raw = {
        "checkpoint": checkpoint_digest(SHIPPED),
        "questions_per_task": 2000,
        "seed": 0,
        "processes": 2,
        "seconds": 330.4,
        "groups": {
            "print": GROUP,
            "overall": GROUP,
            "text only": {**GROUP, "kept_tokens": 0, "routed_tokens": 0},
        },
        "tiles": {"print": {"compressed": 3, "all": 300}, "background": {"compressed": 270, "all": 300}},
        "loss": {"points": 0.31, "upper_bound_95": 0.52},
        **changes,
    }
    goal = {"what": "tokens cut, percent", "value": 45.0, "goal": ">= 40", "ok": True}
    body = {"machine": {"cores": 2}, "versions": {"onnxruntime": "1.31.1"}, "goals": [goal], "raw": raw}
    (folder / "nano-eval.json").write_text(json.dumps(body))
    return folder / "nano-eval.json"


def card(folder: Path, *parts: str) -> Path:
    marks = "\n\n".join(f"<!-- nano: {part} -->\nold\n<!-- /nano: {part} -->" for part in parts)
    (folder / "card.md").write_text(f"# Kept\n\n{marks}\n\nkept too\n")
    return folder / "card.md"


def test_marked_parts_are_filled_and_the_rest_stays(tmp_path: Path) -> None:
    page = card(tmp_path, "answers", "tiles", "goals", "run")
    assert fill_card(page, SHIPPED, measured(tmp_path)) == ["answers", "tiles", "goals", "run"]
    text = page.read_text()
    assert text.startswith("# Kept\n") and text.endswith("\nkept too\n") and "old" not in text
    assert "| print | 200 | 99.0 | 98.5 | 85.0 | 75.0 | 45.0 |" in text
    assert "| text only | 200 | 99.0 |  |  |  |  |" in text
    assert "| background | 300 | 90.0 % |" in text
    assert "| tokens cut, percent | 45.00 | >= 40 | yes |" in text
    assert "0.31 points (95 % upper bound 0.52)" in text


def test_filling_twice_changes_nothing(tmp_path: Path) -> None:
    page = card(tmp_path, "answers", "shape", "parity", "wordings")
    fill_card(page, SHIPPED, measured(tmp_path))
    once = page.read_text()
    fill_card(page, SHIPPED, measured(tmp_path))
    assert page.read_text() == once
    assert "4 when compressed" in once and "`router.onnx`" in once


def test_figures_of_other_weights_are_refused(tmp_path: Path) -> None:
    page = card(tmp_path, "run")
    before = page.read_text()
    with pytest.raises(CardRefused, match=r"sha256:0000.* run `make nano-eval` again"):
        fill_card(page, SHIPPED, measured(tmp_path, checkpoint="sha256:0000"))
    assert page.read_text() == before


def test_without_figures_the_command_for_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardRefused, match="run `make nano-eval` first"):
        fill_card(card(tmp_path, "run"), SHIPPED, tmp_path / "nano-eval.json")


def test_a_part_that_nobody_fills_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(CardRefused, match="'speeds'"):
        fill_card(card(tmp_path, "speeds"), SHIPPED, measured(tmp_path))
