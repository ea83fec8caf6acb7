"""The end of a step: parameters from gradients, clipped, each at its own rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from . import ops
from .nn import Weights, Workspace
from .nn.frame import Frame
from .nn.weights import matching
from .optim import Optimizer
from .recorder import seal
from .typing import Array


class Stretch(NamedTuple):
    """Parameters that lie side by side in the flat buffer and are updated alike."""

    start: int
    stop: int
    factor: float
    """Of the learning rate."""


def stretches(weights: Weights, optimizer: Optimizer) -> list[Stretch]:
    """All trained parameters, in their order in the flat buffer: one stretch, but for rates and norms of their own."""
    for pattern in optimizer.rates:
        matching([pattern], list(weights.params), "rates")
    offsets = weights.layout.offsets
    names = sorted(weights.params.keys() - weights.frozen, key=offsets.__getitem__)
    ends = [*(offsets[name] for name in names[1:]), weights.trained]
    found: list[Stretch] = []
    for name, end in zip(names, ends, strict=True):
        factor = optimizer.factor_of(name)
        if found and found[-1].factor == factor and optimizer.clip_norm_each is None:
            found[-1] = found[-1]._replace(stop=end)
        else:
            found.append(Stretch(offsets[name], end, factor))
    return found


def update(
    optimizer: Optimizer, parts: Sequence[Stretch], workspace: Workspace, moments: Sequence[Array], status: Array
) -> None:
    """Change the parameters by the gradients of a workspace, as a call of the optimizer for each stretch."""
    weights, frame = workspace.weights, workspace.update
    params, grads = seal(weights.flat), seal(workspace.grads_flat)[: weights.trained]
    scalars = seal(workspace.control.scalars)
    if optimizer.clip_value is not None:
        grads = ops.clip(grads, optimizer.clip_value, out=frame.array("clipped", grads.size))
    clip = None
    if optimizer.clip_norm is not None:
        clip = _factor(grads, optimizer.clip_norm, frame, "")
    for number, (start, stop, rate) in enumerate(parts):
        part = slice(start, stop)
        if optimizer.clip_norm_each is not None:
            clip = _factor(grads[part], optimizer.clip_norm_each, frame, str(number))
        numbers = scalars
        if rate != 1:
            room = frame.array(f"scalars{number}", *scalars.shape, dtype=np.float64)
            numbers = ops.scaled_rate(scalars, rate, out=room)
        optimizer.update(
            params[part],
            grads[part],
            [seal(moment)[part] for moment in moments],
            decayed=min(max(weights.decayed - start, 0), stop - start),
            scalars=numbers,
            status=status,
            clip=clip,
        )


def _factor(grads: Array, limit: float, frame: Frame, name: str) -> Array:
    """What brings gradients down to a norm when they are multiplied by it."""
    work = frame.array(f"work{name}", ops.global_norm_work_size(grads.size), dtype=np.float64)
    norm, factor = (frame.array(f"{of}{name}", 1, dtype=np.float64) for of in ("norm", "factor"))
    return ops.global_norm(grads, limit=limit, work=work, out=norm, factor=factor)[1]
