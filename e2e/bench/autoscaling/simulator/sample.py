"""What can be seen of a side at one moment: counters that only grow, and gauges. Policies know nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """One kind of work while replicas had no room: what was done and in how many replica-seconds, both only growing."""

    done: float = 0.0
    seconds: float = 0.0
    outputs: float = 0.0
    """Output tokens written beside prompt tokens, while sequences waited for those alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSample:
    """One side.

    Units are tiles for vision, seconds of a full replica for language, where prompts and answers add up; the latter are
    also told apart. The length of an answer is not known before it ends: what arrives is taken to be as long as the mean
    of recent ones.
    """

    target: int
    ready: int
    starting: int
    arrived: float
    """Units that came to the gateway, since the beginning."""
    arrived_requests: int
    arrived_prompt_tokens: float = 0.0
    arrived_output_tokens: float = 0.0
    queued: int = 0
    """Requests that wait for this side."""
    waiting: float = 0.0
    """Units that wait for this side."""
    waiting_prompt_tokens: float = 0.0
    waiting_output_tokens: float = 0.0
    running: float = 0.0
    """Requests that this side works at."""
    busy: float = 0.0
    """Units done since the last sample, of those that the replicas could have done, 0 to 1."""
    occupied: float = 0.0
    """Share of the places for requests that are taken, and of those that are wanted: over 1 when requests wait."""
    full: Full = Full()
    """Tiles, or prompt tokens."""
    full_output: Full = Full()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Both sides at one time."""

    at: float
    vision: SideSample | None
    """None: there is no such side, one kind of replica does both."""
    language: SideSample
    answered: int
    """Requests with a first token, since the beginning."""
    late: int
    """Those of them whose first token came too late."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Replicas that a policy wants."""

    vision: int
    language: int
