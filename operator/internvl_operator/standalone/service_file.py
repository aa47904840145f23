"""Reads a YAML file of InternVLServices. Every error names the file, the line and the field."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.api.scaling_spec import ScaledBy
from internvl_operator.api.spec import InternVLServiceSpec, parse_spec
from internvl_operator.errors import Rejected
from internvl_operator.scaling.model import SIDES

MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WrittenService:
    """One document of the file."""

    key: ServiceKey
    spec: InternVLServiceSpec


def read_service_file(path: Path) -> tuple[WrittenService, ...]:
    """Read all services of the file.

    Raises:
        Rejected: `file:line: field: what is wrong`.
    """
    try:
        text = path.read_bytes()[: MAX_BYTES + 1].decode()
    except OSError as fault:
        raise Rejected(f"{path}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise Rejected(f"{path}: is not UTF-8 text") from fault
    if len(text) > MAX_BYTES:
        raise Rejected(f"{path}: is larger than {MAX_BYTES} bytes")
    return parse_service_text(text, str(path))


def parse_service_text(text: str, name: str) -> tuple[WrittenService, ...]:
    """The services of one text; `name` stands for the file in messages."""
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _is_empty(node)]
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise Rejected(f"{name}:{line}: not YAML: {fault.problem or fault}") from fault
    except yaml.YAMLError as fault:
        raise Rejected(f"{name}: not YAML: {fault}") from fault
    services = [_parse_document(node, name) for node in nodes]
    if not services:
        raise Rejected(f"{name}: holds no {labels.KIND}")
    keys = [service.key for service in services]
    for key in keys:
        if keys.count(key) > 1:
            raise Rejected(f"{name}: {key} is there twice; give each service a name of its own")
    return tuple(services)


def _parse_document(node: yaml.Node, name: str) -> WrittenService:
    try:
        document = yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as fault:
        raise Rejected(f"{name}:{node.start_mark.line + 1}: not YAML: {fault.problem or fault}") from fault
    except ValueError as fault:  # such as the date 2026-13-45
        raise Rejected(f"{name}:{node.start_mark.line + 1}: holds a value that is none: {fault}") from fault
    try:
        return _parse_object(document)
    except Rejected as fault:
        line = _line_of(node, (fault.field or "").split("."))
        raise Rejected(f"{name}:{line}: {fault}") from fault


def _parse_object(document: Any) -> WrittenService:
    if not isinstance(document, dict):
        raise Rejected(f"must be an object of kind {labels.KIND}")
    for field, wanted in (("apiVersion", labels.API_VERSION), ("kind", labels.KIND)):
        if document.get(field) != wanted:
            raise Rejected(f"must be {wanted}", field=field)
    for field in document:
        if field not in ("apiVersion", "kind", "metadata", "spec", "status"):
            raise Rejected("this field does not exist", field=str(field))
    meta = document.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        raise Rejected("this field is required", field="metadata.name")
    key = ServiceKey(str(meta.get("namespace") or "default"), meta["name"])
    spec = document.get("spec")
    if not isinstance(spec, dict):
        raise Rejected("this field is required", field="spec")
    parsed = parse_spec(spec)
    for role in SIDES:
        if parsed.role(role).scaled_by is ScaledBy.EXTERNAL:
            raise Rejected(
                "External is whoever writes the InternVLScale in Kubernetes, and there is none here; leave it out, or set "
                "Operator",
                field=f"spec.{role}.scaledBy",
            )
    return WrittenService(key, parsed)


def _is_empty(node: yaml.Node | None) -> bool:
    return node is None or node.tag == "tag:yaml.org,2002:null"


def _line_of(node: yaml.Node, path: list[str]) -> int:
    """Line of the deepest part of the path that is written there."""
    line = node.start_mark.line + 1
    for part in path:
        if isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
            continue
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                line, node = key.start_mark.line + 1, value
                break
        else:
            break
    return line
