"""The address of a Ray dashboard and its one normal form, by which services that share a Ray are known.

Pure, without urllib, because `settings`, `api` and `cluster` all read addresses.
"""

import re

from internvl_operator.errors import Rejected

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ADDRESS = re.compile(
    rf"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*)(:(?P<port>[0-9]{{1,5}}))?/?"
)
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
