"""What was measured, as a row of the final table and of pytest-benchmark's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastdl.bench.ceilings import Ceilings, Cost
from fastdl.bench.harness import Quartiles


@dataclass(frozen=True)
class Row:
    """One variant of an op at one shape."""

    op: str
    variant: str
    shape: str
    seconds: Quartiles
    cost: Cost
    floor: float
    """Seconds."""
    eager: float
    """Seconds that a call of the op takes beyond its recorded launch."""
    preemptions: int
    """How often other work took a core while this was measured, all variants together."""
    peers: dict[str, float | str]
    """How many times as long each takes, or why that is not known."""

    @property
    def rate(self) -> tuple[float, str]:
        """What is done in a second."""
        done, unit = (self.cost.flops, "GFLOP/s") if self.cost.flops else (self.cost.moved, "GB/s")
        return done / self.seconds.median / 1e9, unit

    @property
    def percent_of_floor(self) -> float:
        """100 is as fast as can be."""
        return 100 * self.floor / self.seconds.median

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        rate, unit = self.rate
        return {
            "op": self.op,
            "variant": self.variant,
            "shape": self.shape,
            "quartiles": self.seconds,
            unit: rate,
            "floor": self.floor,
            "percent_of_floor": self.percent_of_floor,
            "eager_overhead": self.eager,
            "preemptions": self.preemptions,
            "peers": self.peers,
        }

    def cells(self, peers: tuple[str, ...]) -> list[str]:
        """For people."""
        rate, unit = self.rate
        low, median, high = (f"{1e6 * seconds:,.{1 if seconds < 1e-4 else 0}f}" for seconds in self.seconds)
        return [
            f"{self.op} {self.variant}".rstrip(),
            self.shape,
            median,
            f"{low} .. {high}",
            f"{rate:.3g} {unit}",
            f"{self.percent_of_floor:.0f}",
            f"{1e6 * self.eager:+.1f}",
            str(self.preemptions),
            *(_ratio(self.peers.get(peer, "")) for peer in peers),
        ]


def _ratio(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}x"


def lines(rows: list[Row], peers: tuple[str, ...]) -> list[str]:
    """The table."""
    head = ["op", "shape", "median us", "quartiles us", "rate", "% of floor", "eager +us", "preempted", *peers]
    cells = [head, *(row.cells(peers) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(_padded(at, cell, width) for at, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]


def _padded(column: int, cell: str, width: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)


def machine_lines(found: dict[str, Any]) -> list[str]:
    """What was measured on, for people."""
    libraries = (f"{b['api']} {b['version']} on {b['threads']} threads, {b['core']} kernels" for b in found["blas"])
    settings = (f"{name}={value}" for name, value in found["settings"].items())
    load = found["load"]
    return [
        f"machine: {found['processor']}, {found['cores']} cores, "
        + (f"load {load:.2f} at the start" if load is not None else "load unknown"),
        f"BLAS: {'; '.join(libraries)}",
        f"settings: {' '.join(settings) or 'none'}",
    ]


def ceiling_lines(ceilings: Ceilings) -> list[str]:
    """The ceilings for people."""
    product = ceilings.product
    found = [f"ceiling of products: {product.value / 1e9:.3g} GFLOP/s ({product.by})"]
    for name in ("copy", "triad"):
        rates = getattr(ceilings, name).items()
        text = ", ".join(f"{rate.value / 1e9:.3g} at {size / 2**20:.3g} MiB ({rate.by})" for size, rate in rates)
        found.append(f"ceiling of {name}: GB/s {text}")
    return found
