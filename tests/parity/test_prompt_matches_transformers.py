"""Prompt ids against transformers' tokenization of the whole string, placeholders already widened."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from internvl_engines.contract.checkpoint import CheckpointConfig
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Prompter

transformers = pytest.importorskip("transformers", reason="needs the training environment")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
# As in Qwen's tokenizer: the pattern lets line breaks and words join across what we encode as one text.
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory):
    from tokenizers import Regex, normalizers

    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    text = "system\nuser\nassistant\nImage-1: \nImage-2: \nWhat colour is the square?\n\nIt's red. 图片 é\n"
    made.train_from_iterator(
        [text] * 5,
        trainers.BpeTrainer(
            vocab_size=420,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=SPECIAL,
        ),
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


IMAGE_3 = "<img>" + "<IMG_CONTEXT>" * 3 + "</img>\n"
IMAGE_5 = "<img>" + "<IMG_CONTEXT>" * 5 + "</img>\n"
CASES = [
    (
        [Message("user", ("Hello\n\n  it's  me",))],
        [],
        "{s}<|im_start|>user\nHello\n\n  it's  me<|im_end|>\n{a}",
    ),
    (
        [Message("user", (PICTURE, "\nWhat?"))],
        [3],
        "{s}<|im_start|>user\n" + IMAGE_3 + "\nWhat?<|im_end|>\n{a}",
    ),
    (
        [
            Message("user", (PICTURE, PICTURE, "e\u0301 图片?")),
            Message("assistant", ("It's red.\n",)),
            Message("user", ("\n",)),
        ],
        [3, 5],
        "{s}<|im_start|>user\nImage-1: " + IMAGE_3 + "Image-2: " + IMAGE_5 + "e\u0301 图片?<|im_end|>\n"
        "<|im_start|>assistant\nIt's red.\n<|im_end|>\n<|im_start|>user\n\n<|im_end|>\n{a}",
    ),
]


@pytest.mark.parametrize(("messages", "tokens", "text"), CASES)
def test_ids_are_those_of_the_whole_string(tokenizer_path, messages, tokens, text):
    # Only the template's name and the system message are read here; the geometry does not matter.
    config = CheckpointConfig.model_construct(template="internvl2_5", system_message=None)
    prompter = Prompter(tokenizer_path, config)
    whole = text.format(
        s=f"<|im_start|>system\n{prompter.template.system_message}<|im_end|>\n", a="<|im_start|>assistant\n"
    )
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_path))(whole)["input_ids"]
    ours = prompter.widen(prompter.prompt(messages).ids, tokens).ids
    assert ours.tolist() == theirs
