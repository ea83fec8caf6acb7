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

    @property
    def moved(self) -> float:
        """Bytes read and written."""
        return self.read + self.written

    def __add__(self, other: Cost) -> Cost:
        """Of one after the other."""
        return Cost(self.flops + other.flops, self.read + other.read, self.written + other.written)


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


@dataclass(frozen=True)
class Ceilings:
    """This machine's, with all threads, or a GPU's."""

    product: Rate
    """float32 matrix product."""
    copy: dict[int, Rate]
    """As many bytes read as written, by how many are moved at all."""
    triad: dict[int, Rate]
    """Twice as many bytes read as written."""

    def floor(self, cost: Cost) -> Floor:
        """What an op of this cost takes at least."""
        name = "copy" if cost.read < 1.5 * cost.written else "triad"  # the mix that is more like it
        streams: dict[int, Rate] = getattr(self, name)
        size = min(streams, key=lambda size: abs(math.log(size / max(cost.moved, 1))))
        moving, computing = cost.moved / streams[size].value, cost.flops / self.product.value
        if computing > moving:
            return Floor(computing, "products")
        return Floor(moving, f"{name} {size / 2**20:.3g} MiB")


def measure_ceilings(shape: shapes.Ceiling, plan: Plan, device: str = "cpu") -> Ceilings:
    """Measure them all; streams first, while no BLAS has woken its threads."""
    briefly = dataclasses.replace(plan, seconds=plan.seconds / 2, pause=0)  # many variants, of one pool
    sizes = [*shape.cached, round(shape.last_caches * machine.last_cache(device))]
    if device == "cuda":
        from fastdl.bench import ceilings_cuda as ways
    else:
        from fastdl.bench import ceilings_cpu as ways
    copy = {size: _best(size, ways.copies(size), briefly) for size in sizes}
    triad = {size: _best(size, ways.triads(size), briefly) for size in sizes}
    with machine.all_blas_threads():
        product = _best(2 * shape.side**3, ways.products(shape.side), plan)
    return Ceilings(product, copy, triad)


def _best(amount: float, variants: dict[str, Variant], plan: Plan) -> Rate:
    """The highest rate of all calls of all variants: a ceiling is what was reached once."""
    seconds = {name: min(taken) for name, taken in measure(variants, plan).items()}
    fastest = min(seconds, key=lambda name: seconds[name])
    return Rate(amount / seconds[fastest], fastest)
