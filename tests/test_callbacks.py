"""Callbacks: when they are called, when they stop, what they keep."""

import csv
import math

import numpy as np
import pytest

import fastdl as fd
from fastdl import callbacks, nn


def data(rows=90):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 5)).astype(np.float32), rng.integers(0, 3, rows)


def trainer(lr=0.01, **options):
    model = nn.Sequential(nn.Linear(8), nn.BatchNorm(), nn.ReLU(), nn.Linear(3))
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(lr), **options)


class Script(callbacks.Callback):
    """Puts the figures of a script in the place of those measured."""

    def __init__(self, name, values):
        self.name, self.values, self.weights = name, list(values), []

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]
        weights = self.trainer.weights
        self.weights.append((weights.flat.tobytes(), weights.averages_flat.tobytes()))


def test_they_are_called_in_keras_order():
    said = []

    class Tell(callbacks.Callback):
        def on_train_begin(self):
            said.append("begin")

        def on_epoch_begin(self, epoch):
            said.append(epoch)

        def on_batch_end(self, batch, logs):
            said.append((batch, sorted(logs)))

        def on_epoch_end(self, epoch, logs):
            said.append((epoch, logs["epoch"], self.trainer.epochs))

        def on_train_end(self):
            said.append("end")

    x, y = data()
    trainer().fit(x, y, epochs=2, batch_size=60, callbacks=[Tell()], progress=False)
    batches = [(0, ["loss"]), (1, ["loss"])]
    assert said == ["begin", 0, *batches, (0, 1, 1), 1, *batches, (1, 2, 2), "end"]


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 4, 4, 4, 1], {"patience": 3}, 6, 2),
        ([5, 4, 3, 4, 2, 3, 3, 1], {"patience": 2}, 7, 4),
        ([5, 4.9, 4.8, 4.7], {"patience": 2, "min_delta": 0.5}, 3, 0),
        ([1, 2, 3, 2, 1], {"patience": 1, "mode": "max"}, 4, 2),
        ([math.nan, 3, math.nan, math.nan, 1], {"patience": 2}, 4, 1),
        ([3, 2, 1], {"patience": 9}, 3, 2),
    ],
)
def test_early_stopping_stops_at_the_right_epoch_and_gives_the_best_weights_back(values, options, epochs, best):
    x, y = data()
    made, script = trainer(), Script("val_loss", values)
    stopping = callbacks.EarlyStopping("val_loss", **options)
    history = made.fit(
        x, y, epochs=len(values), batch_size=30, validation=(x, y), callbacks=[script, stopping], progress=False
    )
    assert len(history) == epochs
    assert stopping.best_epoch == best
    assert (made.weights.flat.tobytes(), made.weights.averages_flat.tobytes()) == script.weights[best]
    assert script.weights[best] != script.weights[-1] or best == epochs - 1


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("figure", "best_of"), [("loss", np.argmin), ("accuracy", np.argmax)])
def test_after_early_stopping_the_network_measures_as_in_its_best_epoch(figure, best_of, seed):
    (x, y), made = data(), trainer(lr=0.05, seed=seed)
    dev, stopping = (x[60:], y[60:]), callbacks.EarlyStopping(f"val_{figure}", patience=3)
    options = {"validation": dev, "epochs": 60, "batch_size": 20, "callbacks": [stopping], "progress": False}
    history = made.fit(x[:60], y[:60], **options)
    best = best_of(history[f"val_{figure}"])
    assert stopping.best_epoch == best == len(history) - 4 < 56
    assert history["val_loss"][best] != history["val_loss"][-1]
    measured = {name: history[f"val_{name}"][best] for name in ("loss", "accuracy")}
    assert made.evaluate(*dev) == measured


def test_early_stopping_may_keep_the_last_weights():
    x, y = data()
    made, script = trainer(), Script("val_loss", [1, 2, 3])
    stopping = callbacks.EarlyStopping(patience=2, restore_best_weights=False)
    made.fit(x, y, epochs=9, batch_size=30, validation=(x, y), callbacks=[script, stopping], progress=False)
    assert (made.weights.flat.tobytes(), made.weights.averages_flat.tobytes()) == script.weights[2]


