"""The generated files of the chart: the schema of its values, and its copy of the CRD.

`python -m internvl_operator.api.chart DIR` writes them. What stands below `kuberay` in the values becomes the pods'
file of the operator, so a mistake in it is refused by Helm already, and not by an operator that does not start.
"""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from internvl_operator.api import crd
from internvl_operator.api.pods import GcsSettings, MetricsSettings, PoolSettings, RouteKind, SizedPods
from internvl_operator.api.wire import Wire
from internvl_operator.settings import Settings

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_MAP = {"type": "object"}
_PREFIX = {"type": "string", "pattern": "^$|/$"}
_ADDRESS = {"type": "string", "pattern": "^$|^https?://[^/]+"}
_ADDRESS_WITH_PATH = {"type": "string", "pattern": "^$|^https?://[^/@?#]+(/[^@?#]*)?$"}
_SECRET_KEY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"name": _TEXT, "key": _TEXT},
    "dependencies": {"name": ["key"], "key": ["name"]},
}
_NAMESPACES = {
    "type": "array",
    "uniqueItems": True,
    "items": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
}
# Settings that the chart itself makes from its values.
_OWN_VALUES = {
    *("ray_address", "pods_file", "token_key_secret", "namespaces", "lease_name", "lease_namespace"),
    *("prometheus_url", "prometheus_matchers", "prometheus_token_file"),
}


def render_values_schema() -> dict[str, Any]:
    """JSON Schema of the chart's values: unknown keys are refused."""
    pool, pods = _inline(PoolSettings), _inline(SizedPods)
    image = _closed(
        {"repository": _TEXT, "tag": _TEXT, "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]}}
    )
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **_closed(
            {
                "imageRegistry": _PREFIX,
                "imagePullSecrets": _TEXTS,
                "operator": _closed(
                    {
                        "image": image,
                        "replicas": {"type": "integer", "minimum": 1},
                        "logLevel": {"enum": ["DEBUG", "INFO", "WARNING", "ERROR"]},
                        "resources": _MAP,
                        "nodeSelector": _MAP,
                        "tolerations": {"type": "array"},
                        "affinity": _MAP,
                        "metrics": _inline(MetricsSettings),
                        "settings": _closed(_settings()),
                    }
                ),
                "crds": _closed({"install": {"type": "boolean"}}),
                "namespaces": _NAMESPACES,
                "rayAddress": _ADDRESS,
                "prometheus": _closed(
                    {"url": _ADDRESS_WITH_PATH, "matchers": _TEXT, "tokenSecret": _SECRET_KEY}
                ),
                "kuberay": _closed(
                    {
                        "enabled": {"type": "boolean"},
                        "runtime": _closed({"image": image}),
                        "pools": {"type": "object", "additionalProperties": pool},
                        "head": pods,
                        "gateway": pods,
                        "gcs": _inline(GcsSettings),
                        "metrics": _inline(MetricsSettings),
                        "routes": {"type": "array", "items": {"enum": [kind.value for kind in RouteKind]}},
                    }
                ),
                "global": _MAP,  # Helm's own
            }
        ),
    }


def _settings() -> dict[str, Any]:
    names = (item.name for item in fields(Settings) if item.name not in _OWN_VALUES)
    return {name.upper(): {"type": ["string", "number"]} for name in names}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _inline(model: type[Wire]) -> dict[str, Any]:
    """A model's schema without what only the API server understands."""
    schema = crd.structural(model.model_json_schema(by_alias=True))
    closed: dict[str, Any] = _without_extensions(schema)
    return closed


def _without_extensions(node: Any) -> Any:
    if isinstance(node, dict):
        kept = {
            key: _without_extensions(value)
            for key, value in node.items()
            if not key.startswith("x-kubernetes-") and key != "default"
        }
        return {**kept, "additionalProperties": False} if "properties" in kept else kept
    return [_without_extensions(item) for item in node] if isinstance(node, list) else node


def main(arguments: list[str]) -> None:
    """Write into the chart's folder."""
    (folder,) = arguments
    path = Path(folder)
    (path / "files").mkdir(parents=True, exist_ok=True)
    (path / "values.schema.json").write_text(
        json.dumps(render_values_schema(), indent=2) + "\n", encoding="utf-8"
    )
    crd.write_crds(path / "files")


if __name__ == "__main__":
    main(sys.argv[1:])
