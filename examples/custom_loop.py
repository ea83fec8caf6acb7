"""A training loop of one's own: batches, steps, a schedule for the learning rate, and prediction in the end."""

import fastdl as fd
from fastdl import nn
from fastdl.schedules import Cosine, Warmup

x, y = fd.data.load_digits()
(x, y), test = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True, seed=0)
model = nn.Sequential(nn.Linear(128), nn.ReLU(), nn.Linear(10))
# 1,437 rows are 23 batches, and ten epochs 230 steps.
optimizer = fd.optim.SGD(Warmup(0.1, 20) >> Cosine(0.1, 210), momentum=0.9)
step = fd.TrainStep(model, fd.losses.SoftmaxCrossEntropy(), optimizer, batch_size=64, seed=0)
for epoch in range(10):
    losses = [step(xb, yb) for xb, yb in fd.data.batches(x, y, 64, seed=0, epoch=epoch)]
    print(f"epoch {epoch + 1:2}  loss {sum(losses) / len(losses):.4f}")
x, y = test
outputs = fd.Predictor(step.weights, rows=len(x))(x)
print(f"test accuracy {(outputs.argmax(axis=1) == y).mean():.2%}")
