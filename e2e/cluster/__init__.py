"""A real Kubernetes API server for the demo and the tests, without nodes: etcd, kube-apiserver, controller-manager.

`control_plane.ControlPlane` starts one on loopback and leaves nothing behind; `clusters.open_cluster` gives that
or an existing cluster. `binaries` builds the programs from their Go modules and needs the standard library only.
"""
