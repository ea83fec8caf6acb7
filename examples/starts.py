"""Where weights start decides what twenty layers hand on, and whether they learn: six starts, ReLU and tanh."""

import argparse

import numpy as np

import fastdl as fd
from fastdl import nn
from fastdl.initializers import Normal, glorot_normal, he_normal, xavier_normal, zeros

WIDTHS = [160, 40] * 10  # uneven: there fan_in and the mean of both fans differ
EPOCHS = 8
STARTS = {
    "zeros": zeros,
    "normal, scale 1": Normal(1.0),
    "normal, scale 0.01": Normal(0.01),
    "He": he_normal,
    "Xavier": xavier_normal,
    "Glorot": glorot_normal,
}


def network(start, activation):
    hidden = [nn.Linear(width, activation=activation, start=start) for width in WIDTHS]
    return nn.Sequential(*hidden, nn.Linear(10, start=start))


def second_moments(model, x):
    """Mean squares of the input and, before any training, of what each hidden layer hands on."""
    workspace = nn.Workspace(nn.Weights(model, x.shape[1:]), len(x), train=False)
    workspace.begin(len(x))
    found = [np.square(x, dtype=np.float64).mean()]
    for layer, frame in list(zip(model.layers, workspace.frame.children, strict=True))[:-1]:
        x = layer.forward(x, frame, train=False)
        found.append(np.square(x, dtype=np.float64).mean())
    return found


def losses(model, x, y):
    """Of each epoch; fewer if one is no number any more."""
    trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.SGD(0.02), device="cpu")
    watched = [fd.callbacks.TerminateOnNaN()]
    return trainer.fit(x, y, epochs=EPOCHS, batch_size=32, callbacks=watched, progress=False)["loss"]


def draw(moments, curves, path):
    colours = dict(zip(STARTS, pyplot.get_cmap("viridis")(np.linspace(0, 0.95, len(STARTS))), strict=True))
    sizes = dict(zip(STARTS, range(14, 2, -2), strict=True))  # where curves lie on one another, one sees rings of each
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 8), sharex="col", layout="constrained")
    for (left, right), activation in zip(axes, moments, strict=True):
        for name, colour in colours.items():
            found = moments[activation][name]
            if all(found):  # a logarithmic axis has no place for 0
                left.plot(found, "o-", markersize=3, color=colour)
            loss = curves[activation][name]
            right.plot(range(1, len(loss) + 1), loss, "o-", markersize=sizes[name], color=colour, label=name)
            if not loss:
                right.text(0.03, 0.05, f"{name}: no number", transform=right.transAxes, color=colour)
        left.set(yscale="log", ylabel="second moment of activations", title=f"{activation}, before training")
        left.text(0.03, 0.05, "zeros: 0 in every layer", transform=left.transAxes, color=colours["zeros"])
        right.set(ylabel="training loss", title=f"{activation}, in training")
    for each in axes.flat:
        each.grid(alpha=0.3)
    axes[1, 0].set(xlabel="layer", xticks=range(0, len(WIDTHS) + 1, 5))
    axes[1, 1].set(xlabel="epoch")
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=len(STARTS))
    figure.savefig(path, dpi=150)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plot", metavar="FILE", help="draw it: .png, .svg or .pdf")
arguments = parser.parse_args()
if arguments.plot:
    from matplotlib import pyplot  # where it is missing: pip install 'fastdl-kernels[plot]'

x, y = fd.data.load_digits()
x = fd.data.Standardize.fit(x)(x).astype(np.float32)
moments, curves = {"relu": {}, "tanh": {}}, {"relu": {}, "tanh": {}}
for activation in moments:
    print(f"{activation:<20}{'second moment after layer':^36}{f'loss in epoch {EPOCHS}':>20}")
    print(f"{'':<20}" + "".join(f"{layer:>9}" for layer in (1, 5, 10, 20)))
    for name, start in STARTS.items():
        model = network(start, activation)
        found = moments[activation][name] = second_moments(model, x[:256])
        loss = curves[activation][name] = losses(model, x, y)
        last = f"{loss[-1]:.3f}" if len(loss) == EPOCHS else "no number"
        print(f"{name:<20}" + "".join(f"{found[layer]:9.1e}" for layer in (1, 5, 10, 20)) + f"{last:>20}")
    print()
relu, tanh = ({name: f"{found[-1]:.1g}" for name, found in each.items()} for each in moments.values())
print(
    "ReLU halves the second moment in every layer. He's variance doubles it before: twenty layers leave "
    f"{relu['He']}, and the\nnetwork learns. From Xavier, Glorot and scale 0.01 it vanishes, and the loss stays that "
    "of a guess, log 10 = 2.303,\nas from zeros. From scale 1 it explodes.\n\n"
    "Tanh hardly changes what is small, for which Xavier is meant, but lessens what is large, as standardised inputs\n"
    f"are: Xavier leaves {tanh['Xavier']}, and Glorot {tanh['Glorot']}, since uneven widths lessen it too. Both learn. "
    f"He's variance makes\nup for tanh and leaves {tanh['He']}; from it the network learns fastest. From scale 1 units "
    "stand near -1 and 1,\nand the loss above that of a guess."
)
if arguments.plot:
    draw(moments, curves, arguments.plot)
