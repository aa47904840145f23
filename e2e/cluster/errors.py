"""What can go wrong with a cluster; every text says which part and what to look at."""

from __future__ import annotations


class ClusterFailed(Exception):
    """Base of all of them."""


class StartFailed(ClusterFailed):
    """A part did not come up; the text carries the last lines of its log."""


class NotSupported(ClusterFailed):
    """An existing cluster was asked for something that only an own control plane can do."""
