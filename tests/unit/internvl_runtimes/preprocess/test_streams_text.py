import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internvl_runtimes.preprocess.detokenizer import TextStream


def cut_at_first_complete(text: str, stop: list[str]) -> str:
    """The text up to the stop string that is complete first: written the slow and obvious way."""
    for end in range(1, len(text) + 1):
        ending = [word for word in stop if word and text[:end].endswith(word)]
        if ending:
            return text[: end - max(map(len, ending))]
    return text


def streamed(tokenizer, ids, stop, sizes):
    stream, pieces, ids = TextStream(tokenizer, stop), [], list(ids)
    while ids and not stream.stopped:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream.push(ids[:size]))
        del ids[:size]
    return pieces, stream.finish()


TEXT = st.text(alphabet="ab é图😀", max_size=30)


@settings(max_examples=40)
@given(
    text=TEXT,
    stop=st.lists(st.text(alphabet="ab é图", max_size=3), max_size=3),
    sizes=st.lists(st.integers(1, 4), min_size=1),
)
def test_pieces_add_up_to_the_text_before_the_first_complete_stop_string(tokenizer, text, stop, sizes):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    pieces, rest = streamed(tokenizer, ids, stop, sizes)
    assert "".join(pieces) + rest == cut_at_first_complete(text, stop)


def test_a_character_of_several_tokens_comes_whole(tokenizer):
    ids = tokenizer.encode("😀x", add_special_tokens=False).ids
    ids_of_bytes = [i for char in "🦜" for i in tokenizer.encode(char).ids]
    assert len(ids_of_bytes) > 1, "the bird must not be one token for this test to say anything"
    pieces, rest = streamed(tokenizer, ids_of_bytes, [], [1])
    assert pieces == [""] * (len(ids_of_bytes) - 1) + ["🦜"] and rest == ""
    assert "".join(streamed(tokenizer, ids, [], [1])[0]) == "😀x"


def test_an_unfinished_character_at_the_end_is_shown_as_a_replacement(tokenizer):
    ids = tokenizer.encode("a🦜").ids
    pieces, rest = streamed(tokenizer, ids[:-1], [], [1])
    assert "".join(pieces) == "a" and rest == "\ufffd"


def test_text_is_held_only_while_it_may_become_a_stop_string(tokenizer):
    stream = TextStream(tokenizer, ["END"])
    first = [stream.push(tokenizer.encode(char).ids) for char in "aENaEND and more"]
    assert first[:4] == ["a", "", "", "ENa"]
    assert "".join(first) == "aENa" and stream.stopped and stream.finish() == ""


def test_special_tokens_leave_no_text(tokenizer):
    ids = [tokenizer.token_to_id("<|im_end|>"), *tokenizer.encode("red").ids, tokenizer.token_to_id("<img>")]
    pieces, rest = streamed(tokenizer, ids, [], [1])
    assert "".join(pieces) + rest == "red"


@pytest.mark.parametrize("stop", [[], [""]])
def test_no_stop_string_or_an_empty_one_stops_nothing(tokenizer, stop):
    pieces, rest = streamed(tokenizer, tokenizer.encode("red green").ids, stop, [1])
    assert "".join(pieces) + rest == "red green"
