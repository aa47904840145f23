from pathlib import Path

import pytest

from internvl_operator.api import crd
from internvl_operator.api.scale import OWNER_WORDS, InternVLScaleSpec

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def version():
    return crd.render_scale_crd()["spec"]["versions"][0]


def test_kubectl_scale_finds_the_number_what_runs_and_the_pods(version):
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    for part in ("specReplicasPath", "statusReplicasPath"):
        _, section, field = version["subresources"]["scale"][part].split(".")
        assert properties[section]["properties"][field]["type"] == "integer"
    assert properties["status"]["properties"]["selector"]["type"] == "string"


def test_the_rule_names_the_field_to_set(version):
    (rule,) = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"]
    assert rule["messageExpression"] == OWNER_WORDS
    assert "spec.' + self.role + '.scaledBy: External" in OWNER_WORDS


def test_the_page_quotes_what_the_rule_says():
    said = OWNER_WORDS.strip("'").replace("' + self.role + '", "vision")
    assert said in " ".join((ROOT / "docs" / "autoscaling.md").read_text().split())


def test_a_number_is_never_missing(version):
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert {"role", "owner", "replicas"} == set(schema["required"])
    assert schema["properties"]["role"]["enum"] == ["vision", "language"]


def test_what_the_operator_writes_is_of_this_form():
    spec = {"role": "vision", "owner": "Operator", "replicas": 2, "decided": 2}
    assert InternVLScaleSpec.model_validate(spec).model_dump(mode="json") == spec


def test_both_definitions_are_small():
    assert len(crd.encode_crd()) < 100_000 and len(crd.encode_scale_crd()) < 10_000
