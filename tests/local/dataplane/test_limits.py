"""Full queues, clients that go away, and what the nodes export."""

import asyncio
from typing import Any

import httpx

from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import MetricKind
from tests.local.dataplane.service import Service, eventually, picture, question, right_answers
from tests.local.dataplane.test_answers import text_of


async def _post_all(service: Service, bodies: list[dict[str, Any]]) -> list[httpx.Response]:
    async with httpx.AsyncClient(timeout=290) as client:
        url = service.url + "/v1/chat/completions"
        return await asyncio.gather(*(client.post(url, json=body) for body in bodies))


def test_a_full_queue_answers_429_with_retry_after_and_the_others_rightly(service: Service) -> None:
    bodies = [question(picture(50 + i), max_tokens=16) for i in range(24)]
    right = right_answers(service.checkpoint, bodies)
    service.apply(language={"max_sequences": 1, "max_waiting": 1, "generation": "l3"})
    replies = asyncio.run(_post_all(service, bodies))
    refused = [reply for reply in replies if reply.status_code == 429]
    assert refused
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    assert refused[0].json()["error"]["type"] == "rate_limit_error"
    answered = [(i, reply) for i, reply in enumerate(replies) if reply.status_code != 429]
    assert answered
    assert [text_of(reply) for _, reply in answered] == [right[i] for i, _ in answered]


def test_clients_that_go_away_free_their_slots_at_once(service: Service) -> None:
    service.apply(language={"max_sequences": 1, "generation": "l4"})
    before = service.metric("head", "ray_internvl_requests_total", outcome="cancelled") or 0.0

    async def leave_after_the_first_answer() -> None:
        async with httpx.AsyncClient(timeout=290) as client:
            url = service.url + "/v1/chat/completions"
            asked = [
                asyncio.ensure_future(
                    client.post(url, json=question(picture(i), max_tokens=1500, ignore_eos=True))
                )
                for i in range(30)
            ]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            for request in asked:
                request.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(leave_after_the_first_answer())
    # All the others, one after the other, would take longer than this: a second or more each on a quiet machine.
    eventually(
        "no sequence to run or wait",
        lambda: (
            service.metric("language", "ray_internvl_running_sequences") == 0
            and service.metric("language", "ray_internvl_queue_depth", stage="language") == 0
        ),
        timeout_s=30,
    )
    eventually(
        "the cancelled to be counted",
        lambda: (
            (service.metric("head", "ray_internvl_requests_total", outcome="cancelled") or 0) - before >= 10
        ),
    )


def test_a_client_that_leaves_a_stream_is_counted_as_cancelled(service: Service) -> None:
    before = service.metric("head", "ray_internvl_requests_total", outcome="cancelled") or 0.0

    async def leave() -> None:
        body = question(picture(60), stream=True, max_tokens=1500, ignore_eos=True)
        url = service.url + "/v1/chat/completions"
        async with (
            httpx.AsyncClient(timeout=290) as client,
            client.stream("POST", url, json=body) as reply,
        ):
            await anext(reply.aiter_lines())

    asyncio.run(leave())
    eventually(
        "a stream to be cancelled",
        lambda: (service.metric("head", "ray_internvl_requests_total", outcome="cancelled") or 0) > before,
    )


def test_the_nodes_export_the_metrics_of_the_contract(service: Service) -> None:
    assert service.ask(question(picture(70))).status_code == 200
    service.ask({"model": "another", "messages": [{"role": "user", "content": "x"}]})

    def exported() -> str:
        return "".join(
            httpx.get(service.nodes.metrics_url(n.name), timeout=30).text for n in service.nodes.nodes
        )

    suffix = {MetricKind.COUNTER: "_total{", MetricKind.GAUGE: "{", MetricKind.HISTOGRAM: "_bucket{"}
    wanted = [f"ray_{m.name}{suffix[m.kind]}" for m in metrics.ALL]
    eventually("every metric", lambda: (text := exported()) and all(name in text for name in wanted))
