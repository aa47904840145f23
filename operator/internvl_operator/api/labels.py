"""Group, version, finalizer, field manager and labels: every such literal of the operator."""

from internvl_runtimes.contract import serve_args

GROUP = "serving.internvl.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "InternVLService"
PLURAL = "internvlservices"
SINGULAR = "internvlservice"
SHORT_NAME = "ivl"
CATEGORIES = ("all", "internvl")

FINALIZER = f"{GROUP}/serve-applications"
"""Held while the service may have applications in Ray Serve."""
FIELD_MANAGER = "internvl-operator"
"""Server-side apply's name for what this operator writes."""
EVENT_COMPONENT = "internvl-operator"

POOL = serve_args.POOL_LABEL
"""Ray node label that names a node's pool."""
