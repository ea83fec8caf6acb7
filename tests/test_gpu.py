"""Ops, steps and trainers on CuPy arrays: on a GPU where there is one, and everywhere on the emulator."""

import contextlib

import cupy_on_host
import emulator
import numpy as np
import pytest

import fastdl as fd
from fastdl import backend, devices, losses, nn, ops, optim, warmup
from fastdl.kernels._cuda import address
from fastdl.recorder import record, seal
from fastdl.testing import assert_agree, assert_same_bits, numerical_gradient

pytest.importorskip("cupy")


@pytest.fixture(params=["emulated", pytest.param("device", marks=pytest.mark.gpu)], autouse=True)
def where(request):
    with emulator.cuda("random", 1, arrays=cupy_on_host) if request.param == "emulated" else contextlib.nullcontext():
        yield request.param


def cuda(*arrays):
    """On the GPU, from copies: the emulator shares memory."""
    found = [None if a is None else devices.asarray(np.array(a), "cuda") for a in arrays]
    return found[0] if len(found) == 1 else found


def host(found):
    """Everything that an op returned, as NumPy arrays."""
    if isinstance(found, tuple):
        return tuple(host(item) for item in found)
    return None if found is None else devices.read(found)


def draw(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ---------------------------------------------------------------- dispatch


def test_the_arrays_type_decides():
    x = draw(5, 3)
    there = ops.activation(cuda(x), "tanh")
    assert backend.on_cuda(there)
    assert type(ops.activation(x, "tanh")) is np.ndarray
    assert_agree(host(there), np.tanh(x.astype(np.float64)), kind="function")


@pytest.mark.parametrize(
    "call, one, other",
    [
        (lambda a, b: ops.add(a, b), "a", "b"),
        (lambda a, b: ops.add(b, a), "b", "a"),
        (lambda a, b: ops.add(a, a, out=b), "a", "out"),
        (lambda a, b: ops.matmul(a, b), "x", "w"),
    ],
)
def test_arrays_of_two_devices_in_one_call_raise_and_say_how_to_move_them(call, one, other):
    a, b = cuda(draw(3, 3)), draw(3, 3)
    with pytest.raises(
        TypeError, match=rf"{one} is a CuPy array and {other} a NumPy array; .*asarray\({other}, device="
    ):
        call(a, b)


def test_each_op_runs_on_the_gpu_by_itself():
    """Whatever scratch, totals or status it makes when none are given."""
    tried = set()
    for op, call in warmup.calls(np.float32):
        args = [cuda(a) if isinstance(a, np.ndarray) else a for a in call.args]
        args = [ops.BatchStatistics(*map(cuda, a)) if isinstance(a, ops.BatchStatistics) else a for a in args]
        options = {k: cuda(v) if isinstance(v, np.ndarray) else v for k, v in call.keywords.items()}
        if call.func is ops.dropout_mask:
            options["device"] = "cuda"
        found = call.func(*args, **options)
        first = found[0] if isinstance(found, tuple) else found
        assert backend.on_cuda(first), op
        right = call.func(*call.args, **call.keywords)
        right = right[0] if isinstance(right, tuple) else right
        assert_agree(host(first), right, scale=1 + np.abs(right), name=op)
        tried.add(op)
    assert tried == {op for op, _ in warmup.calls(np.float32)}


def test_outputs_are_written_and_returned():
    x, out = cuda(draw(40, 3)), cuda(np.zeros((40, 3), np.float32))
    assert ops.activation(x, "relu", out=out) is out
    assert_same_bits(host(out), np.maximum(host(x), 0))
    with pytest.raises(ValueError, match=r"^activation: out has shape \(3, 40\)"):
        ops.activation(x, "relu", out=cuda(np.zeros((3, 40), np.float32)))


def test_overlap_is_refused_and_work_in_place_is_not():
    x = cuda(draw(8, 4))
    with pytest.raises(ValueError, match=r"^add: out overlaps b; give each memory of its own"):
        ops.add(cuda(draw(4, 4)), x[2:6], out=x[3:7])
    right = np.maximum(host(x), 0)
    assert_same_bits(host(ops.activation(x, "relu", out=x)), right)


def test_wrong_dtypes_and_shapes_raise():
    x = cuda(draw(4, 4))
    with pytest.raises(TypeError, match=r"^add: b must be float32 like the other arrays, got float64"):
        ops.add(x, cuda(draw(4, 4, dtype=np.float64)))
    with pytest.raises(TypeError, match=r"^activation: x must be float32 or float64, got <i8"):
        ops.activation(cuda(np.arange(3)), "relu")
    with pytest.raises(ValueError, match=r"^matmul: w has shape \(3, 2\), wanted 4"):
        ops.matmul(x, cuda(draw(3, 2)))


def test_a_view_that_begins_within_a_number_is_refused_or_copied():
    raw = cuda(np.zeros(65, np.uint8))
    off = raw[1:].view(np.float32)
    with pytest.raises(ValueError, match=r"^activation: out is not aligned"):
        ops.activation(cuda(np.zeros(16, np.float32)), "relu", out=off)


def test_validation_may_lie_on_the_gpu():
    x, y = draw(64, 10), np.arange(64) % 5
    trainer = fd.Trainer(nn.Linear(5), losses.SoftmaxCrossEntropy(), optim.SGD(0.1), device="cuda")
    for _ in range(2):
        history = trainer.fit(x, y, validation=(cuda(x), cuda(y)), epochs=1, batch_size=32, progress=False)
    assert history["val_accuracy"][0] == trainer.evaluate(x, y)["accuracy"]
    assert backend.on_cuda(trainer.predict(cuda(x)))
    assert type(trainer.predict(x)) is np.ndarray


def test_empty_arrays_launch_nothing():
    assert host(ops.activation(cuda(np.zeros((0, 3), np.float32)), "relu")).shape == (0, 3)
    dw, db = host(ops.matmul_backward_weights(cuda(np.zeros((0, 3), np.float32)), cuda(np.zeros((0, 2), np.float32))))
    assert not dw.any()
    assert not db.any()


def test_a_bad_label_makes_the_loss_nan_and_writes_no_gradient():
    logits, labels = cuda(draw(6, 3)), cuda(np.array([0, 1, 2, 3, 0, -1]))
    status, out = cuda(np.zeros(1, np.int64)), cuda(np.full((6, 3), 7, np.float32))
    loss, gradient = ops.softmax_cross_entropy(logits, labels, status=status, out=out)
    assert np.isnan(host(loss)).all()
    assert host(status)[0] == 4
    assert (host(gradient) == 7).all()
    p, g = cuda(np.ones(3, np.float32)), cuda(np.ones(3, np.float32))
    assert (host(ops.sgd_update(p, g, lr=0.1, status=status)) == 1).all()


def test_rows_that_do_not_exist_raise():
    with pytest.raises(IndexError, match=r"^gather: order\[1\] is 3, wanted 0 to 2"):
        ops.gather(cuda(draw(3, 2)), cuda(np.array([0, 3])))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("columns", [1, 3, 8, 100])
def test_rows_of_any_width_and_place(dtype, columns):
    data = (draw(20, columns + 1) * 10).astype(dtype)
    whole = cuda(data.reshape(-1)[columns:].copy())
    rows = 20 * (columns + 1) // columns - 1
    table = whole[: rows * columns].reshape(rows, columns)
    order = np.array([3, 0, rows - 1, 3])
    assert_same_bits(host(ops.gather(table, cuda(order))), host(table)[order])


# ---------------------------------------------------------------- recorded


def test_sealed_arrays_of_a_gpu_cannot_be_read():
    x = cuda(draw(4, 3))
    with record():
        sealed = seal(x)
        assert sealed[1:].shape == (3, 3)
        assert sealed.reshape(-1).shape == (12,)
        for read in (
            lambda: float(sealed[0, 0]),
            lambda: sealed + 1,
            lambda: 2 * sealed,
            lambda: sealed.sum(),
            lambda: sealed.get(),
            lambda: np.exp(sealed),
            lambda: sealed > 0,
            lambda: bool(sealed),
            lambda: ~sealed,
            lambda: +sealed,
            lambda: 2 // sealed,
            lambda: sealed.__ifloordiv__(2),
            lambda: sealed.ptp(),
            lambda: sealed.__setitem__(0, 1),
        ):
            with pytest.raises(TypeError, match="a recorded step cannot read values"):
                read()
        assert "shape (4, 3)" in repr(sealed)
    assert type(seal(x)) is type(x)


def test_recorded_calls_are_made_again_on_the_same_arrays():
    x, y = cuda(draw(70, 3)), cuda(np.zeros((70, 3), np.float32))
    with record() as tape:
        ops.activation(seal(x), "relu", out=seal(y))
    assert not host(y).any()
    tape.replay()
    assert_same_bits(host(y), np.maximum(host(x), 0))
    devices.write(x, -host(x))
    tape.replay()
    assert_same_bits(host(y), np.maximum(host(x), 0))


# ---------------------------------------------------------------- gradients, bits


@pytest.mark.parametrize("name", ["matmul", "batch_norm", "images", "softmax_cross_entropy", "gelu"])
def test_gradients_are_those_of_differences(name):
    n, k, m = 7, 5, 4
    x, r = draw(n, k, dtype=np.float64), draw(n, m, seed=1, dtype=np.float64)
    if name == "matmul":
        w = draw(k, m, seed=2, dtype=np.float64)

        def value():
            return float((host(ops.matmul(cuda(x), cuda(w), activation="tanh")) * r).sum())

        y = ops.matmul(cuda(x), cuda(w), activation="tanh")
        dy = ops.activation_backward(cuda(r), "tanh", y=y)
        found = host(ops.matmul_backward_input(dy, cuda(w)))
    elif name == "softmax_cross_entropy":
        labels = np.arange(n) % k

        def value():
            return float(host(ops.softmax_cross_entropy(cuda(x), cuda(labels), smoothing=0.1))[0][0])

        found = host(ops.softmax_cross_entropy(cuda(x), cuda(labels), smoothing=0.1))[1]
    elif name == "gelu":
        r = draw(n, k, seed=1, dtype=np.float64)

        def value():
            return float((host(ops.activation(cuda(x), "gelu")) * r).sum())

        found = host(ops.activation_backward(cuda(r), "gelu", x=cuda(x)))
    else:
        if name == "images":
            x = draw(3, k, 6, dtype=np.float64)
        r, gamma, beta = draw(*x.shape, seed=1, dtype=np.float64), np.linspace(0.5, 2, k), np.linspace(-1, 1, k)

        def value():
            return float((host(ops.batch_norm(cuda(x), cuda(gamma), cuda(beta))[0]) * r).sum())

        _, statistics = ops.batch_norm(cuda(x), cuda(gamma), cuda(beta))
        found = host(ops.batch_norm_backward(cuda(r), cuda(x), cuda(gamma), statistics))[0]
    np.testing.assert_allclose(found, numerical_gradient(value, x), rtol=1e-5, atol=1e-7)


def test_masks_are_the_cpus_to_the_bit():
    for offset in (0, 5, 64, 2**36 + 17):
        options = {"rate": 0.3, "seed": 2**40 + 3, "stream": 9, "step": 4, "offset": offset}
        there = host(ops.dropout_mask((1000,), device="cuda", **options))
        assert_same_bits(there, ops.dropout_mask((1000,), **options))


def trained(device, steps=60):
    net = nn.Sequential(
        nn.Linear(24, bias=False),
        nn.BatchNorm(activation="relu"),
        nn.Dropout(0.2),
        nn.Linear(12),
        nn.Tanh(),
        nn.Linear(5),
    )
    step = fd.TrainStep(net, losses.SoftmaxCrossEntropy(), optim.Adam(3e-3), batch_size=32, device=device, seed=7)
    x, y = draw(200, 10), np.arange(200) % 5
    step.bind(x, y)
    return [step.run(number * 32 % 168, 32) for number in range(steps)], step


def test_sixty_steps_equal_the_cpus():
    there, again, right = trained("cuda"), trained("cuda"), trained("cpu")
    np.testing.assert_allclose(there[0], right[0], rtol=1e-5, atol=1e-5)
    assert there[0] == again[0]
    assert_same_bits(host(there[1].weights.flat), host(again[1].weights.flat))
    np.testing.assert_allclose(host(there[1].weights.flat), right[1].weights.flat, rtol=2e-4, atol=2e-5)


def test_trainer_learns_digits_as_on_the_cpu():
    x, y = fd.data.load_digits()
    train, test = fd.data.split(x[:600] / np.float32(16), y[:600], parts=(0.8, 0.2), stratify=True)
    found = []
    for device in ("cuda", "cpu"):
        trainer = fd.Trainer(
            nn.Sequential(nn.Linear(32), nn.BatchNorm(activation="relu"), nn.Linear(10)),
            losses.SoftmaxCrossEntropy(),
            optim.Adam(3e-3),
            device=device,
        )
        trainer.fit(*train, epochs=3, batch_size=64, progress=False)
        found.append(trainer.evaluate(*test))
    assert found[0]["accuracy"] == pytest.approx(found[1]["accuracy"], abs=0.02)
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-3)


