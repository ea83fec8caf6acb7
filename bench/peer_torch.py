"""The benchmarks' work in PyTorch, eager: for each shape what sets it up, and returns the call that is timed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fastdl.bench import inputs, shapes

Call = Callable[[], tuple[Any, ...]]


def about() -> dict[str, Any]:
    """Version and threads."""
    return {"version": torch.__version__, "threads": torch.get_num_threads()}


def batch_norm(part: str) -> Callable[[shapes.BatchNorm], Call]:
    """Forward with running averages, backward, or both."""

    def setup(s: shapes.BatchNorm) -> Call:
        x, gamma, beta, dy = map(torch.from_numpy, inputs.batch_norm(s))
        mean, variance = torch.zeros(s.channels), torch.ones(s.channels)
        wanted = [tensor.requires_grad_() for tensor in (x, gamma, beta)]

        def forward() -> Any:
            return F.batch_norm(x, mean, variance, gamma, beta, training=True)

        def backward(y: Any, **options: Any) -> tuple[Any, ...]:
            found: tuple[Any, ...] = torch.autograd.grad(y, wanted, dy, **options)
            return found

        if part == "forward":
            return lambda: (forward().detach(),)
        if part == "backward":
            y = forward()
            return lambda: backward(y, retain_graph=True)

        def both() -> tuple[Any, ...]:
            y = forward()
            return y.detach(), *backward(y), mean, variance

        return both

    return setup


def dropout(s: shapes.Dropout) -> Call:
    """Forward, as in training."""
    x = torch.from_numpy(inputs.dropout(s)[0]).requires_grad_()  # so that the mask is kept, as we keep it
    return lambda: (F.dropout(x, shapes.RATE).detach(),)


def cross_entropy(s: shapes.CrossEntropy) -> Call:
    """Value and gradient."""
    logits, labels = map(torch.from_numpy, inputs.cross_entropy(s))
    logits.requires_grad_()

    def call() -> tuple[Any, ...]:
        loss = F.cross_entropy(logits, labels)
        return loss.detach(), *torch.autograd.grad(loss, logits)

    return call


def adam(tensors: int) -> Callable[[shapes.Update], Call]:
    """Fused Adam on parameters in so many tensors."""

    def setup(s: shapes.Update) -> Call:
        split = [torch.from_numpy(array).tensor_split(tensors) for array in inputs.update(s)]
        params = [nn.Parameter(part.clone()) for part in split[0]]
        for param, grad in zip(params, split[1], strict=True):
            param.grad = grad.clone()
        optimizer = torch.optim.Adam(params, fused=True)

        def call() -> tuple[Any, ...]:
            optimizer.step()
            return tuple(params)

        def results() -> tuple[Any, ...]:
            call()
            moments = ([optimizer.state[param][name] for param in params] for name in ("exp_avg", "exp_avg_sq"))
            return torch.cat([param.detach() for param in params]), *map(torch.cat, moments)

        return checked_once(results, call)

    return setup


def checked_once(first: Call, others: Call) -> Call:
    """What gives all results together the first time, and is timed without doing so."""
    calls = itertools.chain([first], itertools.repeat(others))
    return lambda: next(calls)()


def mse(s: shapes.Loss) -> Call:
    """Value and gradient."""
    outputs, targets = map(torch.from_numpy, inputs.loss(s))
    outputs.requires_grad_()

    def call() -> tuple[Any, ...]:
        loss = F.mse_loss(outputs, targets)
        return loss.detach(), *torch.autograd.grad(loss, outputs)

    return call


def training(s: shapes.Network) -> Call:
    """A step: rows by their numbers, forward, loss, backward, fused Adam, and the loss read."""
    model = network(s)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    x, labels, order = (torch.from_numpy(np.asarray(array)) for array in inputs.training(s))
    starts = itertools.cycle(range(0, s.data_rows - s.batch + 1, s.batch))

    def call() -> tuple[Any, ...]:
        start = next(starts)
        rows = order[start : start + s.batch]
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        return (loss.item(),)

    return call


def network(s: shapes.Network) -> nn.Sequential:
    """The model with the same parameters that ours starts from."""
    layers: list[nn.Module] = []
    *hidden, last = inputs.parameters(s)
    for block in hidden:
        layers.append(linear(block))
        if s.batch_norm:
            layers.append(nn.BatchNorm1d(len(block["gamma"])))
        layers.append(nn.ReLU())
        if s.batch_norm:
            layers.append(nn.Dropout(s.rate))
    return nn.Sequential(*layers, linear(last))


def linear(block: dict[str, Any]) -> nn.Linear:
    """A layer that holds this weight, and this bias if there is one."""
    weight = torch.from_numpy(block["weight"])
    layer = nn.Linear(*weight.shape, bias="bias" in block)
    with torch.no_grad():
        layer.weight.copy_(weight.T)
        if "bias" in block:
            layer.bias.copy_(torch.from_numpy(block["bias"]))
    return layer


WORK = {
    **{(shapes.BatchNorm, part): batch_norm(part) for part in ("forward", "backward", "")},
    (shapes.Dropout, ""): dropout,
    (shapes.CrossEntropy, ""): cross_entropy,
    (shapes.Loss, ""): mse,
    (shapes.Update, ""): adam(1),
    (shapes.Update, "50 tensors"): adam(50),
    (shapes.Network, ""): training,
}
