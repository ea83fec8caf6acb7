"""Features of scales 1 and 1,000,000, the second of a wide range: what squashing and standardising are good for.

python examples/scales_of_features.py --plot scales.png
"""

import argparse

import numpy as np

import fastdl as fd
from fastdl import nn
from fastdl.data import Chain, Rows, Squash, Standardize

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--plot", metavar="FILE", help="draw the curves (needs the extra `plot`)")
options = parser.parse_args()

# Two classes: whether both features have the same sign. Most of the second are small beside a few of its values.
z = fd.random.normal(3000, seed=0, stream=0).reshape(-1, 2)
x, y = np.stack([z[:, 0], 1e6 * np.sinh(4 * z[:, 1])], axis=1), (z[:, 0] * z[:, 1] > 0).astype(np.int64)
train, dev = fd.data.split(x, y, parts=(0.5, 0.5), stratify=True, seed=0)

squash = Squash(5e6)
preparations = {  # learnt from the training part alone
    "as they are": Chain(()),
    "standardised": Chain((Standardize.fit(train[0]),)),
    "squashed, then standardised": Chain((squash, Standardize.fit(Rows(train[0], prepare=squash)))),
}
errors = {}
for name, prepare in preparations.items():
    model = nn.Sequential(nn.Linear(32, activation="relu"), nn.Linear(2))
    trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(0.01), seed=0)
    validation = prepare(dev[0]), dev[1]
    history = trainer.fit(prepare(train[0]), train[1], validation=validation, epochs=60, batch_size=64, progress=False)
    errors[name] = [100 * (1 - accuracy) for accuracy in history["val_accuracy"]]
    print(f"{name:<28} {errors[name][-1]:5.1f} % of the dev rows wrong after {len(history)} epochs")
print("Only where both features come at one scale, and a few huge values do not set it, does the network learn both.")

if options.plot:
    from matplotlib import pyplot  # pip install 'fastdl-kernels[plot]'

    pyplot.switch_backend("Agg")
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    colours = pyplot.get_cmap("viridis")(np.linspace(0.85, 0.1, len(errors)))
    for (name, curve), colour in zip(errors.items(), colours, strict=True):
        axes.plot(range(1, len(curve) + 1), curve, color=colour, label=name)
    axes.set(xlabel="epoch", ylabel="dev rows wrong (%)", ylim=(0, None), title="Features of scales 1 and 1,000,000")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, frameon=False)
    figure.savefig(options.plot, dpi=150)
