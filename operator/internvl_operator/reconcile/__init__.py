"""One function for create, update, resume and timer: observe -> plan -> apply -> report.

`loop.py` decides which service is next, `reconciler.py` does one, `ports.py` says what it needs of the world.
Called by `handlers` (keys come from Kubernetes) and `standalone` (one key, from a file).
"""
