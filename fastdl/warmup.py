"""All kernels compiled at once, so that nobody waits for them later: `fastdl warmup`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from . import backend, checks, ops, recorder

Call = Callable[[], object]


def calls(dtype: Any) -> Iterator[tuple[str, Call]]:
    """A call of every op for each kernel that it may choose, under its op's name, on arrays of a few elements."""
    x, c, labels, one = np.ones((2, 2), dtype), np.ones(2, dtype), np.zeros(2, np.int64), np.ones(1, dtype)
    image, flat = np.ones((2, 2, 2), dtype), np.ones(2, dtype)
    row = np.ones((2, 1), dtype)
    for kernel in ("blas", "loops"):
        for activation in (None, *ops.EPILOGUES):
            yield "matmul", partial(ops.matmul, x, x, c, activation=activation, kernel=kernel)
        yield "matmul", partial(ops.matmul_backward_input, x, x, kernel=kernel)
        yield "matmul", partial(ops.matmul_backward_weights, x, x, kernel=kernel)
    yield "matmul", partial(ops.matmul, np.ones((1, 512), dtype), np.ones((512, 512), dtype))  # of one row
    yield "add", partial(ops.add, x, x)
    yield "clip", partial(ops.clip, x, 1.0)
    for name in ops.ACTIVATIONS:
        yield "activation", partial(ops.activation, x, name)
        yield "activation", partial(ops.activation_backward, x, name, x=x, y=x)
    yield "softmax", partial(ops.softmax, x)
    yield "softmax", partial(ops.softmax_backward, x, x)
    statistics = ops.BatchStatistics(c, c, c)
    for of in (x, image):
        for activation in (None, "relu"):
            y = of if activation else None
            yield "batch_norm", partial(ops.batch_norm, of, c, c, activation=activation)
            yield "batch_norm", partial(ops.batch_norm_predict, of, c, c, c, c, activation=activation)
            yield "batch_norm", partial(ops.batch_norm_backward, of, of, c, statistics, y=y)
    yield "batch_norm", partial(ops.update_averages, flat, flat.copy())
    yield "dropout", partial(ops.dropout_mask, (2,), rate=0.5)
    yield "dropout", partial(ops.dropout, x, rate=0.5)
    yield "dropout", partial(ops.dropout, x, rate=0.5, keep_mask=False)
    yield "dropout", partial(ops.dropout_backward, x, x.astype(np.uint8), rate=0.5)
    yield "dropout", partial(ops.dropout_predict, x, rate=0.5)
    yield "softmax_cross_entropy", partial(ops.softmax_cross_entropy, x, labels)
    yield "softmax_cross_entropy", partial(ops.softmax_cross_entropy, x, labels, smoothing=0.1)
    yield "softmax_cross_entropy", partial(ops.softmax_cross_entropy, x, x)
    for name in ops.LOSSES:
        yield "losses", partial(ops.loss, row, row, name)
    yield "norm", partial(ops.global_norm, flat)
    yield "gather", partial(ops.gather, x, labels)
    yield "gather", partial(ops.gather, labels, labels)  # of targets
    p, m, v = one.copy(), one.copy(), one.copy()
    yield "updates", partial(ops.sgd_update, p, one)
    yield "updates", partial(ops.momentum_update, p, one, m)
    yield "updates", partial(ops.momentum_update, p, one, m, nesterov=True)
    yield "updates", partial(ops.adagrad_update, p, one, m)
    yield "updates", partial(ops.rmsprop_update, p, one, m)
    yield "updates", partial(ops.adam_update, p, one, m, v)
    yield "updates", partial(ops.scaled_rate, np.ones(4), 0.1)


def warm_up(names: tuple[str, ...] = (), progress: Callable[..., Any] = lambda jobs, total: jobs) -> int:
    """Compile every kernel of these ops, or of all, serial and parallel, for float32 and float64.

    Parameters
    ----------
    names : tuple of str
        Folders of kernels/.
    progress : function of an iterator and of how many it gives
        What the compilations are taken through, tqdm say.

    Returns
    -------
    int
        How many kernels were compiled, or had been before.

    Raises
    ------
    ValueError
        For a name that no op has.
    RuntimeError
        Where Numba is missing.
    """
    if reason := backend.numba_missing():
        raise RuntimeError(f"warmup: there is nothing to compile, since Numba cannot be imported ({reason})")
    from .kernels._together import compile_together, jobs_of

    all_calls = [(name, call) for dtype in checks.FLOATS for name, call in calls(dtype)]
    known = {name for name, _ in all_calls}
    if unknown := set(names) - known:
        raise ValueError(f"warmup: no op is named {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    noted: list[tuple[Any, tuple[Any, ...]]] = []
    with recorder.divert(lambda kernel, args: noted.append((kernel, args))):
        for name, call in all_calls:
            if not names or name in names:
                call()
    jobs = jobs_of(noted, every=True)
    for _ in progress(compile_together(jobs), total=len(jobs)):
        pass
    return len(jobs)
