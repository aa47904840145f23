"""A second model to roll to: internvl-nano under another digest, with other words in its answers.

Words of its tokenizer are exchanged (red says blue, a question about circles is one about squares). So prompts,
features and answers of the two models fit together only within one model, and a test sees from an answer whose it is.
"""

import json
import shutil
from pathlib import Path

from internvl_engines.contract.artifact import Manifest
from internvl_engines.contract.checkpoint import checkpoint_digest
from internvl_engines.nano.pictures import COLOURS, KINDS
from internvl_engines.store.layout import artifact_folder, checkpoint_store, manifest_file

_RINGS = (
    tuple(COLOURS),
    KINDS,
    ("one", "two", "three", "four", "five", "six", "seven"),
)


def make_second_model(source: Path, target: Path) -> Path:
    """Write the second model of the checkpoint `source` to the folder `target`, with its artifacts."""
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config))  # other bytes, the same model: another digest
    _exchange_words(target / "tokenizer.json")
    revision = checkpoint_digest(target)
    store = checkpoint_store(target)
    for folder in list(store.iterdir()):
        manifest = Manifest.model_validate_json(manifest_file(folder).read_text())
        manifest = manifest.model_copy(update={"key": manifest.key.model_copy(update={"weights": revision})})
        manifest_file(folder).write_text(manifest.model_dump_json())
        folder.rename(artifact_folder(store, manifest.key))
    return target


def _exchange_words(tokenizer: Path) -> None:
    document = json.loads(tokenizer.read_text())
    vocabulary = document["model"]["vocab"]
    for ring in _RINGS:
        for mark in ("", "\u0120"):  # at the beginning of a text, after a space
            words = [mark + word for word in ring if mark + word in vocabulary]
            ids = [vocabulary[word] for word in words]
            vocabulary.update(zip(words, [*ids[1:], *ids[:1]], strict=True))
    tokenizer.write_text(json.dumps(document, ensure_ascii=False))
