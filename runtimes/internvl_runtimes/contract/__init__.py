"""What the data plane promises to others. Pydantic and the standard library only.

The operator imports these modules to render and to read Ray Serve's state, the deployments import them
to check what they are given. No module here may import Ray, numpy, an engine or another room.
"""

CONTRACT_VERSION = "1"
"""Version of everything in this package. It travels in the arguments of each Serve application, and an
application refuses to be built by a runtime of another version (`FailureCode.RUNTIME_VERSION_MISMATCH`).
It changes only when an old runtime could not serve a new configuration, not with each release."""
