"""How long a side's replicas take to start, from the wish to the first answer."""

from dataclasses import dataclass, replace

KEPT = 5
"""Starts that are remembered; their median counts, so that one slow download is no rule."""
SHORTEST_S, LONGEST_S = 5.0, 900.0


@dataclass(frozen=True, slots=True)
class Starts:
    """Starts seen, oldest first, and the one that is under way."""

    lasted_s: tuple[float, ...] = ()
    since: float | None = None
    """When more replicas than run were wanted first, on the history's own clock."""
    goal: int = 0
    """As many must run for that start to be over."""

    def after(self, *, target: int, ready: int, healthy: bool, clock: float) -> "Starts":
        """What is known when `ready` of `target` replicas run."""
        if self.since is None:
            return replace(self, since=clock, goal=target) if healthy and ready < target else self
        if ready >= self.goal:
            lasted_s = min(max(clock - self.since, SHORTEST_S), LONGEST_S)
            return Starts((*self.lasted_s, lasted_s)[-KEPT:])
        if target < self.goal or not healthy:
            return Starts(self.lasted_s)
        return self

    def usual_s(self, first_s: float) -> float:
        """The median of what was seen; `first_s` before anything was."""
        return sorted(self.lasted_s)[len(self.lasted_s) // 2] if self.lasted_s else first_s
