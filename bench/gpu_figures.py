"""What kernels take on a GPU, beside the bytes that they must move and what PyTorch takes for the same."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastdl as fd
from fastdl import nn, ops
from fastdl.recorder import record

Call = Callable[[], Any]
ROUNDS = 7  # of each thing that is timed, in turn
MILLISECONDS = 20  # that a round is to take
ELEMENTS = 1 << 27  # of flat arrays: several times as many as the last cache holds


@dataclass
class Figure:
    """One thing to measure."""

    name: str
    ours: Call
    bytes: float = 0.0
    """That it cannot do without moving."""
    flops: float = 0.0
    peers: Mapping[str, Call] = field(default_factory=dict)
    compare: Callable[[], tuple[Any, Any]] | None = None
    """Our result and a peer's."""


def timed(calls: Mapping[str, Call]) -> dict[str, float]:
    """Median seconds of each call, by events on the device, round by round in turn."""
    import cupy

    def once(call: Call, repeats: int) -> float:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(begin, end)) / repeats / 1e3

    repeats = {}
    for name, call in calls.items():
        once(call, 3)
        repeats[name] = max(2, min(2000, round(MILLISECONDS / 1e3 / once(call, 3))))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            seconds[name].append(once(call, repeats[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def replay(call: Call) -> Call:
    """The launches of a call of ops, as a recorded step makes them."""
    with record() as tape:
        call()
    return tape.replay


def empty(*shape: int, dtype: Any = np.float32) -> Any:
    """An array to be written."""
    import cupy

    return cupy.empty(shape, dtype)


def draw(*shape: int) -> tuple[Any, Any]:
    """Random numbers, as CuPy's array and as PyTorch's tensor over the same memory."""
    import cupy
    import torch

    tensor = torch.randn(*shape, device="cuda")
    return cupy.asarray(tensor), tensor


# ------------------------------------------------------------ what is measured


def element_wise() -> Iterator[Figure]:
    """Activations and dropout."""
    import cupy
    import torch

    n = ELEMENTS
    (x, tx), (dy, tdy), y = draw(n), draw(n), empty(n)
    functions = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu}
    for name, function in functions.items():

        def peer(function: Any = function) -> Any:
            return function(tx)

        ours = replay(lambda name=name: ops.activation(x, name, out=y))
        yield Figure(name, ours, 8 * n, peers={"torch": peer}, compare=lambda peer=peer: (y, peer()))

    ours = replay(lambda: ops.activation_backward(dy, "relu", y=x, out=y))
    peers = {"torch": lambda: torch.ops.aten.threshold_backward(tdy, tx, 0)}
    yield Figure("relu backward", ours, 12 * n, peers=peers, compare=lambda: (y, peers["torch"]()))

    mask, numbers = empty(n, dtype=np.uint8), cupy.asarray(np.array([1, 2, 3, 0]))
    ours = replay(lambda: ops.dropout(x, rate=0.2, draw=numbers, out=y, mask=mask))
    yield Figure("dropout", ours, 9 * n, peers={"torch": lambda: torch.native_dropout(tx, 0.2, True)})

    ours = replay(lambda: ops.dropout_backward(dy, mask, rate=0.2, out=y))
    kept = torch.rand(n, device="cuda") > 0.2
    peers = {"torch": lambda: torch.ops.aten.native_dropout_backward(tdy, kept, 1.25)}
    yield Figure("dropout backward", ours, 9 * n, peers=peers)


def update() -> Iterator[Figure]:
    """Adam, of one tensor."""
    import cupy
    import torch

    n = ELEMENTS // 2
    p, g, m, v = (draw(n)[0] for _ in range(4))
    cupy.abs(v, out=v)
    numbers = {"scalars": cupy.asarray(np.array(ops.adam_scalars(10, 1e-3))), "clip": cupy.ones(1)}
    ours = replay(lambda: ops.adam_update(p, g, m, v, status=cupy.zeros(1, np.int64), **numbers))
    parameter = torch.nn.Parameter(torch.randn(n, device="cuda"))
    parameter.grad = torch.randn(n, device="cuda")
    adam = torch.optim.Adam([parameter], fused=True)
    yield Figure("adam", ours, 28 * n, peers={"torch fused": adam.step})


def batch_norm(*shape: int) -> Iterator[Figure]:
    """Forward and backward: forward must read x twice and write y, backward read x and dy twice and write dx."""
    import cupy
    import torch

    count, c, name = int(np.prod(shape)), shape[1], "batch norm " + "x".join(map(str, shape))
    (x, tx), (dy, tdy), y, dx = draw(*shape), draw(*shape), empty(*shape), empty(*shape)
    gamma, beta, work = cupy.ones(c, np.float32), cupy.zeros(c, np.float32), ops.BatchNormWork.of(x)
    found = ops.BatchStatistics(*(empty(c) for _ in range(3)))
    of_torch = [torch.ones(c, device="cuda"), torch.zeros(c, device="cuda")]
    averages = [torch.zeros(c, device="cuda"), torch.ones(c, device="cuda")]

    def forward() -> Any:
        return torch.native_batch_norm(tx, *of_torch, *averages, True, 0.1, 1e-5)

    ours = replay(lambda: ops.batch_norm(x, gamma, beta, out=y, statistics=found, work=work))
    yield Figure(name, ours, 12 * count, peers={"torch": forward}, compare=lambda: (y, forward()[0]))

    _, mean, inverse = forward()
    ours()
    gradients = {"out": dx, "out_gamma": empty(c), "out_beta": empty(c)}

    def backward() -> Any:
        wanted = [True, True, True]
        return torch.ops.aten.native_batch_norm_backward(
            tdy, tx, of_torch[0], *averages, mean, inverse, True, 1e-5, wanted
        )

    ours = replay(lambda: ops.batch_norm_backward(dy, x, gamma, found, work=work, **gradients))
    peers = {"torch": backward}
    yield Figure(f"{name} backward", ours, 20 * count, peers=peers, compare=lambda: (dx, backward()[0]))


def cross_entropy(rows: int, classes: int) -> Iterator[Figure]:
    """Value and gradient."""
    import cupy
    import torch

    (z, tz), labels = draw(rows, classes), torch.randint(classes, (rows,), device="cuda")
    tz.requires_grad_()
    dz, numbers = empty(rows, classes), cupy.asarray(labels)
    shared = {"scale": cupy.full(1, 1 / rows), "total": cupy.zeros(1), "status": cupy.zeros(1, np.int64)}
    ours = replay(lambda: ops.softmax_cross_entropy(z, numbers, out=dz, losses=empty(rows), **shared))
    loss = torch.nn.functional.cross_entropy
    fused = torch.compile(loss)
    peers = {
        "torch": lambda: torch.autograd.grad(loss(tz, labels), tz)[0],
        "torch.compile": lambda: torch.autograd.grad(fused(tz, labels), tz)[0],
    }
    name = f"softmax cross-entropy {rows}x{classes}"
    yield Figure(name, ours, 8 * rows * classes, peers=peers, compare=lambda: (dz, peers["torch"]()))


def product(n: int, k: int, m: int) -> Iterator[Figure]:
    """In float32, not in TF32."""
    (a, ta), (b, tb), c = draw(n, k), draw(k, m), empty(n, m)
    ours = replay(lambda: ops.matmul(a, b, out=c))
    peers = {"cuBLAS": lambda: ta @ tb}
    flops = 2.0 * n * k * m
    yield Figure(f"matmul {n}x{k}x{m}", ours, flops=flops, peers=peers, compare=lambda: (c, ta @ tb))


def weights_gradient(n: int, k: int, m: int) -> Iterator[Figure]:
    """Many rows, few weights."""
    (x, tx), (dy, tdy), dw = draw(n, k), draw(n, m), empty(k, m)
    buffers = {"out": dw, "out_bias": empty(m), "work": empty(ops.matmul_work_size(x, m))}
    ours = replay(lambda: ops.matmul_backward_weights(x, dy, **buffers))
    peers = {"cuBLAS": lambda: (tx.T @ tdy, tdy.sum(0))}
    flops = 2.0 * n * k * m
    yield Figure(f"weights' gradient {n}x{k}x{m}", ours, flops=flops, peers=peers, compare=lambda: (dw, tx.T @ tdy))


def train_step(batch: int) -> Iterator[Figure]:
    """784-512-512-10 with batch norm, ReLU, dropout and Adam: gather, forward, backward, update."""
    import torch

    rows, numbers = 60000, np.random.default_rng(0)
    x, y = numbers.standard_normal((rows, 784)).astype(np.float32), numbers.integers(0, 10, rows)
    ours: list[nn.Layer] = []
    theirs: list[Any] = []
    for inputs in (784, 512):
        ours += [nn.Linear(512, bias=False), nn.BatchNorm(activation="relu"), nn.Dropout(0.2)]
        theirs += [torch.nn.Linear(inputs, 512, bias=False), torch.nn.BatchNorm1d(512)]
        theirs += [torch.nn.ReLU(), torch.nn.Dropout(0.2)]
    net = nn.Sequential(*ours, nn.Linear(10))
    loss = fd.losses.SoftmaxCrossEntropy()
    step = fd.TrainStep(net, loss, fd.optim.Adam(1e-3), batch_size=batch, device="cuda")
    step.bind(x, y)

    model = torch.nn.Sequential(*theirs, torch.nn.Linear(512, 10)).cuda()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    tx, ty, order = torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda(), torch.arange(rows, device="cuda")

    def torch_step(model: Any) -> Call:
        def call() -> None:
            taken = order[:batch]
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(tx[taken]), ty[taken]).backward()
            optimizer.step()

        return call

    peers = {"torch": torch_step(model), "torch.compile": torch_step(torch.compile(model))}
    name = f"train step 784-512-512-10 batch {batch}"
    yield Figure(name, lambda: step.run(0, batch, wait=False), peers=peers)


GROUPS: list[Callable[[], Iterator[Figure]]] = [
    element_wise,
    update,
    lambda: batch_norm(8192, 4096),
    lambda: batch_norm(256, 64, 56, 56),
    lambda: cross_entropy(8192, 32768),
    lambda: product(4096, 4096, 4096),
    lambda: product(1024, 784, 512),
    lambda: product(8192, 1024, 1024),
    lambda: weights_gradient(65536, 784, 512),
    lambda: train_step(128),
    lambda: train_step(1024),
]


# ------------------------------------------------------------ measuring


def copy_bandwidth() -> float:
    """Bytes read and written a second, by a copy of a GiB from one place on the device to another."""
    import cupy

    source, target = (cupy.ones(1 << 28, np.float32) for _ in range(2))
    seconds = timed({"copy": lambda: target.data.copy_from_device_async(source.data, source.nbytes)})["copy"]
    return float(2 * source.nbytes / seconds)


def row(figure: Figure, bandwidth: float) -> dict[str, Any]:
    """What is found of a figure; of a peer that cannot run here, why."""
    import cupy

    found: dict[str, Any] = {"name": figure.name}
    figure.ours()
    if figure.compare:
        ours, theirs = figure.compare()
        theirs = cupy.asarray(theirs.detach())
        found["off"] = float(cupy.abs(ours - theirs).max() / cupy.abs(theirs).max())
    calls = {"ours": figure.ours}
    for name, peer in figure.peers.items():
        try:
            peer()
            calls[name] = peer
        except Exception as error:
            found[name] = f"not available: {type(error).__name__}: {str(error)[:200]}"
    seconds = timed(calls)
    found["microseconds"] = {name: value * 1e6 for name, value in seconds.items()}
    found["times as fast"] = {name: value / seconds["ours"] for name, value in seconds.items() if name != "ours"}
    if figure.bytes:
        found["of the floor"] = figure.bytes / bandwidth / seconds["ours"]
    if figure.flops:
        found["TFLOP/s"] = figure.flops / seconds["ours"] / 1e12
    return found


def measured() -> dict[str, Any]:
    """The machine's copy bandwidth, and every figure beside it."""
    import cupy
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    bandwidth, rows = copy_bandwidth(), []
    for group in GROUPS:
        try:
            rows += [row(figure, bandwidth) for figure in group()]
        except Exception as error:  # the others are worth having
            rows.append(
                {"name": getattr(group, "__name__", "figure"), "error": f"{type(error).__name__}: {error}"[:2000]}
            )
        cupy.get_default_memory_pool().free_all_blocks()
    return {"copy bandwidth": bandwidth, "rows": rows}
