"""A training that was stopped and goes on from its file gives the bits of one that was not."""

import json
import math
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastdl as fd
from fastdl import callbacks, checkpoint, nn, optim, schedules


def data(rows=200):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 6)).astype(np.float32), rng.integers(0, 3, rows)


def trainer(optimizer=None, seed=3, width=8, **options):
    model = nn.Sequential(nn.Linear(width), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.3), nn.Linear(3))
    rate = schedules.Warmup(0.02, 7) >> schedules.Cosine(0.02, 40)
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optimizer or optim.Adam(rate), seed=seed, **options)


class PressAfter(callbacks.Callback):
    """Presses Ctrl-C after so many batches."""

    def __init__(self, steps):
        self.left = steps

    def on_batch_end(self, batch, logs):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def bits(made):
    state = made._training_state()
    moments = [{name: array.tobytes() for name, array in views.items()} for views in state.moments]
    history = [{k: v for k, v in row.items() if k != "rows_per_second"} for row in made.history.rows]
    counts = state.steps, made.step.drawn, made.epochs
    return made.weights.flat.tobytes(), made.weights.averages_flat.tobytes(), moments, counts, history


CHAIN = schedules.Warmup(0.02, 4) >> schedules.Constant(0.02, 5) >> schedules.Cosine(0.02, 20)
OPTIMIZERS = [
    optim.SGD(0.05),
    optim.SGD(CHAIN, momentum=0.9, clip_norm=0.3),
    optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    optim.AdaGrad(0.05),
    optim.RMSProp(CHAIN, l1=0.001),
    optim.Adam(schedules.StepDecay(0.02, every=5)),
    optim.AdamW(CHAIN),
]


@pytest.mark.parametrize("steps", [1, 3, 7, 8, 20])
@pytest.mark.parametrize("source", ["arrays", "parts", "batches", "mapped"])
def test_stopped_at_any_step_and_resumed(tmp_path, steps, source):
    x, y = data()
    if source == "mapped":
        np.save(tmp_path / "x.npy", x)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = (x, y) if source != "batches" else (lambda epoch: fd.data.batches(x, y, 32, seed=9, epoch=epoch),)
    options = {"validation": data(50), "epochs": 4, "batch_size": 32, "progress": False}
    options |= {"accumulate": 2} if source == "parts" else {}
    whole, first, second = trainer(), trainer(), trainer(seed=99)
    whole.fit(*rows, **options)
    assert first.fit(*rows, **options, callbacks=[PressAfter(steps)]).interrupted
    first.save(tmp_path / "file")
    second.load(tmp_path / "file")
    second.fit(*rows, **{**options, "epochs": 4 - second.epochs})
    assert bits(second) == bits(whole)
    first.fit(*rows, **{**options, "epochs": 4 - first.epochs})  # and in the same process
    assert bits(first) == bits(whole)


class SaveAfter(callbacks.Callback):
    """Writes a file after so many batches, while the training goes on."""

    def __init__(self, steps, path):
        self.left, self.path = steps, path

    def on_batch_end(self, batch, logs):
        self.left -= 1
        if self.left == 0:
            self.trainer.save(self.path)


