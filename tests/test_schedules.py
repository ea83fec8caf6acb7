"""Learning rates over steps: values at the borders, composition, and PyTorch's where the definition is the same."""

import math
import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastdl as fd
from fastdl.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    OneCycle,
    Schedule,
    StepDecay,
    Triangular,
    Warmup,
)


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


def test_decays_by_epoch_change_with_the_first_step_of_an_epoch():
    steps = [0, 4, 5, 9, 10, 15]  # of epochs 0, 0, 1, 1, 2, 3
    assert [InverseTime(0.6, 0.5, 5)(step) for step in steps] == pytest.approx(
        [0.6, 0.6, 0.4, 0.4, 0.3, 0.24], rel=1e-15
    )
    assert [Exponential(0.8, 0.5, 5)(step) for step in steps] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.1]
    wanted = [0.6 / math.sqrt(n) for n in (1, 1, 2, 2, 3, 4)]
    assert [InverseSqrt(0.6, 5)(step) for step in steps] == wanted
    assert InverseTime(0.3, 0.0)(10**9) == 0.3


def test_a_decay_by_step_is_one_of_epochs_of_a_step():
    assert [InverseTime(0.2, 1.0)(step) for step in range(4)] == pytest.approx([0.2, 0.1, 0.2 / 3, 0.05], rel=1e-15)
    assert [InverseSqrt(0.2)(step) for step in (0, 3, 99)] == pytest.approx([0.2, 0.1, 0.02], rel=1e-15)
    assert [Exponential(0.2, 0.1)(step) for step in range(3)] == pytest.approx([0.2, 0.02, 0.002], rel=1e-15)


def test_a_factor_at_every_step_is_all_or_nothing():
    """10,000 steps at 0.9995 leave exp(-5) of the rate; at 0.999995 exp(-0.05)."""
    assert Exponential(1.0, 0.9995)(10_000) == pytest.approx(math.exp(-5), rel=0.01)
    assert Exponential(1.0, 0.999995)(10_000) == pytest.approx(math.exp(-0.05), rel=1e-4)


def test_by_hand_is_a_chain_of_constants():
    rate = Constant(0.1, 30) >> Constant(0.02, 20) >> Constant(0.005)
    assert [rate(step) for step in (0, 29, 30, 49, 50, 10**6)] == [0.1, 0.1, 0.02, 0.02, 0.005, 0.005]


def test_one_cycle_rises_falls_and_stays():
    rate = OneCycle(0.9, 20, rise=0.4, divide=9, end=0.01)
    assert rate(0) == 0.1
    assert rate(4) == pytest.approx(0.5, rel=1e-15)
    assert rate(8) == pytest.approx(0.9, rel=1e-15)
    assert rate(14) == pytest.approx(0.455, rel=1e-15)
    assert rate(20) == rate(10**6) == 0.01
    rates = [rate(step) for step in range(21)]
    assert rates[:9] == sorted(rates[:9])
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert OneCycle(0.9, 1)(0) == 0.9  # too short for a rise


def test_a_triangle_goes_up_and_down_for_ever():
    rate = Triangular(0.3, period=6, low=0.1)
    cycle = [0.1, 0.5 / 3, 0.7 / 3, 0.3, 0.7 / 3, 0.5 / 3]
    assert [rate(step) for step in range(18)] == pytest.approx(cycle * 3, rel=1e-14)
    assert (rate(0), rate(3), rate(6_000_003)) == (0.1, 0.3, 0.3)
    assert max(Triangular(0.3, 5, 0.1)(step) for step in range(9)) == pytest.approx(0.26)  # between two steps it is 0.3


def test_what_lasts_for_ever_may_be_given_an_end():
    for endless in (
        StepDecay(0.8, 2, 0.5, steps=3),
        InverseTime(0.8, 1.0, steps=3),
        Exponential(0.8, 0.5, steps=3),
        InverseSqrt(0.8, steps=3),
        Triangular(0.8, 2, 0.1, steps=3),
    ):
        rate = endless >> Constant(0.01)
        assert [rate(step) for step in range(5)] == [*map(endless, range(3)), 0.01, 0.01]


