"""KubeRay and the kubelets, played: for each RayCluster the pods that it asks for, ready at once, and a status.

Real objects in a real API server, in the form in which KubeRay makes them; only nothing runs in the pods.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from internvl_operator.plan.observation import HEAD_GROUP

CLUSTERS = "/apis/ray.io/v1/rayclusters"
BUSY_S = 120.0
"""How long an overloaded API server is asked again."""
MERGE = {"Content-Type": "application/merge-patch+json"}


@dataclass(slots=True)
class Api:
    """Requests to the API server on connections that stay open."""

    session: aiohttp.ClientSession
    server: str

    async def request(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Send one request and return the answer, which must be a success; an overloaded server is asked again."""
        data = None if body is None else json.dumps(body)
        wanted = headers or ({"Content-Type": "application/json"} if body is not None else {})
        deadline = time.monotonic() + BUSY_S
        while True:
            async with self.session.request(
                method, self.server + path, data=data, headers=wanted
            ) as response:
                text = await response.text()
            if response.status < 300:
                return dict(json.loads(text))
            if method == "POST" and response.status == 409:
                return {}  # a try before this one was answered 504, and done
            if response.status not in (429, 500, 503, 504) or time.monotonic() > deadline:
                raise AssertionError(f"{method} {path} was answered {response.status}: {text[:400]}")
            await asyncio.sleep(1.0)


@dataclass(slots=True)
class PlayedKubeRay:
    """Watches all RayClusters of one API server."""

    api: Api
    replicas_since: dict[tuple[str, int], float] = field(default_factory=dict)
    """When (`time.monotonic`) a RayCluster was first seen with that many replicas in all."""
    _made: dict[str, dict[str, int]] = field(default_factory=dict)
    _addresses: itertools.count[int] = field(default_factory=lambda: itertools.count(256))

    async def run(self) -> None:
        """Act until cancelled. Pods are only added: nobody shrinks here."""
        found = await self.api.request("GET", CLUSTERS)
        version, busy = found["metadata"]["resourceVersion"], set[asyncio.Task[None]]()
        while True:
            url = f"{self.api.server}{CLUSTERS}?watch=true&resourceVersion={version}&timeoutSeconds=600"
            async with self.api.session.get(url) as response:
                async for line in response.content:
                    event = json.loads(line)
                    cluster = event["object"]
                    version = cluster["metadata"]["resourceVersion"]
                    if event["type"] in ("ADDED", "MODIFIED"):
                        task = asyncio.create_task(self._act(cluster))
                        busy.add(task)
                        task.add_done_callback(busy.discard)

    async def _act(self, cluster: dict[str, Any]) -> None:
        spec, name = cluster["spec"], cluster["metadata"]["name"]
        groups = {HEAD_GROUP: (1, spec["headGroupSpec"])}
        for group in spec.get("workerGroupSpecs") or ():
            groups[group["groupName"]] = (group["replicas"], group)
        total = sum(count for count, _ in groups.values())
        self.replicas_since.setdefault((name, total), time.monotonic())
        made = self._made.setdefault(name, {})
        is_new, missing = not made, []
        for group, (count, template) in groups.items():
            missing += [(group, number, template) for number in range(made.get(group, 0), count)]
            made[group] = max(count, made.get(group, 0))
        for group, number, template in missing:
            await self._make_pod(cluster, group, number, template["template"])
        if is_new:
            path = _path(cluster, f"/apis/ray.io/v1/namespaces/{{}}/rayclusters/{name}/status")
            await self.api.request("PATCH", path, {"status": _status(total)}, headers=MERGE)

    async def _make_pod(
        self, cluster: dict[str, Any], group: str, number: int, template: dict[str, Any]
    ) -> None:
        meta, pods = cluster["metadata"], _path(cluster, "/api/v1/namespaces/{}/pods")
        kind = "head" if group == HEAD_GROUP else "worker"
        name = f"{meta['name']}-{group}-{number}"
        added = {
            "ray.io/cluster": meta["name"],
            "ray.io/group": group,
            "ray.io/node-type": kind,
            "ray.io/is-ray-node": "yes",
            "app.kubernetes.io/created-by": "kuberay-operator",
        }
        owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": meta["name"], "uid": meta["uid"]}
        pod = {
            "metadata": {
                "name": name,
                "labels": {**template["metadata"]["labels"], **added},
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            },
            "spec": template["spec"],
        }
        await self.api.request("POST", pods, pod)
        address = next(self._addresses)
        status = _pod_status(f"10.{address >> 16}.{address >> 8 & 255}.{address & 255}", template["spec"])
        await self.api.request("PATCH", f"{pods}/{name}/status", {"status": status}, headers=MERGE)


def _path(cluster: dict[str, Any], form: str) -> str:
    return form.format(cluster["metadata"]["namespace"])


def _status(pods: int) -> dict[str, Any]:
    moment = "2026-01-01T00:00:00Z"
    provisioned = {
        "type": "RayClusterProvisioned",
        "status": "True",
        "reason": "AllPodRunningAndReadyFirstTime",
        "message": "",
        "lastTransitionTime": moment,
    }
    return {
        "state": "ready",
        "conditions": [provisioned],
        "desiredWorkerReplicas": pods - 1,
        "availableWorkerReplicas": pods - 1,
        "readyWorkerReplicas": pods - 1,
        "observedGeneration": 1,
    }


def _pod_status(address: str, spec: dict[str, Any]) -> dict[str, Any]:
    moment = "2026-01-01T00:00:00Z"
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    container = spec["containers"][0]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": moment,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": moment} for kind in kinds],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "sha256:" + "cd" * 32,
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": moment}},
            }
        ],
    }
