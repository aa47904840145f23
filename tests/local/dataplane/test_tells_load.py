"""What a real service tells of its load: what arrives, what is done, and what a replica manages."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from internvl_operator import cli
from internvl_runtimes.contract import metrics
from internvl_runtimes.contract.metrics import Metric
from internvl_runtimes.contract.serve_args import LANGUAGE_DEPLOYMENT, VISION_DEPLOYMENT
from tests.local.dataplane.service import (
    SERVICE_APPLICATION,
    VISION_APPLICATION,
    Service,
    eventually,
    picture,
    question,
)

NODES = {"gateway": "head", "vision": "vision", "language": "language"}
REST_S = 3.0
"""Replicas report and nodes export each second."""


def total(service: Service, metric: Metric, **tags: str) -> float:
    """Sum of a metric over the nodes; an error when nobody tells it."""
    found = [service.metric(node, metric.exported, **tags) for node in NODES.values()]
    told = [value for value in found if value is not None]
    assert told, f"no node tells {metric.exported} {tags}"
    return sum(told)


class Counted:
    """What counters gained since it was made."""

    def __init__(self, service: Service, *wanted: tuple[Metric, dict[str, str]]) -> None:
        self.service, self.wanted = service, wanted
        self.before, self.since = self._now(), time.monotonic()
        eventually("what was counted before to be exported", self._is_at_rest)

    def gained(self) -> list[float]:
        return [round(now - before, 6) for now, before in zip(self._now(), self.before, strict=True)]

    def _is_at_rest(self) -> bool:
        now = self._now()
        if now != self.before:
            self.before, self.since = now, time.monotonic()
        return time.monotonic() - self.since > REST_S

    def _now(self) -> list[float]:
        return [total(self.service, metric, **tags) for metric, tags in self.wanted]


def ask_all(service: Service, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    async def post() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=290) as client:
            url = service.url + "/v1/chat/completions"
            return await asyncio.gather(*(client.post(url, json=body) for body in bodies))

    replies = asyncio.run(post())
    assert [reply.status_code for reply in replies] == [200] * len(bodies)
    return [reply.json()["usage"] for reply in replies]


def test_a_service_tells_zero_before_anything_came(service: Service) -> None:
    """A counter that is there and zero is known; one that is absent would not be."""
    for metric in (metrics.REENCODES, metrics.TILES_ADMITTED, metrics.TILES_BEGUN, metrics.SEQUENCES_BEGUN):
        assert eventually(metric.name, lambda m=metric: total(service, m) is not None)
    assert total(service, metrics.REQUESTS_ADMITTED, input="text") >= 0
    assert total(service, metrics.SATURATED_SECONDS, stage="prefill") >= 0


def test_what_arrives_and_what_is_done_is_what_callers_were_told(service: Service) -> None:
    counted = Counted(
        service,
        (metrics.REQUESTS_ADMITTED, {"input": "pictures"}),
        (metrics.REQUESTS_ADMITTED, {"input": "text"}),
        (metrics.TILES_ADMITTED, {}),
        (metrics.OUTPUT_TOKENS_ADMITTED, {}),
        (metrics.WORK, {"stage": "vision"}),
        (metrics.WORK, {"stage": "prefill"}),
        (metrics.WORK, {"stage": "decode"}),
        (metrics.PROMPT_TOKENS_ARRIVED, {"kind": "visual"}),
        (metrics.SEQUENCES_BEGUN, {}),
    )
    bodies = [question(picture(n, (224, 112))) for n in range(3)] + [question(text="Say red.")] * 2
    usages = ask_all(service, bodies)
    visual = sum(usage["prompt_tokens_details"]["image_tokens"] for usage in usages)
    wanted = [
        3,
        2,
        9,  # two tiles and a thumbnail each
        5 * 8,
        9,
        sum(usage["prompt_tokens"] for usage in usages),
        sum(usage["completion_tokens"] - 1 for usage in usages),
        visual,
        5,
    ]
    eventually(f"the counters to gain {wanted}", lambda: counted.gained() == wanted)


def test_a_load_of_text_makes_language_full_and_leaves_vision_alone(service: Service, tmp_path: Path) -> None:
    service.apply(language={"max_sequences": 1, "max_waiting": 100, "generation": "l7"})
    counted = Counted(
        service,
        (metrics.SATURATED_SECONDS, {"stage": "decode"}),
        (metrics.SATURATED_WORK, {"stage": "decode"}),
        (metrics.TILES_ADMITTED, {}),
        (metrics.SATURATED_SECONDS, {"stage": "vision"}),
        (metrics.WORK, {"stage": "decode"}),
    )
    # More than it manages from the first moment to the last: else its rate when full is that of its slow moments only.
    said = load(service, tmp_path, "--rate", "20", "--duration", "3", "--mix", "text", "--max-tokens", "128")
    assert said["requests"]["failed"] == 0
    all_tokens = said["requests"]["answered"] * (128 - 1)
    seconds, tokens, tiles, vision, _ = eventually(
        "all tokens", lambda: (gained := counted.gained()) and gained[4] == all_tokens and gained
    )
    assert seconds > 0 and tokens > 100 and (tiles, vision) == (0, 0)
    # What it manages alone is at least what came of it in all that time, idle moments and prefills included.
    assert tokens / seconds > 0.9 * said["rates"]["output_tokens"]


def test_a_load_of_pictures_makes_vision_full_and_tells_what_it_manages(
    service: Service, tmp_path: Path
) -> None:
    counted = Counted(
        service,
        (metrics.SATURATED_SECONDS, {"stage": "vision"}),
        (metrics.SATURATED_WORK, {"stage": "vision"}),
        (metrics.WORK, {"stage": "vision"}),
    )
    began = time.monotonic()
    ask_all(service, [question(picture(n, (448, 336)), max_tokens=1) for n in range(40)])
    took_s = time.monotonic() - began
    seconds, full, work = eventually(
        "all tiles", lambda: (gained := counted.gained()) and gained[2] == 40 * 13 and gained
    )
    assert 0 < seconds <= took_s + 1
    assert full > 0.8 * work, "but for the last picture, others waited"
    assert full / seconds > 0.8 * work / took_s, (
        "no less than what came of it in all that time, but for the ends"
    )


def test_what_waits_is_seen_while_nobody_serves_it(service: Service) -> None:
    pid = service.replica_pid(VISION_APPLICATION, VISION_DEPLOYMENT)
    os.kill(pid, signal.SIGSTOP)

    async def ask_and_look() -> None:
        async with httpx.AsyncClient(timeout=290) as client:
            url = service.url + "/v1/chat/completions"
            asked = [asyncio.ensure_future(client.post(url, json=question(picture(n)))) for n in range(4)]
            await asyncio.to_thread(
                eventually,
                "four pictures to be awaited, which no vision replica has taken",
                lambda: (
                    total(service, metrics.AWAITED, input="pictures") == 4
                    and total(service, metrics.AWAITED_TILES) >= 4
                ),
            )
            os.kill(pid, signal.SIGCONT)
            assert [reply.status_code for reply in await asyncio.gather(*asked)] == [200] * 4

    try:
        asyncio.run(ask_and_look())
    finally:
        os.kill(pid, signal.SIGCONT)
    for metric in (metrics.AWAITED, metrics.AWAITED_TILES):
        eventually("nothing to be awaited", lambda metric=metric: total(service, metric) == 0)


def test_pictures_that_are_encoded_wait_for_no_vision_replica(service: Service) -> None:
    pid = service.replica_pid(SERVICE_APPLICATION, LANGUAGE_DEPLOYMENT)
    os.kill(pid, signal.SIGSTOP)

    async def ask_and_look() -> None:
        async with httpx.AsyncClient(timeout=290) as client:
            url = service.url + "/v1/chat/completions"
            asked = [asyncio.ensure_future(client.post(url, json=question(picture(n)))) for n in range(2)]
            await asyncio.to_thread(
                eventually,
                "two pictures to be awaited, which vision has encoded",
                lambda: (
                    total(service, metrics.AWAITED, input="pictures") == 2
                    and total(service, metrics.AWAITED_TILES) == 0
                ),
            )
            os.kill(pid, signal.SIGCONT)
            assert [reply.status_code for reply in await asyncio.gather(*asked)] == [200] * 2

    try:
        asyncio.run(ask_and_look())
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_new_replica_has_series_of_its_own_that_begin_at_zero(service: Service) -> None:
    def replicas() -> dict[str, float]:
        text = httpx.get(service.nodes.metrics_url("vision"), timeout=30).text
        found = {}
        for line in text.splitlines():
            if line.startswith(metrics.REPLICA_START.exported + "{"):
                labels, value = line.rsplit(" ", 1)
                found[labels.split(f'{metrics.REPLICA_LABEL}="')[1].split('"')[0]] = float(value)
        return found

    ask_all(service, [question(picture(1))])
    (before,) = eventually("one replica", lambda: len(found := replicas()) == 1 and found)
    began = time.time()
    os.kill(service.replica_pid(VISION_APPLICATION, VISION_DEPLOYMENT), signal.SIGKILL)
    eventually("another replica", lambda: set(replicas()) - {before})
    (after,) = set(replicas()) - {before}
    assert replicas()[after] > began - 1
    assert total(service, metrics.WORK, stage="vision", replica=after) == pytest.approx(0, abs=1e-9)
    service.wait_until_running()


def load(service: Service, folder: Path, *options: str) -> dict[str, Any]:
    """Run `internvl load` against the service; returns its JSON."""
    file = folder / "load.json"
    assert cli.main(["load", service.url, "--json", str(file), "--ignore-eos", *options]) == 0
    said: dict[str, Any] = json.loads(file.read_text())
    return said
