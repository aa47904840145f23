"""Who owns the number of a side, on a real API server: `kubectl scale` of an InternVLScale is refused or obeyed.

Nothing answers at the Ray address. The number that is wanted is in the status all the same.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cluster.control_plane import find_free_port

SCALES = "/apis/serving.internvl.io/v1alpha1/namespaces/default/internvlscales"
OURS = {"maxReplicas": 4}
THEIRS = {**OURS, "scaledBy": "External"}
WITHIN_S = 10.0
"""Far less than the pause between two looks at an address that does not answer: only a watch is so fast."""


@pytest.fixture
def operator(start_operator):
    return start_operator(ray_address=f"http://127.0.0.1:{find_free_port()}")


@pytest.fixture
def scale_of(plane):
    """The InternVLScale of that name, or None."""

    def get(name):
        answer = plane.client.request("GET", f"{SCALES}/{name}")
        return answer.document if answer.status == 200 else None

    return get


@pytest.fixture
def kubectl_scale(plane):
    """`kubectl scale ivls NAME --replicas=N`: exit status and what it said."""

    def scale(name, replicas):
        program = str(Path(sys.executable).with_name("kubectl"))
        done = subprocess.run(
            [
                program,
                "--kubeconfig",
                str(plane.kubeconfig()),
                "scale",
                "ivls",
                name,
                f"--replicas={replicas}",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return scale


def vision(services, name):
    return ((services.get(name) or {}).get("status") or {}).get("roles", {}).get("vision", {})


def test_a_number_of_the_operators_cannot_be_scaled_and_the_sentence_says_what_to_set(
    services, operator, scale_of, kubectl_scale, eventually
):
    services.create("ours", vision=OURS)
    eventually(lambda: (scale_of("ours-vision") or {}).get("status"), "the object is there, with its status")
    found = scale_of("ours-vision")
    assert found["spec"] == {"role": "vision", "owner": "Operator", "replicas": 1, "decided": 1}
    assert found["status"]["selector"] == "serving.internvl.io/role=vision,serving.internvl.io/service=ours"
    assert scale_of("ours-language") is None, "its number is fixed"

    code, said = kubectl_scale("ours-vision", 3)
    assert code != 0
    assert "set spec.vision.scaledBy: External in the InternVLService" in said
    assert scale_of("ours-vision")["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


def test_a_number_that_kubectl_scale_writes_is_taken_at_once_and_within_bounds(
    plane, services, operator, scale_of, kubectl_scale, eventually
):
    services.create("theirs", vision=THEIRS)
    eventually(
        lambda: (scale_of("theirs-vision") or {}).get("status"), "the object is there, with its status"
    )
    # The object's status is written before the service's.
    eventually(lambda: vision(services, "theirs").get("owner") == "external", "nobody has written it")

    assert kubectl_scale("theirs-vision", 3)[0] == 0
    took_s = eventually(
        lambda: vision(services, "theirs").get("desired") == 3, "three are wanted", within_s=WITHIN_S
    )
    print(f"the new number was wanted {took_s:.2f} s after kubectl had ended")
    told = vision(services, "theirs")
    assert (told["target"], told["owner"]) == (3, "kubectl")
    assert told["why"] == "kubectl wrote 3 into the InternVLScale theirs-vision"
    assert told["lastScaling"][0]["why"].startswith("vision 1 -> 3: kubectl wrote 3")

    assert kubectl_scale("theirs-vision", 9)[0] == 0
    eventually(
        lambda: vision(services, "theirs").get("target") == 4, "the most that may run", within_s=WITHIN_S
    )
    assert vision(services, "theirs")["why"].endswith("but spec.vision.maxReplicas is 4")

    answer = plane.client.request("GET", f"{SCALES}/theirs-vision/scale").document
    assert answer["spec"]["replicas"] == 9, "it is not the operator's to change"
    assert answer["status"]["selector"] == scale_of("theirs-vision")["status"]["selector"]


def test_a_service_that_is_applied_again_and_an_operator_that_is_started_again_change_no_number(
    services, start_operator, scale_of, kubectl_scale, eventually
):
    address = f"http://127.0.0.1:{find_free_port()}"
    first = start_operator(ray_address=address, lease_duration_s=5)
    services.create("kept", vision=THEIRS)
    eventually(lambda: (scale_of("kept-vision") or {}).get("status"), "the object is there, with its status")
    assert kubectl_scale("kept-vision", 3)[0] == 0
    eventually(lambda: (scale_of("kept-vision")["status"])["owner"] == "kubectl", "it is taken")
    before = scale_of("kept-vision")["metadata"]["resourceVersion"]

    def applied_again(**more):
        services.replace_spec("kept", vision=THEIRS, **more)
        generation = services.get("kept")["metadata"]["generation"]
        eventually(
            lambda: services.get("kept")["status"]["observedGeneration"] == generation, "the edit is seen"
        )
        assert vision(services, "kept")["target"] == 3
        assert scale_of("kept-vision")["metadata"]["resourceVersion"] == before, "nothing was written"

    applied_again(gateway={"replicas": 2})
    first.stop()
    start_operator(ray_address=address, lease_duration_s=5)
    applied_again(gateway={"replicas": 1})


def test_a_number_changes_hands_as_it_stands_and_its_object_goes_when_it_is_fixed(
    plane, services, operator, scale_of, kubectl_scale, eventually
):
    services.create("passed", vision=THEIRS)
    eventually(
        lambda: (scale_of("passed-vision") or {}).get("status"), "the object is there, with its status"
    )
    assert kubectl_scale("passed-vision", 2)[0] == 0
    eventually(lambda: vision(services, "passed").get("desired") == 2, "two are wanted")

    services.replace_spec("passed", vision=OURS)
    eventually(lambda: scale_of("passed-vision")["spec"]["owner"] == "Operator", "the operator has it")
    spec = scale_of("passed-vision")["spec"]
    assert (spec["replicas"], spec["decided"]) == (2, 2)
    assert kubectl_scale("passed-vision", 3)[0] != 0

    services.replace_spec("passed", vision=THEIRS)
    eventually(lambda: scale_of("passed-vision")["spec"]["owner"] == "External", "somebody else may have it")
    assert scale_of("passed-vision")["spec"] == {"role": "vision", "owner": "External", "replicas": 2}

    plane.client.request("DELETE", f"{SCALES}/passed-vision")
    eventually(lambda: scale_of("passed-vision"), "a deleted object is made again", within_s=WITHIN_S)
    assert scale_of("passed-vision")["spec"]["replicas"] == 2

    services.replace_spec("passed", vision={"minReplicas": 2})
    eventually(lambda: scale_of("passed-vision") is None, "the object is gone", within_s=WITHIN_S)
    eventually(lambda: "owner" not in vision(services, "passed"), "nobody is named any more")


def test_objects_go_with_their_service(services, operator, scale_of, eventually):
    services.create("short", vision=OURS)
    eventually(lambda: scale_of("short-vision"), "the object is there")
    services.delete("short")
    eventually(lambda: scale_of("short-vision") is None, "the object is collected", within_s=180)
