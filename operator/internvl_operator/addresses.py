"""The address of a Ray dashboard and its one normal form, by which services that share a Ray are known; of a Prometheus.

Pure, without urllib, because `settings`, `api` and `cluster` all read addresses.
"""

import ipaddress
import re

from internvl_operator.errors import Rejected

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ADDRESS = re.compile(
    rf"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*)(:(?P<port>[0-9]{{1,5}}))?/?"
)
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WANTED = "give the address of the Ray dashboard, like http://ray-head:8265"


def parse_ray_address(text: str) -> str:
    """Return the address in its one normal form, `http(s)://host:port`, the host in small letters.

    Raises:
        Rejected: with the sentence to show to the user.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise Rejected(f"{text!r} is not http:// or https:// with a host, a port and nothing more; {_WANTED}")
    port = int(match["port"] or _DEFAULT_PORTS[match["scheme"]])
    if not 1 <= port <= 65535:
        raise Rejected(f"{text!r} has a port that does not exist; {_WANTED}")
    return f"{match['scheme']}://{match['host'].lower()}:{port}"


def parse_prometheus_url(text: str) -> str:
    """Return the address without a slash at its end: `http(s)://host:port`, perhaps with a path.

    Raises:
        Rejected: with the sentence to show to the user. A user and password in it are refused too: it is logged.
    """
    scheme, _, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    try:
        server = parse_ray_address(f"{scheme}://{host}")
    except Rejected:
        server = ""
    if not server or not _PATH.fullmatch(slash + path):
        raise Rejected(
            "must be http:// or https:// with a host, perhaps a port and a path, and nothing more; give the address "
            "of Prometheus, like http://prometheus.monitoring.svc:9090"
        )
    return f"{server}{slash}{path}".rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether the host of an address is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
