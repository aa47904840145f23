"""Both sides together: the reference that answers a question about tiles, one request at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from internvl_engines.contract.checkpoint import CheckpointConfig, read_checkpoint_config
from internvl_engines.reference.language import PREFIX, end_token_ids, load_language
from internvl_engines.reference.vision import Vision
from internvl_engines.reference.weights import load_into, read_weights


def load_vision(checkpoint: Path) -> Vision:
    """The vision side of a checkpoint in fp32, ready for inference. The language weights are never read."""
    config = read_checkpoint_config(checkpoint)
    vision = Vision(config)
    load_into(vision, read_weights(checkpoint, lambda name: not name.startswith(PREFIX)), checkpoint)
    return vision


@dataclass(frozen=True, slots=True)
class InternVL:
    """A loaded model, both sides in fp32 on the CPU."""

    config: CheckpointConfig
    vision: Vision
    language: Qwen3ForCausalLM
    end_tokens: list[int]

    def prompt_embeddings(self, token_ids: Tensor, features: Tensor, image_token: int) -> Tensor:
        """Embeddings of one prompt, [T] ids and rows [R, H] for its R image tokens -> [1, T, H]."""
        embeddings: Tensor = self.language.get_input_embeddings()(token_ids)
        embeddings = embeddings.clone()
        embeddings[token_ids == image_token] = features
        return embeddings[None]

    def generate(self, embeddings: Tensor, *, max_new_tokens: int) -> list[int]:
        """Greedy tokens that follow the prompt [1, T, H], the end token included when it came."""
        with torch.no_grad():
            tokens = self.language.generate(  # type: ignore[misc]
                inputs_embeds=embeddings,
                attention_mask=torch.ones(embeddings.shape[:2], dtype=torch.long),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=self.end_tokens,
                pad_token_id=self.end_tokens[0],
            )
        return [int(token) for token in tokens[0]]


def load_model(checkpoint: Path) -> InternVL:
    """Both sides of a checkpoint."""
    return InternVL(
        config=read_checkpoint_config(checkpoint),
        vision=load_vision(checkpoint),
        language=load_language(checkpoint),
        end_tokens=end_token_ids(checkpoint),
    )
