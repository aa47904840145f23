"""Reads the description of a checkpoint in the ``InternVLChatModel`` layout: config.json, never the weights.

Called by the runtimes (geometry, template, Flash thresholds), by the exporter and by the reference model.
Nothing falls back on a default of the original config classes: those describe another model
(48 layers, 224 px), so a missing field is an error that names the file and the field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError, field_validator

_CHUNK = 1 << 20


class CheckpointNotFound(Exception):
    """There is no checkpoint at the path: the caller should correct the path or fetch the model."""


class CheckpointInvalid(Exception):
    """The checkpoint is there and cannot be served: the message names the file, the field and what is."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, protected_namespaces=())


class VisionConfig(_Part):
    """The vision tower (InternViT), as ``vision_config`` states it."""

    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0, validation_alias=AliasChoices("num_hidden_layers", "layers"))
    heads: int = Field(gt=0, validation_alias=AliasChoices("num_attention_heads", "heads"))
    intermediate_size: int = Field(gt=0)
    image_size: int = Field(gt=0)
    patch_size: int = Field(gt=0)
    norm_type: Literal["layer_norm", "rms_norm"]
    qk_normalization: bool
    qkv_bias: bool
    hidden_act: Literal["gelu"]
    layer_norm_eps: float = Field(gt=0)


