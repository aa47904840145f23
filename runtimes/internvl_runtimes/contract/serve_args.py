"""What the operator hands to Ray Serve for each application and deployment, and the names on both sides.

Application arguments are tiny and constant, because a change of them restarts every replica of the
application (`args` are part of Serve's code version). All that may change lies in the `user_config` of one
deployment, which Serve applies in place through `reconfigure`.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from internvl_runtimes.contract import CONTRACT_VERSION

BUILD_VISION = "internvl_runtimes.app:build_vision"
BUILD_SERVICE = "internvl_runtimes.app:build_service"

VISION_DEPLOYMENT = "VisionEncoder"
LANGUAGE_DEPLOYMENT = "LanguageModel"
GATEWAY_DEPLOYMENT = "Gateway"

STAND_IN_SUFFIX = ".next"
"""Added to the names of a service's applications: those of its stand-in, which runs a new model beside the old
one. A gateway asks there when its own sides have another model."""

POOL_LABEL = "serving.internvl.io/pool"
"""Ray node label that names a node's pool: `ray start --labels=serving.internvl.io/pool=vision`."""


class VisionEngineName(StrEnum):
    """Engines that can run the vision side."""

    ONNXRUNTIME = "onnxruntime"


class LanguageEngineName(StrEnum):
    """Engines that can run the language side."""

    ONNXRUNTIME = "onnxruntime"


class Inert(BaseModel):
    """Data only: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ApplicationArgs(Inert):
    """Arguments of both application builders. Constant for the life of a service."""

    contract: str = CONTRACT_VERSION
    service: str
    """`<namespace>/<name>`."""


class ModelSource(Inert):
    """Where the checkpoint lies, as seen from a Ray node."""

    uri: str
    """`file:///absolute/path` of a checkpoint folder."""
    revision: str | None = None
    """Digest that the checkpoint must have (`sha256:` and at least 12 hex digits), or None for any."""
    name: str
    """The model's name in the OpenAI API."""

    @property
    def identity(self) -> str:
        """What tells one model from another. Requests carry it, so that two models never work on one answer."""
        return f"{self.uri}@{self.revision or ''}"


class RoleConfig(Inert):
    """What every role's replica is told."""

    generation: str
    """Short hash of all that this role was rendered from. Replies carry it, so that a probe knows who answered."""
    model: ModelSource
    artifact_stores: tuple[str, ...] = ()
    """Folders (`file:///...`) searched for artifacts before the checkpoint's own `artifacts/`."""
    attempt: int = 0
    """Raised by the operator to make Serve try a failed deployment again."""


class VisionConfig(RoleConfig):
    """`user_config` of the VisionEncoder deployment."""

    engine: VisionEngineName = VisionEngineName.ONNXRUNTIME
    threads: Annotated[int, Field(ge=1)] = 1
    """Engine threads: the replica's CPU request, rounded up."""
    max_tiles_per_image: Annotated[int, Field(ge=1, le=40)] | None = None
    """Upper bound of tiles cut from one image (the thumbnail comes on top). None: the checkpoint's."""
    max_batch_tiles: Annotated[int, Field(ge=1)] = 16
    """Tiles of several requests encoded in one engine call."""


class LanguageConfig(RoleConfig):
    """`user_config` of the LanguageModel deployment."""

    engine: LanguageEngineName = LanguageEngineName.ONNXRUNTIME
    threads: Annotated[int, Field(ge=1)] = 1
    max_model_len: Annotated[int, Field(ge=16)] | None = None
    """Prompt and answer together, in tokens. None: the checkpoint's."""
    max_sequences: Annotated[int, Field(ge=1)] = 8
    """Sequences decoded together: the number of KV cache slots."""
    max_waiting: Annotated[int, Field(ge=0)] = 64
    """Requests that may wait for a slot; one more is refused with 429 and Retry-After."""
    image_rows_limit: Annotated[int, Field(ge=1)] = 65536
    """Feature rows held by waiting requests, all together: bounds the memory of the queue."""


class GatewayConfig(RoleConfig):
    """`user_config` of the Gateway deployment."""

    vision_application: str
    """Name of the Serve application that encodes pictures; looked up when first needed."""
    max_tiles_per_image: Annotated[int, Field(ge=1, le=40)] | None = None
    max_model_len: Annotated[int, Field(ge=16)] | None = None
    max_images: Annotated[int, Field(ge=1)] = 16
    """Pictures in one request."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024 * 1024
    max_pixels: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    """Width times height of one picture, read from its header before anything is decoded."""
