"""Gradients against differences: right models pass, and an error planted in any backward is found and named."""

import runpy
import sys

import numpy as np
import pytest
from test_nn import LAYERS

import fastdl as fd
from fastdl import losses, nn
from fastdl.cli import main
from fastdl.initializers import ones

seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def rows(seed=0, n=7, features=6, classes=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, features)), rng.integers(0, classes, n)


def check(*layers, loss=None, seed=0, **options):
    x, y = rows(seed)
    loss = loss or losses.SoftmaxCrossEntropy()
    return fd.check_gradients(nn.Sequential(*layers), loss, x, y, seed=seed, **options)


# ---------------------------------------------------------------- what is right


@seeds
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_right(name, seed):
    found = check(*LAYERS[name](), seed=seed, samples=None if seed == 0 else 20)
    assert found.verdict == "right"
    assert found.faults == ()
    assert found.difference < 1e-8
    assert found.checked + found.kinks == sum(len(row.at) for row in found.parameters) == (20 if seed else found.size)
    assert found.kinks <= 1


def classes_within(layer):
    yield type(layer)
    within = {nn.Sequential: lambda: layer.layers, nn.Residual: lambda: (layer.body,)}
    for child in within.get(type(layer), tuple)():
        yield from classes_within(child)


def all_layer_classes():
    public = [getattr(nn, name) for name in nn.__all__]
    kinds = [kind for kind in public if isinstance(kind, type) and issubclass(kind, nn.Layer)]
    return {kind for kind in kinds if kind not in (nn.Layer, nn.Activation)}  # which are bases


def test_every_layer_is_here():
    tested = {kind for layers in LAYERS.values() for kind in classes_within(nn.Sequential(*layers()))}
    assert tested == all_layer_classes() == set(PLANTED)


LOSSES = {
    "cross-entropy": losses.SoftmaxCrossEntropy(),
    "smoothed": losses.SoftmaxCrossEntropy(smoothing=0.2),
    "weighted": losses.SoftmaxCrossEntropy(class_weights=[1, 2, 0.5]),
    "ignored": losses.SoftmaxCrossEntropy(ignored=1),
    "soft": losses.SoftmaxCrossEntropy(soft=True),
    "all": losses.SoftmaxCrossEntropy(smoothing=0.1, class_weights=[1, 2, 0.5], ignored=0),
    "mse": losses.MSE(),
    "l1": losses.L1(),
    "huber": losses.Huber(0.5),
    "hinge": losses.Hinge(),
    "bce": losses.BinaryCrossEntropy(),
}


def targets(loss, seed, n=7):
    rng = np.random.default_rng(seed)
    if isinstance(loss, losses.SoftmaxCrossEntropy):
        return rng.dirichlet(np.ones(3), n) if loss.soft else rng.integers(0, 3, n)
    numbers = rng.standard_normal((n, 3))
    if isinstance(loss, losses.Hinge):
        return np.sign(numbers)
    return (numbers > 0).astype(float) if isinstance(loss, losses.BinaryCrossEntropy) else numbers


@seeds
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_right(name, seed):
    loss, model = LOSSES[name], nn.Sequential(nn.Linear(5, activation="tanh"), nn.Linear(3))
    found = fd.check_gradients(model, loss, rows(seed)[0], targets(loss, seed), seed=seed)
    assert found.verdict == "right"
    assert found.difference < 1e-8
    assert found.checked >= found.size - 2


@seeds
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_right_with_weights_of_rows(name, seed):
    loss, model = LOSSES[name], nn.Sequential(nn.Linear(5, activation="tanh"), nn.Linear(3))
    x, y, counts = rows(seed)[0], targets(loss, seed), np.arange(7) % 3
    options = {"seed": seed, "sample_weight": counts}
    found = fd.check_gradients(model, loss, x, y, **options)
    assert found.verdict == "right"
    # Rows of weight 0 might as well not be there.
    without = fd.check_gradients(model, loss, x[counts > 0], y[counts > 0], seed=seed)
    assert not np.allclose(found.backward, without.backward)
    twice = np.repeat(np.arange(7), counts)
    np.testing.assert_allclose(
        found.backward, fd.check_gradients(model, loss, x[twice], y[twice], seed=seed).backward, rtol=1e-10, atol=1e-14
    )


