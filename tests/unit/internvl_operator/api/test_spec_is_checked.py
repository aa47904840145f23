import pytest
from pydantic import ValidationError

from internvl_operator.api.spec import parse_spec
from internvl_operator.errors import Rejected

MODEL = {"uri": "file:///models/nano"}
ZERO = {"minReplicas": 0, "maxReplicas": 2}


def schedule(**fields: object) -> dict[str, object]:
    """A service whose vision has three replicas at most, with one schedule."""
    item = {"cron": "0 8 * * 1-5", "duration": "10h", "vision": 3, **fields}
    return {"model": MODEL, "vision": {"maxReplicas": 3}, "scaling": {"schedule": [item]}}


def rejected(spec):
    with pytest.raises(Rejected) as caught:
        parse_spec(spec)
    return caught.value.field, caught.value.message


def test_seven_lines_suffice_and_the_rest_has_defaults():
    spec = parse_spec({"model": MODEL, "vision": {"pool": "vision"}, "language": {"pool": "language"}})
    assert spec.model.served_name == "nano"
    assert spec.vision.min_replicas == 1
    assert spec.vision.engine == "onnxruntime"
    assert spec.vision.threads == 1
    assert spec.language.memory_bytes is None


def test_a_given_name_wins_and_slashes_at_the_end_do_not_count():
    assert parse_spec({"model": {**MODEL, "name": "mine"}}).model.served_name == "mine"
    assert parse_spec({"model": {"uri": "file:///models/nano//"}}).model.served_name == "nano"