@pytest.mark.parametrize("steps", [1, 6, 7, 8])  # of 7 an epoch
def test_a_file_written_within_an_epoch_is_enough(tmp_path, steps):
    (x, y), options = data(), {"validation": data(50), "batch_size": 32, "progress": False}
    whole, second = trainer(), trainer(seed=99)
    whole.fit(x, y, epochs=3, callbacks=[SaveAfter(steps, tmp_path / "file")], **options)
    second.load(tmp_path / "file")
    second.fit(x, y, epochs=3 - second.epochs, **options)
    assert bits(second) == bits(whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_every_optimizer_goes_on_within_an_epoch(tmp_path, optimizer):
    (x, y), options = data(), {"batch_size": 32, "progress": False}
    whole, first, second = trainer(optimizer), trainer(optimizer), trainer(optimizer, seed=99)
    whole.fit(x, y, epochs=3, **options)
    first.fit(x, y, epochs=3, callbacks=[PressAfter(10)], **options)
    assert (first.epochs, first.within_epoch) == (1, True)
    first.save(tmp_path / "file")
    second.load(tmp_path / "file")
    second.fit(x, y, epochs=2, **options)
    assert bits(second) == bits(whole)


@pytest.mark.parametrize("epochs", [1, 3, 5, 6])
def test_callbacks_go_on_too(tmp_path, epochs):
    x, y = data()
    options = {"validation": data(40), "batch_size": 32, "progress": False}

    def watched(name):
        return [callbacks.ModelCheckpoint(tmp_path / name), callbacks.EarlyStopping(patience=2)]

    whole, first, second = (trainer(optim.Adam(0.05)) for _ in range(3))
    whole.fit(x, y, **options, epochs=20, callbacks=watched("whole"))
    made = whole.epochs
    assert 2 < made < 20
    first.fit(x, y, **options, epochs=min(epochs, made), callbacks=watched("first"))
    second.load(tmp_path / "first")
    assert second.epochs == min(epochs, made)
    second.fit(x, y, **options, epochs=20 - second.epochs, callbacks=watched("second"))
    assert bits(second) == bits(whole)


def test_frozen_parameters_stay_and_are_kept(tmp_path):
    x, y = data()
    made = trainer()
    made.fit(x, y, epochs=1, batch_size=32, progress=False)
    before = made.weights.snapshot()
    made.freeze("0.*", "1.gamma")
    made.fit(x, y, epochs=2, batch_size=32, progress=False)
    changed = {name for name, array in made.weights.snapshot().items() if not np.array_equal(array, before[name])}
    assert changed == {"1.beta", "4.weight", "4.bias", "1.mean", "1.variance"}
    made.save(tmp_path / "file")
    again = trainer()
    again.load(tmp_path / "file")
    assert again.weights.frozen == made.weights.frozen == {"0.weight", "0.bias", "1.gamma"}
    for each in (made, again):
        each.fit(x, y, epochs=1, batch_size=32, progress=False)
    assert bits(again) == bits(made)
    made.freeze()
    made.fit(x, y, epochs=1, batch_size=32, progress=False)
    assert not np.array_equal(made.weights.params["0.weight"], before["0.weight"])


def test_freezing_and_training_on_keeps_moments_and_count():
    x, y = data()
    frozen, same = trainer(), trainer()
    for each in (frozen, same):
        each.fit(x, y, epochs=1, batch_size=32, progress=False)
    frozen.freeze("0.*")
    frozen.freeze()
    for each in (frozen, same):
        each.fit(x, y, epochs=1, batch_size=32, progress=False)
    assert bits(frozen) == bits(same)


def test_files_of_other_models_are_told_and_change_nothing(tmp_path):
    x, y = data()
    made = trainer()
    made.fit(x, y, epochs=1, progress=False)
    made.save(tmp_path / "file")
    model = nn.Sequential(nn.Linear(9), nn.Tanh(), nn.Linear(3, bias=False))
    other = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam())
    other.fit(x, y, epochs=1, progress=False)
    before = bits(other)
    with pytest.raises(ValueError, match=r"the weights of another model: missing 2\.weight; unknown 1\.beta") as e:
        other.load(tmp_path / "file")
    for word in ("unknown 4.weight", r"0.weight has shape (6, 8), wanted (6, 9)", "unknown 1.variance"):
        assert word in str(e.value)
    assert bits(other) == before
    with pytest.raises(ValueError, match=r"holds the state of Adam\(.*this trainer has SGD.*only_weights=True"):
        trainer(optim.SGD(0.1)).load(tmp_path / "file")
    with pytest.raises(ValueError, match=r"holds float32, wanted Trainer\(dtype=float64\)"):
        trainer(dtype=np.float64).load(tmp_path / "file")
    tuned = trainer(optim.SGD(0.1))
    tuned.load(tmp_path / "file", only_weights=True)
    assert tuned.weights.snapshot().keys() == made.weights.snapshot().keys()
    assert tuned.epochs == 0
    checkpoint.save(tmp_path / "foreign", {"a": np.ones(3)})
    with pytest.raises(ValueError, match=r"foreign was not written by Trainer\.save"):
        made.load(tmp_path / "foreign")


def test_what_belongs_to_a_model_goes_with_it(tmp_path):
    x, y = data()
    made = trainer()
    made.fit(x, y, epochs=1, progress=False)
    made.save(tmp_path / "file", texts={"classes": "a b c"}, arrays={"own/mean": np.arange(3.0)})
    arrays, texts = checkpoint.load(tmp_path / "file")
    assert texts["classes"] == "a b c"
    np.testing.assert_array_equal(arrays["own/mean"], [0, 1, 2])
    trainer().load(tmp_path / "file")
    with pytest.raises(ValueError, match="an array cannot be called 'mean' beside the model's; call it 'own/mean'"):
        made.save(tmp_path / "other", arrays={"mean": np.ones(2)})
    assert not (tmp_path / "other").exists()


