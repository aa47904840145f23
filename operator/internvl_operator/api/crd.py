"""The CustomResourceDefinitions, made from the pydantic types. `python -m internvl_operator.api.crd DIR` writes them.

Pydantic's JSON schema is not structural: `structural` resolves `$ref`, turns `anyOf` with null into an absent
field, `const` into `enum`, and drops `additionalProperties` and titles. Patterns that have a sentence become
CEL rules, because the API server shows only a rule's own message.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from internvl_operator.api import labels, wire
from internvl_operator.api.patterns import PATTERN_MESSAGES
from internvl_operator.api.scale import InternVLScaleSpec, InternVLScaleStatus
from internvl_operator.api.spec import InternVLServiceSpec
from internvl_operator.api.status import Status

FILE_NAME = f"{labels.GROUP}_{labels.PLURAL}.yaml"
SCALE_FILE_NAME = f"{labels.GROUP}_{labels.SCALE_PLURAL}.yaml"

NAME_RULE = (
    "!self.metadata.name.contains('.') && size(self.metadata.name) <= 63",
    "metadata.name must have at most 63 characters and no dot, because it becomes part of other names",
)

COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether the service answers."),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not."),
    ("Model", "string", ".status.model.name", "Name of the model in the OpenAI API."),
    ("Vision", "string", ".status.roles.vision.replicas", "Ready and desired vision replicas."),
    ("Language", "string", ".status.roles.language.replicas", "Ready and desired language replicas."),
    ("URL", "string", ".status.url", "Base URL."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
)

SCALE_COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("Owner", "string", ".status.owner", "Who decides the number."),
    ("Wanted", "integer", ".spec.replicas", "Replicas that are wanted."),
    ("Running", "integer", ".status.replicas", "Replicas that run."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since it was created."),
)

_RULES = "x-kubernetes-validations"
_DROPPED = ("title", "$defs", "discriminator")


def render_crd() -> dict[str, Any]:
    """The whole manifest of the InternVLService's, deterministic."""
    return _definition(
        {
            "kind": labels.KIND,
            "listKind": f"{labels.KIND}List",
            "plural": labels.PLURAL,
            "singular": labels.SINGULAR,
            "shortNames": [labels.SHORT_NAME],
            "categories": list(labels.CATEGORIES),
        },
        subresources={"status": {}},
        columns=COLUMNS,
        schema=_root_schema(
            labels.KIND,
            "An InternVL model, served with vision encoder and language model on separate pools.",
            spec=(InternVLServiceSpec, "What is wanted."),
            status=(Status, "What the operator found out."),
        )
        | wire.cel_rules(NAME_RULE),
    )


def render_scale_crd() -> dict[str, Any]:
    """The whole manifest of the InternVLScale's, deterministic."""
    return _definition(
        {
            "kind": labels.SCALE_KIND,
            "listKind": f"{labels.SCALE_KIND}List",
            "plural": labels.SCALE_PLURAL,
            "singular": labels.SCALE_SINGULAR,
            "shortNames": [labels.SCALE_SHORT_NAME],
            "categories": list(labels.CATEGORIES),
        },
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        columns=SCALE_COLUMNS,
        schema=_root_schema(
            labels.SCALE_KIND,
            "The number of replicas of one side of an InternVLService. The operator makes it.",
            spec=(InternVLScaleSpec, "The number, and who decides it."),
            status=(InternVLScaleStatus, "What runs."),
        ),
    )


def _definition(
    names: Mapping[str, Any],
    *,
    subresources: Mapping[str, Any],
    columns: Sequence[tuple[str, str, str, str]],
    schema: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{labels.GROUP}"},
        "spec": {
            "group": labels.GROUP,
            "scope": "Namespaced",
            "names": dict(names),
            "versions": [
                {
                    "name": labels.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": dict(subresources),
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "description": description}
                        for name, kind, path, description in columns
                    ],
                    "schema": {"openAPIV3Schema": dict(schema)},
                }
            ],
        },
    }


def encode_crd() -> str:
    """The InternVLService's as YAML, byte-stable."""
    return _encode(render_crd())


