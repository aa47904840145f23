import pytest

from internvl_operator.errors import Rejected
from internvl_operator.standalone.service_file import parse_service_text, read_service_file

GOOD = """\
apiVersion: serving.internvl.io/v1alpha1
kind: InternVLService
metadata:
  name: a
spec:
  model:
    uri: file:///m
  vision:
    pool: v
"""


def test_seven_lines_are_a_service():
    (service,) = parse_service_text(GOOD, "s.yaml")

    assert str(service.key.namespace) == "default"
    assert service.spec.vision.pool == "v"


def test_a_file_may_hold_several():
    two = parse_service_text(GOOD + "---\n" + GOOD.replace("name: a", "name: b"), "s.yaml")

    assert [service.key.name for service in two] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("pool: v", "pol: v"), r"s\.yaml:9: spec\.vision\.pol: this field does not exist"),
        (("uri: file:///m", "uri: hf://x/y"), r"s\.yaml:7: spec\.model\.uri: "),
        (("  model:\n    uri: file:///m\n", ""), r"s\.yaml:5: spec\.model: this field is required"),
        (("kind: InternVLService", "kind: Pod"), r"s\.yaml:2: kind: must be InternVLService"),
        (("name: a", "nam: a"), r"s\.yaml:3: metadata\.name: this field is required"),
        (("name: a", "name: A_B"), r"s\.yaml:4: metadata\.name: "),
        (("spec:", "spek:"), r"s\.yaml:5: spek: this field does not exist"),
        (("  vision:", " vision:"), r"s\.yaml:\d+: not YAML: "),
        (("pool: v", "pool: {v: 1}"), r"s\.yaml:9: spec\.vision\.pool: "),
        (
            ("pool: v", "maxReplicas: 2\n    scaledBy: External"),
            r"s\.yaml:10: spec\.vision\.scaledBy: External is whoever writes the InternVLScale",
        ),
        (
            ("pool: v", "env:\n    - {name: A, value: x}\n    - name: B\n      value: 1\n"),
            r"s\.yaml:12: spec\.vision\.env\.1\.value: ",
        ),
        (("uri: file:///m", "uri: !!python/name:os.system"), r"s\.yaml:\d+: not YAML: "),
    ],
)
def test_an_error_names_file_line_and_field(change, message):
    assert change[0] in GOOD

    with pytest.raises(Rejected, match=message):
        parse_service_text(GOOD.replace(*change), "s.yaml")


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n"])
def test_a_file_without_a_service_says_so(text):
    with pytest.raises(Rejected, match="holds no InternVLService"):
        parse_service_text(text, "s.yaml")


def test_a_name_may_not_be_there_twice():
    with pytest.raises(Rejected, match="default/a is there twice"):
        parse_service_text(GOOD + "---\n" + GOOD, "s.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Rejected, match=r"gone\.yaml: cannot be read: No such file"):
        read_service_file(tmp_path / "gone.yaml")


def test_a_date_that_does_not_exist_is_told_and_ends_nothing():
    with pytest.raises(Rejected, match=r"service\.yaml:1: "):
        parse_service_text("kind: InternVLService\nmetadata: {name: 2026-13-45}\n", "service.yaml")
