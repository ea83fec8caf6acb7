"""Whole training steps on CUDA kernels, on the emulator: arena, recording, launches and kernels together."""

import emulator
import numpy as np
import pytest

import fastdl as fd
from fastdl import losses, nn, optim

ORDERS = [("forward", 0), ("random", 1)]
orders = pytest.mark.parametrize("order, seed", ORDERS)


def model():
    return nn.Sequential(
        nn.Linear(24, bias=False),
        nn.BatchNorm(activation="relu"),
        nn.Dropout(0.2),
        nn.Linear(12),
        nn.Tanh(),
        nn.Linear(5),
    )


def rows(count=200, seed=0):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((count, 10)).astype(np.float32), draw.integers(0, 5, count)


def step(device, optimizer=None, loss=None, net=None, **options):
    return fd.TrainStep(
        net or model(),
        loss or losses.SoftmaxCrossEntropy(),
        optimizer or optim.Adam(3e-3),
        batch_size=options.pop("batch_size", 32),
        device=device,
        seed=7,
        **options,
    )


def curve(made, steps=60, batch=32, count=200):
    x, y = rows(count)
    made.bind(x, y)
    found = []
    for number in range(steps):
        start = number * batch % (count - batch)
        found.append(made.run(start, batch))
    return np.array(found)


@pytest.fixture(scope="module")
def expected():
    made = step("cpu")
    return curve(made), made.weights.snapshot()


@orders
def test_sixty_steps_equal_the_cpus(order, seed, expected):
    with emulator.cuda(order, seed):
        made = step("cuda")
        found = curve(made)
        weights = made.weights.snapshot()
    np.testing.assert_allclose(found, expected[0], rtol=1e-5, atol=1e-5)
    for name, array in expected[1].items():
        np.testing.assert_allclose(weights[name], array, rtol=2e-4, atol=2e-5, err_msg=name)


