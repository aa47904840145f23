"""Our writer beside a naive one that reads, changes its own entry and puts the whole set, 300 times each.

Serve's PUT has no compare-and-swap, so some loss cannot be avoided. Ours is always seen and written again; what
we destroy of theirs in the milliseconds between our read and our write cannot be seen by us. Both are counted.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from e2e.bench.result import BenchResult, Goal
from e2e.cluster.ray_nodes import APPLICATIONS, HEAD, RayNodes
from internvl_operator.api.keys import ServiceKey
from internvl_operator.cluster.fleet import initial_options
from internvl_operator.cluster.http import AiohttpTransport
from internvl_operator.cluster.ray import RayClient, encode_serve_config
from internvl_operator.cluster.ray_writer import RayWriter
from internvl_operator.cluster.serve_merge import Submission, is_building
from internvl_operator.settings import Settings
from internvl_operator.standalone.local_ray import RayNode

ROUNDS = 300
KEY = ServiceKey("default", "ours")


@dataclass(frozen=True, slots=True)
class Contest:
    """What two writers did to each other."""

    rounds: int
    seconds: float
    ours_undone: int
    """Rounds in which the other writer's PUT took our change away; each was repaired."""
    most_repairs: int
    """Most writes that one round's repair took."""
    theirs_undone: int
    """Rounds in which our PUT took the other writer's change away."""
    bystander_unchanged: bool
    """An application that neither writer changes is byte for byte what it was."""


def run() -> BenchResult:
    """Contend on a Ray of our own."""
    with RayNodes(nodes=(RayNode(HEAD, None, cpus=8),), packages=(APPLICATIONS,)) as ray:
        contest = asyncio.run(contend(ray, rounds=ROUNDS))
    return BenchResult(
        name="two_writers",
        title=f"Two writers of one Ray at once, {contest.rounds} rounds in {contest.seconds:.0f} s",
        columns=("what", "rounds"),
        rows=(
            ("our change undone by the other, then repaired", str(contest.ours_undone)),
            ("the other's change undone by ours (lost)", str(contest.theirs_undone)),
        ),
        raw=asdict(contest),
        goals=(
            Goal("most writes that a repair took", contest.most_repairs, "<=", 2),
            Goal("bystanders changed", 0 if contest.bystander_unchanged else 1, "<=", 0),
        ),
    )


async def contend(ray: RayNodes, *, rounds: int) -> Contest:
    """Both write in each round; ours must stand at its end.

    Raises:
        RayFault, AssertionError: our side could not be written.
    """
    async with AiohttpTransport() as transport:
        client = RayClient(ray.dashboard_url, transport, timeout_s=20.0)
        writer = RayWriter(
            client,
            now=lambda: datetime.now(UTC),
            on_state=lambda state: None,
            on_outcome=lambda key: None,
            build_wait_s=60.0,
            initial_options=initial_options(
                Settings(serve_http_host="127.0.0.1", serve_http_port=ray.serve_port)
            ),
        )
        await _settle(client, writer)
        before = await _bystander(client)
        ours_undone = theirs_undone = most_repairs = 0
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n in range(1, rounds + 1):
            writer.submit(KEY, Submission((tiny("ours", n),)))
            await asyncio.gather(writer.write_waiting(), _put_naively(client, n))
            theirs_undone += await read_n(client, "theirs") != n
            repairs = 0
            while await read_n(client, "ours") != n:  # what the poller's next look would set off
                repairs += 1
                writer.submit(KEY, Submission((tiny("ours", n),)))
                await writer.write_waiting()
            ours_undone += repairs > 0
            most_repairs = max(most_repairs, repairs)
            outcome = writer.outcome(KEY)
            assert outcome is not None and outcome.error is None, outcome
        return Contest(
            rounds=rounds,
            seconds=loop.time() - began,
            ours_undone=ours_undone,
            most_repairs=most_repairs,
            theirs_undone=theirs_undone,
            bystander_unchanged=await _bystander(client) == before,
        )


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


async def _put_naively(client: RayClient, n: int) -> None:
    await asyncio.sleep(random.uniform(0, 0.03))
    await naive_put(client, tiny("theirs", n))


async def _bystander(client: RayClient) -> str:
    return json.dumps((await client.fetch()).applications["bystander"]["deployed_app_config"])


async def _settle(client: RayClient, writer: RayWriter) -> None:
    """All three applications run, so that no round has to wait for a build."""
    writer.submit(KEY, Submission(tuple(tiny(name, 0) for name in ("ours", "theirs", "bystander"))))
    await writer.write_waiting()
    deadline = asyncio.get_running_loop().time() + 180
    while any(is_building(app) for app in (await client.fetch()).applications.values()):
        assert asyncio.get_running_loop().time() < deadline, "the applications are not built"
        await asyncio.sleep(0.1)
