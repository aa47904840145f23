"""The embedded language engine, many sequences at once, against transformers one by one. Random weights."""

import asyncio
import json

import numpy as np
import pytest

from internvl_runtimes.engines.base import EnginePrompt
from internvl_runtimes.engines.onnxruntime_language.decoder import OnnxRuntimeDecoder
from internvl_runtimes.engines.onnxruntime_language.engine import OnnxRuntimeLanguage
from internvl_runtimes.engines.onnxruntime_language.scheduler import Limits
from internvl_runtimes.protocol.handover import Sampling

torch = pytest.importorskip("torch", reason="needs the training environment")
transformers = pytest.importorskip("transformers", reason="needs the training environment")

VOCABULARY, NEAR_TIE = 300, 1e-4


@pytest.fixture(scope="module")
def model():
    from internvl_engines.nano.shape import config_document

    document = config_document(vocab_size=VOCABULARY, end_token=1, pad_token=0)["llm_config"]
    torch.manual_seed(3)
    # Large weights: with the usual small ones the logits are nearly equal and every token is a near tie.
    config = transformers.Qwen3Config(**{**document, "initializer_range": 0.2})
    return transformers.Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def decoder(model, tmp_path_factory):
    from safetensors.torch import save_file

    from internvl_engines.export.language import export_language
    from internvl_engines.nano.shape import config_document
    from internvl_engines.reference.language import PREFIX

    checkpoint = tmp_path_factory.mktemp("checkpoint")
    document = config_document(vocab_size=VOCABULARY, end_token=1, pad_token=0)
    (checkpoint / "config.json").write_text(json.dumps(document))
    tensors = {
        f"{PREFIX}{name}": value.clone()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    return OnnxRuntimeDecoder(export_language(checkpoint, checkpoint / "artifacts"), threads=1)


def one_by_one(model, prompt, max_tokens):
    """Greedy tokens and, for each, how far the two best logits lie apart."""
    with torch.no_grad():
        embeds = model.get_input_embeddings()(torch.from_numpy(prompt.token_ids))
        embeds[torch.from_numpy(prompt.visual_positions)] = torch.from_numpy(prompt.visual_rows)
        output = model.generate(
            inputs_embeds=embeds[None],
            attention_mask=torch.ones(1, len(prompt.token_ids), dtype=torch.long),
            max_new_tokens=max_tokens,
            do_sample=False,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
        )
    best = [logits[0].topk(2).values for logits in output.logits]
    return output.sequences[0].tolist(), [float(two[0] - two[1]) for two in best]


async def all_at_once(decoder, requests):
    limits = Limits(max_sequences=8, max_waiting=100, waiting_rows=10_000, prefill_tokens=64)
    async with OnnxRuntimeLanguage(decoder, limits=limits, max_model_len=512) as engine:

        async def answer(prompt, max_tokens):
            steps = engine.generate(
                prompt, sampling=Sampling(max_tokens=max_tokens), stop_token_ids=frozenset()
            )
            return [token async for step in steps for token in step.token_ids]

        answers = await asyncio.gather(*(answer(*request) for request in requests))
        return answers, engine.load()


@pytest.mark.timeout(300)
def test_greedy_tokens_are_those_of_transformers_generate(model, decoder):
    rng = np.random.default_rng(8)
    requests = []
    for _ in range(20):
        length = int(rng.integers(3, 150))
        visual = int(rng.integers(0, length - 1))
        rows = rng.normal(size=(visual, model.config.hidden_size)).astype(np.float32)
        prompt = EnginePrompt(rng.integers(0, VOCABULARY, length), np.arange(1, 1 + visual), rows)
        requests.append((prompt, int(rng.integers(1, 40))))
    answers, load = asyncio.run(all_at_once(decoder, requests))
    compared = 0
    for answer, request in zip(answers, requests, strict=True):
        expected, margins = one_by_one(model, *request)
        assert len(answer) == len(expected)
        for ours, theirs, margin in zip(answer, expected, margins, strict=True):
            if margin < NEAR_TIE:
                break  # from here on both continue from another token
            assert ours == theirs
            compared += 1
    assert compared > 0.9 * sum(map(len, answers)), "near ties must stay rare for this test to say anything"
    assert load.decode_steps < sum(map(len, answers)) / 3, "sequences did share steps"
