"""A hand-written Serve config of the two applications, a client for it, and the right answers without Ray."""

import asyncio
import base64
import contextlib
import io
import json
import os
import random
import re
import signal
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw, ImageFont

from e2e.cluster.ray_nodes import RayNodes
from internvl_runtimes.contract import serve_args
from internvl_runtimes.contract.serve_args import (
    ApplicationArgs,
    GatewayConfig,
    LanguageConfig,
    ModelSource,
    VisionConfig,
)
from internvl_runtimes.deployments.gateway import Gateway
from internvl_runtimes.deployments.handles import PendingFeatures
from internvl_runtimes.deployments.language_model import LanguageModel
from internvl_runtimes.deployments.metrics import Discard
from internvl_runtimes.deployments.vision_encoder import VisionEncoder
from internvl_runtimes.protocol.handover import EncodeRequest, Features, GenerateRequest

VISION_APPLICATION = "default.nano.vision"
SERVICE_APPLICATION = "default.nano"
PREFIX = "/default/nano"
MODEL = "nano"


def eventually(what: str, true: Callable[[], Any], *, timeout_s: float = 300.0) -> Any:
    """Poll until `true()` is truthy and return it."""
    deadline = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.1)
    return value


def png(image: Image.Image) -> bytes:
    """The file of an image."""
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def picture(seed: int, size: tuple[int, int] = (112, 112)) -> bytes:
    """A drawn picture that differs from that of every other seed."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        fill = tuple(rng.randrange(256) for _ in range(3))
        draw.ellipse((x - 30, y - 30, x + 30, y + 30), fill=fill)
    return png(image)


def printed(seed: int, size: tuple[int, int]) -> bytes:
    """The picture of this seed with lines of letters all over it, every tile of which the router keeps."""
    rng = random.Random(seed)
    image = Image.open(io.BytesIO(picture(seed, size)))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(16)
    for y in range(8, size[1], 28):
        for x in range(6, size[0], 50):
            draw.text((x, y), "".join(rng.choices(string.ascii_uppercase, k=4)), "white", font)
    return png(image)


def question(*images: bytes, text: str = "What colour is the circle?", **more: Any) -> dict[str, Any]:
    """A request body. Sampled with a seed, so that the answer hangs on every feature, not only on the best logit."""
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(i).decode()}}
        for i in images
    ]
    parts.append({"type": "text", "text": text})
    sampling = {"max_tokens": 8, "temperature": 1.0, "seed": 7}
    return {"model": MODEL, "messages": [{"role": "user", "content": parts}], **sampling, **more}


@dataclass
class Service:
    """The service on a real Ray."""

    nodes: RayNodes
    checkpoint: Path

    @property
    def url(self) -> str:
        return self.nodes.serve_url + PREFIX

    def config(self, **changes: dict[str, Any]) -> dict[str, Any]:
        """The Serve config; `changes` go into the `user_config` of vision, language or gateway."""
        model = ModelSource(uri=self.checkpoint.as_uri(), name=MODEL)
        vision = VisionConfig(generation="v1", model=model)
        language = LanguageConfig(generation="l1", model=model)
        gateway = GatewayConfig(generation="g1", model=model, vision_application=VISION_APPLICATION)
        args = ApplicationArgs(service="default/nano").model_dump()

        def deployment(name: str, config: Any, pool: str, cpus: int, **options: Any) -> dict[str, Any]:
            return {
                "name": name,
                "user_config": config.model_copy(update=changes.get(pool, {})).model_dump(mode="json"),
                "ray_actor_options": {"num_cpus": cpus, "label_selector": {serve_args.POOL_LABEL: pool}},
                "graceful_shutdown_wait_loop_s": 0.1,
                "graceful_shutdown_timeout_s": 10,
                "health_check_period_s": 1,
                # Tests stop processes for a while; Serve must not take that for a failure.
                "health_check_timeout_s": 120,
                **options,
            }

        return {
            "applications": [
                {
                    "name": VISION_APPLICATION,
                    "route_prefix": None,
                    "import_path": serve_args.BUILD_VISION,
                    "args": args,
                    "deployments": [deployment(serve_args.VISION_DEPLOYMENT, vision, "vision", 1)],
                },
                {
                    "name": SERVICE_APPLICATION,
                    "route_prefix": PREFIX,
                    "import_path": serve_args.BUILD_SERVICE,
                    "args": args,
                    "deployments": [
                        deployment(serve_args.GATEWAY_DEPLOYMENT, gateway, "gateway", 0),
                        deployment(serve_args.LANGUAGE_DEPLOYMENT, language, "language", 1),
                    ],
                },
            ]
        }

    def apply(self, **changes: dict[str, Any]) -> None:
        """PUT the config and wait until both applications run it."""
        self.nodes.put_serve_config(self.config(**changes))
        self.wait_until_running(**changes)

    def wait_until_running(self, **changes: dict[str, Any]) -> None:
        def probe_passes() -> bool:
            try:
                answer = httpx.get(self.url + "/-/probe", timeout=60).json()
            except (httpx.HTTPError, ValueError):
                return False
            wanted = {
                role: changes.get(role, {}).get("generation", role[0] + "1")
                for role in ("vision", "language")
            }
            return bool(answer.get("ok")) and all(answer[r]["generation"] == g for r, g in wanted.items())

        eventually("the probe to pass", probe_passes)

    def ask(self, body: dict[str, Any], timeout_s: float = 290) -> httpx.Response:
        return httpx.post(self.url + "/v1/chat/completions", json=body, timeout=timeout_s)

    def replica_pid(self, application: str, deployment: str) -> int:
        # The dashboard may take longer than one try on a busy machine; it then shows nothing.
        applications = eventually("the applications", self.nodes.applications)
        replicas = applications[application]["deployments"][deployment]["replicas"]
        return int(next(r["pid"] for r in replicas if r["state"] == "RUNNING"))

    def metric(self, node: str, name: str, **tags: str) -> float | None:
        """Sum of a metric's samples on a node, or None when there are none."""
        text = httpx.get(self.nodes.metrics_url(node), timeout=30).text
        found = [
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if re.match(rf"{name}[{{ ]", line) and all(f'{k}="{v}"' in line for k, v in tags.items())
        ]
        return sum(found) if found else None


