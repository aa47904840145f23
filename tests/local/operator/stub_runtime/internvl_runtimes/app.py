"""A runtime that answers everything and serves nothing: for tests that are about the operator.

Same builders, applications and deployments as the real one, replicas that start in no time. Switches for
tests are in the model's URI: `file:///broken-vision` lets the vision replica fail as a real one does.
"""

import os

from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

REVISION = "sha256:" + "0" * 64


class _Role:
    def __init__(self) -> None:
        self.config: dict = {}

    def reconfigure(self, config: dict) -> None:
        if "broken-vision" in config["model"]["uri"] and type(self).__name__ == "VisionEncoder":
            raise RuntimeError("[internvl:ModelNotFound] nothing lies at /broken-vision on this node")
        self.config = config

    def answer(self) -> dict:
        return {"ok": True, "generation": self.config["generation"], "revision": REVISION}

    def pid(self) -> int:
        return os.getpid()


class VisionEncoder(_Role):
    pass


class LanguageModel(_Role):
    pass


class Gateway(_Role):
    def __init__(self, language: serve.handle.DeploymentHandle) -> None:
        super().__init__()
        self.language = language

    async def __call__(self, request: Request) -> JSONResponse:
        vision = serve.get_app_handle(self.config["vision_application"])
        roles = {
            "gateway": self.answer(),
            "vision": await vision.answer.remote(),
            "language": await self.language.answer.remote(),
        }
        return JSONResponse({"ok": True, **roles, "features_differ": True, "text": "stub"})


def build_vision(args: dict) -> serve.Application:
    return serve.deployment(VisionEncoder).bind()


def build_service(args: dict) -> serve.Application:
    return serve.deployment(Gateway).bind(serve.deployment(LanguageModel).bind())
