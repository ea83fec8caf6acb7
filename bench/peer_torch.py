"""The benchmarks' work in PyTorch, eager and compiled: for each shape what sets it up, and returns the call to time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fastdl.bench import inputs, shapes

Call = Callable[[], tuple[Any, ...]]
Setup = Callable[[Any, str], Call]  # shape, device -> call
Compile = Callable[[Any], Any]


def about() -> dict[str, Any]:
    """Version and threads."""
    return {"version": torch.__version__, "threads": torch.get_num_threads()}


def eager(function: Any) -> Any:
    """Left as it is."""
    return function


def compiled_anew(function: Any) -> Any:
    """Compiled, as if nothing had been before: a process that measures many shapes comes to dynamo's limits."""
    torch._dynamo.reset()
    return torch.compile(function)


def tensors(arrays: Any, device: str) -> list[torch.Tensor]:
    """The inputs on a device."""
    return [torch.from_numpy(np.asarray(array)).to(device) for array in arrays]


def gradients(compiled: Compile, function: Callable[..., Any], part: str) -> Callable[..., Call]:
    """`function` of tensors, forward, backward or both; the last tensor is dy."""

    def make(*given: torch.Tensor, results: Callable[[], tuple[Any, ...]] = tuple) -> Call:
        *of, dy = given
        of = [tensor.requires_grad_() for tensor in of]
        forward = compiled(function)
        if part == "forward":
            return lambda: (forward(*of).detach(),)
        if part == "backward":
            y = forward(*of)
            return lambda: torch.autograd.grad(y, of, dy, retain_graph=True)

        def both() -> tuple[Any, ...]:
            y = forward(*of)
            return y.detach(), *torch.autograd.grad(y, of, dy), *results()

        return both

    return make


def batch_norm(compiled: Compile, part: str) -> Setup:
    """Forward with running averages, backward, or both."""

    def setup(s: shapes.BatchNorm, device: str) -> Call:
        x, gamma, beta, dy = tensors(inputs.batch_norm(s), device)
        mean, variance = torch.zeros(s.channels, device=device), torch.ones(s.channels, device=device)

        def forward(x: Any, gamma: Any, beta: Any) -> Any:
            return F.batch_norm(x, mean, variance, gamma, beta, training=True)

        return gradients(compiled, forward, part)(x, gamma, beta, dy, results=lambda: (mean, variance))

    return setup


def matmul(compiled: Compile, part: str) -> Setup:
    """Product, bias and ReLU; and the two products of the way back."""

    def setup(s: shapes.Matmul, device: str) -> Call:
        x, w, b, dy = tensors(inputs.matmul(s), device)
        if part == "forward":
            forward = compiled(lambda x, w, b: torch.relu(torch.addmm(b, x, w)))
            return lambda: (forward(x, w, b),)
        if part == "input":
            return lambda: (torch.mm(dy, w.T),)
        return lambda: (torch.mm(x.T, dy), dy.sum(0))

    return setup


def element_wise(compiled: Compile, function: Any, part: str) -> Setup:
    """An activation, or its gradient."""

    def setup(s: shapes.Elements, device: str) -> Call:
        return gradients(compiled, function, part)(*tensors(inputs.activation(s), device))

    return setup


def softmax(compiled: Compile, part: str) -> Setup:
    """Over classes."""

    def setup(s: shapes.Softmax, device: str) -> Call:
        return gradients(compiled, partial(F.softmax, dim=1), part)(*tensors(inputs.softmax(s), device))

    return setup


def clip(compiled: Compile) -> Setup:
    """Between -1 and 1."""

    def setup(s: shapes.Elements, device: str) -> Call:
        x = tensors(inputs.activation(s), device)[0]
        out, forward = torch.empty_like(x), compiled(torch.clamp)
        if compiled is eager:
            return lambda: (torch.clamp(x, -1.0, 1.0, out=out),)
        return lambda: (forward(x, -1.0, 1.0),)

    return setup


def add(compiled: Compile) -> Setup:
    """Of two arrays."""

    def setup(s: shapes.Elements, device: str) -> Call:
        a, b = tensors(inputs.activation(s), device)
        out, forward = torch.empty_like(a), compiled(torch.add)
        if compiled is eager:
            return lambda: (torch.add(a, b, out=out),)
        return lambda: (forward(a, b),)

    return setup


def dropout(compiled: Compile, part: str) -> Setup:
    """As in training, with the mask kept."""

    def setup(s: shapes.Dropout, device: str) -> Call:
        x, dy = tensors(inputs.dropout(s), device)
        return gradients(compiled, partial(F.dropout, p=shapes.RATE), part)(x, dy)

    return setup


def gather(compiled: Compile) -> Setup:
    """Rows by number."""

    def setup(s: shapes.Gather, device: str) -> Call:
        data, order = tensors(inputs.gather(s), device)
        rows, take = order[: s.rows], compiled(lambda data, rows: data[rows])
        return lambda: (take(data, rows),)

    return setup


def norm(compiled: Compile) -> Setup:
    """Of all gradients."""

    def setup(s: shapes.Norm, device: str) -> Call:
        (x,) = tensors([inputs.norm(s)], device)
        found = compiled(torch.linalg.vector_norm)
        return lambda: (found(x),)

    return setup


