"""Checkpoints of other forms: what our readers take, what they refuse, and that values are the same in each."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the training environment")
transformers = pytest.importorskip("transformers", reason="needs the training environment")

SHIPPED = Path(__file__).parents[2] / "engines/internvl_engines/models/internvl-nano"


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """All of them, from the shipped checkpoint."""
    from internvl_engines.nano.variants import VARIANTS, make_variants

    made = make_variants(SHIPPED, tmp_path_factory.mktemp("variants"))
    return dict(zip(VARIANTS, made, strict=True))


@pytest.fixture(scope="module")
def pixels():
    from internvl_engines.nano.pictures import compose, draw
    from internvl_runtimes.preprocess.tiling import tile

    picture = draw(compose(random.Random(2), grid=(2, 1)))
    return torch.from_numpy(
        tile(picture, tile_size=112, min_tiles=1, max_tiles=12, use_thumbnail=True).pixels
    )


@pytest.fixture(scope="module")
def shipped():
    from internvl_engines.reference.model import load_vision

    return load_vision(SHIPPED)


def test_the_dense_one_has_the_rows_of_kept_tiles_and_no_router(variants, shipped, pixels):
    from internvl_engines.contract.checkpoint import read_checkpoint_config
    from internvl_engines.reference.model import load_vision

    assert read_checkpoint_config(variants["dense"]).flash is None
    dense = load_vision(variants["dense"])
    assert not hasattr(dense, "mlp2") and not hasattr(dense, "gating")
    with torch.no_grad():
        rows, kept = dense.features(pixels), shipped.keep(shipped.patches(pixels))
    assert len(rows) == len(kept) == len(pixels) > 1
    assert torch.allclose(torch.stack(rows), kept, atol=1e-4, rtol=1e-4)


def test_the_hf_one_is_what_transformers_loads_and_computes_the_same(variants, shipped, pixels):
    model, info = transformers.InternVLForConditionalGeneration.from_pretrained(
        variants["hf"], dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    from internvl_engines.reference.language import load_language

    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        rows = model.get_image_features(pixel_values=pixels)
        rows = getattr(rows, "pooler_output", rows)
        kept = shipped.keep(shipped.patches(pixels))
        logits = model(input_ids=ids).logits
        ours = load_language(SHIPPED)(input_ids=ids).logits
    assert torch.allclose(rows, kept, atol=1e-4, rtol=1e-4)
    assert torch.allclose(logits, ours, atol=1e-4, rtol=1e-4)


def test_the_hf_one_is_refused_by_its_field_and_the_supported_layout_is_named(variants):
    from internvl_engines.contract.checkpoint import CheckpointInvalid, read_checkpoint_config

    with pytest.raises(CheckpointInvalid, match=r"model_type is 'internvl'; supported is internvl_chat"):
        read_checkpoint_config(variants["hf"])


def test_the_other_tower_has_the_norms_of_the_large_family(variants, shipped, pixels):
    from internvl_engines.reference.model import load_vision

    tower = load_vision(variants["tower"])
    names = tower.state_dict().keys()
    assert any(".q_norm." in name for name in names) and not any(".qkv.bias" in name for name in names)
    with torch.no_grad():
        assert not torch.allclose(tower.patches(pixels), shipped.patches(pixels))
    assert torch.equal(tower.mlp1[1].weight, shipped.mlp1[1].weight)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkpoint like nano with one layer and random weights: quick to export."""
    from safetensors.torch import save_file

    from internvl_engines.contract.checkpoint import read_checkpoint_config
    from internvl_engines.reference.language import new_language
    from internvl_engines.reference.vision import Vision

    folder = tmp_path_factory.mktemp("small")
    document = json.loads((SHIPPED / "config.json").read_text())
    for part in ("vision_config", "llm_config"):
        document[part]["num_hidden_layers"] = 1
    (folder / "config.json").write_text(json.dumps(document))
    config = read_checkpoint_config(folder)
    torch.manual_seed(0)
    weights = dict(Vision(config).state_dict())
    language = new_language(config.language).state_dict()
    weights |= {
        f"language_model.{name}": value for name, value in language.items() if name != "lm_head.weight"
    }
    save_file({name: value.clone() for name, value in weights.items()}, folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (folder / name).write_bytes((SHIPPED / name).read_bytes())
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "files"), [("dense", 2), ("tower", 4)])
def test_a_variant_is_exported_and_served_by_the_embedded_engine(small, tmp_path, pixels, name, files):
    from internvl_engines.contract.checkpoint import read_checkpoint_config
    from internvl_engines.export.vision import export_vision
    from internvl_engines.nano.variants import make_variants
    from internvl_engines.reference.model import load_vision
    from internvl_runtimes.engines.onnxruntime_vision import OnnxRuntimeVision
    from internvl_runtimes.engines.tile_features import encode_tiles

    [checkpoint] = make_variants(small, tmp_path, (name,))
    artifact = export_vision(checkpoint, checkpoint / "artifacts")
    assert len(artifact.manifest.files) == files
    config = read_checkpoint_config(checkpoint)
    [features] = encode_tiles(
        OnnxRuntimeVision(artifact, threads=1), pixels.numpy(), [len(pixels)], flash=config.flash
    )
    with torch.no_grad():
        expected = torch.cat(load_vision(checkpoint).features(pixels)).numpy()
    np.testing.assert_allclose(features.rows, expected, atol=1e-3)


def test_the_reward_model_scores_each_step_in_one_prefill_at_the_token_before_its_answer(variants, pixels):
    from internvl_engines.nano.reward import BAD, GOOD, reward_messages, score_steps, score_token, split_steps
    from internvl_engines.reference.model import load_model
    from internvl_runtimes.preprocess.prompt import Prompter

    assert json.loads((variants["reward"] / "config.json").read_text())["architectures"] == [
        "InternVLRewardModel"
    ]
    model = load_model(variants["reward"])
    prompter = Prompter(variants["reward"] / "tokenizer.json", model.config)
    solution = "There is a red star.\n\nThere are two shapes.\n\n\nThe answer is two."
    scores = score_steps(model, prompter, "How many shapes are there?", solution, [pixels])
    steps = split_steps(solution)
    assert len(scores.steps) == len(steps) == 3
    assert scores.solution == pytest.approx(sum(scores.steps) / 3)
    # Each score is what a prompt that ends there would give: nothing behind it is seen.
    for count in (1, 2, 3):
        messages = reward_messages("How many shapes are there?", steps[:count], pictures=1)[:-1]
        rows = torch.cat(model.vision.features(pixels))
        widened = prompter.widen(prompter.prompt(messages).ids, [len(rows)])
        with torch.no_grad():
            embeddings = model.prompt_embeddings(
                torch.from_numpy(widened.ids), rows, prompter.image_context_id
            )
            last = model.language(inputs_embeds=embeddings).logits[0, -1]
        pair = last[[score_token(prompter, GOOD), score_token(prompter, BAD)]]
        assert scores.steps[count - 1] == pytest.approx(torch.softmax(pair, dim=-1)[0].item(), abs=1e-4)


def test_a_step_that_ends_like_an_answer_is_refused(variants, pixels):
    from internvl_engines.nano.reward import score_steps
    from internvl_engines.reference.model import load_model
    from internvl_runtimes.preprocess.prompt import Prompter

    model = load_model(variants["reward"])
    prompter = Prompter(variants["reward"] / "tokenizer.json", model.config)
    with pytest.raises(ValueError, match="2 answers were found for 1 steps"):
        score_steps(model, prompter, "What is it?", "grade\n+", [pixels])
