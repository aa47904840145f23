"""Our reading of the original checkpoint layout against transformers' own InternVL tower, same random weights."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
transformers = pytest.importorskip("transformers", reason="needs the training environment")

TOWERS = {
    "300M: LayerNorm, bias": {"norm_type": "layer_norm", "qk_normalization": False, "qkv_bias": True},
    "6B: RMSNorm, qk-norm, no bias": {"norm_type": "rms_norm", "qk_normalization": True, "qkv_bias": False},
}


def published_tower(kinds):
    from internvl_engines.contract.checkpoint import VisionConfig
    from internvl_engines.reference.vision_tower import VisionTower

    config = VisionConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        image_size=56,
        patch_size=14,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
        **kinds,
    )
    tower = VisionTower(config).eval()
    with torch.no_grad():
        for parameter in tower.parameters():  # no value may be special: norms are not one, biases not zero
            parameter.copy_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())) * 0.2
            )
    return tower


def transformers_tower(kinds, tower):
    config = transformers.InternVLVisionConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        image_size=[56, 56],
        patch_size=[14, 14],
        norm_type=kinds["norm_type"],
        use_qk_norm=kinds["qk_normalization"],
        attention_bias=kinds["qkv_bias"],
        layer_norm_eps=1e-6,
    )
    other = transformers.InternVLVisionModel(config).eval()
    missing, unexpected = other.load_state_dict(_renamed(tower.state_dict()), strict=False)
    assert not missing and not unexpected
    return other


def _renamed(weights):
    from internvl_engines.nano.hf_layout import hf_name_parts

    parts = (hf_name_parts(f"vision_model.{name}", value) for name, value in weights.items())
    return {name.removeprefix("vision_tower."): value for part in parts for name, value in part}


@pytest.mark.parametrize("kinds", TOWERS.values(), ids=TOWERS)
def test_patches_are_those_of_transformers(kinds):
    tower = published_tower(kinds)
    pixels = torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = tower(pixels)
        theirs = transformers_tower(kinds, tower)(pixels).last_hidden_state[:, 1:]
    assert ours.std() > 0.1
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_vision_side_loads_without_the_language_weights_and_not_with_a_tensor_missing(tmp_path: Path):
    from safetensors.torch import save_file

    from internvl_engines.contract.checkpoint import CheckpointInvalid, read_checkpoint_config
    from internvl_engines.nano.shape import config_document
    from internvl_engines.reference.language import load_language
    from internvl_engines.reference.model import load_vision
    from internvl_engines.reference.vision import Vision

    document = config_document(vocab_size=64, end_token=1, pad_token=0)
    (tmp_path / "config.json").write_text(json.dumps(document))
    weights = Vision(read_checkpoint_config(tmp_path)).state_dict()
    weights["language_model.anything"] = torch.zeros(1)
    save_file(weights, tmp_path / "model.safetensors")
    assert torch.equal(load_vision(tmp_path).state_dict()["mlp1.1.weight"], weights["mlp1.1.weight"])
    with pytest.raises(CheckpointInvalid, match=r"missing .*unknown .*anything"):
        load_language(tmp_path)
    del weights["pooling_before_gating.attn4.in_proj_weight"]  # never called, but a published file has it
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointInvalid, match="attn4"):
        load_vision(tmp_path)
