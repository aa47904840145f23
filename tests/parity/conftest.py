"""For tests that compute with torch."""

import contextlib

import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Other tests run beside these, and the small products of two threads wait for each other."""
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
