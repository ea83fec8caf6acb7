"""What is measured at which size; every shape of the benchmarks stands here, and nowhere else."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from itertools import chain


@dataclass(frozen=True)
class Shape:
    """A set of sizes, written like 128x512."""

    def __str__(self) -> str:
        return "x".join(map(str, chain.from_iterable(n if isinstance(n, tuple) else (n,) for n in astuple(self))))


@dataclass(frozen=True)
class Ceiling(Shape):
    """What this machine's ceilings are measured with."""

    side: int
    """Of square matrices that are multiplied."""
    cached: tuple[int, ...]
    """Bytes that streams move where caches hold them."""
    last_caches: float
    """How many times the last cache a stream moves where none does."""


@dataclass(frozen=True)
class Matmul(Shape):
    rows: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class BatchNorm(Shape):
    rows: int
    channels: int
    pixels: tuple[int, ...] = ()
    """Of images, by axis."""

    @property
    def x(self) -> tuple[int, ...]:
        return self.rows, self.channels, *self.pixels


@dataclass(frozen=True)
class Loss(Shape):
    rows: int
    columns: int


@dataclass(frozen=True)
class Norm(Shape):
    elements: int


@dataclass(frozen=True)
class Activation(Shape):
    elements: int


@dataclass(frozen=True)
class Dropout(Shape):
    elements: int


@dataclass(frozen=True)
class CrossEntropy(Shape):
    rows: int
    classes: int


@dataclass(frozen=True)
class Gather(Shape):
    rows: int
    columns: int
    data_rows: int


@dataclass(frozen=True)
class Update(Shape):
    parameters: int


@dataclass(frozen=True)
class Network(Shape):
    """Linear layers with ReLU, trained by Adam; with batch norm also dropout at `rate`, and no bias before it."""

    widths: tuple[int, ...]
    batch: int
    data_rows: int
    batch_norm: bool
    rate: float = 0.0

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.widths))} batch {self.batch}"


RATE = 0.2  # of dropout

CEILING = Ceiling(side=2048, cached=(1 << 18, 1 << 21, 1 << 24), last_caches=6)
TINY_CEILING = Ceiling(side=64, cached=(1 << 12,), last_caches=0.001)

# The first of an op is what a training step does, the last lies beyond the caches.
SHAPES: dict[str, tuple[Shape, ...]] = {
    "matmul": (Matmul(32, 64, 128), Matmul(128, 784, 512), Matmul(1024, 784, 512)),
    "batch_norm": (
        BatchNorm(128, 512),
        BatchNorm(256, 512),
        BatchNorm(1024, 512),
        BatchNorm(8192, 1024),
        BatchNorm(65536, 512),
        BatchNorm(32, 64, (56, 56)),
    ),
    "add": (Activation(1 << 16), Activation(1 << 25)),
    "activation": (Activation(1 << 16), Activation(1 << 25)),
    "dropout": (Dropout(1 << 16), Dropout(1_000_000), Dropout(1 << 25)),
    "losses": (Loss(256, 10), Loss(4096, 1000)),
    "norm": (Norm(100_000), Norm(20_000_000)),
    "softmax_cross_entropy": (CrossEntropy(256, 10), CrossEntropy(1024, 1000), CrossEntropy(4096, 1000)),
    "gather": (Gather(128, 784, 60_000), Gather(60_000, 784, 60_000)),
    "updates": (Update(100_000), Update(1_000_000), Update(10_000_000), Update(50_000_000)),
    "train_step": (
        Network((64, 128, 10), batch=32, data_rows=4096, batch_norm=False),
        Network((784, 512, 512, 10), batch=128, data_rows=4096, batch_norm=True, rate=RATE),
    ),
}

TINY_SHAPES: dict[str, tuple[Shape, ...]] = {
    "matmul": (Matmul(5, 7, 33),),
    "batch_norm": (BatchNorm(6, 33), BatchNorm(3, 5, (4, 3))),
    "add": (Activation(1000),),
    "activation": (Activation(1000),),
    "dropout": (Dropout(20_000),),
    "softmax_cross_entropy": (CrossEntropy(5, 10),),
    "losses": (Loss(5, 3),),
    "norm": (Norm(1000),),
    "gather": (Gather(3, 7, 20),),
    "updates": (Update(1000),),
    "train_step": (
        Network((6, 5, 3), batch=4, data_rows=12, batch_norm=False),
        Network((6, 5, 5, 3), batch=4, data_rows=12, batch_norm=True, rate=RATE),
    ),
}
