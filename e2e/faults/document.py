"""The table in `docs/failure-modes.md`, from what was measured."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "failure-modes.md"
BEGIN, END = "<!-- measured: make e2e-faults ARGS=--document -->", "<!-- measured: end -->"
_HEADER = (
    "| what happens | requests lost | streams broken | wrong | longest without an answer | until all is well | goals |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)
_ENDINGS = ("| what happens | nothing left after | goals |", "| --- | --- | --- |")


def write_table(cases: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace what stands between the marks."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(before + "\n".join([BEGIN, "", *_lines(cases), "", END]) + after)


def _lines(cases: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    endings = {name: known for name, known in cases.items() if "gone_after_s" in known["figures"]}
    yield from _HEADER
    for name, known in cases.items():
        if name in endings:
            continue
        found = known["figures"]
        yield (
            f"| {found['title']} | {found['lost']} of {found['requests']} | {found['streams_broken']} "
            f"| {found['wrong']} | {found['longest_outage_s']} s | {found['healed_after_s']} s | {_goals(known)} |"
        )
    if endings:
        yield ""
        yield from _ENDINGS
        for known in endings.values():
            found = known["figures"]
            yield f"| {found['title']} | {found['gone_after_s']} s | {_goals(known)} |"


def _goals(known: Mapping[str, Any]) -> str:
    missed = [goal for goal in known["goals"] if not goal["ok"]]
    return (
        "; ".join(f"{goal['what']} {goal['value']} (goal {goal['goal']})" for goal in missed) or "all reached"
    )
