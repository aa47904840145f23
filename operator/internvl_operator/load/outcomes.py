"""What became of one request."""

from dataclasses import dataclass

UNSENT = "not sent: too many in flight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request, from the moment it was due. All times are in seconds on one clock."""

    due: float
    sent: float
    ended: float
    first: float | None = None
    """When the first piece of text came."""
    last: float | None = None
    """When the last one came."""
    tokens: int = 0
    """Of the answer, as the server counts; else pieces of text."""
    pictures: bool = False
    error: str | None = None
    """In a few words, the same for all errors of a kind. None: answered."""

    @property
    def late_s(self) -> float:
        """How much later it went out than it was due: ours, not the server's."""
        return self.sent - self.due

    @property
    def first_token_s(self) -> float | None:
        """Seconds to the first piece, from the moment it was due."""
        return None if self.first is None else self.first - self.due

    @property
    def between_tokens_s(self) -> float | None:
        """Mean seconds between two tokens of the answer."""
        if self.first is None or self.last is None or self.tokens < 2:
            return None
        return (self.last - self.first) / (self.tokens - 1)

    @property
    def whole_s(self) -> float:
        """Seconds to the end of the answer, from the moment it was due."""
        return self.ended - self.due
