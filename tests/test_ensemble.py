"""Bagging: its samples, its mean, its files, in one process and in several, and from the command line."""

import csv
import signal
import sys

import numpy as np
import pytest

import fastdl as fd
from fastdl import backend, callbacks, checkpoint, nn, optim, preparation, recipes
from fastdl.cli import main
from fastdl.ensemble import Bagging, bootstrap

FAST = {"epochs": 2, "batch_size": 32, "progress": False}


def digits(rows=200, seed=0):
    """So many digits to train on, and the others."""
    x, y = fd.data.load_digits()
    return fd.data.split(x / 16, y, parts=(rows / len(x), 1 - rows / len(x)), stratify=True, seed=seed)


def classifier(seed, width=16):
    model = nn.Sequential(nn.Linear(width, activation="tanh"), nn.Dropout(0.1), nn.Linear(10))
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(0.01), seed=seed)


def bits(bagging):
    rows = [{k: v for k, v in row.items() if k != "rows_per_second"} for row in bagging.history.rows]
    return [trainer.weights.flat.tobytes() for trainer in bagging.trainers], rows


def test_a_bootstrap_sample_draws_every_row_alike_and_leaves_out_one_in_e():
    n = 20_000
    samples = [bootstrap(n, seed=seed, sample=k) for seed in (0, 1) for k in (0, 1)]
    for sample in samples:
        assert 0 <= sample.min() < 10 and n - 10 <= sample.max() < n
        assert 1 - len(np.unique(sample)) / n == pytest.approx(np.exp(-1), abs=0.01)
        assert np.histogram(sample, 20)[0] == pytest.approx(n / 20, rel=0.15)
    assert len({sample.tobytes() for sample in samples}) == 4
    np.testing.assert_array_equal(bootstrap(n, seed=1, sample=1), samples[3])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_members_together_err_less_than_one_of_them(seed):
    train, dev = digits(150, seed)
    bagging = Bagging(classifier, 8, seed=100 * seed)
    bagging.fit(*train, epochs=15, batch_size=32, progress=False)
    alone = [trainer.evaluate(*dev) for trainer in bagging.trainers]
    together = bagging.evaluate(*dev)
    assert 1 - together["accuracy"] < 0.8 * (1 - np.mean([found["accuracy"] for found in alone]))
    assert together["loss"] < 0.95 * np.mean([found["loss"] for found in alone])


def test_a_member_is_a_training_of_its_own_on_its_sample():
    train, dev = digits()
    bagging = Bagging(classifier, 2, seed=7)
    history = bagging.fit(*train, validation=dev, **FAST)
    alone = fd.Trainer(
        bagging.trainers[1].weights.model, fd.losses.SoftmaxCrossEntropy(), optim.Adam(0.01), seed=8, deterministic=True
    )
    rows = bootstrap(len(train[0]), seed=7, sample=1)
    alone.fit(train[0][rows], train[1][rows], validation=dev, **FAST)
    assert bagging.trainers[1].weights.flat.tobytes() == alone.weights.flat.tobytes()
    assert history["member"] == [1, 1, 2, 2]
    assert history["val_loss"][2:] == alone.history["val_loss"]
    assert bagging.trainers[1].epochs == 2


def test_predictions_are_the_mean_of_the_members():
    train, dev = digits()
    bagging = Bagging(classifier, 3)
    bagging.fit(*train, **FAST)
    mean = np.mean([trainer.predict_proba(dev[0]) for trainer in bagging.trainers], axis=0)
    np.testing.assert_allclose(bagging.predict_proba(dev[0]), mean, rtol=1e-5, atol=1e-7)
    found = bagging.evaluate(*dev)
    assert found["accuracy"] == (mean.argmax(axis=1) == dev[1]).mean()
    assert found["loss"] == pytest.approx(-np.log(mean[np.arange(len(mean)), dev[1]]).mean(), rel=1e-5)


@pytest.mark.parametrize("loss", [fd.losses.BinaryCrossEntropy(), fd.losses.MSE()])
def test_labels_and_numbers_are_averaged_too(loss):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4), np.float32)
    y = (x[:, :2] > 0).astype(np.float32)
    bagging = Bagging(lambda seed: fd.Trainer(nn.Linear(2), loss, optim.Adam(0.1), seed=seed), 3)
    bagging.fit(x, y, **FAST)
    outputs = [trainer.predict(x) for trainer in bagging.trainers]
    if isinstance(loss, fd.losses.MSE):
        np.testing.assert_allclose(bagging.predict(x), np.mean(outputs, axis=0), rtol=1e-5, atol=1e-6)
        with pytest.raises(TypeError, match="outputs under MSE are no probabilities"):
            bagging.predict_proba(x)
    else:
        mean = np.mean([1 / (1 + np.exp(-z.astype(np.float64))) for z in outputs], axis=0)
        np.testing.assert_allclose(bagging.predict_proba(x), mean, rtol=1e-5)