def test_data_that_lies_on_the_gpu_is_not_copied():
    x, y = cuda(draw(64, 10)), cuda(np.arange(64) % 5)
    step = fd.TrainStep(
        nn.Linear(5), losses.SoftmaxCrossEntropy(), optim.SGD(0.1), batch_size=32, device="cuda", dtype=np.float32
    )
    step.bind(x, y)
    assert address(step._data) == address(x)
    assert address(step._targets) == address(y)
    assert np.isfinite(step.run(0, 32))


# ---------------------------------------------------------------- a device alone


@pytest.mark.gpu
def test_arrays_of_other_libraries_are_shared(where):
    if where != "device":
        pytest.skip("needs a device")
    torch = pytest.importorskip("torch")
    x = torch.randn(100, 7, device="cuda")
    shared = fd.asarray(x)
    assert address(shared) == x.data_ptr()
    out = torch.empty_like(x)
    ops.activation(x, "relu", out=out)
    assert torch.equal(out, torch.relu(x))


@pytest.mark.gpu
def test_arrays_that_are_not_contiguous_are_copied(where):
    if where != "device":
        pytest.skip("needs a device")
    x = cuda(draw(10, 8))
    assert_same_bits(host(ops.activation(x[:, ::2], "relu")), np.maximum(host(x)[:, ::2], 0))
    assert_same_bits(host(ops.activation(x.T, "relu")), np.maximum(host(x).T, 0))
