"""The end of a step: gradients clipped in three ways, learning rates of parameters' own, what is frozen."""

import contextlib

import numpy as np
import pytest

import fastdl as fd
from fastdl import nn
from fastdl.testing import normal

X, Y = normal((8, 5), np.float64, 0), normal((8, 2), np.float64, 1)


def stepper(optimizer, **options):
    model = nn.Sequential(nn.Linear(4, activation="tanh"), nn.BatchNorm(), nn.Linear(2))
    step = fd.TrainStep(model, fd.losses.MSE(), optimizer, batch_size=8, dtype=np.float64, seed=3, **options)
    step.bind(X, Y)
    return step


def steps_of(step, count=3):
    """Parameters before each step, its gradients, and parameters after it: the first is run, the others replayed."""
    for _ in range(count):
        before = {name: array.copy() for name, array in step.weights.params.items()}
        step.run(0, 8)
        grads = {name: array.copy() for name, array in step.workspace.shared.grads.items()}
        yield before, grads, step.weights.params


def assert_descends(step, change):
    """Every parameter has changed by `change(name, gradient, all gradients)`."""
    for before, grads, after in steps_of(step):
        for name, grad in grads.items():
            np.testing.assert_allclose(after[name], before[name] + change(name, grad, grads), rtol=1e-12, atol=1e-15)


# ---------------------------------------------------------------- clipping


@pytest.mark.parametrize("limit", [1e-3, 0.1, 1e3])
def test_clipping_by_value(limit):
    assert_descends(
        stepper(fd.optim.SGD(0.1, clip_value=limit)), lambda name, grad, grads: -0.1 * np.clip(grad, -limit, limit)
    )


@pytest.mark.parametrize("limit", [1e-3, 0.1, 1e3])
def test_clipping_each_gradient_by_its_norm(limit):
    def change(name, grad, grads):
        norm = np.sqrt((grad**2).sum())
        return -0.1 * (grad * limit / norm if norm > limit else grad)

    assert_descends(stepper(fd.optim.SGD(0.1, clip_norm_each=limit)), change)


@pytest.mark.parametrize("limit", [1e-3, 0.1, 1e3])
def test_clipping_by_the_norm_of_all(limit):
    def change(name, grad, grads):
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        return -0.1 * grad * min(1, limit / norm)

    assert_descends(stepper(fd.optim.SGD(0.1, clip_norm=limit)), change)


def test_penalties_are_added_after_clipping():
    step = stepper(fd.optim.SGD(0.1, clip_value=1e-3, weight_decay=0.5))
    for before, grads, after in steps_of(step):
        for name in ("0.weight", "2.weight"):
            wanted = before[name] - 0.1 * (np.clip(grads[name], -1e-3, 1e-3) + 0.5 * before[name])
            np.testing.assert_allclose(after[name], wanted, rtol=1e-12)


CHAIN = 10  # the same weight, so many times: w^10 x has a cliff beyond w = 1


@pytest.mark.parametrize("start", [1.4, 1.5, 1.6])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}, {"clip_norm_each": 1.0}, {"clip_value": 1.0}], ids=str)
def test_a_cliff_throws_plain_descent_away_and_not_one_that_is_clipped(clip, start):
    link = nn.Linear(1, bias=False, start=lambda shape, seed, stream: np.full(shape, start))
    trainer = fd.Trainer(
        nn.Sequential(*[link] * CHAIN), fd.losses.MSE(), fd.optim.SGD(0.01, **clip), dtype=np.float64, device="cpu"
    )
    x = np.ones((4, 1))
    said = contextlib.nullcontext() if clip else pytest.warns(RuntimeWarning, match="the loss of epoch [0-9]+ is inf")
    with np.errstate(all="ignore"), said:
        history = trainer.fit(x, x, epochs=200, batch_size=4, progress=False)
    losses, norms = history["loss"], history["gradient_norm"]
    assert norms[0] == pytest.approx(2 * CHAIN * (start**CHAIN - 1) * start ** (CHAIN - 1))  # before it was clipped
    if clip:
        assert losses[-1] < 1e-6
    else:
        assert not losses[-1] < 1e6


# ---------------------------------------------------------------- rates


def test_a_rate_of_its_own_is_a_factor_of_the_others():
    factors = {"0.weight": 0.1, "1.*": 0.0, "*.bias": 2.0}
    of = {"0.weight": 0.1, "0.bias": 2.0, "1.gamma": 0.0, "1.beta": 0.0, "2.weight": 1.0, "2.bias": 2.0}
    assert_descends(stepper(fd.optim.SGD(0.1, rates=factors)), lambda name, grad, grads: -0.1 * of[name] * grad)


