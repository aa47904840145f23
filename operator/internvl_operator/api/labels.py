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
SCALE_KIND = "InternVLScale"
SCALE_PLURAL = "internvlscales"
SCALE_SINGULAR = "internvlscale"
SCALE_SHORT_NAME = "ivls"

FINALIZER = f"{GROUP}/serve-applications"
"""Held while the service may have applications in Ray Serve."""
FIELD_MANAGER = "internvl-operator"
"""Server-side apply's name for what this operator writes."""
EVENT_COMPONENT = "internvl-operator"

POOL = serve_args.POOL_LABEL
"""Ray node label that names a node's pool."""

GROUP_OF_PODS = f"{GROUP}/group"
"""Label of Ray nodes and pods that names their worker group: one form of pod, of one role."""
SERVICE = f"{GROUP}/service"
"""Label of every object that belongs to a service."""
ROLE = f"{GROUP}/role"
"""Label of a service's pods: vision, language, gateway or head."""
OPTIONAL_KINDS = f"{GROUP}/optional-kinds"
"""Annotation of the front Service: the kinds of objects that this service has, or may have, and others lack."""
HEAD = f"{GROUP}/head"
"""Annotation of a RayCluster: a hash of what people decided about its head when it was made."""
MOVED_AT = f"{GROUP}/moved-at"
"""Annotation of the front Service: when it was turned to another Ray cluster, where it ever was."""
RENDERED = f"{GROUP}/rendered"
"""Annotation of every object but the RayCluster: a hash of what was applied, so that a field that went is a difference too."""
RAY_CLUSTER = "ray.io/cluster"
"""KubeRay's label of each pod of a RayCluster, by its name."""
MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = FIELD_MANAGER
"""Value of `MANAGED_BY` on what this operator makes."""
REPLICA_RESOURCE = "internvl_replica"
"""Ray resource of which each pod has one and each replica takes one: one replica a pod."""
