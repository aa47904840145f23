"""One request inside the engine. Changed by the scheduler only."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from internvl_runtimes.engines.base import EnginePrompt, TokenStep
from internvl_runtimes.protocol.handover import Sampling


@dataclass(slots=True, eq=False)
class Sequence:
    """A prompt on its way through the engine, and the answer so far."""

    id: int
    prompt: EnginePrompt | None
    """Dropped once it is prefilled: its visual rows are the largest thing that a request holds."""
    sampling: Sampling
    stop_token_ids: frozenset[int]
    submitted_at: float
    generator: np.random.Generator
    """The sequence's own source of chance, so that a seeded answer does not depend on its neighbours."""
    prompt_tokens: int = 0
    visual_rows: int = 0
    prefilled: int = 0
    """Prompt tokens whose keys and values are computed."""
    answer: list[int] = field(default_factory=list)
    started_at: float = 0.0
    first_token_at: float = 0.0

    def __post_init__(self) -> None:
        """Remember the sizes that outlive the prompt."""
        if self.prompt is not None:
            self.prompt_tokens = len(self.prompt.token_ids)
            self.visual_rows = len(self.prompt.visual_rows)

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values are in the cache: all but the newest of the answer."""
        return self.prefilled + max(len(self.answer) - 1, 0)

    def step(self, token: int, finish_reason: Literal["stop", "length"] | None) -> TokenStep:
        """What the caller is told about its newest token."""
        return TokenStep(
            token_ids=(token,),
            finish_reason=finish_reason,
            wait_s=self.started_at - self.submitted_at,
            prefill_s=self.first_token_at - self.started_at,
        )