class Stopped:
    """A process that is stopped inside the `with` and goes on after it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __enter__(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(
            ProcessLookupError
        ):  # killed meanwhile: by the test, or by Serve's health check
            os.kill(self.pid, signal.SIGCONT)


class _Direct:
    """Both sides in this process, as handles: no Ray, nothing between them."""

    def __init__(self, vision: VisionEncoder, language: LanguageModel) -> None:
        self.vision, self.language = vision, language

    async def encode(self, request: EncodeRequest) -> PendingFeatures:
        return _Done(await self.vision.encode(request))

    async def generate(self, request: GenerateRequest, features: Any) -> Any:
        async for chunk in self.language.generate(request, features and features.features):
            yield chunk


@dataclass
class _Done:
    features: Features
    is_queued: bool = False

    def cancel(self) -> None:
        pass

    async def resolve(self) -> Features:
        return self.features


async def _answers(checkpoint: Path, bodies: list[dict[str, Any]]) -> list[str]:
    model = ModelSource(uri=checkpoint.as_uri(), name=MODEL)
    vision, language = VisionEncoder(Discard()), LanguageModel(Discard())
    await vision.reconfigure(VisionConfig(generation="v", model=model))
    await language.reconfigure(LanguageConfig(generation="l", model=model))
    direct = _Direct(vision, language)
    gateway = Gateway(vision=lambda _: direct, language=direct, recorder=Discard())
    await gateway.reconfigure(GatewayConfig(generation="g", model=model, vision_application="v"))
    texts = []
    for body in bodies:
        chunks = gateway.answer(await gateway.admit(json.dumps(body).encode()), "r")
        texts.append("".join([chunk.text async for chunk in chunks]))
    return texts


def right_answers(checkpoint: Path, bodies: list[dict[str, Any]]) -> list[str]:
    """The answers of the same classes in this process, one request after another: no Ray, nothing between them."""
    return asyncio.run(_answers(checkpoint, bodies))