def test_every_loss_is_here():
    public = {kind for kind in vars(losses).values() if isinstance(kind, type) and issubclass(kind, losses.Loss)}
    assert {type(loss) for loss in LOSSES.values()} == public - {losses.Loss, losses.ElementLoss}


@seeds
def test_images_and_rows_of_other_scales_are_right(seed):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.BatchNorm(), nn.Flatten(), nn.Linear(8), nn.BatchNorm(activation="relu"), nn.Linear(3))
    for scale in (1e-3, 1.0, 1e3):
        x = scale * rng.standard_normal((9, 2, 3, 3))
        y = rng.integers(0, 3, 9)
        assert fd.check_gradients(model, losses.SoftmaxCrossEntropy(), x, y, samples=60, seed=seed).verdict == "right"


@seeds
def test_a_network_that_has_learnt_is_right(seed):
    """Its gradients are small beside the rounding of its loss."""
    x, y = fd.data.load_digits()
    model = nn.Sequential(nn.Linear(32, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Linear(10))
    trainer = fd.Trainer(model, losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01), seed=seed)
    trainer.fit(x[:200] / 16, y[:200], epochs=60, batch_size=50, progress=False)
    found = trainer.check_gradients(x[:32] / 16, y[:32], samples=200)
    assert float(np.linalg.norm(found.backward)) < 0.02
    assert found.verdict == "right"


def test_a_gradient_of_0_is_rounding_and_right():
    """A bias before batch norm has none: the mean takes it away."""
    found = check(nn.Linear(5), nn.BatchNorm(), nn.Tanh(), nn.Linear(3))
    (bias,) = (row for row in found.parameters if row.name == "0.bias")
    assert bias.difference > 1e-7
    assert bias.verdict == found.verdict == "right"
    (line,) = (line for line in str(found).splitlines() if line.startswith("0.bias"))
    assert line.split()[-2:] == ["rounding", "right"]


# ---------------------------------------------------------------- what is wrong

# For every class an instance, and what its backward writes besides the gradient of its input.
PLANTED = {
    nn.Linear: (lambda: nn.Linear(4), ["weight", "bias"]),
    nn.BatchNorm: (lambda: nn.BatchNorm(), ["gamma", "beta"]),
    nn.Dropout: (lambda: nn.Dropout(0.4), []),
    nn.Flatten: (lambda: nn.Flatten(), []),
    nn.Residual: (lambda: nn.Residual(nn.Linear(4), nn.Tanh()), []),
    nn.Sequential: (lambda: nn.Sequential(nn.Linear(4), nn.Tanh()), []),
    nn.Softmax: (lambda: nn.Softmax(), []),
    nn.ReLU: (lambda: nn.ReLU(), []),
    nn.LeakyReLU: (lambda: nn.LeakyReLU(0.2), []),
    nn.Sigmoid: (lambda: nn.Sigmoid(), []),
    nn.Tanh: (lambda: nn.Tanh(), []),
    nn.ELU: (lambda: nn.ELU(0.7), []),
    nn.GELU: (lambda: nn.GELU(), []),
    nn.SiLU: (lambda: nn.SiLU(), []),
    nn.Softplus: (lambda: nn.Softplus(), []),
}
PLACES = [(kind, wrong) for kind, (_, written) in PLANTED.items() for wrong in ["input", *written]]


def plant(monkeypatch, layer, wrong):
    """Make the gradients that this one layer gives 1 % too large."""
    kind = type(layer)
    right = kind.backward

    def backward(self, dy, frame):
        dx = right(self, dy, frame)
        if self is not layer:
            return dx
        if wrong == "input":
            return 1.01 * dx
        frame.grad(wrong)[...] *= 1.01
        return dx

    monkeypatch.setattr(kind, "backward", backward)


