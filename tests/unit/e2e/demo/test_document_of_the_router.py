"""docs/vir.md: its figures are of the weights in the repository; its pictures, and all others, are there and small."""

import re
from pathlib import Path

from e2e.demo.document import LARGEST_BYTES
from internvl_engines.contract.checkpoint import checkpoint_digest

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs/vir.md"
SHIPPED = ROOT / "engines/internvl_engines/models/internvl-nano"


def test_each_picture_is_there_and_small() -> None:
    pages = [page.read_text() for page in PAGE.parent.glob("*.md")]
    shown = {name for text in pages for name in re.findall(r"!\[.+?\]\((pictures/.+?)\)", text)}
    assert sorted(shown) == sorted(f"pictures/{file.name}" for file in (ROOT / "docs/pictures").iterdir())
    assert all((PAGE.parent / name).stat().st_size <= LARGEST_BYTES for name in shown)


def test_each_file_that_it_names_is_there() -> None:
    text = PAGE.read_text()
    named = re.findall(r"`((?:engines|runtimes|operator)/[\w/.-]+)`", text)
    linked = re.findall(r"\]\((\.\./.+?)\)", text)
    assert len(named) > 3 and len(linked) > 1
    assert [name for name in named if not (ROOT / name).is_file()] == []
    assert [link for link in linked if not (PAGE.parent / link).is_file()] == []


def test_its_figures_are_of_these_weights() -> None:
    assert checkpoint_digest(SHIPPED) in PAGE.read_text(), "run make nano-eval nano-card"
