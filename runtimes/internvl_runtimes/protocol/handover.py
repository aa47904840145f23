"""Values that travel between the gateway, the vision encoder and the language model.

Plain frozen dataclasses of numpy arrays and strings: Ray pickles them with protocol 5, so feature rows cross
processes without a copy. The gateway passes the encoder's response on unresolved and never holds the rows.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class EncodeRequest:
    """All pictures of one request, in the order of the prompt. The Flash router's scope is one request."""

    request_id: str
    images: tuple[bytes, ...]
    """Encoded pictures (PNG, JPEG, WebP, ...), as the client sent them."""
    revision: str | None = None
    """Checkpoint digest that the caller wants, or None for any."""
    model: str | None = None
    """`ModelSource.identity` that the caller wants, or None for any."""


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """How one picture's rows lie in `Features.rows`."""

    columns: int
    rows: int
    """Grid of tiles, without the thumbnail."""
    tokens_per_tile: tuple[int, ...]
    """Row-major tiles, the thumbnail last where there is one. Flash: kept and compressed tiles differ."""

    @property
    def tokens(self) -> int:
        """Rows of this picture."""
        return sum(self.tokens_per_tile)


class FeaturesInvalid(ValueError):
    """Feature rows do not match what came with them. The receiver encodes again or refuses."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the vision encoder hands to the language model."""

    request_id: str
    rows: npt.NDArray[np.float32]
    """float32 [T, H]: all pictures' tokens in prompt order."""
    images: tuple[ImageFeatures, ...]
    revision: str
    """Digest of the checkpoint that made the rows."""
    generation: str
    """Generation of the vision replica that made them."""
    digest: str
    """`features_digest(rows, images, revision)`."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage times: queue, decode, encode."""

    def check(self, *, hidden_size: int, revision: str, image_count: int) -> None:
        """Raise `FeaturesInvalid` unless shape, dtype, counts, revision and digest all agree."""
        if self.rows.ndim != 2 or self.rows.dtype != np.float32:
            raise FeaturesInvalid(
                f"rows are {self.rows.dtype} {self.rows.shape}, not float32 [T, {hidden_size}]"
            )
        if self.rows.shape[1] != hidden_size:
            raise FeaturesInvalid(
                f"rows are {self.rows.shape[1]} wide, the language model takes {hidden_size}"
            )
        if self.revision != revision:
            raise FeaturesInvalid(
                f"rows were made by revision {self.revision}, the language model has {revision}"
            )
        if len(self.images) != image_count:
            raise FeaturesInvalid(f"{len(self.images)} pictures were encoded, the prompt has {image_count}")
        for image in self.images:
            tiles = image.columns * image.rows
            if len(image.tokens_per_tile) not in (tiles, tiles + 1):
                raise FeaturesInvalid(
                    f"a grid of {image.columns}x{image.rows} came with {len(image.tokens_per_tile)} tiles"
                )
        if sum(image.tokens for image in self.images) != self.rows.shape[0]:
            raise FeaturesInvalid(
                f"{self.rows.shape[0]} rows came for {[i.tokens for i in self.images]} tokens"
            )
        if features_digest(self.rows, self.images, self.revision) != self.digest:
            raise FeaturesInvalid("the digest of the rows differs from the one that came with them")


def features_digest(rows: npt.NDArray[np.float32], images: tuple[ImageFeatures, ...], revision: str) -> str:
    """Digest of rows, layout and revision: 32 hex digits of BLAKE2b."""
    state = hashlib.blake2b(digest_size=16)
    state.update(repr((revision, rows.shape, str(rows.dtype), images)).encode())
    state.update(np.ascontiguousarray(rows).data)
    return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens and when to stop."""

    max_tokens: int
    temperature: float = 0.0
    """0: greedy."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    """Go on after the model's own stop tokens, up to `max_tokens`: answers of a known length, to measure with."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """A prompt for the language model; the features come as a second, unresolved argument."""

    request_id: str
    prompt_ids: tuple[int, ...]
    """Token ids with exactly one image-context token for each picture, to be widened by its true token count."""
    image_count: int
    sampling: Sampling
    deadline_s: float | None = None
    """Seconds from arrival after which nobody waits for the answer any more."""
    model: str | None = None
    """`ModelSource.identity` whose tokens `prompt_ids` are, or None for any."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a generation ended, and what it took."""

    reason: str
    """`stop` or `length`."""
    prompt_tokens: int
    """Text and visual tokens."""
    visual_tokens: int
    completion_tokens: int
    tiles: int
    generation: str
    revision: str
    seconds: dict[str, float]
    """Stage times: queue, decode, encode (from the features), transfer, wait, prefill, generate."""
    images: tuple[ImageFeatures, ...] = ()
    """How each picture's rows lay, in the order of the prompt."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the answer. The first comes at once, later ones at most every 25 ms, the last has `finished`."""

    text: str
    token_ids: tuple[int, ...] = ()
    finished: Finished | None = None


class Overloaded(Exception):
    """The queue is full. The gateway answers 429 with Retry-After."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)

    def __reduce__(self) -> tuple[type["Overloaded"], tuple[str, float]]:
        """Pickle by arguments: Ray carries the exception between processes."""
        return type(self), (str(self), self.retry_after_s)


class ModelDiffers(Exception):
    """A replica has another model than the request is for: the model is being changed. Nothing was done."""


def check_model(wanted: str | None, present: str) -> None:
    """Raise `ModelDiffers` unless a request for the model `wanted` may be worked on by a replica of `present`."""
    if wanted not in (None, present):
        raise ModelDiffers(f"{wanted} was asked for, this replica has {present}")


class PromptTooLong(ValueError):
    """Prompt and answer do not fit into the model's length. The gateway answers 400."""


class PictureUnreadable(ValueError):
    """A picture could not be decoded. The gateway answers 400. `index` counts pictures from 0 in prompt order."""

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        self.message = message
        super().__init__(message)

    def __reduce__(self) -> tuple[type["PictureUnreadable"], tuple[int, str]]:
        """Pickle by arguments: Ray carries the exception between processes."""
        return type(self), (self.index, self.message)
