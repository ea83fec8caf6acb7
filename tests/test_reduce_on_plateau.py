"""The rate's factor, and the callback that lowers it: the right epochs, the same moments, the same bits from a file."""

import numpy as np
import pytest

import fastdl as fd
from fastdl import callbacks, nn, optim, schedules
from fastdl.callbacks import ReduceOnPlateau


def data(rows=90):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 5)).astype(np.float32), rng.integers(0, 3, rows)


def trainer(lr=0.02, make=optim.Adam, **options):
    model = nn.Sequential(nn.Linear(8), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(3))
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), make(lr), **options)


def bits(made):
    moments = [moment.tobytes() for moment in made.step.moments]
    return made.weights.flat.tobytes(), made.weights.averages_flat.tobytes(), moments, made.step.count


class Script(callbacks.Callback):
    """Puts the figures of a script in the place of the dev loss."""

    def __init__(self, values):
        self.values = list(values)

    def on_epoch_end(self, epoch, logs):
        logs["val_loss"] = self.values[epoch]


def rates(values, made=None, **options):
    """The rates of the epochs of a training whose dev loss goes as the script tells."""
    x, y = data(30)
    options = {"mode": "min"} | options
    watched = [Script(values), ReduceOnPlateau("val_loss", **options)]
    made = made or trainer()
    history = made.fit(x, y, validation=(x, y), epochs=len(values), callbacks=watched, progress=False)
    return history["learning_rate"]


def test_it_drops_after_as_many_epochs_without_a_better_figure():
    #        better: yes no no yes no no no no no
    found = rates([5.0, 5, 6, 4, 4, 4, 5, 9, 4], patience=2, factor=0.5)
    assert found == pytest.approx([0.02] * 3 + [0.01] * 3 + [0.005] * 2 + [0.0025], rel=1e-15)


@pytest.mark.parametrize(
    ("values", "options", "wanted"),
    [
        ([3, 2, 1, 0], {"patience": 1}, [1, 1, 1, 1]),
        ([1, 1, 1, 1], {"patience": 1}, [1, 1, 0.1, 0.01]),
        ([1, 1, 1, 1], {"patience": 1, "min_rate": 0.02 * 0.05}, [1, 1, 0.1, 0.05]),
        ([1, 1, 1, 1], {"patience": 3}, [1, 1, 1, 1]),
        ([9, 8.9, 8.8, 8.7], {"patience": 1, "min_delta": 0.15}, [1, 1, 0.1, 0.1]),
        ([1, 2, 3, 3], {"patience": 1, "mode": "max"}, [1, 1, 1, 1]),
        ([1, float("nan"), 0.5, float("nan")], {"patience": 1}, [1, 1, 0.1, 0.1]),
        ([float("nan"), 5, 6], {"patience": 1}, [1, 0.1, 0.1]),
    ],
)
def test_its_options(values, options, wanted):
    assert rates(values, **options) == pytest.approx([0.02 * share for share in wanted], rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_it_drops_where_torchs_does(torch, seed):
    values = np.random.default_rng(seed).uniform(size=40).cumsum() * np.linspace(1, -1, 40)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.02)
    # Its patience is how many bad epochs are borne, ours the number of the one that is not.
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, factor=0.5, patience=2, threshold=0.1, threshold_mode="abs", min_lr=0.001, eps=0
    )
    wanted = []
    for value in values:
        wanted.append(theirs.param_groups[0]["lr"])
        rule.step(value)
    found = rates(values, patience=3, factor=0.5, min_delta=0.1, min_rate=0.001)
    assert found == pytest.approx(wanted, rel=1e-12)
    assert len(set(found)) > 3


@pytest.mark.parametrize(
    "make", [optim.Adam, lambda lr: optim.SGD(lr, momentum=0.9), optim.AdamW], ids=["Adam", "SGD", "AdamW"]
)
def test_a_drop_is_that_of_a_schedule_with_the_same_moments(make):
    x, y = data()
    rate = schedules.Constant(0.02, 6) >> schedules.Constant(0.01, 3) >> schedules.Constant(0.005)
    dropping, scheduled = trainer(0.02, make), trainer(rate, make)
    watched = [Script([1, 1, 1, 1]), ReduceOnPlateau(patience=1, factor=0.5)]
    options = {"validation": (x, y), "epochs": 4, "batch_size": 30, "progress": False}
    dropping.fit(x, y, callbacks=watched, **options)  # 3 steps an epoch
    scheduled.fit(x, y, **options)
    assert dropping.history["learning_rate"] == scheduled.history["learning_rate"] == [0.02, 0.02, 0.01, 0.005]
    assert bits(dropping) == bits(scheduled)