@pytest.mark.parametrize("around", ["sequential", "residual"])
@pytest.mark.parametrize(("kind", "wrong"), PLACES, ids=lambda value: getattr(value, "__name__", value))
def test_an_error_planted_in_any_backward_is_found_and_named(kind, wrong, around, monkeypatch):
    layer = PLANTED[kind][0]()
    plant(monkeypatch, layer, wrong)
    if around == "sequential":
        found, path = check(nn.Linear(4), layer, nn.Linear(3)), "1"
    else:
        found, path = check(nn.Linear(4), nn.Residual(nn.Linear(4), layer, nn.Linear(4)), nn.Linear(3)), "1.0.1"
    assert found.verdict == "wrong"
    assert found.faults == (f"layer {path} ({kind.__name__})",)
    assert f"wrong is the backward of layer {path} ({kind.__name__})" in str(found)
    wrong_rows = {row.name for row in found.parameters if row.verdict != "right"}
    if wrong == "input":  # all that stands before it, and nothing behind
        assert "0.weight" in wrong_rows
        assert "2.weight" not in wrong_rows
    else:
        assert wrong_rows == {f"{path}.{wrong}"}
        assert found.worst.name == f"{path}.{wrong}"


def test_an_error_in_a_loss_is_named(monkeypatch):
    right = losses.MSE.gradient
    monkeypatch.setattr(losses.MSE, "gradient", lambda self, *given: 1.01 * right(self, *given))
    loss = losses.MSE()
    found = fd.check_gradients(nn.Sequential(nn.Linear(5), nn.Tanh(), nn.Linear(3)), loss, rows()[0], targets(loss, 0))
    assert (found.verdict, found.faults) == ("wrong", ("the loss (MSE)",))


def test_two_errors_are_both_named(monkeypatch):
    layers = nn.Linear(4), nn.Tanh(), nn.Linear(4), nn.GELU(), nn.Linear(3)
    plant(monkeypatch, layers[1], "input")
    plant(monkeypatch, layers[3], "input")
    assert check(*layers).faults == ("layer 1 (Tanh)", "layer 3 (GELU)")


def test_one_wrong_element_is_named_by_its_index(monkeypatch):
    layer, right = nn.Linear(4), nn.Linear.backward

    def backward(self, dy, frame):
        dx = right(self, dy, frame)
        if self is layer:
            frame.grad("weight")[2, 3] += 0.5
        return dx

    monkeypatch.setattr(nn.Linear, "backward", backward)
    found = check(nn.Linear(4), nn.Tanh(), layer, nn.Tanh(), nn.Linear(3))
    assert (found.worst.name, found.worst.index) == ("2.weight", (2, 3))
    assert found.worst.backward - found.worst.numerical == pytest.approx(0.5)
    assert "farthest apart: 2.weight[2, 3], " in str(found)


class Scale(nn.Layer):
    """y = scale x, which forgets that it may stand at two places."""

    def params(self, shape):
        return {"scale": nn.Param((1, *shape), ones)}

    def forward(self, x, frame, train):
        frame.saved["x"] = x
        return x * frame.param("scale")

    def backward(self, dy, frame):
        frame.grad("scale")[...] = (dy * frame.saved["x"]).sum(axis=0)
        return dy * frame.param("scale")


def test_a_layer_of_plain_numpy_can_be_checked():
    assert check(Scale(), nn.Linear(4), nn.Tanh(), nn.Linear(3)).verdict == "right"


def test_what_is_wrong_together_alone_is_named_by_what_holds_it():
    twice = Scale()
    found = check(nn.Sequential(twice, nn.Tanh(), twice), nn.Linear(3))
    assert found.faults == ("layer 0 (Sequential)",)


def test_a_gradient_of_nan_is_wrong():
    class Lost(Scale):
        def backward(self, dy, frame):
            frame.grad("scale")[...] = np.nan
            return dy

    found = check(Lost(), nn.Linear(3))
    assert found.verdict == "wrong"
    assert found.faults == ("layer 0 (Lost)",)
    assert found.worst.name == "0.scale"


@pytest.mark.parametrize(("error", "verdict"), [(1e-9, "right"), (1e-5, "look"), (1e-1, "wrong")])
def test_there_are_three_verdicts(error, verdict):
    class Off(Scale):
        def backward(self, dy, frame):
            return (1 + error) * super().backward(dy, frame)

    found = check(nn.Linear(4), Off(), nn.Linear(3))
    assert found.verdict == verdict
    assert found.faults == (() if verdict == "right" else ("layer 1 (Off)",))
    assert str(found).splitlines()[-1].startswith(f"{verdict}: difference ")


