"""What the learning rate does in time: one small network trained with Adam by eleven schedules, a few seconds.

A constant rate needs no decay to come down far; a tenfold drop at the end gives one more fall. Of the decays by epoch
0.95 an epoch stops the training early, 1 / (1 + epoch) nearly does, and 1 / sqrt(epoch + 1) only slows it. What a
factor at every step does depends on how many there are: over these 5,600 0.995 is too fast, 0.9995 about right, and
0.999995 without effect.
"""

import argparse

import numpy as np

import fastdl as fd
from fastdl import nn
from fastdl.schedules import Constant, Cosine, Exponential, InverseSqrt, InverseTime, OneCycle, Triangular, Warmup

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--plot", metavar="FILE", help="draw the schedules and what they came to: .png, .svg or .pdf")
options = arguments.parse_args()

EPOCHS, STEPS = 700, 8  # an epoch
TOTAL, RATE = EPOCHS * STEPS, 0.01
schedules = {
    "constant": Constant(RATE),
    "tenfold drop at 4/5": Constant(RATE, TOTAL * 4 // 5) >> Constant(RATE / 10),
    "warm-up, cosine": Warmup(RATE, TOTAL // 20) >> Cosine(RATE, TOTAL - TOTAL // 20),
    "one cycle": OneCycle(RATE, TOTAL),
    "triangular": Triangular(RATE, TOTAL // 7, low=RATE / 10),
    "1 / sqrt(epoch + 1)": InverseSqrt(RATE, STEPS),
    "1 / (1 + epoch)": InverseTime(RATE, 1.0, STEPS),
    "0.95 an epoch": Exponential(RATE, 0.95, STEPS),
    "0.995 a step": Exponential(RATE, 0.995),
    "0.9995 a step": Exponential(RATE, 0.9995),
    "0.999995 a step": Exponential(RATE, 0.999995),
}

x = np.random.default_rng(0).uniform(-1, 1, (32 * STEPS, 2)).astype(np.float32)
y = np.sin(3 * x[:, :1]) * np.cos(2 * x[:, 1:])
losses = {}
for name, schedule in schedules.items():
    model = nn.Sequential(nn.Linear(32), nn.Tanh(), nn.Linear(32), nn.Tanh(), nn.Linear(1))
    trainer = fd.Trainer(model, fd.losses.MSE(), fd.optim.Adam(schedule), seed=0)
    losses[name] = trainer.fit(x, y, epochs=EPOCHS, batch_size=32, progress=False)["loss"]

found = {name: np.mean(curve[-10:]) for name, curve in losses.items()}
print(f"{'schedule':<22} {'rate at the end':>15}   mean squared error, over the last ten epochs")
for name, schedule in schedules.items():
    share = found[name] / found["constant"]
    print(f"{name:<22} {schedule(TOTAL - 1):15.1e}   {found[name]:.1e}, {share:.2f} of constant's")
fall = found["constant"] / found["tenfold drop at 4/5"]
print(f"The tenfold drop gives one more fall: the error is {fall:.1f} times smaller.")
later = {name: found[name] / np.mean(curve[EPOCHS // 2 - 10 : EPOCHS // 2]) for name, curve in losses.items()}
print(
    f"In the second half 0.95 an epoch gains nothing more (the error is {later['0.95 an epoch']:.2f} of what it was), "
    f"1 / (1 + epoch) little ({later['1 / (1 + epoch)']:.2f});\n1 / sqrt(epoch + 1) still falls "
    f"({later['1 / sqrt(epoch + 1)']:.2f}), but stays behind the constant rate."
)
print("Of factors at every step 0.995 is too fast, 0.9995 about right, and 0.999995, but for chance, without effect.")

if options.plot:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    for (name, schedule), panel in zip(
        schedules.items(), left.subplots(6, 2, sharex=True, sharey=True).flat, strict=False
    ):
        schedule.draw(TOTAL, panel)
        panel.set_title(f"{name}: error {found[name]:.1e}", fontsize=9)
        panel.label_outer()
    left.axes[-1].remove()
    above, below = right.subplots(2, 1, sharex=True, sharey=True)
    late = "constant", "warm-up, cosine", "tenfold drop at 4/5"
    early = "constant", "1 / (1 + epoch)", "0.95 an epoch", "1 / sqrt(epoch + 1)", "0.9995 a step"
    for panel, shown in ((above, late), (below, early)):
        for name, colour in zip(shown, colormaps["viridis"](np.linspace(0, 0.95, len(shown))), strict=True):
            average = fd.MovingAverage(0.9)
            smooth = [average.update(loss) for loss in losses[name]]
            width = 4 if name == "constant" else 1.5  # until its drop, the tenfold drop lies on it
            panel.plot(range(1, EPOCHS + 1), smooth, color=colour, linewidth=width, label=name)
        panel.set(yscale="log", ylabel="error, a mean of about 10 epochs")
        panel.legend()
    below.set(xlabel="epoch")
    figure.savefig(options.plot, dpi=150)
