"""The trainer: learning, history, interruption, going on."""

import csv
import io
import signal
import threading
import weakref

import numpy as np
import pytest

import fastdl as fd
from fastdl import nn
from fastdl.trainer import SkippedRowWarning


def digits(seed=0):
    x, y = fd.data.load_digits()
    return fd.data.split(x / 16, y, stratify=True, seed=seed)


def trainer(*layers, lr=3e-3, **options):
    model = nn.Sequential(*(layers or (nn.Linear(32, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Linear(10))))
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(lr), **options)


def test_it_learns_and_tells_how():
    train, dev, test = digits()
    made = trainer()
    history = made.fit(*train, validation=dev, epochs=8, batch_size=64, progress=False)
    assert history["epoch"] == list(range(1, 9))
    assert history["loss"][0] > 5 * history["loss"][-1]
    assert history["val_accuracy"][-1] > 0.93
    assert history["learning_rate"] == [3e-3] * 8
    assert min(history["rows_per_second"]) > 0
    assert made.evaluate(*test)["accuracy"] > 0.93
    assert made.evaluate(*dev) == {"loss": history["val_loss"][-1], "accuracy": history["val_accuracy"][-1]}


def test_a_loss_that_is_no_number_is_said_once():
    train, _, _ = digits()
    with pytest.warns(RuntimeWarning, match="the loss of epoch 1 is nan; .* or the rows hold NaN") as said:
        trainer().fit(np.full_like(train[0], np.nan), train[1], epochs=3, progress=False)
    assert len(said) == 1


def test_texts_are_no_classes_and_the_remedy_works():
    train, _, _ = digits()
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[train[1]]
    with pytest.raises(TypeError, match=r"got <U5; pass np.unique\(y, return_inverse=True\)\[1\]"):
        trainer().fit(train[0], names, epochs=1, progress=False)
    trainer().fit(train[0], np.unique(names, return_inverse=True)[1], epochs=1, progress=False)