# ---------------------------------------------------------------- kinks, masks, samples


def test_what_stands_at_a_kink_is_left_out_and_counted():
    x, _ = rows()
    x[0] = 0  # with biases of 0 every unit of this row stands at 0
    model = nn.Sequential(nn.Linear(5, activation="relu"), nn.Linear(3))
    found = fd.check_gradients(model, losses.MSE(), x, 1 + x[:, :3])
    assert {row.name: row.kinks for row in found.parameters} == {
        "0.weight": 0,
        "0.bias": 5,
        "1.weight": 0,
        "1.bias": 0,
    }
    assert found.verdict == "right"
    assert found.checked == found.size - 5
    assert [line.split()[2:4] for line in str(found).splitlines() if "0.bias" in line] == [["0", "5"]]


def test_a_loss_at_its_own_kink_is_no_error():
    x = rows()[0]
    model = nn.Sequential(nn.Linear(3))
    weights = nn.Weights(model, (6,), dtype=np.float64)
    found = fd.check_gradients(model, losses.L1(), x, x @ weights.params["0.weight"], weights=weights)
    assert found.checked == 0
    assert found.verdict == "look"
    assert "all of them stand at kinks of the loss" in str(found)


@seeds
def test_few_elements_of_a_wide_network_of_relus_are_left_out(seed):
    x, y = fd.data.load_digits()
    model = nn.Sequential(*(nn.Linear(128, activation="relu") for _ in range(3)), nn.Linear(10))
    found = fd.check_gradients(model, losses.SoftmaxCrossEntropy(), x[:32] / 16, y[:32], samples=200, seed=seed)
    assert found.verdict == "right"
    assert found.kinks <= 10


@seeds
def test_dropouts_mask_is_the_same_each_time_and_another_for_another_seed(seed):
    model = nn.Sequential(nn.Linear(30), nn.Dropout(0.5), nn.Linear(3))
    weights = nn.Weights(model, (6,), seed=9)
    x, y = rows()
    found = [fd.check_gradients(model, losses.SoftmaxCrossEntropy(), x, y, weights=weights, seed=s) for s in (seed, 7)]
    assert [f.verdict for f in found] == ["right", "right"]
    assert (found[0].backward != found[1].backward).any()


@seeds
def test_a_sample_is_drawn_from_the_seed_and_takes_of_every_parameter(seed):
    layers = nn.Linear(20), nn.Tanh(), nn.Linear(3)
    first, same, other = (check(*layers, samples=60, seed=s) for s in (seed, seed, seed + 1))
    assert [len(row.at) for row in first.parameters] == [19, 19, 19, 3]
    for a, b in zip(first.parameters, same.parameters, strict=True):
        np.testing.assert_array_equal(a.at, b.at)
        np.testing.assert_array_equal(a.numerical, b.numerical)
        assert len(set(a.at.tolist())) == len(a.at)
    assert (first.parameters[0].at != other.parameters[0].at).any()
    assert check(*layers, samples=10_000, seed=seed).checked == 6 * 20 + 20 + 20 * 3 + 3


