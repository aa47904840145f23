"""Tokens of the Ray clusters that we make: derived from one key, so that no service's Secret is ever read."""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
from typing import Any

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.kubernetes import ApiFault, Kubernetes
from internvl_operator.errors import Rejected

log = logging.getLogger(__name__)

LEAST_BYTES = 32
ENTRY = "key"
"""Of the Secret's data."""
AGAIN_S = 3.0


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

    def token_of(self, key: ServiceKey, uid: str) -> str:
        """The token of one service's Ray cluster: HMAC-SHA256 over namespace, name and uid, base64url."""
        digest = hmac.new(self._key, f"ray-token/v1/{key}/{uid}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def __repr__(self) -> str:
        return "Tokens(...)"


async def ensure_token_key(kubernetes: Kubernetes, namespace: str, name: str) -> bytes:
    """Read the key; make one when there is none. An API server that is away is waited for.

    Raises:
        Rejected: the Secret cannot be read or made, or holds no key.
    """
    while True:
        try:
            found = await kubernetes.get_object("Secret", namespace, name)
            if found is not None:
                return _key_of(found, name)
            log.info(
                "making the Secret %s in %s, which the tokens of Ray clusters are derived from",
                name,
                namespace,
            )
            await kubernetes.create_object(_key_secret(namespace, name))
        except ApiFault as fault:
            if not fault.may_pass:
                raise Rejected(
                    f"the Secret {name} in {namespace}: {fault.message}", field="token key"
                ) from fault
            log.warning("waiting for the Secret %s: %s", name, fault.message)
            await asyncio.sleep(AGAIN_S)


def _key_secret(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {labels.MANAGED_BY: labels.COMPONENT}},
        "type": "Opaque",
        "immutable": True,
        "data": {ENTRY: base64.b64encode(secrets.token_bytes(LEAST_BYTES)).decode()},
    }


def _key_of(found: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(found["data"][ENTRY], validate=True)
    except (KeyError, TypeError, ValueError) as fault:
        raise Rejected(
            f"the Secret {name} holds no base64 value under {ENTRY!r}; delete it, and a new one is made",
            field="token key",
        ) from fault
