"""config.json: what is read, and the sentences for what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from internvl_engines.contract.checkpoint import (
    CheckpointInvalid,
    CheckpointNotFound,
    read_checkpoint_config,
)

SHIPPED = Path(__file__).parents[4] / "engines/internvl_engines/models/internvl-nano"

Edit = Callable[[Callable[[dict[str, Any]], object]], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """A copy of the shipped config.json with one thing changed."""

    def edit(change: Callable[[dict[str, Any]], object]) -> Path:
        document = json.loads((SHIPPED / "config.json").read_text())
        change(document)
        (tmp_path / "config.json").write_text(json.dumps(document))
        return tmp_path

    return edit


def test_token_counts_follow_from_tile_patch_and_ratio(edited: Edit) -> None:
    def as_published(document: dict[str, Any]) -> None:
        document["force_image_size"] = document["vision_config"]["image_size"] = 448

    config = read_checkpoint_config(edited(as_published))
    assert (config.patches_per_tile, config.tokens_per_tile, config.tokens_per_compressed_tile) == (
        1024,
        256,
        64,
    )


def test_flash_is_none_when_flash_mode_is_off(edited: Edit) -> None:
    assert read_checkpoint_config(edited(lambda document: document.update(flash_mode=False))).flash is None


def test_a_path_without_a_checkpoint_is_told_apart_from_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="no checkpoint folder"):
        read_checkpoint_config(tmp_path / "nothing")
    with pytest.raises(CheckpointNotFound, match=r"no config\.json"):
        read_checkpoint_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointInvalid, match="not valid JSON"):
        read_checkpoint_config(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.update(ps_version="v1"), r"ps_version is 'v1'; supported is v2"),
        (lambda d: d.update(ps_version="v3"), r"ps_version is 'v3'; supported is v2"),
        (lambda d: d.update(model_type="internvl"), r"model_type is 'internvl'; supported is internvl_chat"),
        (lambda d: d.update(select_layer=-2), r"select_layer is -2; supported is -1"),
        (lambda d: d.pop("downsample_ratio"), r"downsample_ratio is missing"),
        (
            lambda d: d.pop("flash_relative_threshold"),
            r"flash_relative_threshold is missing although flash_mode",
        ),
        (
            lambda d: d.pop("flash_absolute_threshold"),
            r"flash_absolute_threshold is missing although flash_mode",
        ),
        (lambda d: d.update(flash_relative_threshold=1.5), r"flash_relative_threshold is 1.5"),
        (
            lambda d: d["llm_config"].update(model_type="llama"),
            r"llm_config.model_type is 'llama'; supported is qwen3",
        ),
        (lambda d: d["llm_config"].update(rope_scaling={"type": "dynamic"}), r"llm_config.rope_scaling"),
        (
            lambda d: d["llm_config"].update(rope_parameters={"rope_type": "yarn", "rope_theta": 1e6}),
            r"llm_config.rope_parameters.*only rope_type default",
        ),
        (lambda d: d["llm_config"].update(use_sliding_window=True), r"llm_config.use_sliding_window is True"),
        (lambda d: d["llm_config"].pop("num_key_value_heads"), r"llm_config.num_key_value_heads is missing"),
        (
            lambda d: d["vision_config"].pop("num_hidden_layers"),
            r"vision_config.num_hidden_layers is missing",
        ),
        (lambda d: d["vision_config"].pop("qk_normalization"), r"vision_config.qk_normalization is missing"),
        (
            lambda d: d["vision_config"].update(norm_type="batch_norm"),
            r"norm_type is 'batch_norm'; supported is",
        ),
        (
            lambda d: d.update(force_image_size=448),
            r"force_image_size is 448 and vision_config.image_size 112",
        ),
        (lambda d: d.update(downsample_ratio=0.3), r"downsample_ratio is 0.3, which does not divide"),
        (
            lambda d: d.update(min_dynamic_patch=13),
            r"min_dynamic_patch is 13, more than max_dynamic_patch 12",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_by_file_field_and_what_is_supported(
    edited: Edit, change: Callable[[dict[str, Any]], object], sentence: str
) -> None:
    with pytest.raises(CheckpointInvalid, match=sentence) as refusal:
        read_checkpoint_config(edited(change))
    assert "config.json" in str(refusal.value)
