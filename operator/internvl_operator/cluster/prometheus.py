"""The HTTP API of a Prometheus, or of what speaks like one (Thanos, Mimir, VictoriaMetrics): instant queries only.

Everything foreign ends here: an answer becomes samples, anything else a `PrometheusFault` with a sentence for people.
Called by `cluster.prometheus_loads`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from internvl_operator.cluster.exposition import Sample, finite
from internvl_operator.cluster.http import HttpFault, HttpReply, HttpTransport

QUERY_PATH = "/api/v1/query"
MAX_BYTES = 16 * 1024 * 1024
"""Of one answer: a thousand services with a row each are a quarter of a megabyte."""


class PrometheusFault(Exception):
    """No usable answer. The text is a sentence that names the address and never a token."""


class Prometheus:
    """One Prometheus, over a shared transport."""

    def __init__(
        self,
        url: str,
        transport: HttpTransport,
        *,
        timeout_s: float,
        token: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Take where it is.

        Args:
            url: without `/api/v1`, perhaps with a path before it.
            transport: sends the requests.
            timeout_s: of one query, there and here.
            token: read anew for each query, because such tokens are rotated; None for none.
        """
        self.url = url
        self._transport = transport
        self._timeout_s = timeout_s
        self._token = token

    async def query(self, text: str) -> tuple[Sample, ...]:
        """The vector that a query gives now. Samples that are not finite are left out; the name may be empty.

        Raises:
            PrometheusFault: no answer, an error, or something else than a vector.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        token = self._token()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            reply = await self._transport.request(
                "POST",
                f"{self.url}{QUERY_PATH}",
                headers=headers,
                body=urlencode({"query": text, "timeout": f"{self._timeout_s:g}s"}).encode(),
                timeout_s=self._timeout_s,
                max_bytes=MAX_BYTES,
            )
        except HttpFault as fault:
            raise PrometheusFault(f"Prometheus at {self.url}: {fault}") from fault
        return self._vector(reply)

    def _vector(self, reply: HttpReply) -> tuple[Sample, ...]:
        if reply.status in (401, 403):
            raise PrometheusFault(f"Prometheus at {self.url} wants another token ({reply.status})")
        try:
            answer = json.loads(reply.body)
        except (ValueError, RecursionError) as fault:
            text = f"{self.url} answers {reply.status} with something else than JSON: not a Prometheus"
            raise PrometheusFault(text) from fault
        if not isinstance(answer, dict) or answer.get("status") != "success":
            cause = answer.get("error", "") if isinstance(answer, dict) else ""
            raise PrometheusFault(f"Prometheus at {self.url} answers {reply.status}: {str(cause)[:300]}")
        data = answer.get("data")
        if not isinstance(data, dict) or data.get("resultType") != "vector":
            raise PrometheusFault(f"{self.url} does not answer a query as Prometheus does")
        rows = data.get("result")
        return tuple(
            sample
            for row in (rows if isinstance(rows, Sequence) else ())
            if (sample := _sample(row)) is not None
        )


def _sample(row: Any) -> Sample | None:
    """One element of a vector; None for a native histogram, or a value that is not finite."""
    if not isinstance(row, Mapping) or not isinstance(row.get("metric"), Mapping):
        return None
    value = row.get("value")
    if not isinstance(value, Sequence) or len(value) != 2:
        return None
    number = finite(value[1])
    if number is None:
        return None
    labels = {str(name): str(label) for name, label in row["metric"].items()}
    return Sample(labels.pop("__name__", ""), labels, number)