@seeds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_gradients_are_those_at_the_weights_given(dtype, seed):
    model, x = nn.Sequential(nn.Linear(3, bias=False)), rows(seed)[0]
    weights = nn.Weights(model, (6,), dtype=dtype, seed=seed + 5)
    found = fd.check_gradients(model, losses.MSE(), x, x[:, :3], weights=weights, seed=seed)
    w = weights.params["0.weight"].astype(np.float64)
    expected = 2 / (7 * 3) * x.T @ (x @ w - x[:, :3])
    np.testing.assert_allclose(found.backward, expected.ravel(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.numerical, expected.ravel(), rtol=1e-8, atol=1e-11)


def test_a_sample_gives_what_all_give():
    layers = nn.Linear(20), nn.Tanh(), nn.Linear(3)
    whole, part = check(*layers), check(*layers, samples=40)
    for a, b in zip(whole.parameters, part.parameters, strict=True):
        np.testing.assert_array_equal(a.backward[b.at], b.backward)
        np.testing.assert_allclose(a.numerical[b.at], b.numerical, rtol=1e-6, atol=1e-10)


# ---------------------------------------------------------------- from the trainer, and the command


def trained(dtype, **options):
    model = nn.Sequential(nn.Linear(8, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Linear(3))
    made = fd.Trainer(model, losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01, **options), dtype=dtype, device="cpu")
    made.fit(*rows(n=64), epochs=2, batch_size=16, progress=False)
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_trainer_is_checked_as_it_is_and_stays_so(dtype):
    checked, same = trained(dtype), trained(dtype)
    found = checked.check_gradients(*rows(n=16))
    assert found.verdict == "right"
    assert checked.weights.dtype == dtype
    for a, b in zip(checked.weights.snapshot().values(), same.weights.snapshot().values(), strict=True):
        assert a.tobytes() == b.tobytes()
    for made in (checked, same):
        made.fit(*rows(n=64), epochs=1, batch_size=16, progress=False)
    assert checked.weights.flat.tobytes() == same.weights.flat.tobytes()
    assert checked.history["loss"] == same.history["loss"]


def test_a_trainer_without_weights_makes_them():
    made = fd.Trainer(nn.Sequential(nn.Linear(3)), losses.SoftmaxCrossEntropy(), fd.optim.SGD(), seed=4)
    assert made.check_gradients(*rows()).verdict == "right"
    assert made.weights.flat.tobytes() == nn.Weights(made.weights.model, (6,), seed=4).flat.tobytes()


def test_penalties_are_no_part_of_it():
    plain, decayed = trained(np.float64), trained(np.float64, weight_decay=0.1, l1=0.1)
    decayed.weights.load(plain.weights.snapshot())
    first, second = (made.check_gradients(*rows(n=16)) for made in (plain, decayed))
    np.testing.assert_array_equal(first.backward, second.backward)
    np.testing.assert_array_equal(first.numerical, second.numerical)


def test_frozen_parameters_are_left_out():
    made = trained(np.float32)
    made.freeze("0.*")
    assert [row.name for row in made.check_gradients(*rows()).parameters] == ["1.gamma", "1.beta", "4.weight", "4.bias"]


def test_rows_of_a_mapped_file_are_taken(tmp_path):
    x, y = rows()
    np.save(tmp_path / "x.npy", x)
    mapped = fd.data.Rows(np.load(tmp_path / "x.npy", mmap_mode="r"))
    model = nn.Sequential(nn.Linear(3))
    assert fd.check_gradients(model, losses.SoftmaxCrossEntropy(), mapped, y).verdict == "right"


class Restless(nn.Layer):
    """Draws noise of its own."""

    def forward(self, x, frame, train):
        return x + np.random.default_rng().standard_normal(x.shape)

    def backward(self, dy, frame):
        return dy


X, Y = rows()
LINEAR = nn.Sequential(nn.Linear(3))


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ((LINEAR, losses.MSE, X, Y), {}, r"loss is <class .*MSE'>, wanted a Loss"),
        ((nn.Linear, losses.MSE(), X, Y), {}, r"model is <class .*Linear'>, wanted a Layer"),
        ((LINEAR, losses.SoftmaxCrossEntropy(), X, Y), {"samples": 1}, "samples is 1, wanted at least 2, one of each"),
        ((LINEAR, losses.SoftmaxCrossEntropy(), X, Y + 2), {}, r"the label of row \d is [34], wanted 0 to 2"),
        ((LINEAR, losses.SoftmaxCrossEntropy(), X * np.nan, Y), {}, "the loss is nan, wanted a finite number"),
        ((LINEAR, losses.SoftmaxCrossEntropy(), X, Y), {"seed": -1}, "seed is -1, wanted an integer"),
        ((nn.Sequential(nn.Tanh()), losses.MSE(), X, X), {}, "this model has no parameters that are trained"),
        (
            (nn.Sequential(Restless(), nn.Linear(3)), losses.SoftmaxCrossEntropy(), X, Y),
            {},
            "a second call gives another",
        ),
        (
            (nn.Sequential(nn.Linear(3)), losses.SoftmaxCrossEntropy(), X, Y),
            {"weights": nn.Weights(LINEAR, (6,))},
            "the weights given are of",
        ),
    ],
)
def test_what_cannot_be_checked_is_told(given, options, message):
    with pytest.raises((ValueError, TypeError), match=f"^check_gradients: {message}"):
        fd.check_gradients(*given, **options)


