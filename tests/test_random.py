"""Random numbers by seed, stream and step."""

import numpy as np
import pytest

from fastdl import random
from fastdl.kernels.philox import reference


def test_words_are_those_of_the_published_generator():
    assert [hex(word) for word in random.words(64, seed=0, stream=0)[::16]] == [
        "0x6627e8d5",
        "0xe169c58d",
        "0xbc57ac4c",
        "0x9b00dbd8",
    ]


def test_words_drawn_in_pieces_are_those_of_one_draw():
    whole = np.empty(2 * random.PIECE + 77, np.uint32)
    reference.words(9, 1, np.array([5, 6, 7, 0], np.int64), whole)
    for count in (random.PIECE - 1, random.PIECE, random.PIECE + 1, whole.size):
        found = random.words(count, seed=5 + (6 << 32), stream=9, step=7)
        np.testing.assert_array_equal(found, whole[:count])


def test_streams_steps_and_seeds_differ():
    draws = [
        random.words(100, seed=seed, stream=stream, step=step).tobytes()
        for seed in (0, 1, 2**32, 2**63)
        for stream in (0, 1, random.STARTS)
        for step in (0, 1)
    ]
    assert len(set(draws)) == len(draws)


def test_uniform_and_normal_have_their_moments():
    u = random.uniform(200_000, seed=1, stream=2)
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert u.mean() == pytest.approx(0.5, abs=3e-3)
    z = random.normal(200_001, seed=1, stream=2)
    assert z.size == 200_001
    assert z.mean() == pytest.approx(0, abs=1e-2)
    assert z.var() == pytest.approx(1, abs=1e-2)
    assert (z**4).mean() == pytest.approx(3, abs=0.1)
    assert abs(np.corrcoef(z[:100_000], z[100_000:200_000])[0, 1]) < 1e-2


def test_permutations_hold_every_number_once_and_are_even():
    orders = np.array([random.permutation(5, seed=0, step=step) for step in range(6000)])
    assert (np.sort(orders, axis=1) == np.arange(5)).all()
    shares = np.stack([(orders == value).mean(axis=0) for value in range(5)])
    np.testing.assert_allclose(shares, 0.2, atol=0.03)


@pytest.mark.parametrize("width", [1, 5, 16, 17, 64, 130])
def test_words_of_rows_are_those_of_the_stream(width):
    rows, padded = np.array([7, 0, 7, 3]), -(-width // 64) * 64
    stream = random.words(8 * padded, seed=2**40 + 1, stream=9, step=4).reshape(8, padded)
    drawn = random.row_words(rows, width, seed=2**40 + 1, stream=9, step=4)
    assert drawn.dtype == np.uint32
    np.testing.assert_array_equal(drawn, stream[rows, :width])
    np.testing.assert_array_equal(random.row_words(rows[:0], width, seed=0, stream=0), np.empty((0, width)))
