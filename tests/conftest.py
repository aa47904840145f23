"""Shared by all suites: nothing but what every suite needs."""

import os

import hypothesis

# Ray 2.60 turns token authentication on by itself when this is unset and a token file lies about.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# The same examples in every run: a test that fails by chance is found by nobody. More of them: --hypothesis-seed.
# No limit of 0.2 s on an example: on a busy machine one takes longer, which says nothing about the code.
hypothesis.settings.register_profile("project", derandomize=True, deadline=None)
hypothesis.settings.load_profile("project")
