"""What is measured at which size; every shape of the benchmarks stands here, and nowhere else."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from itertools import chain, groupby


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
class Elements(Shape):
    elements: int


@dataclass(frozen=True)
class Dropout(Shape):
    elements: int


@dataclass(frozen=True)
class Softmax(Shape):
    rows: int
    classes: int


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
class Images(Shape):
    images: int
    side: int


@dataclass(frozen=True)
class Update(Shape):
    parameters: int


def in_short(widths: tuple[int, ...]) -> str:
    """Widths, written like 784-512-10, or 256 (9 times)-10 where four or more in a row are the same."""
    runs = ((width, len(list(run))) for width, run in groupby(widths))
    return "-".join(
        f"{width} ({count} times)" if count > 3 else "-".join([str(width)] * count) for width, count in runs
    )


@dataclass(frozen=True)
class Network(Shape):
    """Linear layers with ReLU, trained by Adam; no bias before a batch norm; dropout at `rate` after ReLU."""

    widths: tuple[int, ...]
    batch: int
    data_rows: int = 4096
    batch_norm: bool = False
    rate: float = 0.0

    def __str__(self) -> str:
        without = ", no dropout" if self.batch_norm and not self.rate else ""
        return f"{in_short(self.widths)} batch {self.batch}{without}"


@dataclass(frozen=True)
class Prediction(Network):
    """The same network, which predicts."""

    def __str__(self) -> str:
        return f"{in_short(self.widths)} batch {self.batch}"


@dataclass(frozen=True)
class Mixture(Shape):
    """Steps of the large network with another library's work between them, in one process."""

    other: str
    batch: int = 128

    def __str__(self) -> str:
        return f"with {self.other}"


@dataclass(frozen=True)
class Processes(Shape):
    """So many processes that each train the large network, all at once."""

    count: int
    steps: int
    batch: int = 128

    def __str__(self) -> str:
        return f"{self.count} processes, {self.steps} steps each"


@dataclass(frozen=True)
class Start(Shape):
    """A process's first step of the large network, from the start of Python."""

    batch: int = 64

    def __str__(self) -> str:
        return f"{'-'.join(map(str, LARGE))} batch {self.batch}"


RATE = 0.2  # of dropout

SMALL, LARGE = (64, 128, 10), (784, 512, 512, 10)  # networks
LARGE_BATCHES = 64, 128, 256, 1024


def _large(batch: int, rate: float = RATE) -> Network:
    return Network(LARGE, batch, batch_norm=True, rate=rate)


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
    "add": (Elements(1 << 16), Elements(1 << 25)),
    "clip": (Elements(1 << 16), Elements(1 << 25)),
    "activation": (Elements(1 << 16), Elements(1 << 25)),
    "dropout": (Dropout(1 << 16), Dropout(1_000_000), Dropout(1 << 25)),
    "losses": (Loss(256, 10), Loss(4096, 1000)),
    "norm": (Norm(100_000), Norm(20_000_000)),
    "softmax": (Softmax(256, 10), Softmax(65536, 512)),
    "softmax_cross_entropy": (
        CrossEntropy(256, 10),
        CrossEntropy(1024, 1000),
        CrossEntropy(4096, 1000),
        CrossEntropy(65536, 512),
    ),
    "gather": (Gather(128, 784, 60_000), Gather(60_000, 784, 60_000)),
    "updates": (Update(100_000), Update(1_000_000), Update(10_000_000), Update(50_000_000)),
    "step": (Network(SMALL, 32), *map(_large, LARGE_BATCHES), _large(128, rate=0.0)),
    "predict": tuple(Prediction(LARGE, batch, batch_norm=True, rate=RATE) for batch in (1, 32, 1024)),
    "augment": (Images(128, 28), Images(1024, 28)),
    "mix": tuple(Mixture(other) for other in ("NumPy", "PyTorch", "scikit-learn")),
    "processes": (Processes(4, 500),),
    "start": (Start(),),
    "growth": (
        *(Network((784, 512, 10), batch) for batch in (8, 16, 32, 64, 128, 256, 512, 1024, 2048)),
        *(Network((256, width, width, 10), 128) for width in (16, 32, 64, 128, 256, 512, 1024, 2048)),
        *(Network((256, *[256] * depth, 10), 128) for depth in (1, 4, 8, 16)),  # 2 is among the widths
    ),
}

# Far beyond a GPU's last cache, but for the steps.
CUDA_SHAPES: dict[str, tuple[Shape, ...]] = {
    "matmul": (Matmul(1024, 784, 512), Matmul(8192, 1024, 1024), Matmul(4096, 4096, 4096), Matmul(65536, 784, 512)),
    "batch_norm": (BatchNorm(8192, 4096), BatchNorm(256, 64, (56, 56))),
    "add": (Elements(1 << 26),),
    "clip": (Elements(1 << 26),),
    "activation": (Elements(1 << 26),),
    "dropout": (Dropout(1 << 26),),
    "losses": (Loss(8192, 8192),),
    "norm": (Norm(1 << 26),),
    "softmax": (Softmax(8192, 8192),),
    "softmax_cross_entropy": (CrossEntropy(8192, 32768), CrossEntropy(1_000_000, 10)),
    "gather": (Gather(60_000, 784, 60_000),),
    "updates": (Update(1 << 26),),
    "step": (_large(128), _large(1024)),
    "predict": (Prediction(LARGE, 1024, batch_norm=True, rate=RATE),),
}

TINY_SHAPES: dict[str, tuple[Shape, ...]] = {
    "matmul": (Matmul(5, 7, 33),),
    "batch_norm": (BatchNorm(6, 33), BatchNorm(3, 5, (4, 3))),
    "add": (Elements(1000),),
    "clip": (Elements(1000),),
    "activation": (Elements(1000),),
    "dropout": (Dropout(20_000),),
    "losses": (Loss(5, 3),),
    "norm": (Norm(1000),),
    "softmax": (Softmax(5, 10),),
    "softmax_cross_entropy": (CrossEntropy(5, 10),),
    "gather": (Gather(3, 7, 20),),
    "updates": (Update(1000),),
    "step": (Network((6, 5, 3), 4, 12), Network((6, 5, 5, 3), 4, 12, batch_norm=True, rate=RATE)),
    "predict": (Prediction((6, 5, 5, 3), 4, 12, batch_norm=True, rate=RATE),),
    "augment": (Images(5, 6),),
    "mix": (Mixture("NumPy", 4),),
    "processes": (Processes(2, 2, 4),),
    "start": (),  # it compiles everything, whatever the size
    "growth": (Network((6, 5, 3), 4, 12),),
}


APART = ("augment", "mix", "processes", "start", "growth")  # not among "all": they say nothing of an op, and take long


def of(name: str, device: str, tiny: bool) -> tuple[Shape, ...]:
    """The shapes at which this is measured."""
    return (TINY_SHAPES if tiny else CUDA_SHAPES if device == "cuda" else SHAPES).get(name, ())


def ceiling(device: str, tiny: bool) -> Ceiling:
    """What a device's ceilings are measured with."""
    if tiny:
        return Ceiling(side=64, cached=(1 << 12,), last_caches=0.001)
    if device == "cuda":
        return Ceiling(side=8192, cached=(1 << 22, 1 << 24), last_caches=16)
    return Ceiling(side=2048, cached=(1 << 18, 1 << 21, 1 << 24), last_caches=6)
