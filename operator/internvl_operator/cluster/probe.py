"""Asks a gateway's semantic probe once. Bounded in time and size; called by `cluster.fleet`."""

import json
from collections.abc import Callable
from datetime import datetime

from pydantic import ValidationError

from internvl_operator.cluster.http import HttpFault, HttpTransport
from internvl_operator.plan.decision import ProbeRequest
from internvl_operator.plan.observation import ProbeSeen
from internvl_runtimes.contract.probes import ProbeAnswer

MAX_BYTES = 64 * 1024


async def fetch_probe(
    request: ProbeRequest, transport: HttpTransport, *, now: Callable[[], datetime]
) -> ProbeSeen:
    """Send one GET. Each way that it can go wrong is an error sentence, never an exception."""
    try:
        reply = await transport.request(
            "GET",
            request.url,
            headers={"Accept": "application/json"},
            timeout_s=request.timeout_s,
            max_bytes=MAX_BYTES,
        )
    except HttpFault as fault:
        return ProbeSeen(at=now(), subject=request.subject, error=f"the gateway: {fault}")
    if reply.status not in (200, 503):
        return ProbeSeen(
            at=now(),
            subject=request.subject,
            error=f"{request.url} answers {reply.status}, not a gateway's probe",
        )
    try:
        answer = ProbeAnswer.model_validate(json.loads(reply.body))
    except (ValidationError, ValueError, RecursionError):
        # Serve's own 503 (no replica, backpressure) is plain text.
        text = " ".join(reply.body[:300].decode(errors="replace").split())
        return ProbeSeen(
            at=now(),
            subject=request.subject,
            error=f"{request.url} answers {reply.status}: {text or 'nothing'}",
        )
    return ProbeSeen(at=now(), subject=request.subject, answer=answer)
