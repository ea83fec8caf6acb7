"""What each row counts in training: weights of rows, from a loop, the trainer, and of members of an ensemble."""

import numpy as np
import pytest

import fastdl as fd
from fastdl import nn
from fastdl.testing import normal

LOSSES = {
    "classes": (fd.losses.SoftmaxCrossEntropy(), 3),
    "weighted classes": (fd.losses.SoftmaxCrossEntropy(class_weights=[1.0, 0.5, 2.0]), 3),
    "smoothed classes": (fd.losses.SoftmaxCrossEntropy(smoothing=0.1), 3),
    "mse": (fd.losses.MSE(), 2),
    "huber": (fd.losses.Huber(), 2),
    "labels": (fd.losses.BinaryCrossEntropy(), 2),
}
X = normal((30, 4), np.float64, 0)
COUNTS = np.random.default_rng(1).integers(0, 4, 30)  # some rows count for nothing


def problem(name):
    loss, outputs = LOSSES[name]
    made = nn.Sequential(nn.Linear(5, activation="tanh"), nn.Linear(outputs))
    rng = np.random.default_rng(2)
    if name == "labels":
        return loss, made, rng.integers(0, 2, (30, 2))
    return loss, made, rng.integers(0, 3, 30) if outputs == 3 else rng.standard_normal((30, 2))


