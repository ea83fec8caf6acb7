"""The training step: replay against eager, what a tape may not hold, parity with an independent implementation."""

import gc
import multiprocessing
import os
import tracemalloc

import numpy as np
import pytest
from test_nn import LAYERS

from fastdl import losses, nn, ops, optim
from fastdl.step import TrainStep


def data(rows=200, features=6, classes=3, dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, features)).astype(dtype), rng.integers(0, classes, rows)


def make(*layers, optimizer=None, **options):
    options = {"batch_size": 32, "seed": 5, **options}
    return TrainStep(nn.Sequential(*layers), losses.SoftmaxCrossEntropy(), optimizer or optim.Adam(0.01), **options)


def deep(**options):
    block = [nn.Linear(16, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3)]
    return make(*block, nn.Linear(3), **options)


def state(step):
    return [a.tobytes() for a in (step.weights.flat, step.weights.averages_flat, *step.moments)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", [optim.Adam(0.01, weight_decay=0.1), optim.SGD(0.1, weight_decay=0.1)])
@pytest.mark.parametrize("name", LAYERS)
def test_replay_equals_eager_to_the_bit(name, optimizer, dtype):
    x, y = data(dtype=dtype)
    replayed, eager = (make(*LAYERS[name](), optimizer=optimizer, dtype=dtype, record=r) for r in (True, False))
    for start, rows in [(0, 32), (32, 32), (64, 32), (96, 7), (103, 32), (150, 7), (3, 2)] * 3:
        batch = x[start : start + rows], y[start : start + rows] % 3
        assert replayed(*batch) == eager(*batch)
        assert state(replayed) == state(eager)


def test_rows_gathered_inside_the_step_equal_rows_handed_over():
    x, y = data()
    bound, handed = deep(), deep()
    bound.bind(x, y)
    order = np.random.default_rng(1).permutation(200)
    bound.set_order(order)
    for start, rows in [(0, 32), (32, 32), (100, 9), (64, 32), (150, 9)]:
        chosen = order[start : start + rows]
        assert bound.run(start, rows) == handed(x[chosen], y[chosen])
    assert state(bound) == state(handed)


OPTIMIZERS = [
    optim.SGD(0.1, momentum=0.9, dampening=0.9, l1=1e-3),
    optim.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=0.1),
    optim.AdaGrad(0.1),
    optim.RMSProp(0.01, eps_inside=True, clip_norm=10.0),
    optim.AdamW(0.01, eps_inside=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_every_optimizer_is_replayed_to_the_bit_and_leaves_frozen_parameters(optimizer):
    x, y = data()
    steps, starts = [], []
    for record in (True, False):
        model = nn.Sequential(nn.Linear(8), nn.BatchNorm(), nn.Tanh(), nn.Linear(3))
        weights = nn.Weights(model, (6,), frozen=["0.*", "1.gamma"])
        starts.append({name: weights.params[name].copy() for name in weights.frozen})
        steps.append(
            TrainStep(model, losses.SoftmaxCrossEntropy(), optimizer, batch_size=32, weights=weights, record=record)
        )
    replayed, eager = steps
    for start in range(0, 192, 32):
        assert replayed(x[start : start + 32], y[start : start + 32]) == eager(
            x[start : start + 32], y[start : start + 32]
        )
        assert state(replayed) == state(eager)
    for name, array in starts[0].items():
        np.testing.assert_array_equal(replayed.weights.params[name], array)
    assert (replayed.weights.params["1.beta"] != 0).all()


def test_a_second_data_set_can_be_bound():
    x, y = data()
    first, second = deep(), deep()
    first.bind(x, y)
    first.run(0, 32)
    first.bind(x[::-1].copy(), y[::-1].copy())
    second(x[:32], y[:32])
    assert first.run(0, 32) == second(x[::-1][:32], y[::-1][:32])


def test_a_batch_in_parts_gives_the_gradient_of_the_whole():
    x, y = data(dtype=np.float64)
    layers = [nn.Linear(16, activation="tanh"), nn.Dropout(0.3), nn.Linear(3)]
    whole, parts = (make(*layers, dtype=np.float64, optimizer=optim.SGD(0.5)) for _ in range(2))
    for _ in range(4):
        loss = whole(x[:30], y[:30])
        parts(x[:12], y[:12], first_row=0, rows=30)
        parts(x[12:24], y[12:24], first_row=12, rows=30)
        assert parts(x[24:30], y[24:30], first_row=24, rows=30) == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(parts.weights.flat, whole.weights.flat, rtol=1e-12, atol=1e-14)
    assert parts.count == whole.count == 4


def test_parts_come_one_after_the_other():
    x, y = data()
    step = make(nn.Linear(3))
    with pytest.raises(ValueError, match="from row 12 of a batch of 24, but no batch has been begun"):
        step(x[12:24], y[12:24], first_row=12, rows=24)
    step(x[:12], y[:12], rows=30)
    with pytest.raises(ValueError, match="from row 20 of a batch of 30, but row 12 of 30 comes next"):
        step(x[20:30], y[20:30], first_row=20, rows=30)
    step(x[12:30], y[12:30], first_row=12, rows=30)
    assert step.count == 1


def test_a_batch_whose_second_part_was_bad_is_given_again():
    x, y = data()
    step, same = deep(), deep()
    for _ in range(3):
        for each in (step, same):
            each(x[:12], y[:12], rows=30)
            if each is step:
                with pytest.raises(ValueError, match="the label of row 0 is 7"):
                    each(x[12:30], np.full(18, 7), first_row=12, rows=30)
                with pytest.raises(ValueError, match="give the batch again from its first row"):
                    each(x[12:30], y[12:30], first_row=12, rows=30)
                each(x[:12], y[:12], rows=30)
            each(x[12:30], y[12:30], first_row=12, rows=30)
        assert step.weights.flat.tobytes() == same.weights.flat.tobytes()


@pytest.mark.numba
def test_twenty_thousand_replayed_steps_keep_and_take_no_memory():
    x, y = data()
    step = deep()
    step.bind(x, y)
    step.run(0, 32)
    for _ in range(10):
        step.run(32, 32)
    gc.collect()
    tracemalloc.start()
    try:
        step.run(0, 32)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20_000):
            step.run(32, 32)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000  # less than a byte a step
    assert peak - before < 4096  # less than any array of the step


@pytest.mark.numba
def test_a_parameter_takes_16_bytes():
    """In training with Adam in float32, at few rows; what docs/performance.md tells."""
    model = nn.Sequential(nn.Linear(1000, activation="relu"), nn.Linear(1000, activation="relu"), nn.Linear(10))
    x, y = np.ones((4, 1000), np.float32), np.arange(4)
    tracemalloc.start()
    try:
        step = TrainStep(model, losses.SoftmaxCrossEntropy(), optim.Adam(), batch_size=4, device="cpu")
        before, _ = tracemalloc.get_traced_memory()
        step(x, y)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / step.weights.flat.size == pytest.approx(16, rel=0.02)
    assert (peak - before) / step.weights.flat.size == pytest.approx(56, rel=0.02)


@pytest.mark.parametrize("made_before", [0, 1, 2], ids=["first", "recorded", "replayed"])
@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_bad_label_is_named_and_changes_nothing(label, made_before):
    x, y = data()
    step, same = deep(), deep()
    for each in (step, same):
        each(x[40:50], y[40:50])  # of another size, so that there are weights
        for _ in range(made_before):
            each(x[:32], y[:32])
    bad = y[:32].copy()
    bad[[4, 9]] = label
    with pytest.raises(
        ValueError, match=rf"the label of row 4 is {label}, wanted 0 to 2; this step changed no parameter"
    ):
        step(x[:32], bad)
    assert state(step) == state(same)
    assert step(x[:32], y[:32]) == same(x[:32], y[:32])
    assert state(step) == state(same)


def test_a_bad_label_of_a_bound_data_set_is_named_by_its_row():
    x, y = data()
    y[195] = 3
    step = deep()
    step.bind(x, y)
    step.set_order(np.arange(200)[::-1])
    with pytest.raises(ValueError, match="the label of row 195 is 3"):
        step.run(0, 32)


def test_the_loss_at_the_start_is_that_of_guessing():
    x, y = data()
    step = make(nn.Linear(3, start=lambda shape, seed, stream: np.zeros(shape)))
    assert step(x[:32], y[:32]) == pytest.approx(np.log(3), rel=1e-6)


def test_a_child_of_fork_goes_on_by_itself():
    x, y = data(rows=400, features=300)
    step, same = (make(nn.Linear(400), nn.BatchNorm(), nn.ReLU(), nn.Linear(3), batch_size=256) for _ in range(2))
    for each in (step, same):
        each.bind(x, y)
        each.run(0, 256)
    assert state(step) == state(same)
    expected = same.run(100, 256)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put((os.getpid(), step.run(100, 256))))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert queue.get()[1] == expected