def test_rows_that_do_not_fit_are_told_as_in_training():
    with pytest.raises(ValueError, match=r"training: x has shape \(7, 6\) and y \(6,\)"):
        fd.check_gradients(LINEAR, losses.SoftmaxCrossEntropy(), X, Y[:6])
    with pytest.raises(ValueError, match=r"the target of row 0 is 0\.5, wanted -1 or 1"):
        fd.check_gradients(LINEAR, losses.Hinge(), X, np.full((7, 3), 0.5))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_command_checks_the_network_that_is_configured(elsewhere, capsys):
    flags = ["--layers", "12", "8", "--activation", "elu", "--no-batch-norm", "--batch-size", "16", "--samples", "80"]
    assert main(["check", "--grad", *flags]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("digits: 1,797 images")
    names = [line.split()[0] for line in said if line[0].isdigit()]
    assert names == ["0.weight", "0.bias", "3.weight", "3.bias", "6.weight", "6.bias"]
    assert said[-1].startswith("right: difference ")
    assert "over 80 of 974 parameters" in said[-1]


def test_the_command_tells_of_an_error_by_its_exit_status(elsewhere, capsys, monkeypatch):
    right = nn.ELU.backward
    monkeypatch.setattr(nn.ELU, "backward", lambda self, dy, frame: 1.1 * right(self, dy, frame))
    flags = ["--layers", "8", "--activation", "elu", "--batch-size", "16", "--samples", "40"]
    assert main(["check", "--grad", *flags]) == 1
    assert "wrong is the backward of layer 2 (ELU)" in capsys.readouterr().out


def test_the_command_reads_a_file_of_ones_own(elsewhere, capsys):
    from test_runs import houses, write_csv

    write_csv("houses.csv", ["size", "district", "age", "price"], houses())
    flags = ["--data", "houses.csv", "--target", "price", "--layers", "8", "--batch-size", "16", "--samples", "40"]
    assert main(["check", "--grad", *flags]) == 0
    plain = capsys.readouterr().out
    assert "houses.csv: 200 rows of 5 inputs" in plain
    # What a training does to the rows, and counts them by, is done here too.
    for more in (["--noise", "0.5"], ["--mixup", "0.4"], ["--weight", "age"]):
        assert main(["check", "--grad", *flags, *more]) == 0
        assert capsys.readouterr().out.splitlines()[-1] != plain.splitlines()[-1]
    assert main(["check", "--grad", *flags, "--l1", "0.1"]) == 0
    assert "penalties are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to check: --grad (gradients by backward against differences"),
        (["--grad", "--data", "none.csv"], "--data none.csv: there is no such file"),
        (["--grad", "--samples", "2"], "fastdl check: samples is 2, wanted at least"),
        (["--grad", "--set", "epocs=3"], "there is no key 'epocs'"),
        (["--grad", "--config", "none.toml"], "none.toml: No such file or directory"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(elsewhere, capsys, arguments, message):
    assert main(["check", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert message in said.err


def test_the_example_names_its_planted_error_and_draws(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "argv", ["gradient_check.py", "--plot", str(tmp_path / "check.png")])
    runpy.run_path(str(root / "examples" / "gradient_check.py"))
    first, second, _ = capsys.readouterr().out.split("\n\n")
    assert "wrong is the backward of layer 1 (WrongSwish)" in first
    wrong = [line.split()[0] for line in first.splitlines() if line.endswith("  wrong")]
    assert wrong == ["0.weight", "0.bias"]
    assert second.splitlines()[-1].startswith("right: ")
    assert (tmp_path / "check.png").stat().st_size > 10_000