TRAIN = """
import sys
sys.path.insert(0, {tests!r})
from test_resume import callbacks, data, trainer
from pathlib import Path

class Tell(callbacks.Callback):
    def on_batch_end(self, batch, logs):
        print(self.trainer.epochs, flush=True)

made, (x, y), file = trainer(), data(), Path(sys.argv[1])
if file.exists():
    made.load(file)
print("began after", made.epochs, flush=True)
if made.epochs < 12:
    watched = [Tell(), callbacks.ModelCheckpoint(file)]
    made.fit(x, y, epochs=12 - made.epochs, batch_size=8, progress=False, callbacks=watched)
print(made.weights.flat.tobytes().hex())
"""


@pytest.mark.slow
@pytest.mark.numba
@pytest.mark.skipif(os.name != "posix", reason="there is no kill -9")
def test_killed_at_random_moments_and_resumed(tmp_path):
    rng = np.random.default_rng(0)
    command = [sys.executable, "-c", TRAIN.format(tests=os.path.dirname(__file__))]  # noqa: PTH120
    whole = subprocess.run([*command, tmp_path / "whole"], capture_output=True, text=True, check=True).stdout
    began = []
    for _ in range(5):
        child = subprocess.Popen([*command, tmp_path / "killed"], stdout=subprocess.PIPE, text=True)
        began.append(int(child.stdout.readline().split()[-1]))
        for _ in range(rng.integers(20, 60)):  # batches, of 25 an epoch
            child.stdout.readline()
        child.kill()
        child.communicate()
    resumed = subprocess.run([*command, tmp_path / "killed"], capture_output=True, text=True, check=True).stdout
    assert began == sorted(began)
    assert 0 < began[-1] < 12
    assert resumed.splitlines()[-1] == whole.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


def test_the_description_in_a_file_is_plain_text(tmp_path):
    x, y = data()
    made = trainer()
    made.fit(x, y, epochs=1, progress=False, validation=data(20), callbacks=[callbacks.EarlyStopping()])
    made.save(tmp_path / "file")
    texts = checkpoint.load(tmp_path / "file")[1]
    assert re.search(r"Sequential\(Linear\(outputs=8.*Dropout\(rate=0.3, inverted=True\)", texts["model"])
    assert "Warmup(rate=0.02, steps=7) >> Cosine" in texts["optimizer"]
    state = json.loads(texts["training"])
    assert state["epochs"] == 1
    assert state["steps"] == 2
    assert math.isfinite(state["history"][0]["gradient_norm"])


@pytest.mark.parametrize("steps", [1, 9])
def test_a_loop_of_ones_own_goes_on_from_a_file_too(tmp_path, steps):
    (x, y), optimizer = data(), optim.Adam(CHAIN)
    model, loss = trainer()._model, fd.losses.SoftmaxCrossEntropy()
    order = [batch for epoch in range(2) for batch in fd.data.batches(x, y, 32, seed=3, epoch=epoch)]

    def step(**given):
        return fd.TrainStep(model, loss, optimizer, batch_size=32, seed=3, device="cpu", **given)

    whole, first = step(), step()
    for batch in order:
        whole(*batch)
    for batch in order[:steps]:
        first(*batch)
    moments = {f"moment/{number}": moment for number, moment in enumerate(first.moments)}
    counts = {"count": np.array([first.count, first.drawn])}
    checkpoint.save(tmp_path / "file", {**first.weights.snapshot(), **moments, **counts})

    found, _ = checkpoint.load(tmp_path / "file")
    count, drawn = found.pop("count")
    moments = [found.pop(name) for name in moments]
    weights = nn.Weights(model, (6,))
    weights.load(found)
    second = step(weights=weights)
    second.count, second.drawn = int(count), int(drawn)
    for moment, saved in zip(second.moments, moments, strict=True):
        moment[...] = saved
    for batch in order[steps:]:
        second(*batch)
    assert second.weights.flat.tobytes() == whole.weights.flat.tobytes()
    assert second.weights.averages_flat.tobytes() == whole.weights.averages_flat.tobytes()
    assert [m.tobytes() for m in second.moments] == [m.tobytes() for m in whole.moments]
