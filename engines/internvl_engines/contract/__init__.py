"""Checkpoint and artifact values: light enough for the operator (standard library and pydantic only)."""