def test_evaluation_is_that_of_the_whole_at_once():
    train, dev, _ = digits()
    made = trainer()
    made.fit(*train, epochs=1, progress=False)
    outputs = made.predict(dev[0])
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    found = made.evaluate(*dev)
    assert found["loss"] == pytest.approx(-logs[np.arange(len(logs)), dev[1]].mean(), rel=1e-5)
    assert found["accuracy"] == (outputs.argmax(axis=1) == dev[1]).mean()
    np.testing.assert_allclose(made.predict(dev[0][:1]), outputs[:1], rtol=1e-5, atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    train = digits()[0]
    runs = []
    for seed in (3, 3, 4):
        made = trainer(nn.Linear(16), nn.Dropout(0.2), nn.Linear(10), seed=seed)
        made.fit(*train, epochs=2, progress=False)
        runs.append(made.weights.flat.tobytes())
    assert runs[0] == runs[1] != runs[2]


def test_two_calls_of_fit_go_on_like_one():
    train = digits()[0]
    once, twice = trainer(), trainer()
    once.fit(*train, epochs=4, batch_size=64, progress=False)
    twice.fit(*train, epochs=1, batch_size=64, progress=False)
    assert twice.fit(*train, epochs=3, batch_size=64, progress=False)["epoch"] == [2, 3, 4]
    assert once.weights.flat.tobytes() == twice.weights.flat.tobytes()


def test_another_batch_size_keeps_weights_moments_and_count():
    train = digits()[0]
    made = trainer()
    made.fit(*train, epochs=1, batch_size=64, progress=False)
    weights, moments, count = made.weights, [m.copy() for m in made.step.moments], made.step.count
    made._step(32, (64,))
    assert made.weights is weights
    assert made.step.count == count
    for before, after in zip(moments, made.step.moments, strict=True):
        np.testing.assert_array_equal(before, after)


def test_every_row_is_taken_once_an_epoch_in_an_order_of_its_own():
    x = np.arange(50, dtype=np.float32).reshape(-1, 1)
    made = trainer(nn.Linear(2))
    taken = []
    made.fit(x, np.zeros(50, int), epochs=1, batch_size=8, progress=False)
    step = made.step
    run = step.run
    step.run = lambda start, rows, **how: (
        taken.append(step._order[start : start + rows].copy()) or run(start, rows, **how)
    )
    made.fit(x, np.zeros(50, int), epochs=2, batch_size=8, progress=False)
    epochs = np.concatenate(taken).reshape(2, 50)
    assert (np.sort(epochs, axis=1) == np.arange(50)).all()
    assert (epochs[0] != epochs[1]).any()
    for number, order in enumerate(epochs, start=1):  # by seed and epoch alone, whatever came before
        np.testing.assert_array_equal(order, fd.random.permutation(50, seed=made.seed, step=number))


def test_a_last_batch_of_one_row_is_left_out_and_said_once():
    x, y = (a[:129] for a in digits()[0])
    with pytest.warns(SkippedRowWarning, match="each epoch leaves its last row out") as said:
        trainer().fit(x, y, epochs=3, batch_size=64, progress=False)
    assert len(said) == 1
    trainer(nn.Linear(10)).fit(x, y, epochs=1, batch_size=64, progress=False)  # nobody minds there


@pytest.mark.parametrize(("rows", "steps"), [(7, 1), (1999, 1), (2000, 16)])
@pytest.mark.parametrize("mapped", [False, True])
def test_batches_are_all_rows_if_they_are_few(rows, steps, mapped):
    x, y = np.zeros((rows, 2), np.float32), np.zeros(rows, int)
    made = trainer(nn.Linear(2))
    made.fit(fd.data.Rows(x) if mapped else x, y, batch_size="auto", epochs=2, progress=False)
    assert made.step.count == 2 * steps
    made.fit([(x, y)], batch_size="auto", epochs=1, progress=False)  # whose size is its own
    assert made.step.count == 2 * steps + 1
    with pytest.raises(ValueError, match=r"batch_size=all .* wanted at least 1 each, or batch_size='auto'"):
        made.fit(x, y, batch_size="all")


def test_ctrl_c_ends_after_a_whole_step(capsys):
    train = digits()[0]

    def rate(step):
        if step == 4:  # made before this one
            signal.raise_signal(signal.SIGINT)
        return 1e-3

    made, same = trainer(lr=rate), trainer(lr=1e-3)
    history = made.fit(*train, epochs=9, batch_size=64)
    assert history.interrupted
    assert made.step.count == 5
    assert capsys.readouterr().err == "stopping after this step; Ctrl-C again stops at once\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    same.fit(*train, epochs=1, batch_size=64, progress=False)
    assert not np.array_equal(made.weights.flat, same.weights.flat)
    step = fd.TrainStep(made.weights.model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(1e-3), batch_size=64)
    step.bind(*train)
    step.set_order(fd.random.permutation(len(train[0]), seed=0, step=0))
    for start in range(0, 320, 64):
        step.run(start, 64)
    assert step.weights.flat.tobytes() == made.weights.flat.tobytes()


class Interrupting(nn.Layer):
    """Presses Ctrl-C the first time that it predicts more than a probe."""

    def __init__(self):
        self.pressed = False

    def forward(self, x, frame, train):
        if not train and not self.pressed and len(x) > 2:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        return x

    def backward(self, dy, frame):
        return dy


def test_ctrl_c_while_an_epoch_is_measured_leaves_the_measuring_to_the_next_fit():
    train, dev, _ = digits()
    made, same = (
        trainer(nn.Linear(8), Interrupting(), nn.Linear(10)),
        trainer(nn.Linear(8), nn.Sequential(), nn.Linear(10)),
    )
    history = made.fit(*train, validation=dev, epochs=2, progress=False)
    assert history.interrupted
    assert len(history) == made.epochs == 0
    history = made.fit(*train, validation=dev, epochs=2, progress=False)
    expected = same.fit(*train, validation=dev, epochs=2, progress=False)
    for name in ("epoch", "loss", "val_loss", "gradient_norm"):
        assert history[name] == expected[name]
    assert made.weights.flat.tobytes() == same.weights.flat.tobytes()


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        rate = lambda step: signal.raise_signal(signal.SIGINT) or 1e-3  # noqa: E731
        assert not trainer(lr=rate).fit(*digits()[0], epochs=1, progress=False).interrupted
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_optimizer_takes_its_place_with_the_next_fit():
    train = digits()[0]
    made = trainer()
    made.fit(*train, epochs=1, progress=False)
    before = made.weights.flat.copy()
    made.optimizer = fd.optim.SGD(0.0)
    assert made.fit(*train, epochs=1, progress=False)["learning_rate"] == [0.0]
    np.testing.assert_array_equal(made.weights.flat, before)
    with pytest.raises(AttributeError):
        made.step.optimizer = fd.optim.SGD(0.1)  # its kernel is recorded


def test_threads_predict_at_once():
    train, dev, _ = digits()
    made = trainer()
    made.fit(*train, epochs=1, progress=False)
    expected = [made.predict(dev[0] + shift).tobytes() for shift in range(4)]
    wrong = []

    def work(shift):
        rows = dev[0] + shift
        wrong.extend(1 for _ in range(100) if made.predict(rows).tobytes() != expected[shift])

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(made._idle) <= 5


def test_a_failed_first_fit_leaves_no_trace():
    x, y = digits()[0]
    made = trainer()
    for bad in ((x.tolist(), y), (x[:0], y[:0]), (x[:, :5], y[:-1]), (x, y.reshape(-1, 1)), (x.astype(complex), y)):
        with pytest.raises((TypeError, ValueError), match=r"^training: [xy] "):
            made.fit(*bad, batch_size=32, progress=False)
    with pytest.raises(ValueError, match=r"of one-hot rows pass y.argmax\(axis=1\), of a column y\[:, 0\]"):
        made.fit(x, np.eye(10)[y], progress=False)
    with pytest.raises(ValueError, match=r"validation\[0\] has shape \(9, 3\)"):
        made.fit(x, y, validation=(x[:9, :3], y[:9]), progress=False)
    made.fit(x, y, epochs=1, batch_size=64, progress=False)
    same = trainer()
    same.fit(x, y, epochs=1, batch_size=64, progress=False)
    assert made.weights.flat.tobytes() == same.weights.flat.tobytes()


def test_history_is_written_in_full_precision(tmp_path):
    history = fd.History()
    history.rows += [{"epoch": 1, "loss": 1 / 3}, {"epoch": 2, "loss": 0.1}]
    history.to_csv(tmp_path / "h.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "h.csv").read_text())))
    assert [float(row["loss"]) for row in rows] == [1 / 3, 0.1]


def test_saved_weights_predict_the_same(tmp_path):
    train, dev, _ = digits()
    made, other = trainer(), trainer(seed=9)
    made.fit(*train, epochs=2, progress=False)
    made.save(tmp_path / "w.safetensors")
    other.load(tmp_path / "w.safetensors")
    assert made.predict(dev[0]).tobytes() == other.predict(dev[0]).tobytes()


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys):
    train, dev, _ = digits()
    trainer().fit(*train, validation=dev, epochs=20, batch_size=256)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("epoch  1/20  loss ")
    assert "dev accuracy" in lines[-1]
    assert lines[-1].startswith("epoch 20/20")


def test_what_cannot_be_is_refused():
    train = digits()[0]
    with pytest.raises(ValueError, match="epochs=0"):
        trainer().fit(*train, epochs=0)
    with pytest.raises(RuntimeError, match="there are no weights yet; call fit"):
        trainer().predict(train[0])
    with pytest.raises(RuntimeError, match=r"device='cuda': .*use device='cpu'"):
        trainer(device="cuda")
    with pytest.raises(ValueError, match="device: got 'gpu', wanted 'auto', 'cpu' or 'cuda'"):
        trainer(device="gpu")
    made = trainer()
    made.fit(*train, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"got \(2, 3\) float32, wanted real numbers of shape \(n, \*\(64,\)\)"):
        made.predict(np.zeros((2, 3), np.float32))


def small(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, 5)).astype(np.float32), rng.integers(0, 10, rows)


