"""Kubernetes' probes of Ray's pods."""

from typing import Any

AGENT_PORT = 52365
"""Ray's own default; the dashboard's agent of each node answers there how its raylet is."""


def raylet_probes(*, timeout_s: int) -> dict[str, Any]:
    """What KubeRay 1.6 sets by itself; 1.5 would run wget, which the image does not have."""
    probe = {
        "httpGet": {"path": "/api/healthz", "port": AGENT_PORT},
        "periodSeconds": 5,
        "timeoutSeconds": timeout_s,
    }
    return {
        "livenessProbe": {**probe, "initialDelaySeconds": 30, "failureThreshold": 120},
        "readinessProbe": {**probe, "initialDelaySeconds": 10, "failureThreshold": 10},
    }
