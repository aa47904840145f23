import random

import numpy as np
import pytest

from internvl_runtimes.engines.onnxruntime_language.slots import BLOCK, PATIENCE, KvShape, KvSlots

SHAPE = KvShape(layers=2, kv_heads=1, head_dim=3)


def kv(value, length, rows=1):
    """Keys whose every number says which sequence and which token they are of; values are their negatives."""
    keys = np.empty((2, rows, 1, length, 3), np.float32)
    keys[:] = (value + np.arange(length) / 1000)[:, None]
    return keys


def slots(max_sequences=4, max_model_len=200):
    return KvSlots(SHAPE, max_sequences=max_sequences, max_model_len=max_model_len)


@pytest.mark.parametrize("seed", range(30))
def test_each_sequence_finds_its_own_tokens_through_any_joining_and_leaving(seed):
    chance = random.Random(seed)
    cache = slots()
    lengths: dict[int, int] = {}
    number = 0
    for _ in range(80):
        action = chance.choices(["add", "step", "leave"], [2, 8, 1])[0]
        if action == "add" and len(lengths) < 4:
            number += 1
            length = chance.randint(1, 70)
            cache.add(number, kv(number, length), -kv(number, length))
            lengths[number] = length
        elif action == "leave" and lengths:
            del lengths[chance.choice(sorted(lengths))]
            cache.retain(frozenset(lengths))
        elif action == "step" and lengths:
            past = cache.past()
            assert past.keys.flags.c_contiguous and past.values.flags.c_contiguous
            new = np.full((2, len(past.positions), 1, 1, 3), -1, np.float32)
            for key, length in lengths.items():
                row = cache.row(key)
                filled = np.flatnonzero(past.mask[row, 0, 0])
                assert filled.tolist() == [*range(length), past.keys.shape[3]]
                assert past.positions[row, 0] == length
                expected = np.broadcast_to(kv(key, length)[:, 0], past.keys[:, row, :, :length].shape)
                assert np.array_equal(past.keys[:, row, :, :length], expected)
                assert np.array_equal(past.values[:, row, :, :length], -expected)
                new[:, row] = np.float32(key + length / 1000)
                lengths[key] += 1
            cache.append(new, -new)
        assert np.isfinite(cache.past().keys).all()
        assert cache.bytes_reserved <= cache.bytes_limit


def test_memory_follows_the_load_and_is_counted():
    cache = slots(max_sequences=8)
    assert cache.bytes_reserved == 0
    cache.add(1, kv(1, 5), kv(1, 5))
    assert cache.bytes_reserved == SHAPE.bytes_per_token * BLOCK
    for number in range(2, 9):
        cache.add(number, kv(number, 5), kv(number, 5))
    assert cache.bytes_reserved == SHAPE.bytes_per_token * BLOCK * 8
    cache.retain(frozenset({8}))
    for _ in range(PATIENCE):
        row = cache.row(8)
        cache.past()
    assert cache.bytes_reserved == SHAPE.bytes_per_token * BLOCK
    assert cache.row(8) == 0 != row
    assert cache.bytes_limit == SHAPE.bytes_per_token * 8 * 224


def test_a_sequence_can_fill_the_models_whole_length():
    cache = slots(max_sequences=1, max_model_len=64)
    cache.add(1, kv(1, 60), kv(1, 60))
    for length in range(60, 64):
        past = cache.past()
        assert past.positions[0, 0] == length
        cache.append(kv(1, 1), kv(1, 1))
    assert cache.bytes_reserved == cache.bytes_limit


def test_more_sequences_than_slots_are_a_fault():
    cache = slots(max_sequences=1)
    cache.add(1, kv(1, 5), kv(1, 5))
    with pytest.raises(RuntimeError, match="one more was scheduled"):
        cache.add(2, kv(2, 5), kv(2, 5))