class Press(fd.callbacks.Callback):
    """Presses Ctrl-C after so many batches."""

    def __init__(self, batches):
        self.left = batches

    def on_batch_end(self, batch, logs):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_epoch_is_not_gone_on_with_on_other_data():
    made = trainer(nn.Linear(10))
    assert made.fit(*small(), batch_size=64, callbacks=[Press(2)], progress=False).interrupted
    assert made.within_epoch
    history = made.fit(*small(100, seed=1), epochs=1, batch_size=50, progress=False)
    assert made.step.count == 4
    assert history["epoch"] == [1]


@pytest.mark.parametrize("source", ["arrays", "batches"])
def test_an_epoch_goes_on_in_batches_of_another_size_without_taking_a_row_twice(source):
    x, y = small()
    losses = []
    for sizes in ([200], [64, 100]):
        made = trainer(nn.Linear(10), lr=0.0)
        for number, size in enumerate(sizes):
            rows = (x, y)
            if source == "batches":
                rows = (lambda epoch, size=size: fd.data.batches(x, y, size, seed=0, epoch=epoch),)
            pressed = [Press(1)] if number + 1 < len(sizes) else []
            history = made.fit(*rows, epochs=1, batch_size=size, callbacks=pressed, progress=False)
        losses.append(history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_loss_of_an_epoch_is_that_of_the_rows_it_was_trained_on():
    x, y = small(65)
    pieces = [(x[:32], y[:32]), (x[32:33], y[32:33]), (x[33:], y[33:])]
    made = trainer(nn.Linear(8), nn.BatchNorm(), nn.Linear(10), lr=0.0)
    seen = []

    class Note(fd.callbacks.Callback):
        def on_batch_end(self, batch, logs):
            seen.append(logs["loss"])

    with pytest.warns(SkippedRowWarning, match="a batch of one row was left out"):
        history = made.fit(pieces, epochs=1, callbacks=[Note()], progress=False)
    assert history["loss"][0] == pytest.approx(np.mean(seen), rel=1e-12)


def test_good_weights_are_all_that_is_taken_where_only_weights_are_asked_for(tmp_path):
    x, y = small()
    made = trainer(nn.Linear(10))
    made.fit(x, y, epochs=1, progress=False)
    made.save(tmp_path / "good")
    made.fit(np.full_like(x, np.nan), y, epochs=1, callbacks=[fd.callbacks.TerminateOnNaN()], progress=False)
    made.load(tmp_path / "good", only_weights=True)
    made.fit(x, y, epochs=1, progress=False)
    assert np.isfinite(made.weights.flat).all()


def test_a_diverged_training_does_not_overwrite_its_checkpoint(tmp_path):
    rate = lambda step: 0.01 if step < 10 else 1e38  # noqa: E731
    model = nn.Sequential(nn.Linear(10))
    made = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.SGD(rate))
    kept = [fd.callbacks.TerminateOnNaN(), fd.callbacks.ModelCheckpoint(tmp_path / "kept", seconds=100)]
    with np.errstate(all="ignore"):  # where the reference kernels run
        made.fit(*small(), epochs=9, batch_size=64, callbacks=kept, progress=False)
    assert np.abs(made.weights.flat).max() > 1e30
    made.load(tmp_path / "kept")
    assert np.abs(made.weights.flat).max() < 10


