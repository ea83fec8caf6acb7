"""Batch norm on and off: ten layers of tanh on handwritten digits, at a learning rate and at ten times that."""

import argparse

import fastdl as fd
from fastdl import nn
from fastdl.initializers import xavier_normal

RATES = 0.08, 0.8
EPOCHS = 12


def network(norm):
    """Linear, batch norm, activation, in this order; a bias before batch norm would have no effect."""
    layers = []
    for _ in range(10):
        layers += [nn.Linear(64, bias=not norm, start=xavier_normal), *([nn.BatchNorm()] if norm else []), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(10, start=xavier_normal))


def draw(histories, path):
    colours = dict(zip(RATES, pyplot.get_cmap("viridis")([0.15, 0.7]), strict=True))
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for (norm, rate), history in histories.items():
        label = f"{'with' if norm else 'without'} batch norm, rate {rate}"
        for each, column in zip(axes, ("loss", "val_accuracy"), strict=True):
            each.plot(history["epoch"], history[column], "-" if norm else ":", color=colours[rate], label=label)
    axes[0].set(xlabel="epoch", ylabel="training loss", yscale="log")
    axes[1].set(xlabel="epoch", ylabel="accuracy on rows not trained on")
    for each in axes:
        each.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(histories))
    figure.savefig(path, dpi=150)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plot", metavar="FILE", help="draw the curves: .png, .svg or .pdf")
arguments = parser.parse_args()
if arguments.plot:
    from matplotlib import pyplot  # where it is missing: pip install 'fastdl-kernels[plot]'

x, y = fd.data.load_digits()
train, dev = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True, seed=0)
histories = {}
print("batch norm   rate   loss at epoch 1   at the end   dev accuracy")
for norm in (False, True):
    for rate in RATES:
        trainer = fd.Trainer(network(norm), fd.losses.SoftmaxCrossEntropy(), fd.optim.SGD(rate), device="cpu", seed=0)
        history = trainer.fit(*train, validation=dev, epochs=EPOCHS, batch_size=64, progress=False)
        histories[norm, rate] = history
        first, last, accuracy = history["loss"][0], history["loss"][-1], history["val_accuracy"][-1]
        print(f"{'on' if norm else 'off':<12} {rate:4} {first:17.3f} {last:12.3f} {accuracy:14.1%}")
if arguments.plot:
    draw(histories, arguments.plot)
