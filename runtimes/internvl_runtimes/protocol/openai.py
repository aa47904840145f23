"""OpenAI's wire types: what the gateway reads and writes on `/v1/chat/completions` and `/v1/models`.

Called by the gateway only. A field that would change the answer and is not implemented is refused by name; a
field whose value changes nothing (`top_p: 1`, `user`) is accepted, because clients send it unasked.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, from_json

from internvl_runtimes.protocol.problems import RequestInvalid

DEFAULT_MAX_TOKENS = 512
"""Length of an answer when the client names none; the model's length may cut it further."""

_ANYTHING = object()
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "user": (_ANYTHING,),
    "metadata": (_ANYTHING,),
    "safety_identifier": (_ANYTHING,),
    "prompt_cache_key": (_ANYTHING,),
    "service_tier": (_ANYTHING,),
    "parallel_tool_calls": (_ANYTHING,),
    "store": (False,),
    "top_p": (1,),
    "top_k": (-1, 0),
    "min_p": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Fields that are not implemented, each with the values that would change nothing. Null never does."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextPart(_Wire):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


class ImageUrl(_Wire):
    """Where a picture is. Only `data:` URLs for now; the gateway refuses others."""

    url: Annotated[str, Field(min_length=1)]
    detail: Literal["auto"] | None = None


class ImagePart(_Wire):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


def _part_tag(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return {"text": "<text>", "image_url": "<image>"}.get(kind) if isinstance(kind, str) else None


Part = Annotated[
    Annotated[TextPart, Tag("<text>")] | Annotated[ImagePart, Tag("<image>")],
    Discriminator(
        _part_tag,
        custom_error_type="part_type",
        custom_error_message='A content part has the type "text" or "image_url".',
    ),
]


def _content_tag(value: Any) -> str:
    return "<parts>" if isinstance(value, list | tuple) else "<string>"


Content = Annotated[
    Annotated[str, Tag("<string>")] | Annotated[tuple[Part, ...], Tag("<parts>"), Field(min_length=1)],
    Discriminator(_content_tag),
]


class Message(_Wire):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_extras(cls, value: Any) -> Any:
        """Assistant turns come back from clients with `refusal: null`, `tool_calls: []` and the like."""
        if not isinstance(value, dict):
            return value
        return {k: v for k, v in value.items() if k in cls.model_fields or v not in (None, [])}

    @property
    def parts(self) -> tuple[TextPart | ImagePart, ...]:
        """The content as parts, whichever way it was sent."""
        if isinstance(self.content, str):
            return (TextPart(type="text", text=self.content),)
        return self.content


class StreamOptions(_Wire):
    """Options of a streamed answer."""

    include_usage: bool = False


class Wanted(_Wire):
    """Our extension of a request, under the key `internvl`: what the answer shall tell beside the text."""

    routes: bool = False
    """How each picture was cut into tiles, and how many tokens each tile became."""


class ChatRequest(_Wire):
    """Body of `POST /v1/chat/completions`."""

    model: str
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: (
        Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=4)] | None
    ) = None
    n: Literal[1] | None = None
    ignore_eos: bool | None = None  # not OpenAI's; vLLM's and LMDeploy's name
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    internvl: Wanted | None = None  # not OpenAI's; see there

    @model_validator(mode="before")
    @classmethod
    def _drop_neutral(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: v for k, v in value.items() if k in cls.model_fields or not _is_neutral(k, v)}

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _agree(self) -> "ChatRequest":
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("stream_options", "stream_options goes with stream: true.")
        if self.messages[-1].role == "assistant":
            raise PydanticCustomError("last_turn", "The last message must come from the user.")
        return self

    @property
    def wants_routes(self) -> bool:
        """Whether the answer shall tell what became of each tile."""
        return self.internvl is not None and self.internvl.routes

    @property
    def answer_tokens(self) -> int | None:
        """Tokens that the client allows for the answer, or None."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


def _is_neutral(name: str, value: object) -> bool:
    if name not in _NEUTRAL:
        return False
    return value is None or any(neutral is _ANYTHING or value == neutral for neutral in _NEUTRAL[name])


def parse_chat_request(body: bytes) -> ChatRequest:
    """Parse a request body, or raise `RequestInvalid` that names the field."""
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestInvalid(f"The body is not JSON: {error}.", code="invalid_json") from None
    if not isinstance(document, dict):
        raise RequestInvalid("The body must be a JSON object.", code="invalid_json")
    try:
        return ChatRequest.model_validate(document)
    except ValidationError as error:
        raise _first_problem(error) from None


def _first_problem(error: ValidationError) -> RequestInvalid:
    first = error.errors(include_url=False, include_context=False)[0]
    param = field_path(first["loc"])
    match first["type"]:
        case "extra_forbidden":
            field = first["loc"][-1]
            wanted = (
                f"{field} with this value is not supported; leave it out."
                if field in _NEUTRAL
                else f"Unknown field {field}."
            )
            return RequestInvalid(wanted, param=param, code="unsupported_parameter")
        case "missing":
            return RequestInvalid(f"{param} is missing.", param=param, code="missing_parameter")
        case "stream_options":
            param = "stream_options"
        case "last_turn":
            param = "messages"
    return RequestInvalid(f"{param}: {first['msg']}" if param else first["msg"], param=param)


def field_path(location: tuple[int | str, ...]) -> str | None:
    """`("messages", 1, "content", "<parts>", 0)` as `messages[1].content[0]`; None for the body itself."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not step.startswith("<"):
            path += f".{step}" if path else step
    return path or None


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class PromptTokensDetails(_Reply):
    """Of the prompt's tokens."""

    image_tokens: int


class Usage(_Reply):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class PictureRoutes(_Reply):
    """How one picture was cut, and what the router made of its tiles.

    A tile is compressed where it has fewer tokens than others of the request: the router never compresses all.
    """

    columns: int
    rows: int
    """Grid of tiles, without the thumbnail."""
    tokens_per_tile: tuple[int, ...]
    """Row-major tiles, the thumbnail last where there is one."""


class Details(_Reply):
    """Our extension of an answer, under the key `internvl`: a streamed one cannot have a trailing header."""

    seconds: dict[str, float]
    """The stages of the `Server-Timing` header."""
    tiles: int
    images: tuple[PictureRoutes, ...] | None = None
    """In the order of the prompt; only where the request says `internvl: {routes: true}`."""


class AnswerMessage(_Reply):
    """The assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(_Reply):
    """The one choice of a whole answer."""

    index: int = 0
    message: AnswerMessage
    finish_reason: str


class ChatCompletion(_Reply):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    internvl: Details | None = None
    """Only where the request wants the routes: the times are in the header."""


class Delta(_Reply):
    """What a streamed chunk adds."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(_Reply):
    """The one choice of a streamed chunk."""

    index: int = 0
    delta: Delta
    finish_reason: str | None = None


class ChatCompletionChunk(_Reply):
    """One event of a streamed answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: Usage | None = None
    internvl: Details | None = None


class ModelCard(_Reply):
    """One model of `GET /v1/models`."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "internvl"
    max_model_len: int


class ModelList(_Reply):
    """Answer of `GET /v1/models`."""

    object: Literal["list"] = "list"
    data: tuple[ModelCard, ...]
