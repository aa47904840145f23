"""Pure: what one round saw of both sides, and what it remembers -> how many replicas each side is to have, and why.

`model.py` are the values, `decide.py` makes the decision, `history.py` is what is remembered between rounds.
Called by `plan/`. No I/O, no clock, no chance: the same arguments give the same decision.
"""
