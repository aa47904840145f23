"""A real Kubernetes with nodes on this one machine: `make cluster-up`, and what `make e2e` runs against.

`node_cluster.NodeCluster` is a `ControlPlane` with nodes. A node is a private set of kernel namespaces with an
address on a bridge, in which `init` runs containerd, kubelet and kube-proxy; so pods are real, on real nodes.
Root on Linux with cgroup v1, no Docker. `guardian` undoes everything in the kernel, after kill -9 too.
"""
