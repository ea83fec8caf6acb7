"""Prediction replays what it recorded, folds batch norms, and says what the model says."""

import threading

import numpy as np
import pytest

import fastdl as fd
from fastdl import nn
from fastdl.nn.folding import folded
from fastdl.nn.place import Places

DTYPES = [np.float32, np.float64]


def trained_looking(weights, seed=0):
    """Parameters and averages as after training, none of them 0 or 1."""
    rng = np.random.default_rng(seed)
    for name, array in (weights.params | weights.averages).items():
        array[...] = (
            rng.uniform(0.5, 2, array.shape) if name.endswith(("gamma", "variance")) else rng.normal(size=array.shape)
        )
    return weights


def outputs(weights, x):
    """By the model itself."""
    workspace = nn.Workspace(weights, len(x), train=False)
    workspace.begin(len(x))
    return weights.model.forward(x.astype(weights.dtype), workspace.frame, train=False)


shared = nn.Linear(6)
MODELS = {
    "plain": nn.Sequential(nn.Linear(5), nn.Linear(3)),
    "norm": nn.Sequential(nn.Linear(5), nn.BatchNorm(), nn.Linear(3)),
    "norm and relu": nn.Sequential(
        nn.Linear(5, bias=False), nn.BatchNorm(activation="relu"), nn.Dropout(0.5), nn.Linear(3)
    ),
    "relu after dropout": nn.Sequential(nn.Linear(5), nn.BatchNorm(eps=0.1), nn.Dropout(0.5), nn.ReLU(), nn.Linear(3)),
    "tanh": nn.Sequential(nn.Linear(5), nn.Tanh(), nn.Linear(3), nn.Sigmoid()),
    "older dropout": nn.Sequential(
        nn.Dropout(0.2, inverted=False), nn.Linear(5), nn.Dropout(0.5, inverted=False), nn.ReLU(), nn.Linear(3)
    ),
    "older dropout before a norm": nn.Sequential(nn.Linear(5), nn.Dropout(0.5, inverted=False), nn.BatchNorm()),
    "gelu, which stays": nn.Sequential(nn.Linear(5), nn.BatchNorm(), nn.GELU(), nn.Linear(3)),
    "slope": nn.Sequential(nn.Linear(5), nn.LeakyReLU(0.3), nn.Linear(4), nn.LeakyReLU(), nn.Linear(3)),
    "relu before norm": nn.Sequential(nn.Linear(5, activation="relu"), nn.BatchNorm(), nn.Linear(3)),
    "two norms": nn.Sequential(nn.Linear(5), nn.BatchNorm(), nn.BatchNorm(), nn.ReLU()),
    "norm first": nn.Sequential(nn.BatchNorm(), nn.Linear(5), nn.Softmax()),
    "shared": nn.Sequential(shared, nn.BatchNorm(), nn.ReLU(), shared, nn.BatchNorm(), shared),
    "residual": nn.Sequential(nn.Residual(nn.Linear(5), nn.BatchNorm(), nn.ReLU(), nn.Linear(6)), nn.Linear(3)),
    "shortcut": nn.Residual(nn.Linear(4), nn.BatchNorm(), shortcut=nn.Sequential(nn.Linear(4), nn.BatchNorm())),
    "one layer": nn.Linear(4),
    "nested": nn.Sequential(nn.Sequential(nn.Linear(5), nn.BatchNorm()), nn.ReLU(), nn.Linear(2)),
    "nothing": nn.Sequential(),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_it_predicts_what_the_model_does(name, dtype):
    weights = trained_looking(nn.Weights(MODELS[name], (6,), dtype=dtype))
    predict = fd.Predictor(weights, 20)
    x = np.random.default_rng(1).normal(size=(20, 6)).astype(dtype)
    for n in (20, 1, 7, 20, 7, 7):
        rows = np.ascontiguousarray(x[:n] * n)
        wanted = outputs(weights, rows)
        found = predict(rows)
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found, wanted, rtol=0, atol=(1e-13 if dtype == np.float64 else 1e-5) * abs(wanted).max()
        )


