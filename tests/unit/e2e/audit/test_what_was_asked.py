import json

import pytest

from e2e.cluster.audit import Request, Right, policy_for, read_requests

USER = "system:serviceaccount:system:operator"


@pytest.fixture
def log(tmp_path):
    def write(*events):
        path = tmp_path / "audit.jsonl"
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        return path

    return write


def event(verb, *, code=200, user=USER, subresource=None, namespace="team", **reference):
    about = {"resource": "things", "apiGroup": "group", "namespace": namespace, **reference}
    about |= {"subresource": subresource} if subresource else {}
    return {"user": {"username": user}, "verb": verb, "objectRef": about, "responseStatus": {"code": code}}


def test_an_apply_that_made_its_object_needed_two_rights(log):
    path = log(event("patch", code=201), event("patch", code=200, subresource="status"))
    assert {request.right for request in read_requests(path, user=USER)} == {
        Right("group", "things", "patch"),
        Right("group", "things", "create"),
        Right("group", "things/status", "patch"),
    }


def test_what_was_refused_is_told_apart(log):
    (request,) = read_requests(log(event("list", code=403)), user=USER)
    assert request == Request("team", Right("group", "things", "list"), allowed=False)


def test_others_and_questions_about_no_object_do_not_count(log):
    path = log(event("list", user="system:admin"), {**event("get"), "objectRef": None})
    assert read_requests(path, user=USER) == set()


def test_only_what_came_since_counts(log):
    first = log(event("list"))
    size = first.stat().st_size
    assert {
        request.right.verb
        for request in read_requests(log(event("list"), event("get")), user=USER, since=size)
    } == {"get"}


def test_the_core_group_is_the_empty_one_as_in_rules(log):
    core = event("create", resource="secrets")
    del core["objectRef"]["apiGroup"]
    (request,) = read_requests(log(core), user=USER)
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    assert {request.right} == Right.of_rules(rules)


def test_nobody_is_recorded_but_the_service_accounts_that_were_named():
    first, last = policy_for(["system"])["rules"]
    assert first["userGroups"] == ["system:serviceaccounts:system"] and last == {"level": "None"}
