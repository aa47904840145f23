import json

import pytest
from aiohttp.test_utils import make_mocked_request

from internvl_operator.errors import Rejected
from internvl_operator.handlers.liveness import Liveness


async def ask(liveness: Liveness) -> tuple[int, dict]:
    response = await liveness._answer(make_mocked_request("GET", "/healthz"))
    return response.status, json.loads(response.text)


async def test_a_process_that_only_waits_for_its_turn_is_alive():
    assert await ask(Liveness("http://127.0.0.1:8081/healthz")) == (200, {"alive": True, "faults": []})


async def test_it_is_dead_while_a_check_says_so_and_names_every_fault():
    liveness = Liveness("http://127.0.0.1:8081")
    wrong: dict[str, str | None] = {"queue": "a reconcile is stuck", "watch": "the watch has stalled"}
    liveness.add([lambda: None, lambda: wrong["queue"]])
    liveness.add([lambda: wrong["watch"]])
    assert await ask(liveness) == (
        503,
        {"alive": False, "faults": ["a reconcile is stuck", "the watch has stalled"]},
    )

    wrong.update(queue=None, watch=None)
    assert (await ask(liveness))[0] == 200


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:8081", "https://127.0.0.1:8081", "http://127.0.0.1", "http://host:99999/healthz", ""],
)
def test_an_endpoint_that_cannot_be_listened_on_is_refused_with_an_example(endpoint):
    with pytest.raises(Rejected, match=r"8081/healthz") as caught:
        Liveness(endpoint)
    assert caught.value.field == "--liveness"


async def test_what_was_never_started_can_be_closed():
    await Liveness("http://127.0.0.1:8081").close()