@pytest.mark.parametrize("bound", [False, True], ids=["handed over", "bound"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_row_of_weight_k_counts_like_k_rows(name, bound):
    loss, made, y = problem(name)
    many = np.repeat(np.arange(30), COUNTS)
    ours = fd.TrainStep(made, loss, fd.optim.SGD(0.3), batch_size=30, dtype=np.float64)
    theirs = fd.TrainStep(made, loss, fd.optim.SGD(0.3), batch_size=len(many), dtype=np.float64)
    if bound:
        ours.bind(X, y, COUNTS)
    for _ in range(4):
        found = ours.run(0, 30) if bound else ours(X, y, sample_weight=COUNTS)
        assert found == pytest.approx(theirs(X[many], y[many]), rel=1e-12)
    np.testing.assert_allclose(ours.weights.flat, theirs.weights.flat, rtol=1e-11, atol=1e-13)


def test_weights_that_are_all_0_are_refused():
    loss, made, y = problem("classes")
    with pytest.raises(ValueError, match="sample_weight is 0 for every row"):
        fd.Trainer(made, loss, fd.optim.SGD(0.3)).fit(X, y, sample_weight=0 * COUNTS, progress=False)
    for wrong in ([0, 0, 0], {0: 1.0}, [1, -1]):
        with pytest.raises(
            ValueError, match=r"class_weights are .*, wanted numbers of 0 or more, one a class and not all"
        ):
            fd.losses.SoftmaxCrossEntropy(class_weights=wrong)


def test_steps_with_weights_and_without_take_turns():
    loss, made, y = problem("classes")
    mixed, plain = (fd.TrainStep(made, loss, fd.optim.SGD(0.3), batch_size=30, dtype=np.float64) for _ in range(2))
    for step in range(6):
        weights = np.full(30, 2.5) if step % 2 else None  # all alike, so that they change nothing
        assert mixed(X, y, sample_weight=weights) == pytest.approx(plain(X, y), rel=1e-12)


@pytest.mark.parametrize("kind", ["memory", "file", "batches", "augmented"])
def test_the_trainer_weighs_the_rows_that_it_takes(kind, tmp_path):
    loss, made, y = problem("classes")
    trainer = fd.Trainer(made, loss, fd.optim.SGD(0.3), dtype=np.float64, device="cpu", seed=5)
    np.save(tmp_path / "x.npy", X)
    options = {"sample_weight": COUNTS, "batch_size": 8}
    if kind == "memory":
        given = X, y
    elif kind == "file":
        given = np.load(tmp_path / "x.npy", mmap_mode="r"), y
    elif kind == "augmented":
        given, options["augment"] = (X, y), [fd.data.augment.Noise(1e-9)]
    else:
        options = {}

        def of_epoch(epoch):
            pairs = fd.data.batches(X, y, 8, seed=5, epoch=epoch)
            return (
                (*pair, w)
                for pair, (w, _) in zip(pairs, fd.data.batches(COUNTS, y, 8, seed=5, epoch=epoch), strict=True)
            )

        given = (of_epoch,)
    trainer.fit(*given, epochs=3, progress=False, **options)
    step = fd.TrainStep(made, loss, fd.optim.SGD(0.3), batch_size=8, dtype=np.float64, seed=5)
    for epoch in range(3):
        order = fd.random.permutation(30, seed=5, step=epoch)
        for first in range(0, 30, 8):
            rows = order[first : first + 8]
            step(X[rows], y[rows], sample_weight=COUNTS[rows])
    np.testing.assert_allclose(trainer.weights.flat, step.weights.flat, rtol=1e-6, atol=1e-7)


def test_rows_of_weight_0_leave_no_trace():
    loss, made, y = problem("classes")
    spoiled = X.copy()
    spoiled[COUNTS == 0] *= 1e3
    trainers = [fd.Trainer(made, loss, fd.optim.Adam(0.1), dtype=np.float64, device="cpu") for _ in range(2)]
    for trainer, x in zip(trainers, (X, spoiled), strict=True):
        trainer.fit(x, y, epochs=3, batch_size=30, sample_weight=COUNTS, progress=False)
    np.testing.assert_allclose(trainers[0].weights.flat, trainers[1].weights.flat, rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_class_that_is_rare_is_found_more_often_when_it_counts_more(seed):
    rng = np.random.default_rng(seed)
    rare = rng.random(800) < 0.05
    x = rng.standard_normal((800, 2)) + 1.2 * rare[:, None]
    train, test = (x[:400], rare[:400].astype(int)), (x[400:], rare[400:].astype(int))

    def found(weights):
        loss = fd.losses.SoftmaxCrossEntropy()
        trainer = fd.Trainer(nn.Sequential(nn.Linear(2)), loss, fd.optim.Adam(0.05), device="cpu", seed=seed)
        trainer.fit(*train, epochs=30, batch_size=64, sample_weight=weights, progress=False)
        return trainer.predict(test[0]).argmax(1)[test[1] == 1].mean()

    assert found(np.where(train[1] == 1, 19.0, 1.0)) > found(None) + 0.3


def test_members_take_the_weights_of_their_samples():
    loss, made, y = problem("classes")

    def make(seed):
        return fd.Trainer(made, loss, fd.optim.SGD(0.3), dtype=np.float64, device="cpu", seed=seed)

    bagging = fd.ensemble.Bagging(make, 2)
    bagging.fit(X, y, epochs=2, batch_size=30, sample_weight=COUNTS, progress=False)
    rows, alone = fd.ensemble.bootstrap(30, sample=1), make(1)
    alone.fit(X[rows], y[rows], epochs=2, batch_size=30, sample_weight=COUNTS[rows], progress=False)
    np.testing.assert_allclose(bagging.trainers[1].weights.flat, alone.weights.flat, rtol=1e-10)


@pytest.mark.parametrize(
    "weights, message",
    [
        (np.ones(29), r"sample_weight is \(29,\) float64, wanted numbers of shape \(30,\), one a row"),
        (np.ones((30, 1)), r"sample_weight is \(30, 1\) float64"),
        ([1.0] * 30, "sample_weight is list, wanted numbers"),
        (np.array(["1"] * 30), "sample_weight is .* wanted numbers"),
        (np.where(np.arange(30) == 7, -1.0, 1.0), "sample_weight of row 7 is -1.0, wanted a number of 0 or more"),
        (np.where(np.arange(30) == 7, np.nan, 1.0), "sample_weight of row 7 is nan"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    loss, made, y = problem("classes")
    trainer = fd.Trainer(made, loss, fd.optim.SGD(0.3), device="cpu")
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, y, sample_weight=weights, progress=False)
    with pytest.raises(ValueError, match=message):
        fd.TrainStep(made, loss, fd.optim.SGD(0.3), batch_size=30)(X, y, sample_weight=weights)


def test_a_weighted_batch_cannot_come_in_parts():
    loss, made, y = problem("classes")
    trainer = fd.Trainer(made, loss, fd.optim.SGD(0.3), device="cpu")
    with pytest.raises(ValueError, match="accumulate is 2, but sample_weight needs whole batches, accumulate=1"):
        trainer.fit(X, y, sample_weight=COUNTS, accumulate=2, progress=False)
    with pytest.raises(ValueError, match="sample_weight goes with x and y; of batches hand over"):
        trainer.fit([(X, y)], sample_weight=COUNTS, progress=False)
    step = fd.TrainStep(made, loss, fd.optim.SGD(0.3), batch_size=30)
    with pytest.raises(ValueError, match="got 10 rows of a batch of 30 with sample_weight"):
        step(X[:10], y[:10], sample_weight=COUNTS[:10], rows=30)


class OfOnesOwn(fd.losses.Loss):
    """Says nothing of weights."""

    def target(self, output_shape):
        return output_shape, None

    def gradient(self, output, target, frame):
        return fd.ops.loss(output, target, "mse", scale=frame.scale, total=frame.total)[1]


def test_a_loss_that_does_not_heed_weights_is_refused():
    _, made, y = problem("mse")
    trainer = fd.Trainer(made, OfOnesOwn(), fd.optim.SGD(0.3), device="cpu")
    with pytest.raises(ValueError, match="OfOnesOwn takes no sample_weight; let its gradient weigh the rows by"):
        trainer.fit(X, y, sample_weight=COUNTS, progress=False)


def test_mixed_rows_have_no_weight_of_their_own():
    _, made, y = problem("mse")
    trainer = fd.Trainer(made, fd.losses.MSE(), fd.optim.SGD(0.3), device="cpu")
    with pytest.raises(ValueError, match="Mixup mixes rows whatever they count; leave it out, or sample_weight"):
        trainer.fit(X, y, sample_weight=COUNTS, augment=[fd.data.augment.Mixup(0.2)], progress=False)


def test_members_refuse_weights_of_other_rows():
    loss, made, y = problem("classes")
    bagging = fd.ensemble.Bagging(lambda seed: fd.Trainer(made, loss, fd.optim.SGD(0.3), device="cpu", seed=seed), 2)
    with pytest.raises(ValueError, match=r"sample_weight is \(31,\) float64, wanted numbers of shape \(30,\)"):
        bagging.fit(X, y, sample_weight=np.ones(31), progress=False)


def test_the_range_test_weighs_rows_too():
    loss, made, y = problem("mse")
    spoiled = y.copy()
    spoiled[COUNTS == 0] = 1e9
    made = fd.Trainer(made, loss, fd.optim.SGD(), device="cpu", dtype=np.float64)
    found = [fd.find_learning_rate(made, X, t, batch_size=30, sample_weight=COUNTS) for t in (y, spoiled)]
    assert found[0].proposed == found[1].proposed