# ---------------------------------------------------------------- what a tape may not hold


class Halve(nn.Layer):
    """y = x / 2, in a way that the tests choose."""

    def __init__(self, how):
        self.how = how
        self.calls = 0

    def forward(self, x, frame, train):
        y = frame.rows("y", *x.shape[1:])
        return self.how(self, x, y, frame)

    def backward(self, dy, frame):
        return None


def by_numpy(layer, x, y, frame):
    return np.multiply(x, 0.5, out=y)


def by_assignment(layer, x, y, frame):
    y[...] = x
    return y


def by_array(layer, x, y, frame):
    return ops.activation(x, "leaky_relu", slope=abs(float(np.asarray(x).sum())), out=y)


def by_view(layer, x, y, frame):
    return ops.activation(x, "leaky_relu", slope=abs(float(x.view(np.ndarray)[0, 0])), out=y)


def by_flat(layer, x, y, frame):
    return ops.activation(x, "leaky_relu", slope=abs(x.flat[0]), out=y)


@pytest.mark.parametrize("how", [by_array, by_view, by_flat])
def test_a_value_that_slips_past_the_seal_is_found_out_and_the_step_undone(how):
    x, y = data()
    step = make(Halve(how), nn.Linear(3))
    before = nn.Weights(step._model, (6,), seed=5).flat
    with pytest.raises((RuntimeError, ValueError), match=r"a replay of this step differs|slope is nan"):
        step(x[:32], y[:32])
    assert step.weights.flat.tobytes() == before.tobytes()
    assert not any(moment.any() for moment in step.moments)


