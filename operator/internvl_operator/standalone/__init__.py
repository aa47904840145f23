"""`internvl up`: the same types, plan, writer and reconciler without Kubernetes, from a file.

The proof that the core knows nothing of Kopf or of an API server. Called by `cli` only.
"""
