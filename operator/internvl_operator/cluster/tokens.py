"""Tokens of the Ray clusters that we make: derived from one key, so that the operator need not read any Secret."""

import base64
import hashlib
import hmac

from internvl_operator.api.keys import ServiceKey
from internvl_operator.errors import Rejected

LEAST_BYTES = 32


class Tokens:
    """Derives; the same key gives the same tokens after a restart."""

    def __init__(self, key: bytes) -> None:
        """Take the key.

        Raises:
            Rejected: it is shorter than 32 bytes.
        """
        if len(key) < LEAST_BYTES:
            raise Rejected(f"the token key has {len(key)} bytes, it needs {LEAST_BYTES} random ones or more")
        self._key = key

    def token_of(self, key: ServiceKey) -> str:
        """The token of one service's Ray cluster: HMAC-SHA256 over its namespace and name, base64url."""
        digest = hmac.new(self._key, f"ray-token/v1/{key}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def __repr__(self) -> str:
        return "Tokens(...)"
