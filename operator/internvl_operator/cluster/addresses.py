"""What the host of a URL tells of where it is."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether it is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