def test_members_that_are_wholly_sure_leave_a_finite_loss():
    sure = np.array([[2000.0, 0.0], [0.0, 2000.0]])
    for loss in (fd.losses.SoftmaxCrossEntropy(), fd.losses.BinaryCrossEntropy()):
        both = loss.average([sure, sure])
        assert np.isfinite(both).all()
        np.testing.assert_array_equal(loss.average([sure, sure[::-1]]).argmax(axis=1), 0)  # undecided
        np.testing.assert_array_equal(both.argmax(axis=1), [0, 1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["array", "rows"])
def test_results_do_not_depend_on_how_many_are_trained_at_a_time(kind, tmp_path):
    pytest.importorskip("joblib")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5000, 64), np.float32), rng.integers(0, 10, 5000)  # so large that joblib maps it
    if kind == "rows":
        np.save(tmp_path / "x.npy", x)
        x = fd.data.Rows(np.load(tmp_path / "x.npy", mmap_mode="r"), prepare=np.tanh)
    found = []
    for n_jobs in (1, 2):
        bagging = Bagging(lambda seed: classifier(seed, width=64), 3, n_jobs=n_jobs)
        watch = lambda: [callbacks.EarlyStopping(patience=1)]  # noqa: E731
        bagging.fit(x, y, validation=(x, y), epochs=2, batch_size=512, callbacks=watch, progress=False)
        found.append(bits(bagging))
    assert found[0] == found[1]


def test_products_do_not_depend_on_the_number_of_threads_while_members_are_trained():
    class Look(callbacks.Callback):
        def on_epoch_begin(self, epoch):
            cut.append(backend.threads(np.empty(0, np.float32)))

    cut = []
    Bagging(classifier, 2).fit(*digits()[0], callbacks=lambda: [Look()], **FAST)
    assert cut == [0] * 4  # by their shape alone


