"""What the gateway decides before anything is sent: parse, read image headers, count tiles, check limits.

Pure but for the clock of the CPU: no picture is decoded, nothing leaves the process. Runs in a thread for
large bodies.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_runtimes.contract.serve_args import GatewayConfig
from internvl_runtimes.deployments.model_bytes import ModelBytes
from internvl_runtimes.deployments.vision_encoder import tile_limit
from internvl_runtimes.preprocess.images import ImageInvalid, read_header
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Prompt, Prompter, PromptInvalid
from internvl_runtimes.preprocess.tiling import count_tiles
from internvl_runtimes.protocol.handover import PromptTooLong, Sampling
from internvl_runtimes.protocol.openai import (
    DEFAULT_MAX_TOKENS,
    ChatRequest,
    ImagePart,
    TextPart,
    parse_chat_request,
)
from internvl_runtimes.protocol.problems import ModelUnknown, RequestInvalid


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may be sent on."""

    chat: ChatRequest
    images: tuple[bytes, ...]
    """Encoded pictures in prompt order."""
    image_params: tuple[str, ...]
    """Where each picture stands in the body, for errors."""
    prompt: Prompt
    tiles: int
    model: str
    """`ModelSource.identity` of the model that `prompt` was made for."""
    prompt_tokens_bound: int
    """Prompt tokens if no tile is compressed."""
    visual_tokens_bound: int
    """Those of them that stand for tiles."""
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Admission:
    """The limits of one service."""

    config: GatewayConfig
    checkpoint: CheckpointConfig
    prompter: Prompter
    read: ModelBytes = field(default_factory=ModelBytes)
    """What was read to make it."""

    @property
    def max_model_len(self) -> int:
        """Prompt and answer together, in tokens."""
        longest = self.checkpoint.language.max_position
        return min(self.config.max_model_len or longest, longest)

    def admit(self, body: bytes) -> Admitted:
        """Parse and check one request body.

        Raises:
            RequestInvalid: names the field.
            ModelUnknown: another model is asked for.
            PromptTooLong: prompt and answer cannot fit.
        """
        chat = parse_chat_request(body)
        if chat.model != self.config.model.name:
            raise ModelUnknown(f"No model {chat.model!r} here; this service has {self.config.model.name!r}.")
        return self.admit_chat(chat)

    def admit_chat(self, chat: ChatRequest) -> Admitted:
        """Check a parsed request, whatever name of a model is in it: one that was taken under the name before.

        Raises:
            RequestInvalid, PromptTooLong: as `admit`.
        """
        pictures = list(_pictures(chat))
        if len(pictures) > self.config.max_images:
            raise RequestInvalid(
                f"{len(pictures)} pictures; at most {self.config.max_images} are taken in one request.",
                param="messages",
                code="too_many_images",
            )
        images = [_data_url(part.image_url.url, param) for param, part in pictures]
        params = [param for param, _ in pictures]
        tiles = [self._count(image, param) for image, param in zip(images, params, strict=True)]
        try:
            prompt = self.prompter.prompt(_messages(chat))
        except PromptInvalid as error:
            raise RequestInvalid(f"messages: {error}.", param="messages") from None
        visual = [count * self.checkpoint.tokens_per_tile for count in tiles]
        bound = prompt.length(visual)
        return Admitted(
            chat=chat,
            images=tuple(images),
            image_params=tuple(params),
            prompt=prompt,
            tiles=sum(tiles),
            model=self.config.model.identity,
            prompt_tokens_bound=bound,
            visual_tokens_bound=sum(visual),
            sampling=self._sampling(chat, bound),
        )

    def _count(self, image: bytes, param: str) -> int:
        try:
            header = read_header(image, max_pixels=self.config.max_pixels)
        except ImageInvalid as error:
            raise RequestInvalid(f"{param}: {error}.", param=param, code="invalid_image") from None
        return count_tiles(
            header.width,
            header.height,
            min_tiles=self.checkpoint.min_dynamic_patch,
            max_tiles=tile_limit(self.config.max_tiles_per_image, self.checkpoint),
            tile_size=self.checkpoint.image_size,
            use_thumbnail=self.checkpoint.use_thumbnail,
        )

    def _sampling(self, chat: ChatRequest, prompt_tokens: int) -> Sampling:
        room = self.max_model_len - prompt_tokens
        wanted = chat.answer_tokens
        if room < (wanted or 1):
            raise PromptTooLong(
                f"The prompt may have {prompt_tokens} tokens and the answer {wanted or 1}, together at most "
                f"{self.max_model_len}: shorten the prompt, lower max_tokens, or send fewer or smaller pictures."
            )
        return Sampling(
            max_tokens=wanted or min(DEFAULT_MAX_TOKENS, room),
            # OpenAI's default is 1. Here it is 0, as in the model family's own `chat`: the same question about
            # the same picture then has one answer.
            temperature=chat.temperature or 0.0,
            seed=chat.seed,
            stop=chat.stop or (),
            ignore_eos=bool(chat.ignore_eos),
        )


def _pictures(chat: ChatRequest) -> Iterator[tuple[str, ImagePart]]:
    for i, message in enumerate(chat.messages):
        for j, part in enumerate(message.parts):
            if isinstance(part, ImagePart):
                param = f"messages[{i}].content[{j}]"
                if message.role != "user":
                    raise RequestInvalid(
                        f"{param}: pictures belong into user messages, not {message.role}.", param=param
                    )
                yield f"{param}.image_url.url", part


def _messages(chat: ChatRequest) -> list[Message]:
    return [
        Message(
            role="system" if message.role == "developer" else message.role,
            parts=tuple(part.text if isinstance(part, TextPart) else PICTURE for part in message.parts),
        )
        for message in chat.messages
    ]


def _data_url(url: str, param: str) -> bytes:
    if not url[:5].lower() == "data:":
        raise RequestInvalid(
            f"{param}: only data: URLs (data:image/png;base64,...) are taken; "
            "fetching remote media comes with a later version.",
            param=param,
            code="unsupported_image_url",
        )
    head, comma, encoded = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise RequestInvalid(
            f"{param}: a data URL must be base64: data:image/png;base64,...",
            param=param,
            code="invalid_image",
        )
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestInvalid(
            f"{param}: the base64 is invalid: {error}.", param=param, code="invalid_image"
        ) from None
