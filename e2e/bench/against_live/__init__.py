"""The simulator against a live run: a site as it is measured here, the same requests on both, the figures beside each other.

Two cores carry several replicas because each has a quarter of a core, by the kernel's quota. That holds a replica's own
work to its own speed. What is not bounded is shared: gateway, proxy, Ray and the load generator take the rest of the
machine, and so does a replica while it starts.
"""
