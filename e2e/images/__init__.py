"""Container images without a Docker daemon or a registry: for the nodes of `e2e.cluster.nodes`.

All lie in one OCI layout (`layout.ImageLayout`), blobs named by their digest, so that an image that differs from
one that a node has in its last layer only travels as that layer.
"""
