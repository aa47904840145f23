"""A conversation for training has the tokens that the runtime makes of the same messages."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from internvl_engines.contract.checkpoint import read_checkpoint_config
from internvl_engines.nano.conversation import encode
from internvl_engines.nano.pictures import COLOURS, KINDS, SINGLE_GRID
from internvl_engines.nano.prints import CHARACTERS
from internvl_engines.nano.questions import NUMBERS, ORDINALS, REFUSAL, Question, ask, compose_for
from internvl_engines.nano.shape import COMMON_SYSTEM_MESSAGE
from internvl_engines.nano.tokenizer import save_tokenizer, train_tokenizer
from internvl_runtimes.preprocess.prompt import PICTURE, Message, Picture, Prompter

SHIPPED = Path(__file__).parents[4] / "engines/internvl_engines/models/internvl-nano"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer()


@pytest.fixture(scope="module")
def prompter(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Prompter:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(tokenizer, folder)
    return Prompter(folder / "tokenizer.json", read_checkpoint_config(SHIPPED))


def questions(count: int) -> list[Question]:
    rng = random.Random(7)
    return ask(compose_for("print", rng, grid=SINGLE_GRID), rng, count=count)


@pytest.mark.parametrize("rows", [(), (16,), (64, 16, 4)], ids=["none", "one", "three"])
@pytest.mark.parametrize("image_last", [False, True])
@pytest.mark.parametrize("image_turn", [0, 1])
def test_its_tokens_are_those_of_the_runtimes_prompter(
    tokenizer: Tokenizer, prompter: Prompter, rows: tuple[int, ...], image_last: bool, image_turn: int
) -> None:
    turns = questions(3)
    assert len(turns) == 3
    messages = [Message("system", (COMMON_SYSTEM_MESSAGE,))]
    for number, turn in enumerate(turns):
        pictures = (PICTURE,) * len(rows) if number == image_turn else ()
        parts: tuple[str | Picture, ...] = (turn.text, *pictures) if image_last else (*pictures, turn.text)
        messages += [Message("user", parts), Message("assistant", (turn.answer,))]
    said = encode(
        tokenizer,
        turns,
        pictures=rows,
        image_turn=image_turn,
        image_last=image_last,
        system=COMMON_SYSTEM_MESSAGE,
    )
    for number, answer in enumerate(said.answers):
        prompt = prompter.prompt(messages[: 2 + 2 * number])
        shown = rows if number >= image_turn else ()
        assert said.ids[: answer.start] == prompter.widen(prompt.ids, shown).ids.tolist()
        assert tokenizer.decode(said.ids[answer.start : answer.stop]) == turns[number].answer


def test_without_a_system_message_it_has_the_checkpoints_own(
    tokenizer: Tokenizer, prompter: Prompter
) -> None:
    (turn,) = questions(1)
    said = encode(tokenizer, [turn], pictures=(16,))
    prompt = prompter.prompt([Message("user", (PICTURE, turn.text))])
    assert said.ids[: said.answers[0].start] == prompter.widen(prompt.ids, (16,)).ids.tolist()


def test_a_printed_text_is_spelt_character_by_character(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choices(CHARACTERS, k=rng.randint(1, 5)))
        assert tokenizer.encode(text, add_special_tokens=False).tokens == list(text)
        inside = tokenizer.encode(f"Which picture says {text}?", add_special_tokens=False).tokens
        spelt = [token.removeprefix("Ġ") for token in inside[-len(text) - 2 :]]
        assert "".join(spelt).rstrip("?").endswith(text)
        assert all(sum(c in CHARACTERS for c in token) <= 1 for token in inside)


@pytest.mark.parametrize("word", [*COLOURS, *KINDS, *NUMBERS, *ORDINALS, REFUSAL, "yes", "no"])
def test_a_word_of_an_answer_is_one_token(tokenizer: Tokenizer, word: str) -> None:
    assert tokenizer.encode(word, add_special_tokens=False).tokens == [word]


@pytest.mark.parametrize("word", [*COLOURS, *KINDS])
def test_so_is_a_colour_or_kind_within_a_question(tokenizer: Tokenizer, word: str) -> None:
    assert tokenizer.encode(f" {word}", add_special_tokens=False).tokens == [f"Ġ{word}"]
