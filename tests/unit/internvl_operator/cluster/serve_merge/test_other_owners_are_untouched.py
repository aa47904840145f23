import json

from internvl_operator.api.conditions import Reason
from internvl_operator.cluster.ray import encode_serve_config, parse_serve_state
from internvl_operator.cluster.serve_merge import Submission, merge

# As Ray writes it: odd numbers, odd order, unknown keys, escapes.
FOREIGN = (
    '{"name": "theirs", "zeta": 1.0, "alpha": [1e+22, 0.1, -0.0, 100000000000000000001], '
    '"text": "caf\\u00e9 \\ud83d\\ude00 </x>", "none": null, "flag": true, "nested": {"b": {}, "a": []}}'
)


def state_with(*entries: str, status: str = "RUNNING", source: str = "declarative"):
    details = ", ".join(
        f'"{json.loads(entry)["name"]}": {{"status": "{status}", "source": "{source}", '
        f'"deployments": {{"D": {{}}}}, "deployed_app_config": {entry}}}'
        for entry in entries
    )
    return parse_serve_state(json.loads(f'{{"controller_info": {{"a": 1}}, "applications": {{{details}}}}}'))


def test_a_foreign_entry_is_written_back_byte_for_byte():
    step = merge(state_with(FOREIGN), [Submission(({"name": "ours", "x": 1},))])

    assert FOREIGN.encode() in encode_serve_config({}, step.applications)
    assert step.changed == {"ours"}


def test_an_application_that_is_named_by_nobody_is_neither_changed_nor_removed():
    step = merge(state_with(FOREIGN), [Submission((), remove=("ours",))])

    assert step.changed == frozenset()
    assert [app["name"] for app in step.applications] == ["theirs"]


def test_an_entry_with_hidden_values_refuses_the_write_because_it_would_destroy_them():
    hidden = '{"name": "theirs", "runtime_env": {"env_vars": {"KEY": "<redacted>"}}}'

    step = merge(state_with(hidden), [Submission(({"name": "ours"},))])

    assert step.refusal is not None
    assert step.refusal.reason is Reason.FOREIGN_CONFIG_UNREADABLE
    assert "'theirs'" in step.refusal.message


def test_our_own_entry_may_hold_that_text_because_it_is_replaced():
    ours = '{"name": "ours", "runtime_env": {"env_vars": {"KEY": "<redacted>"}}}'

    assert merge(state_with(ours), [Submission(({"name": "ours"},))]).refusal is None


def test_an_application_deployed_by_hand_is_not_taken_over():
    step = merge(state_with('{"name": "ours"}', source="imperative"), [Submission(({"name": "ours"},))])

    assert step.refusal is not None
    assert step.refusal.reason is Reason.APPLICATION_NOT_OURS


def test_an_imperative_application_is_not_carried_along():
    step = merge(state_with(FOREIGN, source="imperative"), [Submission(({"name": "ours"},))])

    assert [app["name"] for app in step.applications] == ["ours"]


def test_a_deleted_application_whose_entry_is_gone_is_not_brought_back():
    state = parse_serve_state(
        {"applications": {"theirs": {"status": "DELETING", "source": "declarative", "deployments": {}}}}
    )

    step = merge(state, [Submission(({"name": "ours"},))])

    assert [app["name"] for app in step.applications] == ["ours"]
    assert step.building == ()


def test_a_living_application_without_an_entry_makes_the_write_wait_because_it_would_be_deleted():
    state = parse_serve_state({"applications": {"theirs": {"status": "RUNNING", "source": "declarative"}}})

    assert merge(state, [Submission(({"name": "ours"},))]).building == ("theirs",)


def test_an_application_that_is_built_makes_the_write_wait_unless_it_is_the_one_that_changes():
    state = parse_serve_state(
        {
            "applications": {
                name: {
                    "status": "DEPLOYING",
                    "source": "declarative",
                    "deployments": {},
                    "deployed_app_config": {"name": name, "v": 1},
                }
                for name in ("ours", "theirs")
            }
        }
    )

    assert merge(state, [Submission(({"name": "ours", "v": 2},))]).building == ("theirs",)
    assert merge(state, [Submission(({"name": "ours", "v": 1},))]).building == ("ours", "theirs")


def test_replicas_that_only_start_do_not_make_a_write_wait():
    assert merge(state_with(FOREIGN, status="DEPLOYING"), [Submission(({"name": "ours"},))]).building == ()


def test_numbers_are_compared_as_json_does_and_truth_is_not_a_number():
    state = state_with('{"name": "ours", "cpus": 1.0, "flag": true}')

    same = merge(state, [Submission(({"flag": True, "cpus": 1, "name": "ours"},))])
    other = merge(state, [Submission(({"flag": 1, "cpus": 1, "name": "ours"},))])

    assert same.changed == frozenset()
    assert other.changed == {"ours"}
