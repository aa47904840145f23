"""Condition types and the closed list of reasons. Reasons are API: added to, never renamed.

`docs/conditions.md` is generated from here (`python -m internvl_operator.api.reference`).
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """What a condition says when it is True."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> "ConditionType":
        """A string with its documentation attached."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    READY = (
        "Ready",
        "The service answers questions about pictures: the probe passed on the configuration and on "
        "replicas of the generation that answer now.",
    )
    PROGRESSING = "Progressing", "Something is on its way: a write, a start, a probe, a retry, a deletion."
    DEGRADED = "Degraded", "Something failed or is missing. It may be True while Ready is True."
    VISION_READY = (
        "VisionReady",
        "The vision side has a running replica of the wanted generation, or is to have none while no picture comes.",
    )
    LANGUAGE_READY = "LanguageReady", "The language side has a running replica of the wanted generation."
    PROBE_PASSED = (
        "ProbePassed",
        "Two small pictures went through both sides, gave different features, and the wanted generations "
        "answered.",
    )
    SCALING_ACTIVE = (
        "ScalingActive",
        "The load decides how many replicas a side has. Absent where no side has a `maxReplicas` above its "
        "`minReplicas`.",
    )
    METRICS_AVAILABLE = (
        "MetricsAvailable",
        "The load of both sides is known. Absent where nothing is scaled.",
    )


class ConditionStatus(StrEnum):
    """Kubernetes' three values."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition is as it is. `meaning` says what happened, `action` what to do about it."""

    meaning: str
    action: str

    def __new__(cls, value: str, meaning: str, action: str) -> "Reason":
        """A string with its documentation attached."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.action = action
        return member

    # fine
    READY = "Ready", "The service answers.", "Nothing."
    AS_DESIRED = "AsDesired", "What runs is what the spec asks for.", "Nothing."
    AT_ZERO = (
        "AtZero",
        "The side has no replica, because nothing came for it for `scaling.idle` (vision: no picture; language: no "
        "request) and its `minReplicas` is 0. What comes next starts one and waits for it.",
        "Nothing; for pictures that must not wait set `vision.minReplicas` to 1, for any request also `language.minReplicas`.",
    )

    # under way
    NOT_OBSERVED = "NotObserved", "Ray was not asked yet.", "Wait a few seconds."
    DEPLOYING = "Deploying", "Ray Serve is starting or updating replicas.", "Wait."
    WAITING_FOR_OTHER_BUILD = (
        "WaitingForOtherBuild",
        "The write waits, because another application on this Ray cluster is being built.",
        "Wait; if it lasts, look at the application that the message names.",
    )
    PROBE_PENDING = "ProbePending", "All replicas run; the probe has not answered yet.", "Wait."
    DELETING = "Deleting", "The service's applications are being removed from Ray Serve.", "Wait."

    ROLLING_OUT = (
        "RollingOut",
        "New pods, a new model or a second Ray cluster start, while the old ones answer.",
        "Wait; `status.rollout` says how far it is.",
    )
    ROLLOUT_DEADLINE_EXCEEDED = (
        "RolloutDeadlineExceeded",
        "The new pods, model or Ray cluster did not start within `spec.rollout.deadline`: they were stopped, the old "
        "ones answer.",
        "See the message for what was wrong, correct it and edit the spec: that begins anew.",
    )

    # scaling
    SCALED_BY_LOAD = (
        "ScaledByLoad",
        "Replicas follow the load; `status.roles` says why there are as many.",
        "Nothing.",
    )
    SCALING_LIMITED = (
        "ScalingLimited",
        "More replicas are wanted than `maxReplicas` or `scaling.maxGPUs` allow, or than may be started on a figure of a "
        "few seconds.",
        "Raise or state what the message names, or let requests wait.",
    )
    SCALING_HELD = (
        "ScalingHeld",
        "The load is not known well enough to decide, or what one replica manages is not known, or nothing can be decided "
        "for another reason, so that numbers stay as they are.",
        "See the message, and `MetricsAvailable`. Where it is what a replica manages: state `capacity`, or wait until one "
        "was full.",
    )
    RECOMMENDED_ONLY = (
        "RecommendedOnly",
        "`scaling.mode` is Recommend: numbers are decided and shown, and not written.",
        "Set `scaling.mode` to Auto to have them written.",
    )
    SCALED_UP = (
        "ScaledUp",
        "A side got more replicas, because its load, a schedule or a bound asks for them; the message says which.",
        "Nothing.",
    )
    SCALED_DOWN = (
        "ScaledDown",
        "A side got fewer replicas, because its load has been lower for a while, or a schedule or a bound allows no more; "
        "the message says which.",
        "Nothing.",
    )
    METRICS_SEEN = "MetricsSeen", "All replicas tell their load.", "Nothing."
    METRICS_INCOMPLETE = (
        "MetricsIncomplete",
        "Some replicas do not tell their load: numbers may rise, and are not lowered.",
        "Wait; if it lasts, see that the operator or Prometheus reaches every Ray node's metrics port.",
    )
    METRICS_MISSING = (
        "MetricsMissing",
        "Nothing tells the load, or what tells it is old. That is never taken for no load: numbers stay as they are.",
        "Wait for its replicas to run, or mend the node or the setting that the message names.",
    )
    PROMETHEUS_UNAVAILABLE = (
        "PrometheusUnavailable",
        "Prometheus gives no good answer, so that the load is not known and numbers stay as they are.",
        "See the message; start Prometheus, or correct INTERNVL_OPERATOR_PROMETHEUS_URL or its token.",
    )

    # what the user wrote
    SPEC_INVALID = "SpecInvalid", "The spec cannot be used.", "Correct the field that the message names."
    BACKEND_ADDRESS_MISSING = (
        "BackendAddressMissing",
        "Neither the service nor the operator's settings name a Ray cluster.",
        "Set `spec.backend.ray.address`, or INTERNVL_OPERATOR_RAY_ADDRESS of the operator.",
    )

    # Ray
    RAY_UNREACHABLE = (
        "RayUnreachable",
        "No connection to the Ray dashboard.",
        "Start Ray, or correct the address; check that the operator may reach it.",
    )
    RAY_TIMED_OUT = (
        "RayTimedOut",
        "The Ray dashboard does not answer in time.",
        "Look at the Ray head node: it hangs, is overloaded, or packets to it are dropped.",
    )
    RAY_UNAUTHORIZED = (
        "RayUnauthorized",
        "The Ray dashboard asks for a token that the operator does not have.",
        "Start an existing Ray cluster with RAY_AUTH_MODE=disabled, because a token cannot be given for it yet; "
        "a service's own cluster was made with another token key: delete its RayCluster and its Secret, and "
        "they are made anew.",
    )
    NOT_RAY = (
        "NotRay",
        "Something else than a Ray dashboard answers at that address.",
        "Correct the address; it is the dashboard's, port 8265, not Serve's.",
    )
    SERVE_UNAVAILABLE = (
        "ServeUnavailable",
        "Ray answers, but its Serve controller does not.",
        "Wait; if it lasts, look at the Serve controller's log on the Ray head node.",
    )
    HTTP_PROXY_MISSING = (
        "HttpProxyMissing",
        "Serve has no running HTTP proxy, so the service has no URL.",
        "Start Serve with `proxy_location` HeadOnly or EveryNode and look at the proxy's log.",
    )

    # pods of the service's own
    KUBERAY_MISSING = (
        "KubeRayMissing",
        "The cluster does not know the kind RayCluster.",
        "Install KubeRay 1.5 to 1.7, or name an existing Ray cluster in `spec.backend.ray.address`.",
    )
    KUBERAY_TOO_OLD = (
        "KubeRayTooOld",
        "The kind RayCluster of this cluster lacks fields that a service's Ray cluster needs, token authentication "
        "among them; none is made without it.",
        "Install KubeRay 1.5 to 1.7 with its resource definitions, which `helm upgrade` of KubeRay's chart leaves as "
        "they are.",
    )
    KUBERAY_SILENT = (
        "KubeRaySilent",
        "KubeRay does nothing about the service's RayCluster.",
        "Look whether KubeRay's operator runs and watches this namespace.",
    )
    KUBERNETES_REFUSED = (
        "KubernetesRefused",
        "The API server refuses what the service needs, often for a missing right or a quota.",
        "See the message; install the chart's roles, or correct what it names.",
    )
    OBJECT_NOT_OURS = (
        "ObjectNotOurs",
        "An object with a name that the service needs belongs to somebody else.",
        "Delete or rename the object that the message names, or give the service another name.",
    )
    KIND_MISSING = (
        "KindMissing",
        "The cluster does not know the kind of an object that was asked for; the service runs without it.",
        "Install the resource definitions that the message names, or do not ask for the object.",
    )
    ROUTE_NOT_OFFERED = (
        "RouteNotOffered",
        "The administrator does not offer the kind of route that `spec.gateway` asks for: none is made, and one "
        "that was made before stays as it is.",
        "Add the kind to the chart's value `kuberay.routes`, or remove the field and delete the route.",
    )
    ROUTE_NOT_ACCEPTED = (
        "RouteNotAccepted",
        "A Gateway does not take the service's HTTPRoute.",
        "See the message; correct `spec.gateway.route`, or let the Gateway admit the namespace.",
    )
    CLUSTER_STARTING = "ClusterStarting", "The service's Ray cluster is being started.", "Wait."
    IMAGE_UNAVAILABLE = (
        "ImageUnavailable",
        "A pod's image cannot be pulled.",
        "Correct the image in the chart's values, or add the pull secret that the registry wants.",
    )
    POD_FAILED = (
        "PodFailed",
        "A pod does not start or ends again and again.",
        "See the message, `kubectl describe pod` and the pod's log.",
    )

    # writing to Serve
    APPLICATION_NOT_OURS = (
        "ApplicationNotOurs",
        "An application with this service's name was deployed by hand (`serve run`).",
        "Delete that application, or give the service another name.",
    )
    FOREIGN_CONFIG_UNREADABLE = (
        "ForeignConfigUnreadable",
        "Another owner's application cannot be passed through unchanged, so nothing is written.",
        "Remove secrets from that application's `runtime_env`, or use a Ray cluster of its own.",
    )
    WRITE_FAILED = (
        "WriteFailed",
        "Ray Serve refused the configuration, or the write failed.",
        "See the message; it is tried again by itself.",
    )

    # what replicas report
    RUNTIME_MISSING = (
        "RuntimeMissing",
        "The Ray nodes do not have the internvl_runtimes package.",
        "Install it on each Ray node with the line in the message.",
    )
    RUNTIME_VERSION_MISMATCH = (
        "RuntimeVersionMismatch",
        "The runtime on the Ray nodes is of another version than this operator.",
        "Install this operator's version on each Ray node with the line in the message.",
    )
    MODEL_NOT_FOUND = (
        "ModelNotFound",
        "Nothing lies at `spec.model.uri` on that node, or it cannot be read.",
        "Put the checkpoint there on each node of the pool, or correct the path.",
    )
    MODEL_INVALID = (
        "ModelInvalid",
        "What lies at `spec.model.uri` is not a checkpoint that the runtime can serve.",
        "See the message for the file and the field.",
    )
    REVISION_MISMATCH = (
        "RevisionMismatch",
        "The checkpoint is not the one that `spec.model.revision` asks for.",
        "Correct the revision, or put the right checkpoint on the node.",
    )
    ARTIFACT_MISSING = (
        "ArtifactMissing",
        "No artifact for this checkpoint, role and engine was found.",
        "Export it with the command in the message, into a store or the checkpoint's `artifacts/`.",
    )
    ARTIFACT_CORRUPT = (
        "ArtifactCorrupt",
        "An artifact's bytes differ from its manifest.",
        "Copy or export it again.",
    )
    ENGINE_FAILED = (
        "EngineFailed",
        "The engine refused the artifact or failed its warm-up.",
        "See the message and the replica's log.",
    )
    CONFIG_INVALID = (
        "ConfigInvalid",
        "The runtime could not read what this operator wrote.",
        "Install the same version on both sides; if they are the same, report a bug.",
    )
    POOL_NOT_FOUND = (
        "PoolNotFound",
        "No Ray node has the pool's label.",
        "Start a Ray node with the label that the message names, or correct `pool`.",
    )
    INSUFFICIENT_RESOURCES = (
        "InsufficientResources",
        "No Ray node has enough CPU or memory left for a replica.",
        "Lower `cpu`, `memory` or the replicas, or add a node to the pool.",
    )
    REPLICA_FAILED = (
        "ReplicaFailed",
        "Replicas do not start, for a reason this operator does not know.",
        "See the message and the replica's log; it is tried again by itself.",
    )
    REPLICA_UNHEALTHY = (
        "ReplicaUnhealthy",
        "Replicas died or fail their health checks; Serve replaces them.",
        "Wait; if it lasts, look at the replica's log.",
    )

    # the probe
    PROBE_FAILED = (
        "ProbeFailed",
        "All replicas run, but a small picture did not come through.",
        "See the message for the side that failed; it is tried again by itself.",
    )
    FEATURES_IDENTICAL = (
        "FeaturesIdentical",
        "Two different pictures gave the same features: the vision side ignores its input.",
        "Export the vision artifact again and check the checkpoint.",
    )
    OLD_GENERATION = (
        "OldGeneration",
        "A replica with an older configuration answered the probe.",
        "Wait; it is tried again by itself.",
    )
    REVISIONS_DIFFER = (
        "RevisionsDiffer",
        "Vision and language have loaded different checkpoints.",
        "Put the same checkpoint on the nodes of both pools.",
    )
