"""From a conversation to token ids, and from one token a picture to one token a visual row.

The gateway makes the prompt with exactly one `<IMG_CONTEXT>` for each picture: it knows only an upper bound of
a picture's tokens (Flash decides in the encoder). The language side widens it when the true counts are there.

What a client writes is text and nothing else: `<IMG_CONTEXT>` or `<|im_end|>` in a message are tokenized
letter by letter. Only the template and the pictures put structural tokens into a prompt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_runtimes.preprocess.template import ChatTemplate, Piece, StructuralToken, find_template

_IMAGE_START = StructuralToken("<img>")
_IMAGE_CONTEXT = StructuralToken("<IMG_CONTEXT>")
_IMAGE_END = StructuralToken("</img>")


class TokenizerInvalid(ValueError):
    """tokenizer.json is missing, unreadable or without a token that the family needs."""


class PromptInvalid(ValueError):
    """The conversation cannot be put into the template: the message says what to change."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Stands for a picture in a message, at its place among the texts."""


PICTURE = Picture()


@dataclass(frozen=True, slots=True)
class Message:
    """One message: `role` is system (only first), user or assistant; `parts` are texts and pictures in order."""

    role: str
    parts: tuple[str | Picture, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids with one image-context token a picture."""

    ids: tuple[int, ...]
    image_count: int

    def length(self, tokens_per_image: Iterable[int]) -> int:
        """Tokens once widened."""
        return len(self.ids) - self.image_count + sum(tokens_per_image)


@dataclass(frozen=True, slots=True)
class WidenedPrompt:
    """Token ids with one image-context token a visual row."""

    ids: npt.NDArray[np.int64]
    """int64 [T]."""
    visual_positions: npt.NDArray[np.int64]
    """int64 [R]: where the rows of all pictures go, in order."""


class Prompter:
    """The template and tokenizer of one checkpoint. Thread-safe after construction."""

    def __init__(self, tokenizer_path: Path, config: CheckpointConfig) -> None:
        """Load `tokenizer.json` and look up every structural token by its string.

        Raises:
            TokenizerInvalid: the file cannot be read, or a token is missing.
            TemplateUnknown: the checkpoint's template is not supported.
        """
        self.template: ChatTemplate = find_template(config.template)
        self.tokenizer = _load_tokenizer(tokenizer_path)
        self._system_message = (
            self.template.system_message if config.system_message is None else config.system_message
        )
        needed = (self.template.start, self.template.end, _IMAGE_START, _IMAGE_CONTEXT, _IMAGE_END)
        self._ids = {token: self._look_up(token, tokenizer_path) for token in needed}
        stops = (self.tokenizer.token_to_id(token.content) for token in self.template.stop_tokens)
        self.stop_token_ids = frozenset(token_id for token_id in stops if token_id is not None)
        """Each of these ends an answer."""
        self.image_context_id = self._ids[_IMAGE_CONTEXT]
        self._structural = frozenset(self._ids.values()) | self.stop_token_ids
        # From here on `encode` finds none of them in text; decoding leaves them out.
        self.tokenizer.add_special_tokens(
            [
                token.content
                for token in (*needed, *self.template.stop_tokens)
                if self.tokenizer.token_to_id(token.content) is not None
            ]
        )
        self.tokenizer.encode_special_tokens = True

    def prompt(self, messages: Sequence[Message]) -> Prompt:
        """The whole conversation, ready for the model's next words.

        One picture in the conversation is `<image>`; of several, the k-th has `Image-k: ` before
        it. A picture stands where it stands in its message. A line break parts it from text before it that
        does not end in one, and from whatever follows it.

        Raises:
            PromptInvalid: no message, an unknown role, a system message that is not first or has a picture.
        """
        _check(messages)
        image_count = sum(isinstance(part, Picture) for message in messages for part in message.parts)
        pieces: list[Piece] = []
        if messages[0].role != "system":
            pieces += self.template.message("system", [self._system_message])
        images_before = 0
        for message in messages:
            content, images_before = _content(message, images_before, numbered=image_count > 1)
            pieces += self.template.message(message.role, content)
        return Prompt(tuple(self._encode([*pieces, *self.template.answer()])), image_count)

    def widen(self, prompt_ids: Sequence[int], tokens_per_image: Sequence[int]) -> WidenedPrompt:
        """Repeat the k-th image-context token as often as the k-th picture has rows.

        Raises:
            PromptInvalid: the prompt has another number of pictures, or a picture has no rows.
        """
        ids = np.asarray(prompt_ids, np.int64)
        images = ids == self.image_context_id
        if int(images.sum()) != len(tokens_per_image) or any(tokens < 1 for tokens in tokens_per_image):
            raise PromptInvalid(
                f"the prompt has {int(images.sum())} pictures, rows came for {list(tokens_per_image)}"
            )
        repeats = np.ones(len(ids), np.int64)
        repeats[images] = tokens_per_image
        widened = np.repeat(ids, repeats)
        return WidenedPrompt(widened, np.flatnonzero(widened == self.image_context_id))

    def _encode(self, pieces: Sequence[Piece]) -> list[int]:
        ids: list[int] = []
        text = ""
        # Adjacent texts are tokenized as one, as the tokenizer would do with the whole string.
        for piece in pieces:
            if isinstance(piece, str):
                text += piece
            else:
                ids += [*self._encode_text(text), self._ids[piece]]
                text = ""
        return ids + self._encode_text(text)

    def _encode_text(self, text: str) -> list[int]:
        if not text:
            return []
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        if not self._structural.isdisjoint(ids):
            # A tokenizer whose model itself knows the string, e.g. one of whole words.
            raise PromptInvalid("a text holds a structural token of the model: write it differently")
        return ids

    def _look_up(self, token: StructuralToken, path: Path) -> int:
        token_id = self.tokenizer.token_to_id(token.content)
        if token_id is None:
            raise TokenizerInvalid(
                f"{path} has no token {token.content}: take the tokenizer of the published checkpoint"
            )
        return int(token_id)


def _load_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise TokenizerInvalid(f"{path} is missing: copy the checkpoint's tokenizer.json there")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise TokenizerInvalid(f"{path} cannot be read as a fast tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _check(messages: Sequence[Message]) -> None:
    if not messages or all(message.role == "system" for message in messages):
        raise PromptInvalid("the conversation has no user message: send one")
    for index, message in enumerate(messages):
        if message.role not in ("system", "user", "assistant"):
            raise PromptInvalid(
                f"message {index} has the role {message.role!r}: use system, user or assistant"
            )
        if message.role == "system" and index > 0:
            raise PromptInvalid(f"message {index} is a system message: only the first may be one")
        if message.role == "system" and any(isinstance(part, Picture) for part in message.parts):
            raise PromptInvalid("the system message has a picture: put it into a user message")


def _content(message: Message, images_before: int, *, numbered: bool) -> tuple[list[Piece], int]:
    pieces: list[Piece] = []
    for part in (part for part in message.parts if part != ""):
        last = pieces[-1] if pieces else "\n"
        if last == _IMAGE_END or (isinstance(part, Picture) and not str(last).endswith("\n")):
            pieces.append("\n")
        if isinstance(part, str):
            pieces.append(part)
            continue
        images_before += 1
        if numbered:
            pieces.append(f"Image-{images_before}: ")
        pieces += [_IMAGE_START, _IMAGE_CONTEXT, _IMAGE_END]
    return pieces, images_before