@pytest.mark.parametrize("kind", ["mapped", "rows"])
def test_rows_that_are_read_by_batch(kind, tmp_path):
    train, _ = digits()
    wanted, found = Bagging(classifier, 2), Bagging(classifier, 2)
    wanted.fit(*train, **FAST)
    np.save(tmp_path / "x.npy", train[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found.fit(mapped if kind == "mapped" else fd.data.Rows(mapped), train[1], **FAST)
    for one, other in zip(wanted.trainers, found.trainers, strict=True):
        np.testing.assert_allclose(one.weights.flat, other.weights.flat, rtol=1e-4, atol=1e-5)


def test_every_member_has_callbacks_of_its_own():
    made = []

    def watch():
        made.append(callbacks.EarlyStopping("loss", patience=1))
        return made[-1:]

    bagging = Bagging(classifier, 3)
    bagging.fit(*digits()[0], callbacks=watch, **FAST)
    assert len(made) == 3
    with pytest.raises(TypeError, match=r"callbacks must be a function that makes them.*got \[<"):
        bagging.fit(*digits()[0], callbacks=made, **FAST)


# ---------------------------------------------------------------- files


def test_members_come_back_from_their_file(tmp_path):
    train, dev = digits()
    bagging, again = Bagging(classifier, 3, seed=5), Bagging(classifier, 1)
    bagging.fit(*train, validation=dev, **FAST)
    bagging.save(tmp_path / "file", texts={"note": "mine"}, arrays={"own/mean": np.arange(3.0)})
    again.load(tmp_path / "file")
    assert (again.members, again.seed) == (3, 5)
    assert bits(again) == bits(bagging)
    assert again.predict(dev[0]).tobytes() == bagging.predict(dev[0]).tobytes()
    arrays, texts = checkpoint.load(tmp_path / "file")
    assert texts["note"] == "mine"
    np.testing.assert_array_equal(arrays["own/mean"], [0, 1, 2])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_that_do_not_fit_are_told_and_change_nothing(tmp_path):
    train, _ = digits()
    bagging = Bagging(classifier, 2)
    bagging.fit(*train, **FAST)
    bagging.save(tmp_path / "file")
    before = bits(bagging)
    bagging.trainers[0].save(tmp_path / "alone")
    with pytest.raises(ValueError, match=r"alone was not written by Bagging\.save"):
        bagging.load(tmp_path / "alone")
    with pytest.raises(ValueError, match=r"file was not written by Trainer\.save"):
        classifier(0).load(tmp_path / "file")
    damaged = bytearray((tmp_path / "file").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "damaged").write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged: its content does not have the hash"):
        bagging.load(tmp_path / "damaged")
    assert bits(bagging) == before
    other = Bagging(lambda seed: classifier(seed, width=9), 2)
    with pytest.raises(ValueError, match=r"0\.weight has shape \(64, 16\), wanted \(64, 9\)"):
        other.load(tmp_path / "file")
    assert other.trainers == []


# ---------------------------------------------------------------- what goes wrong


def test_what_cannot_be_is_refused():
    x, y = digits()[0]
    with pytest.raises(ValueError, match="members is 0"):
        Bagging(classifier, 0)
    with pytest.raises(ValueError, match="n_jobs is 0"):
        Bagging(classifier, 2, n_jobs=0)
    bagging = Bagging(classifier, 2)
    with pytest.raises(RuntimeError, match=r"no members yet; call fit\(x, y\), or load\(path\) first"):
        bagging.predict(x)
    with pytest.raises(TypeError, match=r"Bagging\.fit: y must be a numpy\.ndarray, got list; pass np\.asarray\(y\)"):
        bagging.fit(x, y.tolist())
    with pytest.raises(ValueError, match=r"x has 200 rows and y 199"):
        bagging.fit(x, y[1:])


def test_without_joblib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(RuntimeError, match=r"n_jobs=2 needs joblib; .*'fastdl-kernels\[parallel\]', or pass n_jobs=1"):
        Bagging(classifier, 2, n_jobs=2).fit(*digits()[0], **FAST)
    Bagging(classifier, 1).fit(*digits()[0], **FAST)  # needs none


class Press(callbacks.Callback):
    """Presses Ctrl-C."""

    def on_batch_end(self, batch, logs):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupted_or_diverged_training_leaves_the_members_that_were():
    train, _ = digits()
    bagging = Bagging(classifier, 2)
    bagging.fit(*train, **FAST)
    before = bits(bagging)
    with pytest.raises(KeyboardInterrupt):
        bagging.fit(*train, callbacks=lambda: [Press()], **FAST)
    with (
        np.errstate(all="ignore"),
        pytest.warns(RuntimeWarning, match="the loss of epoch 1 is nan"),
        pytest.raises(RuntimeError, match="training of member 1 diverged"),
    ):
        bagging.fit(np.full_like(train[0], np.nan), train[1], **FAST)
    assert bits(bagging) == before


# ---------------------------------------------------------------- the command line


def test_members_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", "--members", "3", "--epochs", "4", "--layers", "16", "--measure-training", "--seed", "5"]
    assert main([*command, "--out", "run"]) == 0
    said = capsys.readouterr()
    assert "member 3/3  loss " in said.err
    assert "saved in run: config.toml, history.csv, model.safetensors\n" in said.out
    told = [line for line in said.out.splitlines() if line.startswith(("dev", "test"))]
    header, *rows = (tmp_path / "run/history.csv").read_text().splitlines()
    assert header.startswith("member,epoch,loss,penalty,train_loss,train_accuracy,val_loss,val_accuracy")
    assert len(rows) == 12
    assert main(["evaluate", "run"]) == 0
    assert capsys.readouterr().out.splitlines() == told
    assert main(["predict", "run"]) == 0
    with (tmp_path / "predictions.csv").open(newline="") as file:
        chances = np.array([[float(cell) for cell in row[2:]] for row in list(csv.reader(file))[1:]])
    run = recipes.load(tmp_path / "run")
    x = run.how.inputs(preparation.read("digits"))
    mean = np.mean([trainer.predict_proba(x) for trainer in run.trainer.trainers], axis=0)
    assert len(run.trainer.trainers) == 3
    np.testing.assert_allclose(chances, mean, rtol=1e-4, atol=1e-6)
    assert main(["train", "--resume", "run"]) == 2
    said = capsys.readouterr()
    assert "a run of several members is not gone on with; train it anew" in said.err
    with pytest.raises(ValueError, match="a run of several members is not gone on with; train it anew"):
        recipes.train(recipes.Config(members=2, epochs=1), resume=tmp_path / "run" / "checkpoint.safetensors")


def test_members_of_a_regression(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).standard_normal((200, 3))
    np.savez("numbers.npz", x=x, y=5 * x[:, 0] - x[:, 1] + 100)
    command = ["train", "--data", "numbers.npz", "--members", "2", "--epochs", "40", "--layers", "16"]
    assert main([*command, "--batch-size", "16", "--out", "run"]) == 0
    assert float(capsys.readouterr().out.split("test R2 ")[1].split()[0]) > 0.9
