"""Philox4x32-10 against published numbers, and the layout of its words against a scalar of plain Python."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from fastdl import backend, checks, ops, random
from fastdl.kernels.dropout import cpu as dropout
from fastdl.kernels.dropout import reference as dropout_reference
from fastdl.kernels.philox import cpu, reference

PUBLISHED = {
    "zeros": ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    "ones": ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    "digits of pi": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
}


def scalar(counter, key):
    """Philox4x32-10 after Salmon et al. 2011, in integers without bounds."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = q >> 32 ^ b ^ k0, q % 2**32, p >> 32 ^ d ^ k1, p % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return a, b, c, d


@njit
def _numba_block(c0, c1, c2, c3, k0, k1):
    return cpu.block(c0, c1, c2, c3, k0, k1)


def by_numba(counter, key):
    return tuple(int(word) for word in _numba_block(*map(np.uint64, (*counter, *key))))


def by_reference(counter, key):
    return tuple(int(word) for word in reference.blocks(np.array(counter), key))


writings = pytest.mark.parametrize("block", [scalar, by_reference, by_numba])


@writings
@pytest.mark.parametrize("counter, key, words", PUBLISHED.values(), ids=PUBLISHED)
def test_published_vectors(block, counter, key, words):
    assert block(counter, key) == words


@writings
def test_ten_thousandth_value_of_std_philox4x32(block):
    assert block((2499, 0, 0, 0), (20111115, 0))[3] == 1955073260


@given(st.lists(st.integers(0, 2**32 - 1), min_size=6, max_size=6))
def test_all_writings_are_equal_on_any_counter_and_key(numbers):
    counter, key = tuple(numbers[:4]), tuple(numbers[4:])
    assert scalar(counter, key) == by_reference(counter, key) == by_numba(counter, key)


def word_of(element, seed, stream, step):
    """The word that the public layout gives an element."""
    block = 16 * (element // 64) + element % 16
    return scalar((block % 2**32, block >> 32, stream, step), (seed % 2**32, seed >> 32))[element // 16 % 4]


SEEDS = [0, 1, 2**32 + 7, 2**64 - 1]
both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])


@both_backends
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("stream, step", [(0, 0), (7, 3), (2**32 - 1, 2**32 - 1)])
def test_mask_has_the_public_layout(on, seed, stream, step):
    with backend.use(on):
        mask = ops.dropout_mask((3, 67), rate=0.3, seed=seed, stream=stream, step=step)
    kept = [word_of(i, seed, stream, step) >= round(0.3 * 2**32) for i in range(mask.size)]
    assert mask.ravel().tolist() == kept


@both_backends
@pytest.mark.parametrize("first", [1, 63, 64, 100, 64 * 2**28 - 5])  # the last crosses into the counter's word 1
@pytest.mark.parametrize("size", [1, 15, 64, 70, 200])
def test_a_part_of_a_batch_draws_what_the_whole_would(on, first, size):
    x, numbers = np.ones((size, 1)), np.array([5, 0, 2, first])
    with backend.use(on):
        _, mask = ops.dropout(x, rate=0.5, stream=9, draw=numbers)
    assert mask.ravel().tolist() == [word_of(first + i, 5, 9, 2) >= 2**31 for i in range(size)]


def test_large_mask_is_the_same_on_both_backends_and_in_both_twins():
    with backend.use("numpy"):
        expected = ops.dropout_mask((50_001,), rate=0.3, seed=2**40 + 1, stream=3, step=4)
    assert (ops.dropout_mask((50_001,), rate=0.3, seed=2**40 + 1, stream=3, step=4) == expected).all()
    for twin in (dropout.mask.serial, dropout.mask.parallel):
        mask = np.empty(50_001, np.uint8)
        twin(round(0.3 * 2**32), 3, 1, np.array([1, 2**8, 4, 0]), mask)
        assert (mask == expected).all()


@both_backends
def test_rate_0_keeps_all_and_a_rate_near_1_almost_nothing(on):
    with backend.use(on):
        assert ops.dropout_mask((1000,), rate=0).all()
        assert not ops.dropout_mask((1000,), rate=np.nextafter(1, 0)).any()
        y, _ = ops.dropout(np.arange(10.0), rate=0)
    assert y.tolist() == list(range(10))


def test_threshold_fits_a_word_even_where_the_rate_rounds_to_1():
    assert round(np.nextafter(1, 0) * 2**32) == 2**32
    assert checks.rate("op", np.nextafter(1, 0)) == 2**32 - 1


