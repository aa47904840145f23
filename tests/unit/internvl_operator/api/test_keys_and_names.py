import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_operator.api import names
from internvl_operator.api.keys import ServiceKey, parse_service_key
from internvl_operator.api.names import Role
from internvl_operator.errors import Rejected

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
KEYS = st.builds(ServiceKey, LABELS, LABELS)
FEW = settings(max_examples=30)  # two seconds a test, on a busy machine too


@FEW
@given(KEYS)
def test_a_key_survives_its_string_form(key):
    assert parse_service_key(str(key)) == key


@FEW
@given(KEYS, KEYS)
def test_two_services_share_no_name(first, second):
    if first != second:
        assert not set(names.applications(first)) & set(names.applications(second))
        assert names.route_prefix(first) != names.route_prefix(second)


@pytest.mark.parametrize(
    "text", ["a", "a/b.vision", "a/", "/b", "A/b", "a/b/c", f"a/{'x' * 64}", "a/-b", "a/b\n"]
)
def test_other_forms_are_refused(text):
    with pytest.raises(Rejected):
        parse_service_key(text)


def test_each_role_lives_in_its_application():
    key = ServiceKey("team", "nano")
    found = {role: names.application(key, role) for role in Role}
    assert found == {
        Role.VISION: "team.nano.vision",
        Role.LANGUAGE: "team.nano",
        Role.GATEWAY: "team.nano",
    }
