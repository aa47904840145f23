"""internvl-nano's own tokenizer: byte-level BPE over the words of its questions, and the family's special tokens.

Byte-level, so any text has tokens and any tokens have a text. Special tokens are looked up by string.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from internvl_engines.nano.questions import all_texts
from internvl_engines.nano.shape import COMMON_SYSTEM_MESSAGE, SYSTEM_MESSAGE

END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
IMG_START, IMG_END, IMG_CONTEXT = "<img>", "</img>", "<IMG_CONTEXT>"
SPECIAL_TOKENS = (
    END_OF_TEXT, IM_START, IM_END, IMG_START, IMG_END, IMG_CONTEXT,
    "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
)  # fmt: skip
VOCABULARY = 768
"""Rows of the embedding; the tokenizer may use fewer."""


@functools.cache
def train_tokenizer() -> Tokenizer:
    """A tokenizer from all wordings. One for all who ask in this process: nobody may change it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True) for text in SPECIAL_TOKENS]
    )
    return tokenizer


def token_id(tokenizer: Tokenizer, text: str) -> int:
    """Id of a token that must be one token of its own.

    Raises:
        KeyError: the vocabulary has no such token.
    """
    number: int | None = tokenizer.token_to_id(text)
    if number is None:
        raise KeyError(f"the tokenizer has no token {text!r}")
    return number


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json, as transformers reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    document = json.dumps(_config(tokenizer), indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(document + "\n", encoding="utf-8")


def _corpus() -> Iterator[str]:
    yield from [
        f"system\n{SYSTEM_MESSAGE}",
        f"system\n{COMMON_SYSTEM_MESSAGE}",
        "user\n",
        "assistant\n",
    ] * 100
    for text in all_texts():
        yield f"\n{text}"
        yield text


def _config(tokenizer: Tokenizer) -> dict[str, Any]:
    ids = {text: token_id(tokenizer, text) for text in SPECIAL_TOKENS}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {
            str(number): {"content": text, "special": True, "normalized": False}
            for text, number in ids.items()
        },
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "eos_token": IM_END,
        "pad_token": END_OF_TEXT,
        "model_max_length": 2048,
        "chat_template": (
            "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
            "'<|im_end|>' + '\\n'}}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
        ),
    }
