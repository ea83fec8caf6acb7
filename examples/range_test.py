"""Which learning rate? Raise it from step to step and look where the loss is lowest: a range test, a few seconds.

Each optimizer has a range of its own, up to a hundred times apart; what the test proposes trains each.
"""

import argparse

import fastdl as fd
from fastdl import nn, optim

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--plot", metavar="FILE", help="draw loss over rate: .png, .svg or .pdf")
options = arguments.parse_args()

x, y = fd.data.load_digits()
train, test = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True, seed=0)
optimizers = {
    "SGD": optim.SGD,
    "SGD, momentum 0.9": lambda lr: optim.SGD(lr, momentum=0.9),
    "RMSProp": optim.RMSProp,
    "Adam": optim.Adam,
}


def trainer(optimizer):
    model = nn.Sequential(nn.Linear(64), nn.ReLU(), nn.Linear(64), nn.ReLU(), nn.Linear(10))
    return fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), optimizer, seed=0)


tests, near, far = {}, [], []
print("optimizer           proposed   accuracy on the test part after 10 epochs at it, and at 100 times as much")
for name, optimizer in optimizers.items():
    tests[name] = fd.find_learning_rate(trainer(optimizer(0.0)), *train, batch_size=64)
    for factor, found in ((1, near), (100, far)):
        made = trainer(optimizer(factor * tests[name].proposed))
        made.fit(*train, epochs=10, batch_size=64, progress=False)
        found.append(made.evaluate(*test)["accuracy"])
    print(f"{name:<18} {tests[name].proposed:9.2g}   {near[-1]:.1%}, {far[-1]:.1%}")
rates = [found.proposed for found in tests.values()]
print(
    f"A tenth of the rate where the loss is lowest, as proposed, trains each: {min(near):.1%} at least. A hundred times"
)
print(
    f"as much trains none, {max(far):.1%} at most, and proposals lie up to {max(rates) / min(rates):.0f} times apart."
)

if options.plot:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    for (name, found), axes in zip(tests.items(), figure.subplots(2, 2, sharex=True).flat, strict=True):
        found.draw(axes)
        axes.set_ylabel(f"{name}: loss, smoothed")
    figure.savefig(options.plot, dpi=150)
