"""What a benchmark plays because it has no nodes: KubeRay's and the kubelet's writes, and the dashboards of Ray.

Only what the operator sees of them; nothing here serves a model.
"""
