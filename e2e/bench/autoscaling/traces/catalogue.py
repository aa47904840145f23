"""All traces by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from e2e.bench.autoscaling.traces import azure, servegen, shapes
from e2e.bench.autoscaling.traces.stream import Traffic

HOURS = 4
"""The first half is for tuning, the second is judged."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One kind of traffic."""

    name: str
    title: str
    made: Callable[[int], Traffic]
    """(seconds) -> made without a file."""
    published: Callable[[Path, int], Traffic] | None = None
    """(folder, seconds) -> from a published trace; raises FileNotFoundError without it."""
    lies_in: str = ""
    """Of the folder, where the published trace lies."""

    def traffic(self, folder: Path | None, seconds: int = HOURS * 3600) -> Traffic:
        """The published one where its files are, else the made one."""
        if folder is not None and self.published is not None:
            try:
                return self.published(folder, seconds)
            except FileNotFoundError:
                pass
        return self.made(seconds)

    def files(self, folder: Path | None) -> list[Path]:
        """Of the published trace, those that are there."""
        if folder is None or not self.lies_in:
            return []
        return sorted(path for path in (folder / self.lies_in).glob("*") if path.is_file())


TRACES: dict[str, Trace] = {
    trace.name: trace
    for trace in (
        Trace("smooth", "slow waves", shapes.smooth),
        Trace("servegen", "correlated (ServeGen)", servegen.fitted, servegen.published, servegen.FOLDER),
        Trace(
            "azure",
            "uncorrelated requests (Azure LMM)",
            azure.multimodal_fitted,
            azure.multimodal,
            azure.MULTIMODAL,
        ),
        Trace("bursts", "bursts (Azure code)", azure.bursts_fitted, azure.bursts, azure.TEXT),
        Trace("swings", "only pictures, only text", shapes.swings),
        Trace("parted", "work that parts", shapes.parted),
        Trace("flash", "flash crowd on an empty service", shapes.flash_crowd),
        Trace("step", "step x10", shapes.step),
    )
}