def loss(compiled: Compile, function: Any, scale: Callable[[Any], float] = lambda s: 1.0) -> Setup:
    """Value and gradient."""

    def setup(s: Any, device: str) -> Call:
        outputs, targets = tensors(
            inputs.cross_entropy(s) if isinstance(s, shapes.CrossEntropy) else inputs.loss(s), device
        )
        outputs.requires_grad_()
        forward = compiled(lambda outputs, targets: function(outputs, targets) * scale(s))

        def call() -> tuple[Any, ...]:
            value = forward(outputs, targets)
            return value.detach(), *torch.autograd.grad(value, outputs)

        return call

    return setup


def adam(tensors_of: int) -> Setup:
    """Fused Adam on parameters in so many tensors."""

    def setup(s: shapes.Update, device: str) -> Call:
        params, grads = (tensor.tensor_split(tensors_of) for tensor in tensors(inputs.update(s), device))
        parameters = [nn.Parameter(part.clone()) for part in params]
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = grad.clone()
        optimizer = torch.optim.Adam(parameters, fused=True)

        def call() -> tuple[Any, ...]:
            optimizer.step()
            return tuple(parameters)

        def results() -> tuple[Any, ...]:
            call()
            moments = ([optimizer.state[p][name] for p in parameters] for name in ("exp_avg", "exp_avg_sq"))
            return torch.cat([p.detach() for p in parameters]), *map(torch.cat, moments)

        return checked_once(results, call)

    return setup


def checked_once(first: Call, others: Call) -> Call:
    """What gives all results together the first time, and is timed without doing so."""
    calls = itertools.chain([first], itertools.repeat(others))
    return lambda: next(calls)()


def training(compiled: Compile) -> Setup:
    """A step: rows by their numbers, forward, loss, backward, fused Adam; on a CPU the loss is read."""

    def setup(s: shapes.Network, device: str) -> Call:
        model = network(s).to(device)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        x, labels, order = tensors(inputs.training(s), device)
        starts = itertools.cycle(range(0, s.data_rows - s.batch + 1, s.batch))
        value = compiled(lambda x, labels: F.cross_entropy(model(x), labels))

        def call() -> tuple[Any, ...]:
            start = next(starts)
            rows = order[start : start + s.batch]
            optimizer.zero_grad(set_to_none=True)
            loss = value(x[rows], labels[rows])
            loss.backward()
            optimizer.step()
            return (loss.item() if device == "cpu" else loss.detach(),)

        return call

    return setup


def prediction(compiled: Compile) -> Setup:
    """The outputs of a batch."""

    def setup(s: shapes.Prediction, device: str) -> Call:
        model = network(s).to(device).eval()
        (x,) = tensors([inputs.training(s)[0][: s.batch]], device)
        forward = compiled(model)

        def call() -> tuple[Any, ...]:
            with torch.inference_mode():
                return (forward(x),)

        return call

    return setup


def network(s: shapes.Network) -> nn.Sequential:
    """The model with the same parameters that ours starts from."""
    layers: list[nn.Module] = []
    *hidden, last = inputs.parameters(s)
    for block in hidden:
        layers.append(linear(block))
        if s.batch_norm:
            layers.append(nn.BatchNorm1d(len(block["gamma"])))
        layers.append(nn.ReLU())
        if s.rate:
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


ACTIVATIONS = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
}
LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}


def work(compiled: Compile) -> dict[tuple[type, str], Setup]:
    """All that can be asked for."""
    return {
        **{(shapes.BatchNorm, part): batch_norm(compiled, part) for part in ("forward", "backward", "both")},
        **{(shapes.Matmul, part): matmul(compiled, part) for part in ("forward", "input", "weights")},
        **{(shapes.Elements, name): element_wise(compiled, f, "forward") for name, f in ACTIVATIONS.items()},
        **{
            (shapes.Elements, f"{name} backward"): element_wise(compiled, f, "backward")
            for name, f in ACTIVATIONS.items()
        },
        (shapes.Elements, "add"): add(compiled),
        (shapes.Elements, "clip"): clip(compiled),
        **{(shapes.Dropout, part): dropout(compiled, part) for part in ("forward", "backward")},
        (shapes.Softmax, "softmax"): softmax(compiled, "forward"),
        (shapes.Softmax, "softmax backward"): softmax(compiled, "backward"),
        (shapes.CrossEntropy, ""): loss(compiled, F.cross_entropy),
        **{(shapes.Loss, name): loss(compiled, function) for name, function in LOSSES.items()},
        (shapes.Gather, ""): gather(compiled),
        (shapes.Norm, ""): norm(compiled),
        (shapes.Network, ""): training(compiled),
        (shapes.Prediction, ""): prediction(compiled),
    }


EAGER = work(eager) | {(shapes.Update, "adam"): adam(1), (shapes.Update, "adam 50 tensors"): adam(50)}

# Left out where a compiler has nothing to fuse, and of gradients alone, which it makes together with their forward.
_ALONE = {(shapes.Matmul, part) for part in ("input", "weights")} | {(shapes.Gather, "")}
_ALONE |= {(shapes.Elements, name) for name in ("add", "clip")}
COMPILED = {
    key: setup for key, setup in work(compiled_anew).items() if key not in _ALONE and not key[1].endswith("backward")
}
