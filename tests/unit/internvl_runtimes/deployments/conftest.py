from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from internvl_runtimes.deployments.admission import Admission
from internvl_runtimes.preprocess.prompt import Prompter
from tests.unit.internvl_runtimes.deployments.fakes import checkpoint_config, gateway_config

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token a byte, and the family's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL_TOKENS)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="session")
def prompter(tokenizer_path: Path) -> Prompter:
    return Prompter(tokenizer_path, checkpoint_config())


@pytest.fixture
def admission(prompter: Prompter) -> Admission:
    return Admission(gateway_config(), checkpoint_config(), prompter)
