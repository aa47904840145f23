import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from internvl_engines.contract.checkpoint import CheckpointConfig

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>")


@pytest.fixture(scope="session")
def checkpoint_config() -> CheckpointConfig:
    """InternVL3.5-1B's geometry, as its config.json states it."""
    return CheckpointConfig.model_validate(
        {
            "vision_config": {
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "intermediate_size": 4096,
                "image_size": 448,
                "patch_size": 14,
                "norm_type": "layer_norm",
                "qk_normalization": False,
                "qkv_bias": True,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-6,
            },
            "llm_config": {
                "model_type": "qwen3",
                "hidden_size": 1024,
                "num_hidden_layers": 28,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "intermediate_size": 3072,
                "vocab_size": 151936,
                "max_position_embeddings": 40960,
                "hidden_act": "silu",
                "rms_norm_eps": 1e-6,
                "rope_theta": 1000000,
                "tie_word_embeddings": True,
                "attention_bias": False,
            },
            "downsample_ratio": 0.5,
            "ps_version": "v2",
            "select_layer": -1,
            "template": "internvl2_5",
            "min_dynamic_patch": 1,
            "max_dynamic_patch": 12,
            "dynamic_image_size": True,
            "use_thumbnail": True,
        }
    )


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A byte-level BPE in the family's manner: a few merges, every byte representable."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
    )
    words = "system user assistant what colour is the square red green blue Image one two three é 图 😀 "
    made.train_from_iterator([words] * 4, trainer)
    made.add_tokens(["<think>", "</think>"])
    return made


@pytest.fixture(scope="session")
def tokenizer_path(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path
