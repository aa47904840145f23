"""Logging of both processes: one line a message, whatever it holds."""

import logging

QUIET = ("kopf", "httpx2", "httpcore2", "aiohttp", "asyncio", "watchfiles")
"""Libraries whose news are of no interest below a warning."""


KOPF_LIMIT = 300
"""Characters of a message of Kopf: it repeats whole answers of the API server."""


def _shorten_kopf(record: logging.LogRecord) -> bool:
    """Kopf's tracebacks tell of its inside; the beginnings of its messages say what happened."""
    if record.name.startswith("kopf"):
        record.exc_info = record.exc_text = None
        record.msg, record.args = record.getMessage()[:KOPF_LIMIT], ()
    return "OS signals are ignored" not in str(record.msg)  # they are ours to handle


class OneLine(logging.Formatter):
    """Joins lines, tracebacks too, so that each record is one line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return " ⏎ ".join(line for line in super().format(record).splitlines() if line.strip())


def configure_logging(level: str = "INFO") -> None:
    """Send everything to standard error. Called once, by the edge of a process."""
    handler = logging.StreamHandler()
    handler.addFilter(_shorten_kopf)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
