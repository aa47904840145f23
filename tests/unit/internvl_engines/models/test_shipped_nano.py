"""What lies in the repository: found by its own digest, whole, within the limits that the project set itself."""

from pathlib import Path
from typing import Literal

import pytest
from tokenizers import Tokenizer

from internvl_engines.contract.artifact import onnxruntime_key
from internvl_engines.contract.checkpoint import checkpoint_digest, read_checkpoint_config
from internvl_engines.nano.questions import WORDINGS
from internvl_engines.nano.shape import SYSTEM_MESSAGE
from internvl_engines.nano.tokenizer import SPECIAL_TOKENS
from internvl_engines.store.layout import stores_for
from internvl_engines.store.local import find_artifact

SHIPPED = Path(__file__).parents[4] / "engines/internvl_engines/models/internvl-nano"
MEGABYTE = 1_000_000


@pytest.mark.parametrize("role", ["vision", "language"])
def test_its_artifacts_are_found_by_the_digest_of_its_weights_and_are_whole(
    role: Literal["vision", "language"],
) -> None:
    key = onnxruntime_key(role, weights=checkpoint_digest(SHIPPED))
    artifact = find_artifact(key, stores_for(SHIPPED))  # compares every file with the manifest's SHA-256
    assert all(difference < 2e-3 for difference in artifact.manifest.verified.values())


def test_no_artifact_of_an_older_checkpoint_lies_about() -> None:
    assert len(list((SHIPPED / "artifacts").iterdir())) == 2


def test_no_file_is_larger_than_twenty_megabytes() -> None:
    assert max(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) <= 20 * MEGABYTE


def test_geometry_of_config_and_artifacts_agree() -> None:
    config = read_checkpoint_config(SHIPPED)
    digest = checkpoint_digest(SHIPPED)
    vision, language = (
        find_artifact(onnxruntime_key(role, weights=digest), stores_for(SHIPPED)).manifest.geometry
        for role in ("vision", "language")
    )
    assert (
        (vision["K"], vision["C"]) == (config.tokens_per_tile, config.tokens_per_compressed_tile) == (16, 4)
    )
    assert vision["H"] == language["H"] == config.language.hidden_size
    assert config.system_message == SYSTEM_MESSAGE


def test_features_of_a_picture_of_thirteen_tiles_exceed_what_travels_inside_a_ray_message() -> None:
    config = read_checkpoint_config(SHIPPED)
    tiles = config.max_dynamic_patch + 1
    assert tiles * config.tokens_per_tile * config.language.hidden_size * 4 > 100 * 1024


@pytest.mark.parametrize(
    "text", ["How many red circles are there?", "Grüße, 世界! \N{SNOWMAN}", "  \t\n two  spaces", "x\0y"]
)
def test_any_text_has_tokens_and_comes_back(text: str) -> None:
    tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text
    assert max(ids) < read_checkpoint_config(SHIPPED).language.vocab_size


def test_each_special_token_is_one_token() -> None:
    tokenizer = Tokenizer.from_file(str(SHIPPED / "tokenizer.json"))
    for text in SPECIAL_TOKENS:
        assert len(tokenizer.encode(text, add_special_tokens=False).ids) == 1


def test_the_figures_on_its_card_are_of_these_weights() -> None:
    assert checkpoint_digest(SHIPPED) in (SHIPPED / "README.md").read_text(), "run make nano-eval nano-card"


def test_its_card_lists_every_wording_that_it_was_taught() -> None:
    card = (SHIPPED / "README.md").read_text()
    for texts in WORDINGS.values():
        for text in texts:
            assert text in card