def test_passes_are_saved():
    model, norms = folded(Places(MODELS["norm and relu"], (6,)).root)
    first, *rest = model.layers
    assert (first.activation, first.bias, len(norms)) == ("relu", True, 1)
    assert [type(layer) for layer in rest] == [nn.Sequential, nn.Sequential, nn.Linear]
    assert rest[-1] is MODELS["norm and relu"].layers[-1]
    predict = fd.Predictor(nn.Weights(MODELS["norm and relu"], (6,)), 4)
    predict(np.ones((4, 6)))
    ((_, tape, _),) = predict._recorded.values()
    assert len(tape.entries) == 2


def test_images_keep_their_norms():
    model = nn.Sequential(nn.BatchNorm(), nn.ReLU(), nn.Flatten(), nn.Linear(3), nn.BatchNorm())
    weights = trained_looking(nn.Weights(model, (2, 3, 3)))
    x = np.random.default_rng(1).normal(size=(4, 2, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(fd.Predictor(weights, 4)(x), outputs(weights, x), rtol=1e-4, atol=1e-4)


def test_results_are_the_callers_own():
    predict = fd.Predictor(trained_looking(nn.Weights(MODELS["norm"], (6,))), 4)
    x = np.ones((4, 6), np.float32)
    first = predict(x)
    kept = first.copy()
    predict(x * 2)
    np.testing.assert_array_equal(first, kept)
    assert (x == 1).all()


def test_other_layouts_and_dtypes_are_taken_as_they_are():
    weights = trained_looking(nn.Weights(MODELS["norm"], (6,)))
    predict, x = fd.Predictor(weights, 8), np.arange(48).reshape(8, 6) % 7
    wanted = predict(x.astype(np.float32))
    for given in (
        x,
        x.astype(np.float64),
        np.asfortranarray(x),
        np.repeat(x, 2, axis=0)[::2],
        x.astype(">f4"),
        x.tolist(),
    ):
        given = np.asarray(given)
        np.testing.assert_array_equal(predict(given), wanted)


@pytest.mark.parametrize("x", [np.ones((9, 6)), np.ones((0, 6)), np.ones((2, 5)), np.ones(6), np.full((2, 6), "a")])
def test_wrong_rows_are_refused(x):
    predict = fd.Predictor(nn.Weights(MODELS["norm"], (6,)), 8)
    with pytest.raises(ValueError, match=r"Predictor: got .*, wanted 1 to 8 rows of real numbers of shape \(6,\)"):
        predict(x)


def test_no_room_is_refused():
    with pytest.raises(ValueError, match="room for 0 rows"):
        fd.Predictor(nn.Weights(MODELS["norm"], (6,)), 0)


class Rows(nn.Layer):
    """The number of rows, by NumPy instead of an op."""

    def forward(self, x, frame, train):
        y = frame.rows("y", *x.shape[1:])
        y[...] = np.asarray(x.shape[0])
        return y


def test_numpy_between_ops_is_refused():
    predict = fd.Predictor(nn.Weights(nn.Sequential(nn.Linear(3), Rows()), (6,)), 4)
    with pytest.raises(TypeError, match="a recorded step cannot read values"):
        predict(np.ones((4, 6)))


def fitted():
    x, y = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32), np.arange(200) % 3
    trainer = fd.Trainer(MODELS["norm and relu"], fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01), device="cpu")
    trainer.fit(x, y, epochs=2, batch_size=32)
    return trainer, x, y


def test_the_trainers_prediction_follows_the_weights_and_a_compiled_one_does_not():
    trainer, x, y = fitted()
    before, compiled = trainer.predict(x), trainer.compile(64)
    np.testing.assert_array_equal(compiled(x[:64]), before[:64])
    trainer.fit(x, y, epochs=1, batch_size=32)
    after = trainer.predict(x)
    assert abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, outputs(trainer.weights, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(compiled(x[:64]), before[:64])
    trainer.weights.averages["1.mean"][...] += 1  # by hand
    assert abs(trainer.predict(x) - after).max() > 1e-3


def test_a_row_alone_is_predicted_as_among_others():
    trainer, x, _ = fitted()
    compiled = trainer.compile(200)
    np.testing.assert_allclose(
        np.concatenate([compiled(row[None]) for row in x[:20]]), compiled(x)[:20], rtol=1e-4, atol=1e-6
    )


def test_threads_predict_with_their_own():
    trainer, x, _ = fitted()
    wanted, wrong = trainer.predict(x), []

    def work():
        wrong.extend(not np.array_equal(trainer.predict(x), wanted) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 80
    assert not any(wrong)
