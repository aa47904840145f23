"""A service that scales, on real parts of this machine: what tests and benchmarks of scaling share."""
