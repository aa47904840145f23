"""The API server's own word on what is wrong: the rules of the resource definition, evaluated by it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
MODEL = {"uri": "file:///stub"}


@pytest.fixture
def answer(plane):
    """What the API server says to a spec that it does not keep."""

    def ask(manifest: dict[str, Any]) -> tuple[int, str]:
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("kubectl"), "--kubeconfig", plane.kubeconfig()),
                *("apply", "--server-side", "--dry-run=server", "-f", "-"),
            ],
            input=json.dumps(manifest),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr

    return ask


def service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.internvl.io/v1alpha1",
        "kind": "InternVLService",
        "metadata": {"name": "asked", "namespace": "default"},
        "spec": {"model": MODEL, **spec},
    }


@pytest.mark.parametrize(
    "path", sorted((ROOT / "manifests/samples").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_sample_is_taken(answer, path):
    manifest = yaml.safe_load(path.read_text())
    manifest["metadata"]["namespace"] = "default"
    assert answer(manifest) == (0, "")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"vision": {"env": [{"name": "RAY_AUTH_MODE", "value": "x"}]}}, "belongs to the operator"),
        ({"vision": {"env": [{"name": "HOME", "value": "x"}]}}, "belongs to the operator"),
        ({"vision": {"env": [{"name": "A B", "value": "x"}]}}, "must be a name of letters"),
        ({"vision": {"env": [{"name": "A"}]}}, "a value or a valueFrom"),
        ({"vision": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}, "A"),
        ({"gateway": {"image": "a b"}}, "registry/name:tag"),
        ({"language": {"placement": {"nodeName": "n"}}}, "nodeName"),
        ({"gateway": {"ingress": {"host": "a.b"}, "route": {"parentRefs": [{"name": "g"}]}}}, "not both"),
        ({"gateway": {"ingress": {"host": "NO"}}}, "DNS name"),
        (
            {"scaling": {"schedule": [{"cron": "0 8 * * *", "duration": "1h"}]}},
            "set its vision or its language",
        ),
        (
            {"scaling": {"schedule": [{"cron": "0 8 * * *", "duration": "for an hour", "vision": 1}]}},
            "duration",
        ),
        ({"vision": {"capacity": {"tilesPerSecond": 0}}}, "greater than or equal to 0.001"),
        ({"scaling": {"idle": "when nobody comes for ten minutes"}}, "scaling.idle"),
        ({"scaling": {"objectives": {"timeToFirstToken": "as soon as possible"}}}, "timeToFirstToken"),
        *(
            ({"backend": {"ray": {"address": "http://r:8265"}}, **block}, "leave backend out")
            for block in (
                {"gateway": {"ingress": {"host": "a.b"}}},
                {"gateway": {"env": [{"name": "A", "value": "1"}]}},
                {"vision": {"podPatch": {"spec": {}}}},
                {"language": {"placement": {"nodeSelector": {"a": "b"}}}},
            )
        ),
    ],
)
def test_what_is_wrong_is_refused_in_our_words(answer, spec, words):
    status, said = answer(service(**spec))
    assert status != 0
    assert words in said


def test_a_patch_is_kept_as_it_is_written(answer):
    assert answer(service(vision={"podPatch": {"spec": {"anything": {"goes": ["here"]}}}})) == (0, "")


def test_an_existing_ray_cluster_needs_none_of_them(answer):
    assert answer(service(backend={"ray": {"address": "http://r:8265"}})) == (0, "")
