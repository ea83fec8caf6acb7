"""A layer of one's own, y = scale x with a scale for every feature, in a network that is trained with it."""

import fastdl as fd
from fastdl import nn
from fastdl.initializers import ones


class Scale(nn.Layer):
    def params(self, shape):
        return {"scale": nn.Param((1, *shape), ones)}

    def forward(self, x, frame, train):
        frame.saved["x"], y = x, frame.rows("y", *x.shape[1:])
        frame.call(multiply, x, frame.param("scale"), y)
        return y

    def backward(self, dy, frame):
        dx = frame.rows("dx", *dy.shape[1:])
        again = frame.accumulate("scale")  # where the layer stands twice, or a batch comes in parts
        frame.call(gradients, dy, frame.saved["x"], frame.param("scale"), again, frame.grad("scale"), dx)
        return dx


def multiply(x, scale, y):
    y[...] = x * scale


def gradients(dy, x, scale, again, dscale, dx):
    dx[...] = dy * scale
    dscale[...] = (dy * x).sum(axis=0) + (dscale if again else 0)


x, y = fd.data.load_digits()
train, test = fd.data.split(x / 16, y, parts=(0.8, 0.2), stratify=True)
model = nn.Sequential(Scale(), nn.Linear(64), nn.ReLU(), nn.Linear(10))
trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam(3e-3))
trainer.fit(*train, epochs=10, batch_size=64)
print(model.summary((64,)))
print(trainer.evaluate(*test))
