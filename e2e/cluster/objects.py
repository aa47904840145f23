"""Objects of the API server: where a manifest goes, and applying it server-side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from e2e.cluster.api_client import ApiClient
from e2e.cluster.errors import ClusterFailed

FIELD_MANAGER = "internvl-e2e"
_IRREGULAR = {"Endpoints": "endpoints"}
# A large definition takes the API server seconds, on a busy machine many.
_APPLY_WITHIN_S = 120.0


def collection_path(api_version: str, kind: str, namespace: str | None = None) -> str:
    """`/apis/apps/v1/namespaces/default/deployments`."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{plural(kind)}"


def path_of(manifest: Mapping[str, Any]) -> str:
    """The path of the object that a manifest describes; cluster-wide when it names no namespace."""
    metadata = manifest["metadata"]
    collection = collection_path(manifest["apiVersion"], manifest["kind"], metadata.get("namespace"))
    return f"{collection}/{metadata['name']}"


def plural(kind: str) -> str:
    """`NetworkPolicy` -> `networkpolicies`."""
    if kind in _IRREGULAR:
        return _IRREGULAR[kind]
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith("s") else f"{word}s"


def apply(client: ApiClient, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Apply one object server-side, taking over the fields it names; returns the object.

    Raises:
        ClusterFailed: The API server refused it.
    """
    answer = client.request(
        "PATCH",
        f"{path_of(manifest)}?fieldManager={FIELD_MANAGER}&force=true",
        manifest,
        content_type="application/apply-patch+yaml",
        timeout_s=_APPLY_WITHIN_S,
    )
    if answer.status not in (200, 201):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        raise ClusterFailed(f"{kind} {name} was refused ({answer.status}): {answer.text.strip()}")
    return answer.document