FINITE = st.one_of(
    st.builds(Constant, st.floats(0, 1), steps=st.integers(1, 9)),
    st.builds(Warmup, st.floats(0, 1), st.integers(1, 9)),
    st.builds(Cosine, st.floats(0, 1), st.integers(1, 9), st.floats(0, 1)),
    st.builds(OneCycle, st.floats(0, 1), st.integers(1, 9), st.floats(0.01, 0.99)),
    st.builds(Exponential, st.floats(0, 1), st.floats(0.01, 1), st.integers(1, 3), steps=st.integers(1, 9)),
    st.builds(Triangular, st.floats(0.5, 1), st.integers(2, 9), st.floats(0, 0.5), steps=st.integers(1, 9)),
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
    assert text == (
        "Warmup(rate=0.1, steps=5) >> Constant(rate=0.1, steps=3) >> "
        "StepDecay(rate=0.1, every=7, factor=0.1, steps=None)"
    )


@pytest.mark.parametrize(
    "rate",
    [
        Constant(1),
        StepDecay(1, 1, 1),
        Warmup(1, 1),
        Cosine(1, 2, 1),
        OneCycle(1, 2, divide=1),
        Triangular(1, 2, 0),
        InverseTime(1, 0),
        Exponential(1, 1),
        InverseSqrt(1),
        Warmup(1, 1) >> Constant(1),
    ],
    ids=str,
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
    exponential = lambda o: of.ExponentialLR(o, gamma=0.8)  # noqa: E731
    triangle = lambda o: of.CyclicLR(o, 0.1, 0.7, step_size_up=5, cycle_momentum=False)  # noqa: E731
    cycle = lambda o: of.OneCycleLR(o, 0.7, total_steps=41, pct_start=13 / 41, cycle_momentum=False)  # noqa: E731
    restarts = lambda o: of.CosineAnnealingWarmRestarts(o, T_0=5, T_mult=2)  # noqa: E731
    assert [Exponential(0.7, 0.8)(step) for step in range(30)] == torch_rates(torch, 30, 0.7, exponential)
    assert [Triangular(0.7, 10, 0.1)(step) for step in range(30)] == torch_rates(torch, 30, 0.7, triangle)
    assert [OneCycle(0.7, 40, end=0.7 / 25e4)(step) for step in range(41)] == torch_rates(torch, 41, 0.7, cycle)
    again = Cosine(0.7, 5) >> Cosine(0.7, 10) >> Cosine(0.7, 20)
    assert [again(step) for step in range(35)] == torch_rates(torch, 35, 0.7, restarts)


# ---------------------------------------------------------------- functions and pictures


def test_a_function_of_ones_own_is_a_learning_rate():
    x, y = fd.data.load_digits()
    losses = {}
    for name, lr in {"schedule": Exponential(0.5, 0.9), "function": lambda step: 0.5 * 0.9**step}.items():
        trainer = fd.Trainer(fd.nn.Linear(10), fd.losses.SoftmaxCrossEntropy(), fd.optim.SGD(lr))
        history = trainer.fit(x[:200] / 16, y[:200], epochs=3, batch_size=50, progress=False)
        losses[name] = history["loss"], history["learning_rate"], trainer.weights.flat.tobytes()
    assert losses["schedule"] == losses["function"]
    assert losses["schedule"][1] == [0.5 * 0.9**3, 0.5 * 0.9**7, 0.5 * 0.9**11]


ALL = [
    Constant(0.1),
    StepDecay(0.1, 5),
    InverseTime(0.1, 1.0, 3),
    Exponential(0.1, 0.9),
    InverseSqrt(0.1),
    Warmup(0.1, 5),
    Cosine(0.1, 20),
    OneCycle(0.1, 20),
    Triangular(0.1, 8, 0.01),
    Warmup(0.1, 5) >> Cosine(0.1, 15),
]


@pytest.mark.parametrize("rate", ALL, ids=str)
def test_every_schedule_draws_itself(rate):
    axes = pytest.importorskip("matplotlib.figure").Figure().subplots()
    rate.draw(25, axes)
    (line,) = axes.lines
    assert line.get_xdata().tolist() == list(range(25))
    assert line.get_ydata().tolist() == [rate(step) for step in range(25)]
    assert line.get_drawstyle() == "steps-post"  # a drop is upright
    assert (axes.get_xlabel(), axes.get_ylabel(), line.get_label()) == ("step", "learning rate", repr(rate))
    rate.draw(9, axes, label="again")
    assert [line.get_label() for line in axes.lines] == [repr(rate), "again"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_may_be_a_file(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    Cosine(0.1, 20).draw(25, tmp_path / f"rate{suffix}")
    begins = (tmp_path / f"rate{suffix}").read_bytes()[:5]
    assert begins == {".png": b"\x89PNG\r", ".svg": b"<?xml", ".pdf": b"%PDF-"}[suffix]


def test_what_cannot_be_drawn_on_is_told(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"rate.txt: wanted a name that ends in .png, .svg, .pdf"):
        Constant(0.1).draw(5, tmp_path / "rate.txt")
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere; make it first"):
        Constant(0.1).draw(5, tmp_path / "nowhere" / "rate.png")
    with pytest.raises(TypeError, match="got 3, wanted a file's path, or axes of matplotlib"):
        Constant(0.1).draw(5, 3)
    with pytest.raises(ValueError, match="Constant: steps to draw is 0, wanted an integer of at least 1"):
        Constant(0.1).draw(0, tmp_path / "rate.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeError, match=r"install the extra: pip install 'fastdl-kernels\[plot\]'"):
        Constant(0.1).draw(5, tmp_path / "rate.png")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, "0.1", None])
def test_a_rate_that_is_none_is_refused(rate):
    for name, make in {
        "Constant": Constant,
        "StepDecay": lambda r: StepDecay(r, 1),
        "Warmup": lambda r: Warmup(r, 1),
        "Cosine": lambda r: Cosine(r, 1),
        "InverseTime": lambda r: InverseTime(r, 1),
        "Exponential": lambda r: Exponential(r, 1),
        "InverseSqrt": InverseSqrt,
        "OneCycle": lambda r: OneCycle(r, 9),
        "Triangular": lambda r: Triangular(r, 9, 0),
    }.items():
        with pytest.raises(ValueError, match=f"{name}: rate is {rate!r}, wanted a number of 0 or more"):
            make(rate)
    with pytest.raises(ValueError, match=f"Cosine: end is {rate!r}, wanted"):
        Cosine(0.1, 5, rate)
    with pytest.raises(ValueError, match=f"InverseTime: decay is {rate!r}, wanted"):
        InverseTime(0.1, rate)
    with pytest.raises(ValueError, match=f"Triangular: low is {rate!r}, wanted"):
        Triangular(0.1, 5, rate)


@pytest.mark.parametrize("count", [0, -3, 2.0, "5"])
def test_a_count_of_steps_that_is_none_is_refused(count):
    for name, make in {
        "Constant: steps": lambda: Constant(0.1, count),
        "StepDecay: every": lambda: StepDecay(0.1, count),
        "Warmup: steps": lambda: Warmup(0.1, count),
        "Cosine: steps": lambda: Cosine(0.1, count),
        "OneCycle: steps": lambda: OneCycle(0.1, count),
        "InverseTime: steps_per_epoch": lambda: InverseTime(0.1, 1, count),
        "Exponential: steps_per_epoch": lambda: Exponential(0.1, 0.5, count),
        "InverseSqrt: steps_per_epoch": lambda: InverseSqrt(0.1, count),
        "InverseSqrt: steps": lambda: InverseSqrt(0.1, steps=count),
    }.items():
        with pytest.raises(ValueError, match=f"{name} is {count!r}, wanted an integer of at least 1"):
            make()


@pytest.mark.parametrize("factor", [0, 10, -0.5, math.nan])
def test_a_factor_that_is_no_decay_is_refused(factor):
    with pytest.raises(ValueError, match=f"StepDecay: factor is {factor}, wanted above 0 and at most 1; 0.1 drops"):
        StepDecay(0.1, 5, factor)
    with pytest.raises(
        ValueError, match=f"Exponential: factor is {factor}, wanted above 0 and at most 1; 0.95 an epoch"
    ):
        Exponential(0.1, factor)


def test_other_mistakes_are_told():
    with pytest.raises(ValueError, match="Triangular: period is 1, wanted an integer of at least 2"):
        Triangular(0.1, 1, 0.0)
    with pytest.raises(ValueError, match=r"Triangular: low is 0.2, wanted at most the rate, 0.1"):
        Triangular(0.1, 5, 0.2)
    for rise in (0, 1, 20, math.nan, None):
        with pytest.raises(ValueError, match=f"OneCycle: rise is {rise}, wanted a share of the steps"):
            OneCycle(0.1, 5, rise)
    for divide in (0.5, math.inf, None):
        with pytest.raises(ValueError, match=f"OneCycle: divide is {divide}, wanted at least 1; it begins at"):
            OneCycle(0.1, 5, divide=divide)


@pytest.mark.parametrize(
    "endless", [Constant(0.1), StepDecay(0.1, 5), Warmup(0.1, 5) >> Constant(0.1)], ids=["constant", "decay", "chain"]
)
def test_nothing_can_follow_what_lasts_for_ever(endless):
    with pytest.raises(ValueError, match=r"lasts for ever, .* give it a number of steps, as in Constant\(rate, steps="):
        endless >> Constant(0.1)


def test_a_number_in_the_place_of_a_schedule_is_told():
    with pytest.raises(TypeError, match=r">> 0\.01: wanted a schedule on the right, schedules.Constant\(rate\) say"):
        Warmup(0.1, 5) >> 0.01