@pytest.mark.parametrize("mask", [dropout.mask, dropout_reference.mask], ids=["numba", "numpy"])
def test_word_equal_to_the_threshold_is_kept(mask):
    for element in (0, 17, 40, 63, 64, 100, 127, 130):  # in each word of whole tiles, and in a part of one
        word, kept = word_of(element, 5, 1, 2), np.empty(135, np.uint8)
        for threshold, expected in ((word, 1), (word + 1, 0)):
            mask(threshold, 1, 1, np.array([5, 0, 2, 0]), kept)
            assert kept[element] == expected


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, np.nan])
def test_rate_outside_0_to_1_raises(rate):
    with pytest.raises(ValueError, match="dropout_mask: rate must be at least 0 and below 1"):
        ops.dropout_mask((3,), rate=rate)


@pytest.mark.parametrize("stream", [-1, 2**32, 2**32 + 5])
def test_stream_beyond_32_bits_is_refused_or_the_same_on_both_backends(stream):
    masks = []
    for on in ("numba", "numpy"):
        with backend.use(on), contextlib.suppress(ValueError):
            masks.append(ops.dropout_mask((128,), rate=0.5, stream=stream).tolist())
    assert masks == [] or masks[0] == masks[1]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_random_words_have_the_public_layout(seed, stream):
    words = random.words(70, seed=seed, stream=stream, step=1)
    assert words.tolist() == [word_of(i, seed, stream, 1) for i in range(70)]


def test_share_of_kept_elements_and_their_scale():
    x = np.ones(1_000_000, np.float32)
    y, mask = ops.dropout(x, rate=0.2, seed=3)
    assert abs(mask.mean() - 0.8) < 5 * np.sqrt(0.2 * 0.8 / x.size)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1.25)}
    assert (ops.dropout_backward(x, mask, rate=0.2) == y).all()


# ---------------------------------------------------------------- forms of dropout


@pytest.mark.parametrize("on", ["numba", "numpy"])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 70_000])
@pytest.mark.parametrize("inverted", [True, False])
def test_a_mask_that_is_drawn_again_is_the_one_that_was_kept(size, inverted, on):
    x, options = np.linspace(1, 2, size), {"rate": 0.3, "seed": 5, "stream": 3, "step": 9, "inverted": inverted}
    with backend.use(on):
        y, mask = ops.dropout(x, **options)
        again, none = ops.dropout(x, keep_mask=False, **options)
        assert none is None
        np.testing.assert_array_equal(again, y)
        backward = ops.dropout_backward(x, mask, rate=0.3, inverted=inverted)
        np.testing.assert_array_equal(ops.dropout_backward(x, **options), backward)
        np.testing.assert_array_equal(backward, y)
    np.testing.assert_allclose(y, np.where(mask, x / (0.7 if inverted else 1), 0), rtol=1e-15)


@pytest.mark.parametrize("on", ["numba", "numpy"])
@pytest.mark.parametrize("cut", [1, 63, 64, 777])
def test_a_part_drawn_from_its_offset_is_part_of_the_whole(cut, on):
    options = {"rate": 0.5, "seed": 2, "stream": 1}
    with backend.use(on):
        whole = ops.dropout_mask((1000,), **options)
        np.testing.assert_array_equal(ops.dropout_mask((1000 - cut,), offset=cut, **options), whole[cut:])
        x = np.ones(1000 - cut)
        np.testing.assert_array_equal(ops.dropout(x, offset=cut, **options)[1], whole[cut:])
        np.testing.assert_array_equal(ops.dropout_backward(x, offset=cut, **options) > 0, whole[cut:])


def test_the_older_form_has_the_same_expectation():
    x = np.full(1_000_000, 3.0)
    older = ops.dropout(x, rate=0.4, seed=1, inverted=False)[0]
    assert set(older) == {0, 3}
    assert older.mean() == pytest.approx(ops.dropout_predict(x, rate=0.4)[0], rel=3e-3)
    assert ops.dropout_predict(x, rate=0.4)[0] == pytest.approx(1.8)


def test_a_mask_that_is_not_kept_cannot_be_given():
    with pytest.raises(ValueError, match="mask was given, and keep_mask=False"):
        ops.dropout(np.ones(2), rate=0.5, keep_mask=False, mask=np.ones(2, np.uint8))