def by_branch(layer, x, y, frame):
    if x[0, 0] > 0:
        y = ops.activation(x, "relu", out=y)
    return y


def by_reading(layer, x, y, frame):
    return ops.activation(x, "leaky_relu", slope=float(x.sum()), out=y)


@pytest.mark.parametrize("how", [by_numpy, by_assignment, by_branch, by_reading])
def test_numpy_between_ops_fails_at_its_own_line(how):
    x, y = data()
    step = make(Halve(how), nn.Linear(3))
    with pytest.raises(TypeError, match="a recorded step cannot read values, or use NumPy, between ops"):
        step(x[:32], y[:32])
    make(Halve(how), nn.Linear(3), record=False)(x[:32], y[:32])


def by_counting(layer, x, y, frame):
    layer.calls += 1
    return ops.activation(x, "leaky_relu", slope=0.1 * layer.calls, out=y)


def test_a_step_that_differs_from_its_replay_is_found_out():
    x, y = data()
    step = make(Halve(by_counting), nn.Linear(3))
    with pytest.raises(RuntimeError, match="a replay of this step differs from the step itself"):
        step(x[:32], y[:32])


def halve(x, y):
    np.multiply(x, 0.5, out=y)


def by_call(layer, x, y, frame):
    frame.call(halve, x, y)
    return y


def test_a_function_of_ones_own_is_recorded_by_frame_call():
    x, y = data()
    step, eager = (make(Halve(by_call), nn.Linear(3), record=record) for record in (True, False))
    for start in (0, 32, 64):
        batch = x[start : start + 32], y[start : start + 32]
        assert step(*batch) == eager(*batch)


# ---------------------------------------------------------------- wrong input


def test_wrong_rows_are_refused():
    x, y = data()
    step = make(nn.Linear(3))
    step(x[:32], y[:32])
    with pytest.raises(ValueError, match=r"room for 32 rows, got 40; make it with batch_size=40"):
        step(x[:40], y[:40])
    with pytest.raises(ValueError, match=r"x has shape \(4, 5\) and target \(4,\), wanted \(4, 6\) and \(4,\)"):
        step(x[:4, :5], y[:4])
    with pytest.raises(ValueError, match=r"target \(3,\), wanted"):
        step(x[:4], y[:3])
    with pytest.raises(ValueError, match="wanted at least one row"):
        step(x[:0], y[:0])
    with pytest.raises(TypeError, match=r"target must hold integers.*got float64; pass target.astype\(np.int64\)"):
        step(x[:4], y[:4].astype(float))
    with pytest.raises(TypeError, match=r"x must be a numpy.ndarray, got list; pass np.asarray\(x\)"):
        step(x[:4].tolist(), y[:4])
    with pytest.raises(TypeError, match="x must hold real numbers, got complex64"):
        step(x[:4] + 1j, y[:4])
    with pytest.raises(ValueError, match="rows 8 to 12 of a batch of 10"):
        step(x[:4], y[:4], first_row=8, rows=10)


