"""The operator: turns an `InternVLService` into applications of Ray Serve and tells the truth about them.

Layers, bottom to top; each may import only from those before it (import-linter holds this):

    errors              error types that say the next action
    addresses           the normal form of a Ray dashboard's address
    settings, logs      the process's settings; how it logs
    api                 what users write and read: spec, status, conditions, names; pydantic, pure
    render              pure: spec -> Ray Serve configuration
    plan                pure: observation -> Plan; the clock is a field of the observation
    cluster             all I/O: Kubernetes, Ray's REST API, probes, the Lease
    reconcile           the work queue: observe -> plan -> apply -> report, one run a key at a time
    handlers            the Kopf edge: turns watch events into keys, nothing else
    standalone          `internvl up`: the same reconciler without Kubernetes

Nothing here imports Ray, torch or an engine; of the two other packages only their `contract`.
"""

VERSION = "0.1.0"
"""Version of the distribution (a test compares it with pyproject.toml); shown in install lines."""
