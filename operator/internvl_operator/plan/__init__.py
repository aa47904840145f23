"""Pure: one observation in, one plan out. Never awaits, never raises, reads no clock.

`observation.py` is what is known, `decision.py` what was decided, `plan.py` how one leads to the other.
Called by `reconcile.reconciler`, which gathers the observation and carries the plan out.
"""
