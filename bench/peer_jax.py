"""The training step in JAX: one jitted function with Adam written out, whose state is given up and replaced."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fastdl.bench import inputs, shapes

Tree = Any
DECAY, BETA1, BETA2, LR, EPS = 0.9, 0.9, 0.999, 1e-3, 1e-8


def about() -> dict[str, Any]:
    """Version and threads: JAX has no function that tells them, and takes the cores that it may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"version": jax.__version__, "threads": cores}


def forward(s: shapes.Network, params: Tree, averages: Tree, x: Any, key: Any) -> tuple[Any, Tree]:
    """Logits in training, and the running averages after this batch."""
    *hidden, last = params
    after = []
    for block, average in zip(hidden, averages, strict=True):
        x = x @ block["weight"]
        if s.batch_norm:
            mean, variance = x.mean(0), x.var(0)
            x = (x - mean) * jax.lax.rsqrt(variance + 1e-5) * block["gamma"] + block["beta"]
            batch = {"mean": mean, "variance": variance * (s.batch / (s.batch - 1))}
            after.append(jax.tree.map(lambda old, new: DECAY * old + (1 - DECAY) * new, average, batch))
        else:
            x = x + block["bias"]
            after.append(average)
        x = jax.nn.relu(x)
        if s.rate:
            key, mine = jax.random.split(key)
            x = jnp.where(jax.random.bernoulli(mine, 1 - s.rate, x.shape), x / (1 - s.rate), 0)
    return x @ last["weight"] + last["bias"], after


def adam(params: Tree, grads: Tree, m: Tree, v: Tree, count: Any) -> tuple[Tree, Tree, Tree]:
    """Adam with bias correction."""
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, grads)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, grads)
    c1, c2 = 1 / (1 - BETA1**count), (1 - BETA2**count) ** -0.5
    return jax.tree.map(lambda p, m, v: p - LR * (m * c1) / (jnp.sqrt(v) * c2 + EPS), params, m, v), m, v


def training(s: shapes.Network, device: str) -> Callable[[], tuple[float]]:
    """A step: rows by their numbers, forward, loss, backward, Adam, and the loss read."""

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: Tree, x: Any, labels: Any, order: Any, start: int) -> tuple[Tree, Any]:
        params, averages, m, v, count, key = state
        key, mine = jax.random.split(key)
        rows = jax.lax.dynamic_slice(order, (start,), (s.batch,))
        taken = labels[rows]

        def loss(params: Tree) -> tuple[Any, Tree]:
            logits, after = forward(s, params, averages, x[rows], mine)
            return -jnp.take_along_axis(jax.nn.log_softmax(logits), taken[:, None], 1).mean(), after

        (value, averages), grads = jax.value_and_grad(loss, has_aux=True)(params)
        params, m, v = adam(params, grads, m, v, count + 1)
        return (params, averages, m, v, count + 1, key), value

    params = jax.tree.map(jnp.array, inputs.parameters(s))
    averages = [
        {"mean": jnp.zeros(width), "variance": jnp.ones(width)} if s.batch_norm else {} for width in s.widths[1:-1]
    ]
    m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    state = params, averages, m, v, jnp.float32(0), jax.random.PRNGKey(0)
    x, labels, order = map(jnp.array, inputs.training(s))
    starts = itertools.cycle(range(0, s.data_rows - s.batch + 1, s.batch))

    def call() -> tuple[float]:
        nonlocal state
        state, loss = step(state, x, labels, order, next(starts))
        return (float(loss),)

    return call


def prediction(s: shapes.Prediction, device: str) -> Callable[[], tuple[Any]]:
    """The outputs of a batch, by running averages of mean 0 and variance 1."""

    @jax.jit
    def predict(params: Tree, x: Any) -> Any:
        *hidden, last = params
        for block in hidden:
            x = x @ block["weight"]
            if s.batch_norm:
                x = x * jax.lax.rsqrt(jnp.float32(1 + 1e-5)) * block["gamma"] + block["beta"]
            else:
                x = x + block["bias"]
            x = jax.nn.relu(x)
        return x @ last["weight"] + last["bias"]

    params, x = jax.tree.map(jnp.array, inputs.parameters(s)), jnp.array(inputs.training(s)[0][: s.batch])
    return lambda: (predict(params, x).block_until_ready(),)


WORK = {(shapes.Network, ""): training, (shapes.Prediction, ""): prediction}