def test_order_and_rows_are_checked():
    x, y = data()
    step = make(nn.Linear(3))
    with pytest.raises(RuntimeError, match="no data set is bound"):
        step.run(0, 4)
    with pytest.raises(RuntimeError, match="no weights before the first batch"):
        _ = step.weights
    step.bind(x, y)
    with pytest.raises(IndexError, match="rows 190 to 210 of 200"):
        step.run(190, 20)
    with pytest.raises(ValueError, match="wanted 200 integers from 0 to 199, got 200 to 200"):
        step.set_order(np.full(200, 200))
    for order in (np.full(200, np.nan), np.arange(200.0)):
        with pytest.raises(ValueError, match=r"wanted 200 integers from 0 to 199, got shape .* and dtype float64"):
            step.set_order(order)


def test_data_at_odd_addresses_is_bound():
    x, y = data()
    raw = np.zeros(x.nbytes + 1, np.uint8)
    odd = raw[1:].view(x.dtype).reshape(x.shape)
    odd[...] = x
    step, same = deep(), deep()
    step.bind(odd, y)
    same.bind(x, y)
    assert step.run(0, 32) == same.run(0, 32)


def test_a_class_in_the_place_of_an_object_is_told():
    with pytest.raises(TypeError, match=r"loss is the class SoftmaxCrossEntropy; write SoftmaxCrossEntropy\(\.\.\.\)"):
        TrainStep(nn.Linear(3), losses.SoftmaxCrossEntropy, optim.SGD(), batch_size=4)


@pytest.mark.parametrize("options", [{"lr": -1}, {"lr": float("nan")}, {"lr": "x"}, {"weight_decay": -1}, {"eps": -1}])
def test_numbers_that_no_optimizer_can_use_are_refused(options):
    with pytest.raises(ValueError, match=f"Adam: {next(iter(options))} is .*, wanted a number of 0 or more"):
        optim.Adam(**options)


def test_betas_of_one_are_refused():
    with pytest.raises(ValueError, match=r"Adam: betas are \(1.0, 0.9\)"):
        optim.Adam(betas=(1.0, 0.9))


def test_weights_of_another_model_are_refused():
    model = nn.Sequential(nn.Linear(3))
    weights = nn.Weights(model, (6,))
    options = {"batch_size": 4, "weights": weights}
    loss, sgd = losses.SoftmaxCrossEntropy(), optim.SGD()
    assert TrainStep(model, loss, sgd, **options).weights is weights
    for wrong in ({"model": nn.Sequential(nn.Linear(3))}, {"dtype": np.float64}):
        with pytest.raises(ValueError, match=r"wanted float.* and the very model that is trained"):
            TrainStep(**{"model": model, "loss": loss, "optimizer": sgd, **options, **wrong})


# ---------------------------------------------------------------- threads


def test_a_trained_network_has_the_same_bits_on_one_thread_and_on_two(run_python):
    code = (
        "import hashlib, numpy as np\n"
        "from fastdl import losses, nn, optim\n"
        "from fastdl.step import TrainStep\n"
        "rng = np.random.default_rng(0)\n"
        "x, y = rng.standard_normal((512, 200), np.float32), rng.integers(0, 10, 512)\n"
        "block = [nn.Linear(300, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2)]\n"
        "loss, adam = losses.SoftmaxCrossEntropy(), optim.Adam()\n"
        "step = TrainStep(nn.Sequential(*block, nn.Linear(10)), loss, adam, batch_size=256, deterministic=True)\n"
        "for start in (0, 256, 0, 256): step(x[start : start + 256], y[start : start + 256])\n"
        "print(hashlib.sha256(step.weights.flat.tobytes()).hexdigest())\n"
    )
    assert run_python(code, NUMBA_NUM_THREADS="1") == run_python(code, NUMBA_NUM_THREADS="2")
