"""Conversation templates by the name that a checkpoint's config.json gives.

A template turns a conversation into pieces: structural tokens, and text. Structural tokens are named by their
string and looked up in the checkpoint's tokenizer; text is never searched for them (`prompt.py`).
Source of the wording: `conversation.py` of the published InternVL code.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StructuralToken:
    """One token of the template's or the picture's structure, by its string."""

    content: str


Piece = StructuralToken | str
"""A structural token, or text in which nothing is structural."""


class TemplateUnknown(ValueError):
    """The checkpoint names a template that this runtime does not have."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template in the ChatML manner: each message between two structural tokens, its role on the first line."""

    name: str
    system_message: str
    """Used when neither the conversation nor the checkpoint brings one."""
    start: StructuralToken
    end: StructuralToken
    after_end: str
    stop_tokens: tuple[StructuralToken, ...]
    """Each ends an answer, where the tokenizer has it. The first must exist."""

    def message(self, role: str, content: Sequence[Piece]) -> list[Piece]:
        """One whole message of the conversation."""
        return [self.start, f"{role}\n", *content, self.end, self.after_end]

    def answer(self) -> list[Piece]:
        """What stands before the model's next words."""
        return [self.start, "assistant\n"]


_IM_END = StructuralToken("<|im_end|>")
_TEMPLATES = {
    template.name: template
    for template in (
        ChatTemplate(
            name="internvl2_5",
            system_message=(
                "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
            ),
            start=StructuralToken("<|im_start|>"),
            end=_IM_END,
            after_end="\n",
            stop_tokens=(_IM_END, StructuralToken("<|endoftext|>")),
        ),
    )
}


def find_template(name: str) -> ChatTemplate:
    """The template of that name.

    Raises:
        TemplateUnknown: there is none; the message lists those there are.
    """
    if name not in _TEMPLATES:
        known = ", ".join(sorted(_TEMPLATES))
        raise TemplateUnknown(
            f"config.json: template {name!r} is not supported (supported: {known}): serve a checkpoint that uses one"
        )
    return _TEMPLATES[name]