@pytest.mark.parametrize("optimizer", ["AdamW", "Adam", "RMSprop"])
def test_rates_agree_with_pytorchs_groups(optimizer):
    torch = pytest.importorskip("torch")
    options = {"weight_decay": 0.1}
    ours = {
        "AdamW": lambda: fd.optim.AdamW(1e-2, rates={"0.*": 0.1}, **options),
        "Adam": lambda: fd.optim.Adam(1e-2, rates={"0.*": 0.1}, **options),
        "RMSprop": lambda: fd.optim.RMSProp(1e-2, rates={"0.*": 0.1}, **options),
    }[optimizer]()
    step = stepper(ours)
    own = {name: torch.tensor(array.copy(), requires_grad=True) for name, array in step.weights.params.items()}
    groups = [
        {
            "params": [param for name, param in own.items() if name[0] == layer and name.endswith("weight") == decays],
            "lr": 1e-2 * (0.1 if layer == "0" else 1),
            "weight_decay": 0.1 if decays else 0.0,
        }
        for layer in "012"
        for decays in (True, False)
    ]
    theirs = getattr(torch.optim, optimizer)([group for group in groups if group["params"]])
    for _, grads, after in steps_of(step, 6):
        for name, param in own.items():
            param.grad = torch.tensor(grads[name])
        theirs.step()
        for name, param in own.items():
            np.testing.assert_allclose(after[name], param.detach().numpy(), rtol=1e-12, atol=1e-15, err_msg=name)


def test_a_rate_of_zero_leaves_parameters_to_the_bit():
    step = stepper(fd.optim.AdamW(1e-2, weight_decay=0.3, rates={"0.*": 0.0}))
    before = step.weights.params["0.weight"].copy()
    list(steps_of(step))
    assert step.weights.params["0.weight"].tobytes() == before.tobytes()


def test_rates_go_with_frozen_parameters_and_schedules():
    def rate(step):
        return 0.1 / (step + 1)

    model = nn.Sequential(nn.Linear(4, activation="tanh"), nn.Linear(3), nn.Linear(2))
    weights = nn.Weights(model, (5,), dtype=np.float64, frozen=["1.*"])
    optimizer = fd.optim.SGD(rate, rates={"0.*": 0.5})
    step = fd.TrainStep(model, fd.losses.MSE(), optimizer, batch_size=8, weights=weights, dtype=np.float64)
    step.bind(X, Y)
    for number, (before, grads, after) in enumerate(steps_of(step)):
        for name in ("1.weight", "1.bias"):
            assert after[name].tobytes() == before[name].tobytes()
        for name, factor in {"0.weight": 0.5, "0.bias": 0.5, "2.weight": 1.0, "2.bias": 1.0}.items():
            wanted = before[name] - rate(number) * factor * grads[name]
            np.testing.assert_allclose(after[name], wanted, rtol=1e-12, err_msg=name)


def test_parameters_alike_are_one_stretch():
    step = stepper(fd.optim.SGD(0.1))
    assert len(step._stretches) == 1
    step = stepper(fd.optim.SGD(0.1, rates={"0.*": 0.1}))
    assert len(step._stretches) == 4  # weights that decay lie in front: 0, 2; then what does not: 0, 1 and 2


def test_a_resumed_training_has_its_rates(tmp_path):
    def trainer():
        model = nn.Sequential(nn.Linear(4, activation="relu"), nn.Linear(2))
        return fd.Trainer(model, fd.losses.MSE(), fd.optim.Adam(1e-2, rates={"0.*": 0.1}, clip_norm_each=0.1))

    whole, first, second = trainer(), trainer(), trainer()
    whole.fit(X, Y, epochs=4, batch_size=3, progress=False)
    first.fit(X, Y, epochs=2, batch_size=3, progress=False)
    first.save(tmp_path / "half.safetensors")
    second.load(tmp_path / "half.safetensors")
    second.fit(X, Y, epochs=2, batch_size=3, progress=False)
    assert second.weights.flat.tobytes() == whole.weights.flat.tobytes()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "options, message",
    [
        ({"clip_value": 0}, "SGD: clip_value is 0, wanted more than 0"),
        ({"clip_norm_each": -1.0}, "SGD: clip_norm_each is -1.0, wanted more than 0"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, "SGD: got clip_norm and clip_value, wanted one way of clipping"),
        ({"rates": {"0.*": -1.0}}, r"SGD: rates\['0.\*'\] is -1.0, wanted a number of 0 or more"),
        ({"rates": {"0.*": "slow"}}, r"SGD: rates\['0.\*'\] is 'slow', wanted a number of 0 or more"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fd.optim.SGD(0.1, **options)


def test_a_rate_for_no_parameter_is_refused():
    with pytest.raises(ValueError, match=r"rates: no parameter is called '7.\*'; there are 0.weight, 0.bias, 1.gamma"):
        stepper(fd.optim.SGD(0.1, rates={"7.*": 0.1}))


def test_a_step_that_could_not_be_made_stays_so():
    model = nn.Sequential(nn.Linear(4), nn.Linear(2))
    step = fd.TrainStep(model, fd.losses.MSE(), fd.optim.SGD(0.1, rates={"7.*": 0.1}), batch_size=8, dtype=np.float64)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"rates: no parameter is called '7.\*'"):
            step(X, Y)


def test_rates_are_a_mapping():
    with pytest.raises(
        TypeError, match=r"SGD: rates is '0.\*=0.1', wanted a mapping of names to factors, {\"0.\*\": 0.1}"
    ):
        fd.optim.SGD(0.1, rates="0.*=0.1")