def test_masks_are_the_cpus_to_the_bit():
    x, y = rows(32)
    masks = []
    for device, where in (("cpu", np.errstate()), ("cuda", emulator.cuda("random", 3))):
        with where:
            made = step(device)
            made.bind(x, y)
            for _ in range(3):
                made.run(0, 32)
            masks.append(made.workspace.frame.children[2].array("mask", 32, 24, dtype=np.uint8).copy())
    assert masks[0].tobytes() == masks[1].tobytes()
    assert 0 < masks[0].mean() < 1


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        optim.RMSProp(1e-3, clip_norm=0.5),
        optim.AdamW(3e-3, l1=1e-4),
        optim.SGD(0.1, clip_value=0.01, rates={"0.*": 0.1}),
        optim.AdamW(3e-3, clip_norm_each=0.05, rates={"*.bias": 3.0}),
        optim.Adam(3e-3, weight_decay=1e-2, penalty_over_rows=True),
    ],
    ids=["nesterov", "rmsprop", "adamw", "clipped by value", "clipped one by one", "penalised over rows"],
)
def test_other_optimizers(optimizer):
    net = nn.Sequential(nn.Linear(24, activation="sigmoid"), nn.Residual(nn.Linear(24), nn.GELU()), nn.Linear(5))
    right = curve(step("cpu", optimizer, net=net), steps=20)
    with emulator.cuda("random", 2):
        found = curve(step("cuda", optimizer, net=net), steps=20)
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", [losses.SoftmaxCrossEntropy(), losses.SoftmaxCrossEntropy(smoothing=0.1)])
@pytest.mark.parametrize("bound", [False, True], ids=["handed over", "bound"])
def test_weights_of_rows(loss, bound):
    x, y = rows(32)
    counts = np.arange(32) % 4
    found = []
    for device, where in (("cpu", np.errstate()), ("cuda", emulator.cuda("random", 6))):
        with where:
            made = step(device, optim.SGD(0.1), loss)
            if bound:
                made.bind(x, y, counts)
            found.append([made.run(0, 32) if bound else made(x, y, sample_weight=counts) for _ in range(6)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


@pytest.mark.parametrize("name", ["MSE", "L1", "Huber", "BinaryCrossEntropy"])
def test_losses_element_by_element(name):
    net, loss = nn.Sequential(nn.Linear(8, activation="tanh"), nn.Linear(3)), getattr(losses, name)()
    x, _ = rows(64)
    t = (rows(64, seed=1)[0][:, :3] > 0).astype(np.float32)
    found = []
    for device, where in (("cpu", np.errstate()), ("cuda", emulator.cuda("random", 5))):
        with where:
            made = step(device, optim.SGD(0.1), loss, net, batch_size=64)
            found.append([made(x, t) for _ in range(10)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_many_rows_are_cut_in_slices():
    """More rows than one block works through: the gradient of the weights comes in slices, the norm in chunks."""
    net = nn.Sequential(nn.Linear(16, activation="relu"), nn.BatchNorm(), nn.Linear(5))
    x, y = rows(2100)
    found = []
    for device, where in (("cpu", np.errstate()), ("cuda", emulator.cuda())):
        with where:
            made = step(device, optim.SGD(0.1), net=net, batch_size=2100)
            found.append([made(x, y) for _ in range(3)])
            found[-1].append(made(x[:300], y[:300]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_batches_in_parts():
    x, y = rows(64)
    found = []
    for device, where in (("cpu", np.errstate()), ("cuda", emulator.cuda("random", 1))):
        with where:
            made = step(device, optim.Adam(1e-2), net=nn.Sequential(nn.Linear(8), nn.Dropout(0.5), nn.Linear(5)))
            for _ in range(5):
                made(x[:32], y[:32], first_row=0, rows=64)
                last = made(x[32:], y[32:], first_row=32, rows=64)
            found.append(last)
    assert found[1] == pytest.approx(found[0], rel=1e-5)


# ---------------------------------------------------------------- nobody waits


def test_losses_are_added_up_without_waiting():
    with emulator.cuda():
        made, other = step("cuda"), step("cuda")
        each = curve(other, steps=12)
        x, y = rows()
        made.bind(x, y)
        made.sum = 3.0
        for number in range(12):
            assert made.run(number * 32 % 168, 32, wait=False) is None
        assert made.sum == 3.0 + (32 * each).sum()
        assert made.sum == made.sum
        assert made.loss == each[-1]


def test_a_bad_label_stops_all_changes_and_is_told_when_the_loss_is_read():
    x, y = rows()
    y[40] = 5
    with emulator.cuda():
        made = step("cuda")
        made.bind(x, y)
        made.run(0, 32, wait=False)
        assert np.isfinite(made.sum)
        before = made.weights.snapshot()
        for start in (32, 64, 96):
            made.run(start, 32, wait=False)
        for name, array in made.weights.snapshot().items():
            assert array.tobytes() == before[name].tobytes(), name
        with pytest.raises(ValueError, match=r"the label of row 40 is 5, wanted 0 to 4; since that step no parameter"):
            _ = made.sum
        assert np.isfinite(made.run(96, 32))
        assert made.weights.snapshot()["0.weight"].tobytes() != before["0.weight"].tobytes()


def test_after_a_bad_label_all_is_as_if_only_the_good_steps_had_been():
    """Count, dropout's draws, the sum and the place in the batch: the host was ahead of the GPU."""
    x, y = rows()
    bad = y.copy()
    bad[70] = -3
    with emulator.cuda():
        made, right = step("cuda"), step("cuda")
        for each, labels in ((made, bad), (right, y)):
            each.bind(x, labels)
        for start in (0, 32, 64, 96, 128):
            made.run(start, 32, wait=False)
        with pytest.raises(ValueError, match="the label of row 70 is -3"):
            _ = made.sum
        for start in (0, 32):
            right.run(start, 32)
        assert (made.count, made.drawn) == (right.count, right.drawn) == (2, 2)
        assert made.sum == 0
        made.bind(x, y)
        assert made.run(64, 32) == right.run(64, 32)
        assert made.weights.flat.tobytes() == right.weights.flat.tobytes()


def test_a_batch_in_parts_begins_anew_after_a_bad_label():
    x, y = rows(32)
    bad = y.copy()
    bad[3] = 9
    with emulator.cuda():
        made = step("cuda", net=nn.Linear(5))
        with pytest.raises(ValueError, match="the label of row 3"):
            made(x[:16], bad[:16], first_row=0, rows=32)
        with pytest.raises(ValueError, match="no batch has been begun; give the batch again from its first row"):
            made(x[16:], y[16:], first_row=16, rows=32)
        assert np.isfinite(made(x, y))


def test_nothing_is_launched_anew_in_a_replayed_step(monkeypatch):
    from fastdl.kernels import _cuda

    with emulator.cuda():
        made = step("cuda")
        made.bind(*rows())
        made.run(0, 32, wait=False)
        monkeypatch.setattr(_cuda.Source, "call", lambda *_: pytest.fail("a launch was made ready in a replay"))
        monkeypatch.setattr(fd.devices, "read", lambda *_: pytest.fail("something was read back in a replay"))
        made.run(32, 32, wait=False)


# ---------------------------------------------------------------- trainer


def test_trainer_and_files_cross_devices(tmp_path):
    x, y = rows(300)
    with emulator.cuda("random", 1):
        trainer = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(3e-3), device="cuda")
        history = trainer.fit(x, y, validation=(x[:50], y[:50]), epochs=2, batch_size=32, progress=False)
        outputs = trainer.predict(x)
        trainer.save(tmp_path / "cuda.safetensors")
    same = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(3e-3), device="cpu")
    right = same.fit(x, y, validation=(x[:50], y[:50]), epochs=2, batch_size=32, progress=False)
    for name in ("loss", "val_loss", "val_accuracy", "gradient_norm"):
        np.testing.assert_allclose(history[name], right[name], rtol=1e-4, err_msg=name)
    there = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(3e-3), device="cpu")
    there.load(tmp_path / "cuda.safetensors")
    np.testing.assert_allclose(there.predict(x), outputs, rtol=1e-4, atol=1e-5)
    there.fit(x, y, epochs=1, batch_size=32, progress=False)
    there.save(tmp_path / "cpu.safetensors")
    with emulator.cuda():
        back = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(3e-3), device="cuda")
        back.load(tmp_path / "cpu.safetensors")
        back.fit(x, y, epochs=1, batch_size=32, progress=False)
    same.fit(x, y, epochs=2, batch_size=32, progress=False)
    assert back.history["loss"][-1] == pytest.approx(same.history["loss"][-1], rel=1e-3)
    assert back.step.count == same.step.count


def test_gradients_of_a_trainer_on_a_gpu_are_checked_on_the_cpu():
    x, y = rows(16)
    with emulator.cuda():
        trainer = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(), device="cuda")
        trainer.build((10,))
        before = trainer.weights.snapshot()
        found = trainer.check_gradients(fd.asarray(x, device="cuda"), y, samples=40)
        after = trainer.weights.snapshot()
    assert found.verdict == "right"
    assert {name: array.tobytes() for name, array in before.items()} == {
        name: array.tobytes() for name, array in after.items()
    }


def test_trainer_tells_of_a_bad_label_at_the_end_of_the_epoch():
    x, y = rows()
    y[3] = -1
    with emulator.cuda():
        trainer = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(), device="cuda")
        with pytest.raises(ValueError, match=r"the label of row 3 is -1, wanted 0 to 4"):
            trainer.fit(x, y, epochs=1, batch_size=32, progress=False)
        y[3] = 1
        history = trainer.fit(x, y, epochs=1, batch_size=32, progress=False)
        assert history["loss"][0] > 0.5
        assert trainer.step.count > 6  # all batches of an epoch, and what came before the bad one


