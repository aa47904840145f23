"""What a platform team has on a cluster with nodes: the chart installed, namespaces with a model, a pod to ask from.

Used by tests/cluster and by the faults (`make e2e-faults`).
"""
