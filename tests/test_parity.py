"""Sixty steps against an independent implementation: PyTorch in float64."""

import numpy as np
import pytest

from fastdl import losses, nn, ops, optim, schedules
from fastdl.step import TrainStep

RATE, SEED = 0.25, 11


def block(width):
    return [nn.Linear(width, bias=False), nn.BatchNorm(), nn.ReLU(), nn.Dropout(RATE)]


def rows_and_labels():
    rng = np.random.default_rng(0)
    return rng.standard_normal((600, 64)), rng.integers(0, 10, 600)


class Twin:
    """The same network in PyTorch, with our weights at the start and our dropout's masks."""

    def __init__(self, torch, step):
        class Masked(torch.nn.Module):
            def __init__(self, stream):
                super().__init__()
                self.stream = stream

            def forward(self, rows):
                mask = ops.dropout_mask(tuple(rows.shape), rate=RATE, seed=SEED, stream=self.stream, step=self.step)
                return rows * torch.from_numpy(mask) / (1 - RATE)

        def block(inputs, width, stream):
            linear = torch.nn.Linear(inputs, width, bias=False)
            return [linear, torch.nn.BatchNorm1d(width), torch.nn.ReLU(), Masked(stream)]

        self.torch = torch
        self.model = torch.nn.Sequential(*block(64, 48, 4), *block(48, 32, 8), torch.nn.Linear(32, 10)).double()
        with torch.no_grad():
            self.model[8].bias.zero_()
            for at, module in enumerate(self.model):
                if isinstance(module, torch.nn.Linear):
                    module.weight.copy_(torch.from_numpy(step.weights.params[f"{at}.weight"].T.astype(np.float64)))

    def groups(self, weight_decay):
        """Its parameters: weights, which decay, and the others, which do not."""
        weights = [p for name, p in self.model.named_parameters() if p.ndim == 2]
        others = [p for name, p in self.model.named_parameters() if p.ndim == 1]
        return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]

    def loss(self, number, rows, y, loss_of):
        for module in self.model:
            module.step = number
        return loss_of(self.model(self.torch.from_numpy(rows)), self.torch.from_numpy(y))


OPTIMIZERS = {
    "sgd": (optim.SGD(0.05), lambda o, p: o.SGD(p(0.0), 0.05)),
    "momentum": (
        optim.SGD(0.02, momentum=0.9, weight_decay=0.01),
        lambda o, p: o.SGD(p(0.01), 0.02, momentum=0.9),
    ),
    "nesterov": (
        optim.SGD(0.02, momentum=0.9, nesterov=True),
        lambda o, p: o.SGD(p(0.0), 0.02, momentum=0.9, nesterov=True),
    ),
    "adagrad": (optim.AdaGrad(0.02), lambda o, p: o.Adagrad(p(0.0), 0.02)),
    "rmsprop": (optim.RMSProp(1e-3), lambda o, p: o.RMSprop(p(0.0), 1e-3)),
    "adam": (optim.Adam(1e-3), lambda o, p: o.Adam(p(0.0), 1e-3)),
    "adam with L2": (optim.Adam(1e-3, weight_decay=0.1), lambda o, p: o.Adam(p(0.1), 1e-3)),
    "adamw": (optim.AdamW(1e-3, weight_decay=0.3), lambda o, p: o.AdamW(p(0.3), 1e-3)),
}
LOSSES = {
    "cross-entropy": (losses.SoftmaxCrossEntropy(), lambda f: f.cross_entropy),
    "smoothed, classes weighted, one ignored": (
        losses.SoftmaxCrossEntropy(smoothing=0.1, class_weights=[1, 2, 3, 4, 5, 0.5, 1, 1, 1, 1], ignored=7),
        lambda f: (
            lambda z, y: f.cross_entropy(
                z,
                y,
                label_smoothing=0.1,
                ignore_index=7,
                weight=z.new_tensor([1, 2, 3, 4, 5, 0.5, 1, 1, 1, 1]),
            )
        ),
    ),
    "binary cross-entropy": (losses.BinaryCrossEntropy(), lambda f: f.binary_cross_entropy_with_logits),
    "mse": (losses.MSE(), lambda f: f.mse_loss),
    "l1": (losses.L1(), lambda f: f.l1_loss),
    "huber": (losses.Huber(0.7), lambda f: lambda y, t: f.huber_loss(y, t, delta=0.7)),
}