def test_what_ends_an_epoch_keeps_its_losses():
    class Stop(Exception):
        pass

    x, y = rows()
    with emulator.cuda():
        made, right = (
            fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.SGD(0.0), device="cuda") for _ in range(2)
        )
        right.fit(x, y, epochs=1, batch_size=20, progress=False)
        made.fit(x, y, epochs=1, batch_size=20, progress=False)
        run, left = made.step.run, [5]

        def stops(*args, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Stop
            return run(*args, **options)

        made.step.run = stops
        with pytest.raises(Stop):
            made.fit(x, y, epochs=1, batch_size=20, progress=False)
        made.step.run = run
        made.fit(x, y, epochs=1, batch_size=20, progress=False)
        right.fit(x, y, epochs=1, batch_size=20, progress=False)
    assert made.history["loss"][1] == pytest.approx(right.history["loss"][1], rel=1e-6)


def test_a_data_set_too_large_for_the_device_comes_batch_by_batch(monkeypatch):
    x, y = rows()
    found = []
    for memory in (1 << 34, 10_000):
        monkeypatch.setattr(emulator.Schedule, "memory", memory)
        with emulator.cuda():
            trainer = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(), device="cuda")
            found.append(trainer.fit(x, y, epochs=2, batch_size=32, progress=False)["loss"])
        assert (trainer.step.rows_bound == 0) == (memory == 10_000)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


@pytest.mark.parametrize("source", ["host", "device", "batches"])
def test_rows_are_augmented_on_the_host(source):
    x, y = rows()
    noise = [fd.data.augment.Noise(0.3)]
    with emulator.cuda():
        trainer = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(), device="cuda")
        given = (x, y) if source == "host" else tuple(fd.asarray(a, device="cuda") for a in (x, y))
        given = ([given],) if source == "batches" else given
        found = trainer.fit(*given, epochs=2, batch_size=50, augment=noise, progress=False)["loss"]
    same = fd.Trainer(model(), losses.SoftmaxCrossEntropy(), optim.Adam(), device="cpu")
    given = ([(x, y)],) if source == "batches" else (x, y)
    right = same.fit(*given, epochs=2, batch_size=50, augment=noise, progress=False)["loss"]
    np.testing.assert_allclose(found, right, rtol=1e-5)


def test_how_many_launches_a_step_takes():
    """docs/gpu.md tells it."""
    layers = []
    for _ in range(2):
        layers += [nn.Linear(16, bias=False), nn.BatchNorm(activation="relu"), nn.Dropout(0.2)]
    with emulator.cuda():
        made = step("cuda", net=nn.Sequential(*layers, nn.Linear(5)))
        made.bind(*rows())
        made.run(0, 32)
        (tape,) = made._tapes.values()
        assert sum(len(entry.kernel.calls(entry.args)) for entry in tape.entries) + 1 == 32  # and the tick
