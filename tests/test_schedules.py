"""Learning rates over steps: values at the borders, composition, and PyTorch's where the definition is the same."""

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdl.schedules import Constant, Cosine, Schedule, StepDecay, Warmup


def test_constant_stays():
    assert [Constant(0.3)(step) for step in (0, 1, 10**9)] == [0.3] * 3
    assert Constant(0.3, steps=5)(5) == 0.3
    assert Constant(0.3).steps is None


def test_step_decay_drops_at_its_borders():
    rate = StepDecay(0.8, every=10, factor=0.5)
    assert [rate(step) for step in (0, 9, 10, 19, 20, 30)] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.1]
    assert StepDecay(1.0, 10)(10) == 0.1
    assert rate.steps is None


def test_warmup_begins_above_zero_and_reaches_its_rate_at_its_last_step():
    rate = Warmup(0.8, 4)
    assert [rate(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rel=1e-15)
    assert rate(3) == rate(4) == 0.8
    assert Warmup(0.8, 1)(0) == 0.8


def test_cosine_goes_from_rate_to_end_and_stays():
    rate = Cosine(0.9, 6, end=0.1)
    # cos of 0, 30, ..., 180 degrees
    cosines = [1, math.sqrt(3) / 2, 0.5, 0, -0.5, -math.sqrt(3) / 2, -1]
    wanted = pytest.approx([0.5 + 0.4 * c for c in cosines], rel=1e-14)
    assert [rate(step) for step in range(7)] == wanted
    assert rate(0) == 0.9
    assert rate(6) == rate(7) == rate(10**9) == 0.1
    assert Cosine(1.0, 3)(3) == 0.0
    assert Cosine(0.1, 4, end=0.3)(2) == pytest.approx(0.2, rel=1e-15)  # it may rise as well


def test_three_in_a_chain_each_count_from_their_own_first_step():
    rate = Warmup(1.0, 4) >> Constant(0.5, steps=3) >> Cosine(0.4, 10)
    assert [rate(step) for step in range(7)] == [0.25, 0.5, 0.75, 1.0, 0.5, 0.5, 0.5]
    assert rate(7) == 0.4
    assert rate(12) == Cosine(0.4, 10)(5)
    assert rate(17) == rate(1000) == 0.0
    assert rate.steps == 17
    assert (Warmup(1.0, 4) >> StepDecay(1.0, 2)).steps is None


FINITE = st.one_of(
    st.builds(Constant, st.floats(0, 1), steps=st.integers(1, 9)),
    st.builds(Warmup, st.floats(0, 1), st.integers(1, 9)),
    st.builds(Cosine, st.floats(0, 1), st.integers(1, 9), st.floats(0, 1)),
)
LAST = FINITE | st.builds(Constant, st.floats(0, 1)) | st.builds(StepDecay, st.floats(0, 1), st.integers(1, 9))


@given(FINITE, FINITE, LAST)
def test_brackets_make_no_difference(a, b, c):
    left, right = (a >> b) >> c, a >> (b >> c)
    assert left == right
    assert hash(left) == hash(right)
    assert repr(left) == repr(right)
    for step in range(30):
        if step < a.steps:
            wanted = a(step)
        elif step < a.steps + b.steps:
            wanted = b(step - a.steps)
        else:
            wanted = c(step - a.steps - b.steps)
        assert left(step) == right(step) == wanted


def test_a_chain_shows_its_parts():
    text = repr(Warmup(0.1, 5) >> Constant(0.1, 3) >> StepDecay(0.1, every=7))
    assert (
        text == "Warmup(rate=0.1, steps=5) >> Constant(rate=0.1, steps=3) >> StepDecay(rate=0.1, every=7, factor=0.1)"
    )


@pytest.mark.parametrize(
    "rate", [Constant(1), StepDecay(1, 1, 1), Warmup(1, 1), Cosine(1, 2, 1), Warmup(1, 1) >> Constant(1)], ids=str
)
def test_rates_are_floats(rate):
    assert [type(rate(step)) for step in range(4)] == [float] * 4


def test_a_schedule_of_ones_own_takes_part():
    class InverseRoot(Schedule):
        steps = None

        def __call__(self, step):
            return (step + 1) ** -0.5

    assert (Warmup(1.0, 2) >> InverseRoot())(5) == 0.5


# ---------------------------------------------------------------- PyTorch


def torch_rates(torch, steps, rate, *schedulers, milestones=()):
    """The rates of so many steps by PyTorch's schedulers, one after the other."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
    made = [make(optimizer) for make in schedulers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SequentialLR's own calls
        schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, made, list(milestones)) if milestones else made[0]
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return pytest.approx(rates, rel=1e-12, abs=1e-15)


def test_values_are_those_of_torch(torch):
    of = torch.optim.lr_scheduler
    linear = lambda o: of.LinearLR(o, start_factor=1 / 8, end_factor=1.0, total_iters=7)  # noqa: E731
    cosine = lambda o: of.CosineAnnealingLR(o, T_max=20, eta_min=0.01)  # noqa: E731
    drops = lambda o: of.StepLR(o, step_size=5, gamma=0.3)  # noqa: E731
    assert [Warmup(0.7, 8)(step) for step in range(30)] == torch_rates(torch, 30, 0.7, linear)
    assert [Cosine(0.7, 20, end=0.01)(step) for step in range(21)] == torch_rates(torch, 21, 0.7, cosine)
    assert [StepDecay(0.7, 5, 0.3)(step) for step in range(30)] == torch_rates(torch, 30, 0.7, drops)
    chain = Warmup(0.7, 8) >> Cosine(0.7, 20, end=0.01)
    assert [chain(step) for step in range(29)] == torch_rates(torch, 29, 0.7, linear, cosine, milestones=[8])


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, "0.1", None])
def test_a_rate_that_is_none_is_refused(rate):
    makes = [Constant, lambda r: StepDecay(r, 1), lambda r: Warmup(r, 1), lambda r: Cosine(r, 1)]
    for make, name in zip(makes, ("Constant", "StepDecay", "Warmup", "Cosine"), strict=True):
        with pytest.raises(ValueError, match=f"{name}: rate is {rate!r}, wanted a number of 0 or more"):
            make(rate)
    with pytest.raises(ValueError, match=f"Cosine: end is {rate!r}, wanted"):
        Cosine(0.1, 5, rate)


@pytest.mark.parametrize("count", [0, -3, 2.0, "5"])
def test_a_count_of_steps_that_is_none_is_refused(count):
    for name, make in {
        "Constant: steps": lambda: Constant(0.1, count),
        "StepDecay: every": lambda: StepDecay(0.1, count),
        "Warmup: steps": lambda: Warmup(0.1, count),
        "Cosine: steps": lambda: Cosine(0.1, count),
    }.items():
        with pytest.raises(ValueError, match=f"{name} is {count!r}, wanted an integer of at least 1"):
            make()


@pytest.mark.parametrize("factor", [0, 10, -0.5, math.nan])
def test_a_factor_that_is_no_decay_is_refused(factor):
    with pytest.raises(ValueError, match=f"StepDecay: factor is {factor}, wanted above 0 and at most 1; 0.1 drops"):
        StepDecay(0.1, 5, factor)


@pytest.mark.parametrize(
    "endless", [Constant(0.1), StepDecay(0.1, 5), Warmup(0.1, 5) >> Constant(0.1)], ids=["constant", "decay", "chain"]
)
def test_nothing_can_follow_what_lasts_for_ever(endless):
    with pytest.raises(ValueError, match=r"lasts for ever, .* give it a number of steps, as in Constant\(rate, steps="):
        endless >> Constant(0.1)


def test_a_number_in_the_place_of_a_schedule_is_told():
    with pytest.raises(TypeError, match=r">> 0\.01: wanted a schedule on the right, schedules.Constant\(rate\) say"):
        Warmup(0.1, 5) >> 0.01
