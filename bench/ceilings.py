"""What this machine can do at most, measured in the run that compares with it.

The floor of an op is the time that it cannot undercut: its arithmetic at BLAS's rate, or its
traffic at the memory's, whichever takes longer. Arrays that a cache holds move several times as
fast as those in memory, so bandwidth is measured at several sizes.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

from fastdl.bench import machine, shapes
from fastdl.bench.harness import Plan, Variant, measure


@dataclass(frozen=True)
class Cost:
    """What an op must compute and move, with every pass over its arrays that it cannot do without.

    Flops are those of the definition: an operation or a function, exp say, counts as one, so that they
    bound products alone.
    """

    flops: float = 0
    read: float = 0
    """Bytes."""
    written: float = 0
    """Bytes."""
    in_place: bool = False
    """Whether what is written was read before, so that its lines need not be fetched to be written to."""

    @property
    def moved(self) -> float:
        """Bytes read and written."""
        return self.read + self.written

    def __add__(self, other: Cost) -> Cost:
        """Of one after the other."""
        done = self.flops + other.flops, self.read + other.read, self.written + other.written
        return Cost(*done, self.in_place and other.in_place)


@dataclass(frozen=True)
class Rate:
    """The best that was reached."""

    value: float
    """Flops or bytes in a second."""
    by: str


class Floor(NamedTuple):
    """The least time, and the ceiling that it comes from."""

    seconds: float
    by: str


def in_bytes(size: int) -> str:
    """In MiB, or KiB where that is less than one."""
    return f"{size / 2**20:.3g} MiB" if size >= 1 << 20 else f"{size / 2**10:.3g} KiB"


@dataclass(frozen=True)
class Ceilings:
    """This machine's, with all threads, or a GPU's."""

    product: Rate
    """float32 matrix product."""
    copy: dict[int, Rate]
    """As many bytes read as written, by how many are moved at all."""
    triad: dict[int, Rate]
    """Twice as many bytes read as written."""
    scale: dict[int, Rate]
    """As many bytes read as written, in place."""
    update: dict[int, Rate]
    """Twice as many bytes read as written, in place."""
    last_cache: int
    """Bytes; what moves more is held against the largest of a stream's sizes."""

    def floor(self, cost: Cost) -> Floor:
        """What an op of this cost takes at least."""
        # The mix that is more like it.
        few, many = ("scale", "update") if cost.in_place else ("copy", "triad")
        name = few if cost.read < 1.5 * cost.written else many
        streams: dict[int, Rate] = getattr(self, name)
        size = max(streams)
        if cost.moved <= self.last_cache:
            within = [each for each in streams if each <= self.last_cache] or [size]
            size = min(within, key=lambda size: abs(math.log(size / max(cost.moved, 1))))
        moving, computing = cost.moved / streams[size].value, cost.flops / self.product.value
        if computing > moving:
            return Floor(computing, "products")
        return Floor(moving, f"{name} {in_bytes(size)}")


def measure_ceilings(shape: shapes.Ceiling, plan: Plan, device: str = "cpu") -> Ceilings:
    """Measure them all; streams first, while no BLAS has woken its threads."""
    briefly = dataclasses.replace(plan, seconds=plan.seconds / 2, pause=0)  # many variants, of one pool
    last_cache = machine.last_cache(device)
    sizes = [*shape.cached, round(shape.last_caches * last_cache)]
    if device == "cuda":
        from fastdl.bench import ceilings_cuda as ways
    else:
        from fastdl.bench import ceilings_cpu as ways
    streams = [
        {size: _best(size, make(size), briefly) for size in sizes}
        for make in (ways.copies, ways.triads, ways.scales, ways.updates)
    ]
    with machine.all_blas_threads():
        product = _best(2 * shape.side**3, ways.products(shape.side), plan)
    return Ceilings(product, *streams, last_cache)


def _best(amount: float, variants: dict[str, Variant], plan: Plan) -> Rate:
    """The highest rate of all calls of all variants: a ceiling is what was reached once."""
    seconds = {name: min(taken) for name, taken in measure(variants, plan).items()}
    fastest = min(seconds, key=lambda name: seconds[name])
    return Rate(amount / seconds[fastest], fastest)
