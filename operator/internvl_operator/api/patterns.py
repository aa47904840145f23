"""Patterns of text fields, each with the sentence that says what is wrong with what does not match."""

URI_PATTERN = r"^(file:///[^\s?#]*[^\s?#/]/*|pvc://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/[^\s?#]*)?)$"
REVISION_PATTERN = r"^sha256:[0-9a-f]{12,64}$"
MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
ADDRESS_PATTERN = r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?$"
DURATION_PATTERN = r"^[1-9][0-9]{0,4}[smh]$"
IDLE_PATTERN = r"^([1-9][0-9]{0,4}[mh]|4[5-9]s|[5-9][0-9]s|[1-9][0-9]{2,4}s)$"
"""Ray Serve (2.60, `look_back_period_s`) remembers a request for 30 s, and would start a replica for it once more."""
OBJECTIVE_PATTERN = r"^[1-9][0-9]{0,4}(ms|s)$"
CRON_PATTERN = r"^[^ ]+( [^ ]+){4}$"
TIME_ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
POOL_PATTERN = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
HOST_PATTERN = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
DATA_KEY_PATTERN = r"^[-._A-Za-z0-9]+$"
IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$"
PATTERN_MESSAGES = {
    URI_PATTERN: (
        "must be file:///absolute/path of a checkpoint folder on the Ray nodes, or pvc://claim/path in a "
        "PersistentVolumeClaim beside the service (no other scheme works yet)"
    ),
    REVISION_PATTERN: "must be 'sha256:' and the first 12 to 64 hex digits of the checkpoint's digest",
    MODEL_NAME_PATTERN: "must begin with a letter or digit and go on with letters, digits and . _ : / -",
    ADDRESS_PATTERN: "must be http://host:port of the Ray dashboard, without path, user or query",
    DURATION_PATTERN: "must be a number of seconds, minutes or hours: 90s, 30m or 2h",
    IDLE_PATTERN: "must be at least 45 seconds, in seconds, minutes or hours: 45s, 30m or 2h",
    OBJECTIVE_PATTERN: "must be a number of milliseconds or seconds: 500ms or 2s",
    CRON_PATTERN: "must be five fields with one space between: minute, hour, day, month and day of the week",
    TIME_ZONE_PATTERN: "must be a time zone of the IANA database: 'Europe/Berlin' or 'UTC'",
    POOL_PATTERN: "must begin and end with a letter or digit, with letters, digits and - _ . between",
    OBJECT_NAME_PATTERN: "must be the name of an object: lower case letters, digits, - and .",
    ENV_NAME_PATTERN: "must be a name of letters, digits and _ . - that does not begin with a digit",
    DATA_KEY_PATTERN: "must be a key of a Secret: letters, digits and - _ .",
    IMAGE_PATTERN: "must be the name of an image, as registry/name:tag or registry/name@sha256:digest",
    HOST_PATTERN: "must be a DNS name in lower case with at least one dot; *. may stand before it",
}
"""What is wrong when a field does not match its pattern: the same words from the API server and from us."""