def test_masks_are_drawn_anew_under_another_optimizer():
    made = trainer(nn.Linear(8), nn.Dropout(0.5), nn.Linear(10))
    made.fit(*small(), epochs=1, progress=False)
    drawn = made.step.drawn
    made.optimizer = fd.optim.SGD(0.1)
    made.fit(*small(), epochs=1, progress=False)
    assert (made.step.count, made.step.drawn) == (2, drawn + 2)


def test_what_cannot_change_while_fit_runs_is_told():
    made = trainer(nn.Linear(10))

    class Change(fd.callbacks.Callback):
        def __init__(self, change):
            self.change = change

        def on_epoch_end(self, epoch, logs):
            self.change()

    for change in (lambda: made.freeze("0.*"), lambda: setattr(made, "optimizer", fd.optim.SGD(0.1))):
        with pytest.raises(RuntimeError, match="between two calls of fit only"):
            made.fit(*small(), epochs=2, callbacks=[Change(change)], progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 5}, "validation must be a pair .*got int"),
        ({"validation": (1, 2, 3)}, "validation must be a pair .*got 3 things"),
        ({"validation": iter([])}, "gone over again, got list_iterator"),
        ({"callbacks": fd.callbacks.EarlyStopping()}, "callbacks must be a list"),
        ({"callbacks": [fd.callbacks.EarlyStopping]}, "callbacks must be a list"),
    ],
)
def test_wrong_options_are_told_before_the_first_step(options, message):
    made = trainer(nn.Linear(10))
    with pytest.raises(TypeError, match=message):
        made.fit(*small(), epochs=1, progress=False, **options)


