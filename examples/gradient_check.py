"""Find the layer whose gradient is wrong: a swish of one's own, y = x sigmoid(x), written twice.

`--plot FILE` draws both gradients of every parameter: by backward, and by differences of the loss.
"""

import argparse

import numpy as np

import fastdl as fd
from fastdl import nn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class WrongSwish(nn.Layer):
    """Its backward forgets that x is a factor of its own: y' = s + x s (1 - s), not x s (1 - s)."""

    def forward(self, x, frame, train):
        frame.saved["x"], y = x, frame.rows("y", *x.shape[1:])
        frame.call(lambda x, y: np.multiply(x, sigmoid(x), out=y), x, y)
        return y

    def backward(self, dy, frame):
        dx = frame.rows("dx", *dy.shape[1:])
        frame.call(self.derivative, dy, frame.saved["x"], dx)
        return dx

    @staticmethod
    def derivative(dy, x, dx):
        s = sigmoid(x)
        dx[...] = dy * x * s * (1 - s)


class Swish(WrongSwish):
    @staticmethod
    def derivative(dy, x, dx):
        s = sigmoid(x)
        dx[...] = dy * (s + x * s * (1 - s))


def draw(checks, path):
    """A panel a check: a right gradient lies on the diagonal."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(checks), figsize=(5 * len(checks), 4.4), layout="constrained")
    for panel, (title, found) in zip(panels, checks.items(), strict=True):
        colours = pyplot.get_cmap("viridis")(np.linspace(0, 0.9, len(found.parameters)))
        for row, colour in zip(found.parameters, colours, strict=True):
            panel.scatter(row.numerical, row.backward, s=12, color=colour, label=row.name, alpha=0.7)
        panel.axline((0, 0), slope=1, color="0.5", linewidth=1, zorder=0)
        panel.set(title=f"{title}: difference {found.difference:.0e}", xlabel="gradient by differences of the loss")
        panel.set_aspect("equal")
        panel.locator_params(nbins=5)
    panels[0].set_ylabel("gradient by backward")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", title="parameter")
    figure.savefig(path, dpi=120)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plot", metavar="FILE", help="draw both gradients: .png, .svg or .pdf")
options = parser.parse_args()

x, y = fd.data.load_digits()
checks = {}
for swish in (WrongSwish, Swish):
    model = nn.Sequential(nn.Linear(32), swish(), nn.Linear(16, activation="tanh"), nn.Linear(10))
    checks[swish.__name__] = fd.check_gradients(
        model, fd.losses.SoftmaxCrossEntropy(), x[:32] / 16, y[:32], samples=300
    )
    print(checks[swish.__name__], end="\n\n")
print(
    "A wrong backward spoils all gradients below it, here those of layer 0: in the picture they are off the diagonal."
)
print("Those above it are right, and so the layer is found. With the right backward all lie on the diagonal.")
if options.plot:
    draw(checks, options.plot)
