"""Parameters at the start: their distribution, and what is refused."""

import math

import numpy as np
import pytest

from fastdl import initializers, random
from fastdl.initializers import Normal, VarianceScaling

SHAPE = 300, 700
FAN = {"fan_in": 300, "fan_out": 700, "fan_avg": 500}
KURTOSIS = {"normal": 3, "truncated_normal": 3, "uniform": 1.8}  # of the truncated one at most


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("distribution", KURTOSIS)
@pytest.mark.parametrize("mode", FAN)
def test_variance_is_the_one_that_is_named(mode, distribution, seed):
    values = VarianceScaling(1.7, mode, distribution)(SHAPE, seed, 0)
    variance = 1.7 / FAN[mode]
    assert values.shape == SHAPE
    assert values.dtype == np.float64
    five_deviations = 5 * math.sqrt((KURTOSIS[distribution] - 1) / values.size)
    assert np.square(values).mean() == pytest.approx(variance, rel=five_deviations)
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_truncated_normal_reaches_its_cut_and_no_farther(seed):
    values = VarianceScaling(3.0, "fan_in", "truncated_normal")(SHAPE, seed, 0)
    # The deviation of N(0, 1) cut at 2, integrated by numbers instead of by the formula.
    z = np.linspace(-2, 2, 400_001)
    density = np.exp(-(z**2) / 2)
    cut = 2 * math.sqrt(3 / 300) / math.sqrt((z**2 * density).sum() / density.sum())
    assert 0.999 * cut < np.abs(values).max() <= cut * (1 + 1e-5)
    assert (np.abs(values) > 0.9 * cut).mean() == pytest.approx(0.0276, abs=0.002)  # 2 (Phi(2) - Phi(1.8)) / 0.9545


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_uniform_distribution_is_even_between_its_bounds(seed):
    values = initializers.glorot_uniform(SHAPE, seed, 0)
    bound = math.sqrt(6 / (300 + 700))
    assert -bound <= values.min() < -0.999 * bound
    assert 0.999 * bound < values.max() < bound
    shares = np.histogram(values, bins=20, range=(-bound, bound))[0] / values.size
    np.testing.assert_allclose(shares, 1 / 20, rtol=0.06)


def test_he_normal_draws_the_values_that_it_always_drew():
    expected = random.normal(300 * 700, seed=3, stream=random.STARTS) * math.sqrt(2 / 300)
    np.testing.assert_array_equal(initializers.he_normal(SHAPE, 3, random.STARTS), expected.reshape(SHAPE))
    first = [-0.9750913908986014, -0.8312360396910432, 0.43904809464917477]
    np.testing.assert_allclose(initializers.he_normal((4, 3), 0, random.STARTS)[0], first, rtol=1e-12)


def test_named_starts_have_their_variances():
    starts = {name: initializers.by_name(name) for name in ("he_normal", "xavier_normal", "glorot_normal")}
    found = {name: start(SHAPE, 0, 0).var() for name, start in starts.items()}
    assert found == pytest.approx({"he_normal": 2 / 300, "xavier_normal": 1 / 300, "glorot_normal": 2 / 1000}, rel=0.02)
    assert initializers.by_name("glorot_uniform")(SHAPE, 0, 0).var() == pytest.approx(2 / 1000, rel=0.02)
    np.testing.assert_array_equal(initializers.by_name("zeros")((2, 3), 0, 0), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.by_name("ones")((3,), 0, 0), np.ones(3))


def test_normal_takes_any_shape_and_its_scale_alone():
    values = Normal(0.3)((7, 5, 2000), 0, 0)
    assert values.shape == (7, 5, 2000)
    np.testing.assert_allclose(values, 3 * Normal(0.1)((7, 5, 2000), 0, 0), rtol=1e-14)
    assert values.std() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("start", [Normal(0.1), *(VarianceScaling(2.0, "fan_in", name) for name in KURTOSIS)], ids=str)
def test_values_depend_on_seed_and_stream_alone(start):
    assert start((9, 8), 5, 6).tobytes() == start((9, 8), 5, 6).tobytes()
    draws = {start((9, 8), seed, stream).tobytes() for seed in (0, 1) for stream in (random.STARTS, random.STARTS + 1)}
    assert len(draws) == 4


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("shape", [(), (3,), (3, 3, 8, 16), (0, 4)])
def test_a_shape_without_inputs_and_outputs_is_refused(shape):
    with pytest.raises(ValueError, match=r"scale=2\.0.*has no fan_in and fan_out, wanted.*\(inputs, outputs\); start"):
        initializers.he_normal(shape, 0, 0)


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, math.inf, "2", None])
def test_a_scale_that_is_none_is_refused(scale):
    for make in (Normal, VarianceScaling):
        with pytest.raises(ValueError, match=f"{make.__name__}: scale is {scale!r}, wanted a number above 0; to start"):
            make(scale)


def test_an_unknown_mode_or_distribution_is_refused():
    with pytest.raises(
        ValueError, match="VarianceScaling: mode is 'fan', wanted one of 'fan_in', 'fan_out', 'fan_avg'"
    ):
        VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match="distribution is 'gauss', wanted one of 'normal', 'truncated_normal', 'unifo"):
        VarianceScaling(distribution="gauss")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "he_norm",
            r"there is no 'he_norm' \(did you mean 'he_normal'\?\), wanted one of 'zeros', 'ones', 'he_normal', ",
        ),
        ("Glorot_Normal", r"there is no 'Glorot_Normal' \(did you mean 'glorot_normal'\?\)"),
        ("orthogonal", "there is no 'orthogonal', wanted one of 'zeros'"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_and_all(name, message):
    with pytest.raises(ValueError, match=f"initializers.by_name: {message}"):
        initializers.by_name(name)