class LanguageConfig(_Part):
    """The language model, as ``llm_config`` states it. Qwen3 is the one type implemented now."""

    model_type: Literal["qwen3"]
    hidden_size: int = Field(gt=0)
    layers: int = Field(gt=0, validation_alias=AliasChoices("num_hidden_layers", "layers"))
    heads: int = Field(gt=0, validation_alias=AliasChoices("num_attention_heads", "heads"))
    kv_heads: int = Field(gt=0, validation_alias=AliasChoices("num_key_value_heads", "kv_heads"))
    head_dim: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    vocab_size: int = Field(gt=0)
    max_position: int = Field(gt=0, validation_alias=AliasChoices("max_position_embeddings", "max_position"))
    hidden_act: Literal["silu"]
    rms_norm_eps: float = Field(gt=0)
    rope_theta: float = Field(
        gt=0, validation_alias=AliasChoices("rope_theta", AliasPath("rope_parameters", "rope_theta"))
    )
    tie_word_embeddings: bool
    attention_bias: bool
    # Published configs of this type say null and false; anything else changes the arithmetic.
    rope_scaling: None = None
    rope_parameters: dict[str, Any] = Field(default_factory=dict)  # the newer place of both
    use_sliding_window: Literal[False] = False

    @field_validator("rope_parameters")
    @classmethod
    def _only_plain_rope(cls, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("rope_type", "default") != "default" or value.keys() - {"rope_type", "rope_theta"}:
            raise ValueError(f"only rope_type default is computed, and this one is {value}")
        return value


class FlashConfig(_Part):
    """The Visual Resolution Router's thresholds (InternVL3.5-Flash).

    A tile is compressed when its p0 is strictly above the ``relative_threshold`` quantile of the request's
    tiles and at least ``absolute_threshold``.
    """

    relative_threshold: float = Field(ge=0, le=1)
    absolute_threshold: float = Field(ge=0)


class CheckpointConfig(_Part):
    """What the rest of the system needs to know of a checkpoint."""

    vision: VisionConfig = Field(validation_alias=AliasChoices("vision_config", "vision"))
    language: LanguageConfig = Field(validation_alias=AliasChoices("llm_config", "language"))
    downsample_ratio: float = Field(gt=0, le=1)
    ps_version: Literal["v2"]
    select_layer: Literal[-1]
    template: str
    system_message: str | None = None
    """Overrides the template's own system message; None keeps the template's."""
    min_dynamic_patch: int = Field(ge=1)
    max_dynamic_patch: int = Field(ge=1)
    dynamic_image_size: bool
    use_thumbnail: bool
    flash: FlashConfig | None = None

    @property
    def image_size(self) -> int:
        """Side of a tile in pixels."""
        return self.vision.image_size

    @property
    def patch_size(self) -> int:
        """Side of a ViT patch in pixels."""
        return self.vision.patch_size

    @property
    def patches_per_tile(self) -> int:
        """ViT tokens of a tile, the class token not counted."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens_per_tile(self) -> int:
        """Visual tokens of a tile that is kept (projector ``mlp1``)."""
        return round(self.patches_per_tile * self.downsample_ratio**2)

    @property
    def tokens_per_compressed_tile(self) -> int:
        """Visual tokens of a tile that the router compresses (projector ``mlp2``)."""
        return round(self.patches_per_tile * self.downsample_ratio**4)


# What is supported, for the fields where a valid checkpoint may well say something else.
_SUPPORTED = {
    "ps_version": "v2 (v1 transposes the picture)",
    "select_layer": "-1 (the last layer)",
    "llm_config.model_type": "qwen3",
    "llm_config.rope_scaling": "null",
    "llm_config.use_sliding_window": "false",
    "vision_config.norm_type": "layer_norm, rms_norm",
    "vision_config.hidden_act": "gelu",
    "llm_config.hidden_act": "silu",
}


def read_checkpoint_config(path: Path) -> CheckpointConfig:
    """Read ``<path>/config.json``.

    Raises:
        CheckpointNotFound: there is no folder or no config.json in it.
        CheckpointInvalid: config.json is not that of a model we can serve.
    """
    file = path / "config.json"
    raw = _read_json(path, file)
    _refuse_unless(
        raw.get("model_type") == "internvl_chat",
        file,
        "model_type",
        f"is {raw.get('model_type')!r}; supported is internvl_chat (the layout of the original releases)",
    )
    document = {key: value for key, value in raw.items() if key != "flash"}
    if raw.get("flash_mode"):
        document["flash"] = _flash_document(raw, file)
    try:
        config = CheckpointConfig.model_validate(document)
    except ValidationError as error:
        raise CheckpointInvalid(_sentence(file, error)) from error
    _check_geometry(config, raw, file)
    return config


def file_sha256(file: Path) -> str:
    """Hex SHA-256 of a file's contents."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def checkpoint_digest(path: Path, *, weights_sha256: Callable[[Path], str] = file_sha256) -> str:
    """The revision of a checkpoint: ``sha256:`` over the names and contents of config.json and *.safetensors.

    Args:
        path: folder of the checkpoint.
        weights_sha256: hex SHA-256 of a weight file, for those who know it otherwise. Without it the whole of
            every weight file is read; ask once a process.

    Raises:
        CheckpointNotFound: config.json or every weight file is missing.
    """
    config, weights = path / "config.json", weight_files(path)
    if not config.is_file() or not weights:
        missing = "config.json" if not config.is_file() else "a *.safetensors file"
        raise CheckpointNotFound(f"{path} holds no {missing}: give the folder of a complete checkpoint.")
    outer = hashlib.sha256()
    for file in (config, *weights):
        contents = file_sha256(file) if file is config else weights_sha256(file)
        outer.update(file.name.encode() + b"\0" + bytes.fromhex(contents))
    return f"sha256:{outer.hexdigest()}"


def weight_files(path: Path) -> tuple[Path, ...]:
    """The weight files of a checkpoint, by name."""
    return tuple(sorted(path.glob("*.safetensors")))


def _read_json(path: Path, file: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise CheckpointNotFound(
            f"There is no checkpoint folder {path}: correct the path or fetch the model."
        )
    if not file.is_file():
        raise CheckpointNotFound(f"{path} holds no config.json: give the folder of a complete checkpoint.")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointInvalid(f"{file} is not valid JSON ({error}): fetch the checkpoint again.") from error
    if not isinstance(document, dict):
        raise CheckpointInvalid(f"{file} is not a JSON object: fetch the checkpoint again.")
    return document


def _flash_document(raw: dict[str, Any], file: Path) -> dict[str, Any]:
    values = {}
    for name in ("relative_threshold", "absolute_threshold"):
        field = f"flash_{name}"
        _refuse_unless(
            raw.get(field) is not None,
            file,
            field,
            "is missing although flash_mode is on: copy the value from the published checkpoint",
        )
        values[name] = raw[field]
    return values


def _check_geometry(config: CheckpointConfig, raw: dict[str, Any], file: Path) -> None:
    forced = raw.get("force_image_size")
    _refuse_unless(
        forced in (None, config.image_size),
        file,
        "force_image_size",
        f"is {forced} and vision_config.image_size {config.image_size}; supported is that both are equal",
    )
    side, rest = divmod(config.image_size, config.patch_size)
    _refuse_unless(
        rest == 0, file, "vision_config.image_size", "is not a multiple of vision_config.patch_size"
    )
    factor = round(1 / config.downsample_ratio)
    shrink = factor**2 if config.flash else factor
    _refuse_unless(
        factor * config.downsample_ratio == 1 and side % shrink == 0,
        file,
        "downsample_ratio",
        f"is {config.downsample_ratio}, which does not divide the {side} x {side} patches of a tile",
    )
    _refuse_unless(
        config.vision.hidden_size % config.vision.heads == 0,
        file,
        "vision_config.num_attention_heads",
        "does not divide vision_config.hidden_size",
    )
    _refuse_unless(
        config.language.heads % config.language.kv_heads == 0,
        file,
        "llm_config.num_key_value_heads",
        "does not divide llm_config.num_attention_heads",
    )
    _refuse_unless(
        config.min_dynamic_patch <= config.max_dynamic_patch,
        file,
        "min_dynamic_patch",
        f"is {config.min_dynamic_patch}, more than max_dynamic_patch {config.max_dynamic_patch}",
    )


def _refuse_unless(ok: bool, file: Path, field: str, fault: str) -> None:
    if not ok:
        raise CheckpointInvalid(f"{file}: {field} {fault}.")


def _sentence(file: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]).replace("flash.", "flash_")
    if first["type"] == "missing":
        return f"{file}: {field} is missing: it has no safe default, copy it from the published checkpoint."
    supported = _SUPPORTED.get(field)
    tail = f"supported is {supported}" if supported else str(first["msg"])
    return f"{file}: {field} is {first['input']!r}; {tail}."
