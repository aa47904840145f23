from internvl_operator.api import labels
from internvl_operator.api.keys import ServiceKey
from internvl_operator.handlers.watching import build_registry, build_settings


def test_a_watch_that_says_nothing_is_given_up_within_a_minute():
    watching = build_settings().watching
    assert watching.server_timeout < watching.inactivity_timeout < watching.client_timeout
    assert watching.inactivity_timeout + watching.connect_timeout < 60


def test_kopf_writes_and_scans_nothing():
    settings = build_settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone


async def test_an_event_becomes_a_key_and_only_a_list_brings_the_object_along():
    seen = []
    registry = build_registry(lambda *arguments: seen.append(arguments))
    (handler,) = registry._watching.get_all_handlers()
    a, b, other = (
        {"metadata": {"namespace": "ns", "name": name, "resourceVersion": "7"}}
        for name in ("a", "b", "a.vision")
    )
    for kind, found in (("ADDED", a), (None, b), ("DELETED", a), ("ADDED", other)):
        await handler.fn(event={"type": kind, "object": found})

    assert handler.selector.group == labels.GROUP
    assert seen == [
        (ServiceKey("ns", "a"), "7", False, None),
        (ServiceKey("ns", "b"), "7", False, b),
        (ServiceKey("ns", "a"), "7", True, None),
    ]
