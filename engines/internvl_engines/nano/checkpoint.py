"""Writes a trained internvl-nano as a checkpoint folder in the layout of the published ones."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM

from internvl_engines.contract.checkpoint import CheckpointConfig, read_checkpoint_config
from internvl_engines.nano.shape import FLASH_PARTS, config_document, generation_document
from internvl_engines.nano.tokenizer import END_OF_TEXT, IM_END, VOCABULARY, save_tokenizer, token_id
from internvl_engines.reference.language import PREFIX
from internvl_engines.reference.vision import Vision


class _Ends(TypedDict):
    end_token: int
    pad_token: int


def config_of(tokenizer: Tokenizer) -> CheckpointConfig:
    """The configuration that a checkpoint with this tokenizer will have, read by the code that reads any."""
    with tempfile.TemporaryDirectory() as folder:
        _write_json(Path(folder) / "config.json", config_document(vocab_size=VOCABULARY, **_ends(tokenizer)))
        return read_checkpoint_config(Path(folder))


def write_checkpoint(
    folder: Path, vision: Vision, language: Qwen3ForCausalLM, tokenizer: Tokenizer, *, flash: bool = True
) -> None:
    """config.json, model.safetensors (bfloat16), tokenizer, generation_config.json.

    Without ``flash`` the router and the projector of compressed tiles are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left_out = () if flash else FLASH_PARTS
    tensors = {name: value for name, value in vision.state_dict().items() if not name.startswith(left_out)}
    tensors |= {
        f"{PREFIX}{name}": value for name, value in language.state_dict().items() if name != "lm_head.weight"
    }
    halves = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in sorted(tensors.items())}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes it for its owner only
    config = config_document(vocab_size=VOCABULARY, flash=flash, **_ends(tokenizer))
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", generation_document(**_ends(tokenizer)))
    save_tokenizer(tokenizer, folder)


def _ends(tokenizer: Tokenizer) -> _Ends:
    return {"end_token": token_id(tokenizer, IM_END), "pad_token": token_id(tokenizer, END_OF_TEXT)}


def _write_json(file: Path, document: dict[str, Any]) -> None:
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
