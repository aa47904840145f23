"""Traffic for the benchmark: published traces, resampled where only their statistics are public, and made-up shapes.

A published trace is read by path and never copied here; without it a generator with its published statistics runs
instead, and the tables say which of the two it was.
"""
