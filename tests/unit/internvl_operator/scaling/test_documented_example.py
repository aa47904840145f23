"""The example of docs/autoscaling.md, decided anew: its sentences are what the operator says."""

from pathlib import Path

import pytest

from internvl_operator.api.names import Role
from internvl_operator.scaling.decide import Decision
from internvl_operator.scaling.model import SideLoad, Work, WorkKind

PAGE = Path(__file__).parents[4] / "docs" / "autoscaling.md"
CALM, BURST = 12.0, 32.0
"""Requests a second: each with five tiles, 1,350 prompt tokens, and 100 tokens of answer."""


def play(service, seconds: float, requests: float) -> Decision:
    for _ in range(round(seconds / 5)):
        service.now += 5
        tiles = {WorkKind.TILES: Work(arriving=5 * requests)}
        tokens = {
            WorkKind.PROMPT_TOKENS: Work(arriving=1350 * requests),
            WorkKind.OUTPUT_TOKENS: Work(arriving=100 * requests),
        }
        vision, language = (
            SideLoad(at=service.now, window_s=5, work=work, requests=requests) for work in (tiles, tokens)
        )
        decision = service.round(vision, language)
    return decision


def documented() -> list[str]:
    blocks = PAGE.read_text().split("```text\n")[1:]
    return [block.partition("```")[0].strip() for block in blocks]


@pytest.mark.timeout(180)
def test_the_page_says_what_the_operator_says(service):
    said = []

    def say(decision: Decision) -> None:
        said.append("\n".join(decision.sides[role].why for role in (Role.VISION, Role.LANGUAGE)))

    say(play(service, 5, CALM))
    say(play(service, 7200, CALM))
    for _ in range(12):
        play(service, 60, BURST)
        later = play(service, 1740, CALM)
    say(later)
    service.max_gpus = 16
    say(play(service, 5, CALM))
    assert documented() == said