def test_threads_are_cores_rounded_up():
    spec = parse_spec({"model": MODEL, "vision": {"cpu": "1500m"}, "language": {"cpu": 3, "memory": "1Gi"}})
    assert spec.vision.threads == 2
    assert spec.language.threads == 3
    assert spec.language.memory_bytes == 2**30


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        (None, "spec.model", "required"),
        ({"model": MODEL, "vison": {}}, "spec.vison", "does not exist"),
        ({"model": {**MODEL, "Name": "x"}}, "spec.model.Name", "does not exist"),
        ({"model": {"uri": "hf://a/b"}}, "spec.model.uri", "file:///absolute/path"),
        ({"model": {"uri": "file:///"}}, "spec.model.uri", "file:///absolute/path"),
        ({"model": {"uri": 7}}, "spec.model.uri", "quotes"),
        ({"model": {**MODEL, "revision": "main"}}, "spec.model.revision", "sha256:"),
        ({"model": {**MODEL, "name": "-"}}, "spec.model.name", "letter or digit"),
        ({"model": MODEL, "backend": {}}, "spec.backend.ray", "required"),
        (
            {"model": MODEL, "backend": {"ray": {"address": "ray://x"}}},
            "spec.backend.ray.address",
            "http://host",
        ),
        ({"model": MODEL, "vision": None}, "spec.vision", "mapping"),
        ({"model": MODEL, "vision": {"pool": "a b"}}, "spec.vision.pool", "letter or digit"),
        ({"model": MODEL, "vision": {"min_replicas": 1}}, "spec.vision.min_replicas", "does not exist"),
        (
            {"model": MODEL, "vision": {"minReplicas": 3, "maxReplicas": 2}},
            "spec.vision",
            "at least minReplicas",
        ),
        ({"model": MODEL, "vision": {"scaledBy": "HPA"}}, "spec.vision.scaledBy", "'Operator' or 'External'"),
        ({"model": MODEL, "language": {"scaledBy": "External"}}, "spec.language", "set maxReplicas"),
        (
            {"model": MODEL, "vision": {"scaledBy": "External", "minReplicas": 2, "maxReplicas": 2}},
            "spec.vision",
            "a maxReplicas above minReplicas",
        ),
        (
            {**schedule(vision=2), "vision": {"maxReplicas": 3, "scaledBy": "External"}},
            "spec",
            "belongs to somebody else by scaledBy: External",
        ),
        ({"model": MODEL, "vision": {"minReplicas": 0}}, "spec.vision", "needs a maxReplicas"),
        (
            {"model": MODEL, "vision": {"minReplicas": 0, "maxReplicas": 2, "scaledBy": "External"}},
            "spec.vision",
            "and scaledBy Operator",
        ),
        ({"model": MODEL, "scaling": {"idle": "10"}}, "spec.scaling.idle", "30m"),
        ({"model": MODEL, "scaling": {"idle": "44s"}}, "spec.scaling.idle", "at least 45 seconds"),
        (
            {"model": MODEL, "language": {"minReplicas": 0, "maxReplicas": 2}},
            "spec",
            "set vision.minReplicas to 0 too, or language.minReplicas to 1",
        ),
        (
            {"model": MODEL, "vision": ZERO, "language": {"minReplicas": 0}},
            "spec.language",
            "needs a maxReplicas",
        ),
        (
            {"model": MODEL, "vision": ZERO, "language": {**ZERO, "scaledBy": "External"}},
            "spec.language",
            "and scaledBy Operator",
        ),
        (
            {
                "model": MODEL,
                "vision": {**ZERO, "gpus": 1},
                "language": {**ZERO, "gpus": 4},
                "scaling": {"maxGPUs": 4},
            },
            "spec",
            "scaling.maxGPUs is less than the GPUs of one vision and one language replica",
        ),
        (
            {"model": MODEL, "vision": {"capacity": {"tilesPerSecond": 0}}},
            "spec.vision.capacity.tilesPerSecond",
            "0.001",
        ),
        (
            {"model": MODEL, "language": {"capacity": {"promptTokensPerSecond": 9}}},
            "spec.language.capacity.outputTokensPerSecond",
            "required",
        ),
        (
            {"model": MODEL, "language": {"capacity": {"tokensPerSecond": 9}}},
            "spec.language.capacity.promptTokensPerSecond",
            "required; there is no tokensPerSecond",
        ),
        ({"model": MODEL, "scaling": {"mode": "auto"}}, "spec.scaling.mode", "'Auto' or 'Recommend'"),
        ({"model": MODEL, "scaling": {"maxGpus": 4}}, "spec.scaling.maxGpus", "does not exist"),
        (
            {"model": MODEL, "scaling": {"objectives": {"timeToFirstToken": "1m"}}},
            "spec.scaling.objectives.timeToFirstToken",
            "500ms or 2s",
        ),
        (schedule(cron="0 8 * *"), "spec.scaling.schedule.0.cron", "five fields"),
        (
            {"model": MODEL, "scaling": {"schedule": {"cron": "0 8 * * *"}}},
            "spec.scaling.schedule",
            "must be a list",
        ),
        (schedule(cron="0 99 * * *"), "spec.scaling.schedule.0.cron", "'0 8 * * 1-5'"),
        (schedule(cron="0 0 31 2 *"), "spec.scaling.schedule.0.cron", "a time that comes"),
        (schedule(timeZone="Mars/Olympus"), "spec.scaling.schedule.0.timeZone", "Europe/Berlin"),
        (schedule(duration="10"), "spec.scaling.schedule.0.duration", "30m"),
        (schedule(duration="10 hours"), "spec.scaling.schedule.0.duration", "30m"),
        (schedule(vision=None), "spec.scaling.schedule.0", "set its vision or its language"),
        (schedule(vision=4), "spec", "set vision.maxReplicas"),
        (schedule(language=2), "spec", "set vision.maxReplicas and language.maxReplicas"),
        (
            {"model": MODEL, "vision": {"gpus": 2, "minReplicas": 3}, "scaling": {"maxGPUs": 5}},
            "spec",
            "less than the GPUs of both sides' minReplicas",
        ),
        ({"model": MODEL, "vision": {"engine": "tensorrt"}}, "spec.vision.engine", "onnxruntime"),
        ({"model": MODEL, "vision": {"cpu": "1x"}}, "spec.vision.cpu", "millicores"),
        ({"model": MODEL, "vision": {"cpu": 1.5}}, "spec.vision.cpu", "quotes"),
        ({"model": MODEL, "vision": {"cpu": True}}, "spec.vision.cpu", "quotes"),
        ({"model": MODEL, "language": {"memory": "lots"}}, "spec.language.memory", "4Gi"),
        ({"model": MODEL, "language": {"memory": 1.5}}, "spec.language.memory", "quotes"),
        ({"model": MODEL, "language": {"maxModelLen": 3}}, "spec.language.maxModelLen", "16"),
        (
            {"model": MODEL, "vision": {"env": [{"name": "RAY_AUTH_MODE", "value": "x"}]}},
            "spec.vision.env.0.name",
            "leave it out",
        ),
        (
            {"model": MODEL, "vision": {"env": [{"name": "HOME", "value": "/"}]}},
            "spec.vision.env.0.name",
            "HOME",
        ),
        (
            {"model": MODEL, "gateway": {"env": [{"name": "INTERNVL_X", "value": "/"}]}},
            "spec.gateway.env.0.name",
            "INTERNVL_*",
        ),
        (
            {"model": MODEL, "language": {"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}},
            "spec.language.env.0.name",
            "device plugin",
        ),
        (
            {"model": MODEL, "vision": {"env": [{"name": "A B", "value": ""}]}},
            "spec.vision.env.0.name",
            "letters",
        ),
        ({"model": MODEL, "vision": {"env": [{"name": "A"}]}}, "spec.vision.env.0", "value or a valueFrom"),
        (
            {"model": MODEL, "vision": {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}},
            "spec.vision.env.0.valueFrom.secretKeyRef",
            "required",
        ),
        (
            {"model": MODEL, "vision": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
            "spec.vision.env",
            "twice",
        ),
        ({"model": MODEL, "vision": {"image": "a b"}}, "spec.vision.image", "registry/name:tag"),
        (
            {"model": MODEL, "vision": {"placement": {"nodeName": "n"}}},
            "spec.vision.placement.nodeName",
            "does not exist",
        ),
        (
            {"model": MODEL, "vision": {"placement": {"tolerations": [{"operator": "exists"}]}}},
            "spec.vision.placement.tolerations.0.operator",
            "Exists",
        ),
        ({"model": MODEL, "gateway": {"route": {}}}, "spec.gateway.route.parentRefs", "required"),
        (
            {"model": MODEL, "gateway": {"route": {"parentRefs": []}}},
            "spec.gateway.route.parentRefs",
            "at least 1",
        ),
        (
            {"model": MODEL, "gateway": {"ingress": {"host": "Example"}}},
            "spec.gateway.ingress.host",
            "DNS name",
        ),
        (
            {"model": MODEL, "gateway": {"ingress": {"host": "a.b", "annotations": {}}}},
            "spec.gateway.ingress.annotations",
            "does not exist",
        ),
        (
            {
                "model": MODEL,
                "gateway": {"ingress": {"host": "a.b"}, "route": {"parentRefs": [{"name": "g"}]}},
            },
            "spec.gateway",
            "not both",
        ),
        (
            {
                "model": MODEL,
                "backend": {"ray": {"address": "http://ray:8265"}},
                "gateway": {"ingress": {"host": "a.b"}},
            },
            "spec",
            "leave backend out",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_field(spec, field, words):
    found, message = rejected(spec)
    assert found == field
    assert words in message


def test_types_are_frozen():
    spec = parse_spec({"model": MODEL})
    with pytest.raises(ValidationError):
        spec.model.uri = "file:///other"


@pytest.mark.parametrize("address", ["http://ray:99999", "http://ray..head:8265", "http://[::1", "ray:8265"])
def test_an_address_that_cannot_be_called_is_refused_in_the_spec_where_the_status_tells_it(address):
    with pytest.raises(Rejected) as caught:
        parse_spec({"model": {"uri": "file:///m"}, "backend": {"ray": {"address": address}}})
    assert caught.value.field == "spec.backend.ray.address"


@pytest.mark.parametrize("role", ["vision", "language", "gateway"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "r:2"),
        ("env", [{"name": "A", "value": ""}]),
        ("placement", {"nodeSelector": {"a": "b"}}),
        ("podPatch", {"metadata": {"labels": {"a": "b"}}}),
    ],
)
def test_what_is_about_pods_is_refused_where_somebody_else_makes_them(role, field, value):
    spec = {"model": MODEL, role: {field: value}}
    assert parse_spec(spec).wants_pods
    field, message = rejected({**spec, "backend": {"ray": {"address": "http://ray:8265"}}})
    assert field == "spec"
    assert "leave backend out" in message


def test_vision_may_have_no_replica_while_no_picture_comes():
    spec = parse_spec({"model": MODEL, "vision": {"minReplicas": 0, "maxReplicas": 1}})
    assert spec.vision.may_rest and spec.vision.is_scaled and spec.scaling.idle_s == 600
    assert spec.vision.model_copy(update={"min_replicas": 1}).may_rest
    assert not parse_spec({"model": MODEL, "vision": {"maxReplicas": 2}}).vision.may_rest


def test_the_whole_service_may_have_no_replica_while_no_request_comes():
    sides = {"vision": {**ZERO, "gpus": 1}, "language": {**ZERO, "gpus": 4}}
    spec = parse_spec({"model": MODEL, **sides, "scaling": {"maxGPUs": 5}})
    assert spec.vision.may_rest and spec.language.may_rest and spec.language.is_scaled


def test_the_other_wrong_fields_are_named_too():
    entry = {"cron": "0 8 * *", "vision": 2, "duration": "1h"}
    with pytest.raises(Rejected) as caught:
        parse_spec({"model": MODEL, "scaling": {"idle": "45s", "idel": 3, "schedule": [entry]}})
    assert caught.value.field == "spec.scaling.schedule.0.cron"
    assert caught.value.message.endswith("; wrong too: spec.scaling.idel")