def test_a_schedule_goes_on_below():
    warm = schedules.Warmup(0.04, 2) >> schedules.Constant(0.04)
    assert rates([1, 1, 1, 1], trainer(warm), patience=1) == pytest.approx([0.02, 0.04, 0.004, 0.0004], rel=1e-15)


@pytest.mark.parametrize("epochs", [1, 3, 4, 7])
def test_stopped_and_resumed_from_a_file(tmp_path, epochs):
    x, y = data()
    options = {"validation": data(40), "batch_size": 32, "progress": False}

    def watched(name):
        return [callbacks.ModelCheckpoint(tmp_path / name), ReduceOnPlateau(patience=2, factor=0.3, min_delta=0.2)]

    whole, first, second = (trainer(0.1) for _ in range(3))
    whole.fit(x, y, **options, epochs=10, callbacks=watched("whole"))
    assert len(set(whole.history["learning_rate"])) > 2
    first.fit(x, y, **options, epochs=epochs, callbacks=watched("first"))
    second.load(tmp_path / "first")
    second.fit(x, y, **options, epochs=10 - epochs, callbacks=watched("second"))
    assert bits(second) == bits(whole)
    assert second.history["learning_rate"] == whole.history["learning_rate"]


def test_a_factor_by_hand_is_a_lower_rate_and_keeps_the_moments(tmp_path):
    """The rate is that of the last steps of a schedule which drops there, and all bits are its."""
    x, y = data()
    by_hand, scheduled = trainer(0.02), trainer(schedules.Constant(0.02, 6) >> schedules.Constant(0.02 * 0.1))
    options = {"batch_size": 30, "progress": False}
    by_hand.fit(x, y, epochs=2, **options)
    by_hand.rate_factor = 0.1
    by_hand.save(tmp_path / "file")
    again = trainer(0.02)
    again.load(tmp_path / "file")
    for made in (by_hand, again):
        made.fit(x, y, epochs=1, **options)
        made.fit(x, y, epochs=1, batch_size=45, progress=False)  # by another step
    scheduled.fit(x, y, epochs=3, **options)
    scheduled.fit(x, y, epochs=1, batch_size=45, progress=False)
    assert bits(by_hand) == bits(again) == bits(scheduled)
    assert by_hand.history["learning_rate"] == again.history["learning_rate"] == [0.02, 0.02, 0.02 * 0.1, 0.02 * 0.1]
    by_hand.optimizer = optim.Adam(0.05)
    assert by_hand.rate_factor == 1.0


def test_a_step_of_ones_own_takes_a_factor():
    x, y = data(30)
    model = nn.Linear(3)
    steps = [fd.TrainStep(model, fd.losses.SoftmaxCrossEntropy(), optim.SGD(lr), batch_size=30) for lr in (0.4, 0.1)]
    steps[0].rate_factor = 0.25
    assert [steps[0](x, y) for _ in range(5)] == [steps[1](x, y) for _ in range(5)]


def test_mistakes_are_told():
    with pytest.raises(ValueError, match=r"factor is 1\.5, wanted above 0 and below 1; 0\.1 drops tenfold"):
        ReduceOnPlateau(factor=1.5)
    with pytest.raises(ValueError, match=r"got patience=0, min_delta=0\.0 and min_rate=0\.0, wanted at least 1"):
        ReduceOnPlateau(patience=0)
    x, y = data(30)
    with pytest.raises(ValueError, match="ReduceOnPlateau: there is no 'val_loss' without a validation set"):
        trainer().fit(x, y, epochs=1, callbacks=[ReduceOnPlateau()], progress=False)
    for made in (trainer(), fd.TrainStep(nn.Linear(3), fd.losses.SoftmaxCrossEntropy(), optim.Adam(), batch_size=5)):
        for factor in (-1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"rate_factor is {factor}, wanted a number of 0 or more"):
                made.rate_factor = factor
        assert made.rate_factor == 1.0


def test_a_drop_is_said(capsys):
    x, y = data(30)
    watched = [Script([1, 1, 1]), ReduceOnPlateau(patience=2)]
    trainer().fit(x, y, validation=(x, y), epochs=3, callbacks=watched)
    told = "after epoch 3: no better val_loss for 2 epochs; the learning rate falls to 0.002\n"
    assert told in capsys.readouterr().err
