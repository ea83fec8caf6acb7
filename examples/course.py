"""Course notes' own style: a three-layer network in dictionaries, on two moons, by Adam and dropout.

python examples/course.py --plot course.png
"""

import argparse

import numpy as np

import fastdl as fd
from fastdl import nn
from fastdl.course import (
    backward_propagation_with_dropout,
    forward_propagation,
    forward_propagation_with_dropout,
    initialize_adam,
    initialize_parameters_he,
    predict,
    random_mini_batches,
    update_parameters_with_adam,
)

EPOCHS, BATCH, RATE, KEEP_PROB = 200, 64, 0.01, 0.9


def two_moons(samples, seed, noise=0.2):
    """Two half circles that reach into each other: X (2, samples), Y (1, samples)."""
    rng = np.random.default_rng(seed)
    angle, Y = np.pi * rng.random(samples), np.arange(samples) % 2
    X = np.where(Y == 0, [np.cos(angle), np.sin(angle)], [1 - np.cos(angle), 0.5 - np.sin(angle)])
    return X + noise * rng.standard_normal((2, samples)), Y[np.newaxis]


def in_the_notes_style(X, Y):
    parameters = initialize_parameters_he([2, 20, 10, 1], seed=0)
    v, s = initialize_adam(parameters)
    t = 0
    for epoch in range(EPOCHS):
        for X_batch, Y_batch in random_mini_batches(X, Y, BATCH, seed=epoch):
            t += 1
            _, cache = forward_propagation_with_dropout(X_batch, parameters, KEEP_PROB, step=t)
            grads = backward_propagation_with_dropout(X_batch, Y_batch, cache, KEEP_PROB)
            parameters, v, s = update_parameters_with_adam(parameters, grads, v, s, t, learning_rate=RATE)
    return parameters


def by_layers(X, Y):
    """The same by the layer API, where samples are rows."""
    dropout = 1 - KEEP_PROB
    model = nn.Sequential(
        nn.Linear(20, activation="relu"),
        nn.Dropout(dropout),
        nn.Linear(10, activation="relu"),
        nn.Dropout(dropout),
        nn.Linear(1),
    )
    adam = fd.optim.Adam(RATE, eps_inside=True)
    step = fd.TrainStep(model, fd.losses.BinaryCrossEntropy(), adam, batch_size=BATCH, seed=0, dtype=np.float64)
    for epoch in range(EPOCHS):
        for x, y in fd.data.batches(X.T.copy(), Y.T, BATCH, seed=epoch):
            step(x, y)
    return step


def draw(path, X, Y, parameters, title):
    from matplotlib import pyplot  # pip install 'fastdl-kernels[plot]'

    pyplot.switch_backend("Agg")
    (left, low), (right, high) = X.min(axis=1) - 0.3, X.max(axis=1) + 0.3
    x1, x2 = np.meshgrid(np.linspace(left, right, 300), np.linspace(low, high, 300))
    probability = forward_propagation(np.stack([x1.ravel(), x2.ravel()]), parameters)[0].reshape(x1.shape)
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    filled = axes.contourf(x1, x2, probability, np.linspace(0, 1, 11), cmap="cividis")
    axes.contour(x1, x2, probability, [0.5], colors="black")
    for label, marker, face, edge in ((0, "o", "black", "white"), (1, "^", "white", "black")):
        axes.scatter(*X[:, Y[0] == label], s=18, c=face, marker=marker, edgecolors=edge, linewidths=0.5)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", title=title, aspect="equal")
    figure.colorbar(filled, label="probability of class 1 (triangles)")
    figure.savefig(path, dpi=150)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--plot", metavar="FILE", help="draw the data and what was learned (needs the extra `plot`)")
options = parser.parse_args()

X, Y = two_moons(500, seed=0)
X_test, Y_test = two_moons(2000, seed=1)
parameters = in_the_notes_style(X, Y)
accuracy = (predict(X_test, parameters) == Y_test).mean()
print(f"notes' style  test accuracy {accuracy:.2%}")

step = by_layers(X, Y)
outputs = fd.Predictor(step.weights, rows=X_test.shape[1])(X_test.T.copy())
apart = max(
    np.abs(array - of_layers.T.reshape(array.shape)).max()
    for array, of_layers in zip(parameters.values(), step.weights.params.values(), strict=True)
)
print(f"layer API     test accuracy {((outputs.T > 0) == Y_test).mean():.2%}")
print(f"after {step.count} steps their weights differ by {apart:g} at most")
if options.plot:
    draw(options.plot, X, Y, parameters, f"Three layers, Adam, dropout: test accuracy {accuracy:.1%}")
