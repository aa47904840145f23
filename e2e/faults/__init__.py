"""`make e2e-faults`: one fault after another under load on a cluster with nodes, and what each of them costs.

Each case has goals; what was measured is kept after each case, so an interrupted run goes on where it was.
"""
