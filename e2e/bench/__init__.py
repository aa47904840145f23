"""Benchmarks: one module each, `make bench` runs them all.

Each prints a table and writes `build/bench/<name>.json` with machine, versions, raw figures and goals. Figures
that compare come from one run and are quoted as ratios in docs/benchmarks.md.
"""
