"""Our writer beside a naive one that reads, changes its own entry and puts the whole set, 300 times each.

Serve's PUT has no compare-and-swap, so some loss cannot be avoided. Ours is always seen and written again; what
we destroy of theirs in the milliseconds between our read and our write cannot be seen by us. The test counts both.
"""

import asyncio
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.http import AiohttpTransport
from internvl_operator.cluster.ray import RayClient, encode_serve_config
from internvl_operator.cluster.ray_writer import RayWriter
from internvl_operator.cluster.serve_merge import Submission, is_building

ROUNDS = 300
KEY = ServiceKey("default", "ours")


def tiny(name: str, n: int) -> dict[str, Any]:
    deployment = {"name": "Tiny", "num_replicas": 1, "user_config": {"n": n}}
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": "tiny_app:build",
        "args": {},
        "deployments": [deployment],
    }


async def read_n(client: RayClient, name: str) -> int | None:
    config = (await client.fetch()).applications.get(name, {}).get("deployed_app_config")
    return None if config is None else config["deployments"][0]["user_config"]["n"]


async def naive_put(client: RayClient, app: dict[str, Any]) -> None:
    """As a script would: read, keep what is there, replace the own entry, put, never look again."""
    state = await client.fetch()
    others = [
        details["deployed_app_config"]
        for name, details in state.applications.items()
        if name != app["name"] and details.get("deployed_app_config")
    ]
    await client.put(encode_serve_config(state.options, [*others, app]))


@pytest.mark.timeout(240)
async def test_of_two_writers_at_once_our_side_always_ends_as_wanted(ray):
    async with AiohttpTransport() as transport:
        client = RayClient(ray.dashboard_url, transport, timeout_s=20.0)
        writer = RayWriter(
            client,
            now=lambda: datetime.now(UTC),
            on_state=lambda state: None,
            on_outcome=lambda key: None,
            build_wait_s=60.0,
            initial_options={"http_options": {"host": "127.0.0.1", "port": ray.serve_port}},
        )
        await _settle(client, writer)
        foreign_before = json.dumps((await client.fetch()).applications["bystander"]["deployed_app_config"])

        lost_theirs = lost_ours = most_repairs = 0
        writes = 0
        began = asyncio.get_running_loop().time()
        for n in range(1, ROUNDS + 1):
            writer.submit(KEY, Submission((tiny("ours", n),)))

            async def theirs(n: int = n) -> None:
                await asyncio.sleep(random.uniform(0, 0.03))
                await naive_put(client, tiny("theirs", n))

            await asyncio.gather(writer.write_waiting(), theirs())
            lost_theirs += await read_n(client, "theirs") != n
            repairs = 0
            while await read_n(client, "ours") != n:  # what the poller's next look would set off
                repairs += 1
                writer.submit(KEY, Submission((tiny("ours", n),)))
                await writer.write_waiting()
            lost_ours += repairs > 0
            most_repairs = max(most_repairs, repairs)
            writes += 1 + repairs
            outcome = writer.outcome(KEY)
            assert outcome is not None and outcome.error is None
        took_s = asyncio.get_running_loop().time() - began

        after = (await client.fetch()).applications["bystander"]["deployed_app_config"]
        assert json.dumps(after) == foreign_before, "a bystander's entry changed"
        print(
            f"\ntwo writers, {ROUNDS} rounds in {took_s:.0f} s: ours undone by the other {lost_ours}x and repaired "
            f"(at most {most_repairs} more write(s) a round), theirs undone by us {lost_theirs}x"
        )
        assert most_repairs <= 2


async def _settle(client: RayClient, writer: RayWriter) -> None:
    """All three applications run, so that no round has to wait for a build."""
    writer.submit(KEY, Submission(tuple(tiny(name, 0) for name in ("ours", "theirs", "bystander"))))
    await writer.write_waiting()
    deadline = asyncio.get_running_loop().time() + 90
    while any(is_building(app) for app in (await client.fetch()).applications.values()):
        assert asyncio.get_running_loop().time() < deadline, "the applications are not built"
        await asyncio.sleep(0.1)
