"""What pods of the runtime's image promise: user, folders, environment, ports."""

RAY_VERSION = "2.60.0"
"""The Ray of the runtime; `constraints.txt` pins the same (tested)."""

USER_ID = 1000
HOME = "/tmp"  # noqa: S108 - the one folder that a pod with a read-only root may write to

DRAIN_S = 75
"""Seconds that the replicas of a pod which is told to end go on serving, while others start elsewhere. Serve stops
them when its own time for open requests (`graceful_shutdown_timeout_s`) is all that is left of it."""

WITHOUT_HEAD_S = 20
WITHOUT_HEAD_VARIABLE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Seconds after which a worker ends whose head went (Ray's default: 60): a new head would not know it, and the pods of
a deleted service would drain for nobody."""

DRAIN_VARIABLE = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
ENVIRONMENT = {
    "HOME": HOME,
    "RAY_USAGE_STATS_ENABLED": "0",
    # KubeRay sets it with the token. A KubeRay that does not know `authOptions` gives neither: Ray then refuses to
    # start, where it would else stand open.
    "RAY_AUTH_MODE": "token",
    "RAY_metrics_report_interval_ms": "1000",
    # The dashboard imports nine modules in as many processes; on a busy node 30 s are too short.
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "120",
    DRAIN_VARIABLE: str(DRAIN_S),
}
"""Variables of every Ray process in a pod."""

HTTP_PORT = 8000
"""Serve's HTTP proxy in each pod."""
READY_PORT = 8001
READY_PATH = "/readyz"
READY_PORT_VARIABLE = "INTERNVL_READY_PORT"
"""Set in the pods of all roles: the replica of that pod answers there whether it takes requests."""
