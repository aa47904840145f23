import numpy as np
import pytest

from internvl_runtimes.engines.base import EnginePrompt
from internvl_runtimes.engines.onnxruntime_language.decoder import DecoderOutput
from internvl_runtimes.engines.onnxruntime_language.slots import KvShape

VOCABULARY, HIDDEN, LAYERS, HEADS, HEAD_DIM = 50, 24, 2, 2, 6


class NumpyDecoder:
    """A small transformer with random weights. A wrong position, mask, past or row changes its tokens."""

    kv_shape = KvShape(layers=LAYERS, kv_heads=HEADS, head_dim=HEAD_DIM)

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.embeddings = rng.normal(size=(VOCABULARY, HIDDEN)).astype(np.float32)
        self._qkv = rng.normal(size=(LAYERS, 3, HIDDEN, HEADS, HEAD_DIM)).astype(np.float32) / 3
        self._out = rng.normal(size=(LAYERS, HEADS, HEAD_DIM, HIDDEN)).astype(np.float32)
        self.before_run = lambda batch, tokens: None

    def run(self, inputs_embeds, position_ids, attention_mask, past_keys, past_values):
        batch, tokens, _ = inputs_embeds.shape
        assert position_ids.shape == (batch, tokens) and position_ids.dtype == np.int64
        assert attention_mask.shape == (batch, 1, tokens, past_keys.shape[3] + tokens)
        assert past_keys.shape == past_values.shape == (LAYERS, batch, HEADS, past_keys.shape[3], HEAD_DIM)
        assert past_keys.flags.c_contiguous and past_values.flags.c_contiguous
        self.before_run(batch, tokens)
        hidden, new = inputs_embeds, []
        angles = position_ids[..., None] * np.geomspace(1, 0.01, HIDDEN)
        for layer in range(LAYERS):
            turned = (hidden * np.cos(angles)).astype(np.float32)
            q, k, v = (np.einsum("bth,hnd->bntd", turned, self._qkv[layer, part]) for part in range(3))
            new.append((k, v))
            keys = np.concatenate([past_keys[layer], k], axis=2)
            values = np.concatenate([past_values[layer], v], axis=2)
            scores = np.where(attention_mask, np.einsum("bnqd,bnkd->bnqk", q, keys), -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            seen = np.einsum("bnqk,bnkd->bqnd", weights, values)
            hidden = hidden + np.einsum("bqnd,ndh->bqh", seen, self._out[layer])
            hidden = hidden / np.sqrt((hidden**2).mean(-1, keepdims=True) + 1e-6)
        logits = hidden[:, -1] @ self.embeddings.T
        return DecoderOutput(
            logits.astype(np.float32),
            np.stack([k for k, _ in new]).astype(np.float32, order="C"),
            np.stack([v for _, v in new]).astype(np.float32, order="C"),
        )


def alone(decoder, prompt, max_tokens, stop_token_ids=frozenset()):
    """The greedy answer without any cache: the whole sequence is computed anew for each token."""
    embeds = decoder.embeddings[prompt.token_ids]
    embeds[prompt.visual_positions] = prompt.visual_rows
    answer: list[int] = []
    nothing = np.zeros((LAYERS, 1, HEADS, 0, HEAD_DIM), np.float32)
    while len(answer) < max_tokens and not (answer and answer[-1] in stop_token_ids):
        inputs = np.concatenate([embeds, decoder.embeddings[answer]])[None] if answer else embeds[None]
        positions = np.arange(inputs.shape[1])
        mask = positions <= positions[:, None]
        logits = decoder.run(inputs, positions[None], mask[None, None], nothing, nothing).logits
        answer.append(int(logits[0].argmax()))
    return answer


def prompt_of(seed, length, visual=0):
    rng = np.random.default_rng(seed)
    return EnginePrompt(
        token_ids=rng.integers(0, VOCABULARY, length),
        visual_positions=np.arange(1, 1 + visual),
        visual_rows=rng.normal(size=(visual, HIDDEN)).astype(np.float32),
    )


@pytest.fixture
def decoder():
    return NumpyDecoder()


@pytest.fixture
def make_prompt():
    return prompt_of


@pytest.fixture
def answer_alone():
    return alone