def test_a_figure_that_is_not_measured_is_told(tmp_path):
    x, y = data()
    stopping = callbacks.EarlyStopping("val_loss")
    with pytest.raises(ValueError, match=r"no 'val_loss' without a validation set; pass validation=\(x, y\) to fit"):
        trainer().fit(x, y, epochs=1, callbacks=[stopping], progress=False)
    with pytest.raises(ValueError, match="no 'mine' in the history, only epoch, loss, penalty, learning_rate"):
        stopping = callbacks.EarlyStopping("mine", mode="min")
        trainer().fit(x, y, epochs=1, callbacks=[stopping], progress=False)
    with pytest.raises(
        ValueError, match="whether more 'val_mae' is better is not known; pass mode='min' or mode='max'"
    ):
        callbacks.EarlyStopping("val_mae")
    with pytest.raises(ValueError, match=r"ModelCheckpoint: there is no folder .*nowhere; make it first"):
        kept = callbacks.ModelCheckpoint(tmp_path / "nowhere" / "a")
        trainer().fit(x, y, epochs=1, callbacks=[kept], progress=False)
    with pytest.raises(ValueError, match="got patience=0"):
        callbacks.EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="mode is 'best', wanted 'auto', 'min' or 'max'"):
        callbacks.EarlyStopping(mode="best")


def test_checkpoints_are_kept_after_epochs_or_when_better(tmp_path):
    x, y = data()
    every = callbacks.ModelCheckpoint(tmp_path / "{epoch}.safetensors")
    best = callbacks.ModelCheckpoint(tmp_path / "best.safetensors", monitor="val_loss")
    made, script = trainer(), Script("val_loss", [3, 1, 2])
    made.fit(x, y, epochs=3, batch_size=30, validation=(x, y), callbacks=[every, best, script], progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1.safetensors",
        "2.safetensors",
        "3.safetensors",
        "best.safetensors",
    ]
    assert (tmp_path / "best.safetensors").read_bytes() != (tmp_path / "3.safetensors").read_bytes()
    again = trainer()
    again.load(tmp_path / "best.safetensors")
    assert again.epochs == 2
    assert again.weights.flat.tobytes() == script.weights[1][0]


def test_checkpoints_with_a_pause_save_the_last_epoch_anyway(tmp_path):
    x, y = data()
    kept = callbacks.ModelCheckpoint(tmp_path / "{epoch}", seconds=3600)
    trainer().fit(x, y, epochs=3, callbacks=[kept], progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "3"]


def test_a_csv_follows_the_training(tmp_path):
    x, y = data()
    made = trainer()
    for _ in range(2):
        log = callbacks.CSVLogger(tmp_path / "log.csv")
        made.fit(x, y, validation=(x, y), epochs=2, callbacks=[log], progress=False)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert list(rows[0]) == [
        "epoch",
        "loss",
        "penalty",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "gradient_norm",
        "rows_per_second",
    ]
    assert [float(row["loss"]) for row in rows] == made.history["loss"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_ends_the_training_at_its_batch(bad, capsys):
    x, y = data()
    x[:] = np.where(np.arange(90)[:, None] == 50, bad, x)
    made = trainer()
    with np.errstate(all="ignore"):  # where the reference kernels run
        history = made.fit(x, y, epochs=5, batch_size=30, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history) == 0
    assert not made.interrupted
    assert made.step.count <= 3
    assert "stopped: the loss of batch" in capsys.readouterr().err


def test_a_callback_can_stop_within_an_epoch():
    class Stop(callbacks.Callback):
        def on_batch_end(self, batch, logs):
            self.trainer.stop_training = batch == 1

    x, y = data()
    made = trainer()
    assert len(made.fit(x, y, epochs=5, batch_size=30, callbacks=[Stop()], progress=False)) == 0
    assert made.step.count == 2
