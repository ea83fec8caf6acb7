"""A training loop of one's own: batches, steps, and a schedule for the learning rate."""

import fastdl as fd
from fastdl import nn
from fastdl.schedules import Cosine, Warmup

x, y = fd.data.load_digits()
(x, y), test = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True, seed=0)
model = nn.Sequential(nn.Linear(128), nn.ReLU(), nn.Linear(10))
optimizer = fd.optim.SGD(Warmup(0.1, 20) >> Cosine(0.1, 200), momentum=0.9)
step = fd.TrainStep(model, fd.losses.SoftmaxCrossEntropy(), optimizer, batch_size=64, seed=0)
for epoch in range(10):
    losses = [step(xb, yb) for xb, yb in fd.data.batches(x, y, 64, seed=0, epoch=epoch)]
    print(f"epoch {epoch + 1:2}  loss {sum(losses) / len(losses):.4f}")
