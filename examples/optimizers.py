"""Optimizers in a ravine and on two moons: all at one small rate, and each at a rate that suits it.

python examples/optimizers.py --plot optimizers.png
"""

import argparse
import math

import numpy as np

import fastdl as fd
from fastdl import nn
from fastdl.optim import SGD, AdaGrad, Adam, RMSProp

# With dampening the velocity is an average of gradients, so that a rate means the same to the first three.
OPTIMIZERS = {
    "gradient descent": SGD,
    "momentum": lambda lr: SGD(lr, momentum=0.9, dampening=0.9),
    "Nesterov": lambda lr: SGD(lr, momentum=0.9, dampening=0.9, nesterov=True),
    "AdaGrad": AdaGrad,
    "RMSProp": lambda lr: RMSProp(lr, beta=0.9),
    "Adam": Adam,
}

# ---------------------------------------------------------------- a ravine: z^2 + 100 w^2, along no axis

ANGLE = math.radians(25)
TURN = np.array([[math.cos(ANGLE), math.sin(ANGLE)], [-math.sin(ANGLE), math.cos(ANGLE)]])
CURVATURES = np.array([1.0, 100.0])
START = np.array([-4.0, 0.3]) @ TURN


def height(points):
    return np.square(points @ TURN.T) @ CURVATURES / 2


def path(optimizer, steps=300):
    """The points that an optimizer comes to, until it flies away."""
    p, moments = START.copy(), [np.zeros(2) for _ in range(optimizer.moments)]
    points = [p.copy()]
    for step in range(1, steps + 1):
        gradient = (CURVATURES * (p @ TURN.T)) @ TURN
        optimizer.update(p, gradient, moments, scalars=np.array(optimizer.scalars(step)))
        points.append(p.copy())
        if np.abs(p).max() > 10:
            break
    return np.array(points)


def steps_across(points):
    """Steps until it stays below a height of 0.01."""
    high = height(points) >= 0.01
    return math.inf if high[-1] else int(np.flatnonzero(high)[-1]) + 1


# ---------------------------------------------------------------- two moons

SMALL, RATES = 0.0007, (0.0007, 0.01, 0.3)
ROWS, BATCH, EPOCHS = 300, 64, 600
ORDERS = [fd.random.permutation(ROWS, seed=0, step=epoch) for epoch in range(EPOCHS)]


def two_moons(rows, seed, noise=0.15):
    """Two half circles that reach into each other: x (rows, 2), y (rows, 1)."""
    rng = np.random.default_rng(seed)
    angle, y = np.pi * rng.random(rows), np.arange(rows) % 2
    x = np.where(y == 0, [np.cos(angle), np.sin(angle)], [1 - np.cos(angle), 0.5 - np.sin(angle)]).T
    return x + noise * rng.standard_normal((rows, 2)), y[:, np.newaxis]


def train(optimizer, x, y):
    """The mean loss of every epoch, and what was learned."""
    model = nn.Sequential(nn.Linear(16, activation="relu"), nn.Linear(8, activation="relu"), nn.Linear(1))
    step = fd.TrainStep(model, fd.losses.BinaryCrossEntropy(), optimizer, batch_size=BATCH, dtype=np.float64)
    step.bind(x, y)
    losses = []
    for order in ORDERS:
        step.set_order(order)
        losses.append(np.mean([step.run(start, min(BATCH, ROWS - start)) for start in range(0, ROWS, BATCH)]))
    return losses, fd.Predictor(step.weights, rows=10_000)


# ---------------------------------------------------------------- the picture


def draw(file, paths, small, tuned, rates, right):
    from matplotlib import pyplot  # pip install 'fastdl-kernels[plot]'

    pyplot.switch_backend("Agg")
    figure, (above, middle, below) = pyplot.subplots(3, 1, figsize=(9, 12), layout="constrained")
    colours = pyplot.get_cmap("viridis")([0, 0.75, 0.3, 0.15, 0.5, 0.97])
    widths = [6, 3.5, 1, 1.5, 1.5, 1.5]  # the first three lie on one another
    for name, colour, width in zip(OPTIMIZERS, colours, widths, strict=True):
        if name in ("gradient descent", "momentum", "Adam"):
            steps = steps_across(paths[name])
            above.plot(*paths[name][: steps + 1].T, ".-", color=colour, label=f"{name}, {steps} steps")
        labels = f"{name}: {right[name][0]:.1%}", f"{name}, {rates[name]:g}: {right[name][1]:.1%}"
        for axes, losses, label in zip((middle, below), (small[name], tuned[name]), labels, strict=True):
            axes.plot(range(1, EPOCHS + 1), losses, linewidth=width, color=colour, label=label)
    above.plot(0, 0, "k*", markersize=12, label="minimum")
    above.margins(0.1)
    x, y = np.meshgrid(np.linspace(*above.get_xlim(), 300), np.linspace(*above.get_ylim(), 200))
    above.contour(x, y, height(np.stack([x, y], -1)), np.geomspace(0.01, 100, 13), colors="0.85", zorder=0)
    above.set(xlabel="$x_1$", ylabel="$x_2$", title="A ravine, each at its best rate")
    middle.set(title=f"Two moons, a rate of {SMALL:g} for all")
    below.set(title="Two moons, each at the best of three rates")
    for axes, title in ((above, None), (middle, "accuracy on new rows"), (below, "rate, accuracy on new rows")):
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title=title)
    for axes in (middle, below):
        axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
    figure.savefig(file, dpi=120)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--plot", metavar="FILE", help="draw paths and losses (needs the extra `plot`)")
options = parser.parse_args()

x, y = two_moons(ROWS, seed=0)
x_test, y_test = two_moons(10_000, seed=1)
paths, small, tuned, rates, right = {}, {}, {}, {}, {}
print("                    ravine, best rate     two moons, accuracy on new rows")
print(f"                    rate      steps       at {SMALL:g}    at the rate of the lowest loss")
for name, make in OPTIMIZERS.items():
    across = {rate: path(make(rate)) for rate in np.geomspace(0.005, 2, 20)}
    best = min(across, key=lambda rate: steps_across(across[rate]))
    runs = {rate: train(make(rate), x, y) for rate in RATES}
    rates[name] = min(RATES, key=lambda rate: runs[rate][0][-1])
    paths[name], small[name], tuned[name] = across[best], runs[SMALL][0], runs[rates[name]][0]
    right[name] = [((runs[rate][1](x_test) > 0) == y_test).mean() for rate in (SMALL, rates[name])]
    first, last = (f"{share:.1%}" for share in right[name])
    print(f"{name:<18}  {best:<8.2g}  {steps_across(paths[name]):<10}  {first:<9}    {last} at {rates[name]:g}")
steps = {name: steps_across(points) for name, points in paths.items()}
least, *_, most = sorted(steps[name] for name in ("momentum", "Nesterov", "Adam"))
shares, losses = [last for _, last in right.values()], [curve[-1] for curve in tuned.values()]
print(
    f"Across the ravine those with momentum, Adam among them, take {least} to {most} steps, gradient descent "
    f"{steps['gradient descent']},\nand AdaGrad and RMSProp no fewer than that.\n"
    f"On two moons, at a rate of {SMALL:g}, only RMSProp and Adam get there. At the best of {RATES} all do:\n"
    f"{min(shares):.1%} to {max(shares):.1%} of the new rows are right. Training losses, which --plot draws, are "
    f"decades apart,\nfrom {min(losses):.0e} to {max(losses):.0e}, and new rows gain nothing by that."
)
if options.plot:
    draw(options.plot, paths, small, tuned, rates, right)
