"""Batch norm on and off: ten layers of ReLU on handwritten digits, at a learning rate and at ten times that.

With batch norm the larger rate becomes usable, and the network learns faster by it.
"""

import argparse

import numpy as np

import fastdl as fd
from fastdl import nn
from fastdl.initializers import he_normal

RATES = 0.03, 0.3
EPOCHS, SEEDS = 6, range(3)


def network(norm):
    """Linear, batch norm, activation, in this order; a bias before batch norm would have no effect."""
    layers = []
    for _ in range(10):
        layers += [nn.Linear(64, bias=not norm, start=he_normal), *([nn.BatchNorm()] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(10, start=he_normal))


def train(norm, rate, seed):
    """The training loss and the accuracy on the dev part, of every epoch."""
    trainer = fd.Trainer(network(norm), fd.losses.SoftmaxCrossEntropy(), fd.optim.SGD(rate), device="cpu", seed=seed)
    history = trainer.fit(*digits, validation=dev, epochs=EPOCHS, batch_size=32, progress=False)
    return history["loss"], history["val_accuracy"]


def draw(curves, path):
    colours = dict(zip(RATES, pyplot.get_cmap("viridis")([0.15, 0.7]), strict=True))
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for (norm, rate), runs in curves.items():
        label = f"{'with' if norm else 'without'} batch norm, rate {rate}"
        for each, found in zip(axes, np.moveaxis(runs, 1, 0), strict=True):  # a line a seed
            lines = each.plot(range(1, EPOCHS + 1), found.T, "-" if norm else ":", color=colours[rate])
            lines[0].set_label(label)
    axes[0].set(xlabel="epoch", ylabel="training loss", yscale="log")
    axes[1].set(xlabel="epoch", ylabel="accuracy on rows not trained on")
    for each in axes:
        each.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(curves))
    figure.savefig(path, dpi=150)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plot", metavar="FILE", help="draw the curves: .png, .svg or .pdf")
arguments = parser.parse_args()
if arguments.plot:
    from matplotlib import pyplot  # where it is missing: pip install 'fastdl-kernels[plot]'

x, y = fd.data.load_digits()
digits, dev = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True, seed=0)
curves, right = {}, {}
print("                    training loss           dev accuracy")
print(f"batch norm   rate   epoch 1   epoch {EPOCHS}       epoch 2   epoch {EPOCHS}")
for norm in (False, True):
    for rate in RATES:
        curves[norm, rate] = np.array([train(norm, rate, seed) for seed in SEEDS])
        loss, right[norm, rate] = curves[norm, rate].mean(axis=0)
        second, last = right[norm, rate][[1, -1]]
        print(f"{'on' if norm else 'off':<12} {rate:4} {loss[0]:9.2f} {loss[-1]:9.2f} {second:13.1%} {last:9.1%}")
small, large = RATES
with_it, without, slower = right[True, large], right[False, large], right[False, small]
print(
    f"With batch norm a rate of {large} is usable: {with_it[-1]:.0%} of the dev digits are right in the end, "
    f"{without[-1]:.0%} without.\nAnd by that rate the network learns faster: after two epochs {with_it[1]:.0%} are "
    f"right, {slower[1]:.0%} without, at {small}.\n(Means of {len(SEEDS)} seeds; --plot draws each.)"
)
if arguments.plot:
    draw(curves, arguments.plot)