def follow(torch, ours, make, loss, loss_of, dtype, bound, schedule=None, clip=None):
    """Take sixty steps with both, and compare every loss."""
    x, y = rows_and_labels()
    model = nn.Sequential(*block(48), *block(32), nn.Linear(10))
    step = TrainStep(model, loss, ours, batch_size=32, seed=SEED, dtype=dtype)
    rows = x.astype(dtype).astype(np.float64)
    if loss.target((10,))[0]:
        y = (np.arange(10) == y[:, None]).astype(np.float64)
    step.bind(x.astype(dtype), y)
    twin = Twin(torch, step)
    theirs = make(torch.optim, twin.groups)
    rate = schedule(torch.optim.lr_scheduler, theirs) if schedule else None
    for number in range(60):
        start = number * 32 % 544
        theirs.zero_grad()
        expected = twin.loss(number + 1, rows[start : start + 32], y[start : start + 32], loss_of)
        expected.backward()
        if clip:
            grads = [p.grad for p in twin.model.parameters()]
            norm = torch.sqrt(sum((g**2).sum() for g in grads))
            for g in grads:
                g *= min(1.0, clip / float(norm))
        theirs.step()
        if rate:
            rate.step()
        assert step.run(start, 32) == pytest.approx(expected.item(), rel=bound, abs=bound), number
    for at in (1, 5):
        wanted = {"mean": twin.model[at].running_mean, "variance": twin.model[at].running_var}
        for name, tensor in wanted.items():
            found = step.weights.averages[f"{at}.{name}"]
            np.testing.assert_allclose(found, tensor.numpy(), rtol=bound * 1e3, atol=bound * 10)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 5e-6)])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_equals_torchs(torch, name, dtype, bound):
    ours, make = OPTIMIZERS[name]
    loss, loss_of = LOSSES["cross-entropy"]
    follow(torch, ours, make, loss, loss_of(torch.nn.functional), dtype, bound)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_equals_torchs(torch, name):
    loss, loss_of = LOSSES[name]
    make = lambda o, p: o.SGD(p(0.0), 0.05)  # noqa: E731
    follow(torch, optim.SGD(0.05), make, loss, loss_of(torch.nn.functional), np.float64, 1e-12)


SCHEDULES = {
    "constant": (schedules.Constant(0.02), lambda s, o: s.ConstantLR(o, 1.0, 1)),
    "steps": (schedules.StepDecay(0.02, every=20, factor=0.5), lambda s, o: s.StepLR(o, 20, 0.5)),
    "warm-up and cosine": (
        schedules.Warmup(0.02, 10) >> schedules.Cosine(0.02, 50),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 9), s.CosineAnnealingLR(o, 50)], milestones=[10]),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_every_schedule_equals_torchs(torch, name):
    rate, schedule = SCHEDULES[name]
    loss, loss_of = LOSSES["cross-entropy"]
    make = lambda o, p: o.SGD(p(0.0), 0.02, momentum=0.9)  # noqa: E731
    ours = optim.SGD(rate, momentum=0.9)
    follow(torch, ours, make, loss, loss_of(torch.nn.functional), np.float64, 1e-12, schedule=schedule)


def test_gradients_clipped_by_their_norm_equal_torchs(torch):
    loss, loss_of = LOSSES["cross-entropy"]
    make = lambda o, p: o.SGD(p(0.0), 0.05)  # noqa: E731
    ours = optim.SGD(0.05, clip_norm=0.4)
    follow(torch, ours, make, loss, loss_of(torch.nn.functional), np.float64, 1e-12, clip=0.4)