def encode_scale_crd() -> str:
    """The InternVLScale's as YAML, byte-stable."""
    return _encode(render_scale_crd())


def write_crds(folder: Path) -> None:
    """Write both into the folder."""
    (folder / FILE_NAME).write_text(encode_crd(), encoding="utf-8")
    (folder / SCALE_FILE_NAME).write_text(encode_scale_crd(), encoding="utf-8")


def _encode(manifest: Mapping[str, Any]) -> str:
    header = "# Generated by `make generate` from internvl_operator/api; do not edit.\n"
    return header + yaml.safe_dump(dict(manifest), sort_keys=False, width=110, allow_unicode=True)


def _root_schema(
    kind: str,
    description: str,
    *,
    spec: tuple[type[BaseModel], str],
    status: tuple[type[BaseModel], str],
) -> dict[str, Any]:
    wanted, found = (
        spec[0].model_json_schema(by_alias=True),
        status[0].model_json_schema(by_alias=True, mode="serialization"),
    )
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {labels.API_VERSION}."},
            "kind": {"type": "string", "description": f"Always {kind}."},
            "metadata": {"type": "object"},
            "spec": {**structural(wanted), "description": spec[1]},
            "status": {**_open_lists(structural(found)), "description": status[1]},
        },
    }


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Rewrite one JSON schema of pydantic into a structural one."""
    return _rewrite(schema, schema.get("$defs", {}))


def _rewrite(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    merged = _merged(node, definitions)
    result: dict[str, Any] = {}
    for key, value in merged.items():
        if key in _DROPPED or (key == "default" and value is None):
            continue
        if key == "properties":
            result[key] = {name: _rewrite(item, definitions) for name, item in value.items()}
        elif key == "additionalProperties":
            result |= _values_of_map(value, definitions)
        elif key == "items":
            result[key] = _rewrite(value, definitions)
        elif key == "const":
            result["enum"] = [value]
        elif key == "pattern" and value in PATTERN_MESSAGES:
            rule = {"rule": f'self.matches(r"{value}")', "message": PATTERN_MESSAGES[value]}
            result[_RULES] = [rule, *result.get(_RULES, ())]
        elif key == _RULES:
            result[_RULES] = [*result.get(_RULES, ()), *value]
        else:
            result[key] = value
    if result.get("type") == "object" and "default" in result:
        result["default"] = {}  # the fields' own defaults fill it
    return result


def _values_of_map(values: object, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A map's values: of one form, or anything. Nothing for an object with fixed fields."""
    if isinstance(values, Mapping):
        return {"additionalProperties": _rewrite(values, definitions)}
    return {"x-kubernetes-preserve-unknown-fields": True} if values else {}


def _merged(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The node with `$ref` and `anyOf` with null resolved; what stands beside them wins."""
    merged = dict(node)
    if "$ref" in merged:
        target = definitions[merged.pop("$ref").removeprefix("#/$defs/")]
        merged = {**_merged(target, definitions), **merged}
    options = merged.get("anyOf", ())
    present = [option for option in options if option.get("type") != "null"]
    if len(present) < len(options):
        (only,) = present
        del merged["anyOf"]
        merged = {**_merged(only, definitions), **merged}
    return merged


def _open_lists(node: dict[str, Any]) -> dict[str, Any]:
    """In the status no value is refused: an operator and a CRD of neighbouring versions must get along.

    Conditions are merged by their type; every other list is one value.
    """
    result = {key: value for key, value in node.items() if key not in ("enum", "default", "required")}
    if "properties" in result:
        result["properties"] = {name: _open_lists(item) for name, item in result["properties"].items()}
    if "items" in result:
        result["items"] = _open_lists(result["items"])
        if "lastTransitionTime" in result["items"].get("properties", {}):
            result["items"]["required"] = ["type", "status"]
            result |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return result


def main(arguments: list[str]) -> None:
    """Write the CRDs into the folder that is named."""
    (folder,) = arguments
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    write_crds(path)


if __name__ == "__main__":
    main(sys.argv[1:])
