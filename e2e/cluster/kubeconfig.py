"""Writes kubeconfig files: one cluster, one user, everything inside, so that a file can be passed on alone."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

from e2e.cluster.certificates import Pair


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    authority: bytes,
    user: str,
    credentials: Pair | str,
    namespace: str = "default",
) -> Path:
    """Write the file, readable by its owner only, and return its path.

    Args:
        path: Where; its folder is made.
        server: `https://127.0.0.1:port`.
        authority: Certificate that the server's is checked against, PEM.
        user: Only a label in the file; the credentials say who one is.
        credentials: A client certificate and key, or a bearer token.
        namespace: The context's namespace.
    """
    if isinstance(credentials, str):
        secret = {"token": credentials}
    else:
        secret = {
            "client-certificate-data": _base64(credentials.certificate),
            "client-key-data": _base64(credentials.key),
        }
    name = "internvl-local"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
        ],
        "users": [{"name": user, "user": secret}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user, "namespace": namespace}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # JSON is YAML, and needs no library that the bare interpreter lacks.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(document, file, indent=2)
    return path


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
