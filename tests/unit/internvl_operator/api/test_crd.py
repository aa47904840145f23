import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel

from internvl_operator.api import crd, labels, reference
from internvl_operator.api.spec import parse_spec

ROOT = Path(__file__).parents[4]
FORBIDDEN = {"$ref", "$defs", "const", "title", "exclusiveMinimum", "allOf", "oneOf"}
SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each schema below `node`, with its path."""
    yield path, node
    for name, item in node.get("properties", {}).items():
        yield from nodes(item, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


@pytest.fixture(scope="module")
def schema():
    return crd.render_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_the_schema_is_structural(schema):
    for path, node in nodes(schema):
        assert not FORBIDDEN & set(node), path
        if "additionalProperties" in node:
            assert node["additionalProperties"] == {"type": "string"}, f"{path} is no map of texts"
            assert "properties" not in node, path
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert {"type": "null"} not in node.get("anyOf", ()), path
        assert node.get("default", 0) is not None, path


def test_every_field_has_a_description(schema):
    silent = [path for path, node in nodes(schema) if not node.get("description") and not path.endswith("[]")]
    assert silent == [".metadata"]


def test_each_rule_has_a_message(schema):
    rules = [rule for _, node in nodes(schema) for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) > 5
    assert all(rule["message"] for rule in rules)


def test_the_status_refuses_no_value(schema):
    for path, node in nodes(schema["properties"]["status"]):
        assert "enum" not in node, path
        assert path.endswith("[]") or "required" not in node, path


def test_conditions_merge_by_type(schema):
    conditions = schema["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert "type" in conditions["items"]["required"]


def test_the_columns_are_those_of_the_design():
    names = [name for name, *_ in crd.COLUMNS]
    assert names == ["Ready", "Reason", "Model", "Vision", "Language", "URL", "Age"]


def test_a_constant_becomes_an_enum():
    class Fixed(BaseModel):
        kind: Literal["only"] | None = None

    assert crd.structural(Fixed.model_json_schema())["properties"]["kind"] == {
        "type": "string",
        "enum": ["only"],
    }


def test_it_stays_small():
    assert len(crd.encode_crd()) < 100_000


def test_the_committed_files_are_current(tmp_path, monkeypatch):
    for module in (crd, reference):
        monkeypatch.setattr(sys, "argv", [module.__name__, str(tmp_path)])
        runpy.run_path(module.__file__, run_name="__main__")
    for name in (crd.FILE_NAME, crd.SCALE_FILE_NAME):
        assert (tmp_path / name).read_text() == (ROOT / "manifests" / "crds" / name).read_text()
    for page in ("conditions.md", "reference.md"):
        assert (tmp_path / page).read_text() == (ROOT / "docs" / page).read_text(), "run `make generate`"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_are_valid(path):
    manifest = yaml.safe_load(path.read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == (labels.API_VERSION, labels.KIND)
    parse_spec(manifest["spec"])


def test_the_first_sample_has_seven_lines():
    assert len((ROOT / "manifests/samples/internvlservice.nano.yaml").read_text().splitlines()) == 7


def test_the_full_samples_use_every_field(schema):
    text = "".join(path.read_text() for path in SAMPLES if "all-fields" in path.name)
    for path, _ in nodes(schema["properties"]["spec"]):
        assert path.removesuffix("[]").rpartition(".")[2] in text, path


def test_rights_have_no_wildcard():
    files = sorted((ROOT / "manifests/rbac").rglob("*.yaml"))
    documents = [document for path in files for document in yaml.safe_load_all(path.read_text())]
    rules = [rule for document in documents for rule in document.get("rules", ())]
    assert len(files) == 3 and rules
    for rule in rules:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