def test_metrics_and_targets_that_do_not_fit_are_told_before_the_first_step():
    x, y = small()
    with pytest.raises(ValueError, match="r2"):
        trainer(nn.Linear(10), metrics=["r2"]).fit(x, y, validation=(x, y), progress=False)
    model = nn.Sequential(nn.Linear(1))
    for loss, target, wanted in (
        (fd.losses.BinaryCrossEntropy(), -1.0, "wanted 0 to 1"),
        (fd.losses.Hinge(), 0.0, "wanted -1 or 1"),
        (fd.losses.MSE(), np.nan, "wanted finite numbers"),
    ):
        with pytest.raises(ValueError, match=f"the target of row 0 is .*, {wanted}"):
            fd.Trainer(model, loss, fd.optim.Adam()).fit(x, np.full((200, 1), target), progress=False)
    with pytest.raises(ValueError, match="two columns would be called '<lambda>'"):
        trainer(nn.Linear(10), metrics=[lambda o, t: 0.0, lambda o, t: 1.0])
    weighted = fd.losses.SoftmaxCrossEntropy(ignored=3)
    with pytest.raises(ValueError, match=r"accumulate is 4, but SoftmaxCrossEntropy\(.*needs whole batches"):
        fd.Trainer(model, weighted, fd.optim.Adam()).fit(x, y, accumulate=4, progress=False)
    for nothing in (nn.Sequential(nn.ReLU()), nn.Sequential()):
        with pytest.raises(ValueError, match="nothing to train in this model: it has no parameters"):
            fd.Trainer(nothing, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam()).fit(x, y % 5, progress=False)


def test_a_metric_of_ones_own_is_asked_about_the_whole_validation_set_alone():
    x, y = small()
    sizes = []

    def needs_all(outputs, labels):
        sizes.append(len(labels))
        return 1.0

    trainer(nn.Linear(10), metrics=[needs_all]).fit(x, y, validation=(x, y), epochs=2, progress=False)
    assert sizes == [200, 200]


def test_predictions_let_go_of_the_rows():
    made = trainer(nn.Linear(10))
    made.build((5,))
    rows = small(100)[0]
    gone = weakref.ref(rows)
    made.predict(rows)
    del rows
    assert gone() is None
