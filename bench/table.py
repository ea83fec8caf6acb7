"""What was measured: rows, as a table for people and as plain values for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastdl.bench.ceilings import Ceilings, Cost, Floor
from fastdl.bench.harness import Quartiles


@dataclass(frozen=True)
class Row:
    """One variant of an op at one shape."""

    folder: str
    """The module that measured it."""
    op: str
    variant: str
    shape: str
    seconds: Quartiles
    cost: Cost
    floor: Floor | None
    """None where the work has no cost that could be stated."""
    eager: float | None
    """Seconds that a call of the op takes beyond its recorded launch."""
    preemptions: int
    """How often other work took a core while this was measured, all variants together."""
    others: dict[str, Quartiles] = field(default_factory=dict)
    """Seconds of what it is compared with: other libraries, or the other variants of work side by side."""
    refused: dict[str, str] = field(default_factory=dict)
    """Other libraries that were not timed, in a word: their result differs, or their process ended."""

    @property
    def peers(self) -> dict[str, float]:
        """How many times as long each of the others takes."""
        return {name: seconds.median / self.seconds.median for name, seconds in self.others.items()}

    @property
    def name(self) -> str:
        """Op and variant."""
        return f"{self.op} {self.variant}".strip()

    @property
    def rate(self) -> tuple[float, str] | None:
        """What is done in a second, of that which bounds the op."""
        if self.floor is None:
            return None
        done, unit = (self.cost.flops, "GFLOP/s") if self.floor.by == "products" else (self.cost.moved, "GB/s")
        return done / self.seconds.median / 1e9, unit

    @property
    def percent_of_floor(self) -> float | None:
        """100 is as fast as can be."""
        return 100 * self.floor.seconds / self.seconds.median if self.floor else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {
            "folder": self.folder,
            "op": self.op,
            "variant": self.variant,
            "shape": self.shape,
            "quartiles": list(self.seconds),
            "preemptions": self.preemptions,
            "peers": self.peers,
            "peer_quartiles": {name: list(seconds) for name, seconds in self.others.items()},
        }
        if self.floor and self.rate:
            rate, unit = self.rate
            found |= {unit: rate, "floor": self.floor.seconds, "ceiling": self.floor.by}
            found |= {"percent_of_floor": self.percent_of_floor, "flops": self.cost.flops, "bytes": self.cost.moved}
        found |= {"refused": self.refused} if self.refused else {}
        return found | ({} if self.eager is None else {"eager_overhead": self.eager})

    def cells(self, peers: Sequence[str], *, tiny: bool = False) -> list[str]:
        """For people; of tiny shapes only that another library ran, since how fast means nothing."""
        beside = self.refused | {name: "ran" if tiny else f"{ratio:.2f}x" for name, ratio in self.peers.items()}
        low, median, high = map(microseconds, self.seconds)
        rate, percent = self.rate, self.percent_of_floor
        return [
            self.name,
            self.shape,
            median,
            f"{low} .. {high}",
            f"{rate[0]:.3g} {rate[1]}" if rate else "",
            f"{percent:.0f}" if percent else "",
            self.floor.by if self.floor else "",
            "" if self.eager is None else f"{1e6 * self.eager:+.1f}",
            str(self.preemptions),
            *(beside.get(peer, "") for peer in peers),
        ]


def microseconds(seconds: float) -> str:
    """With a decimal where there is need of one."""
    return f"{1e6 * seconds:,.{1 if seconds < 1e-4 else 0}f}"


HEAD = ("op", "shape", "median us", "quartiles us", "rate", "% of floor", "which is", "eager +us", "preempted")
LEFT = (0, 1, 6)  # columns that are text


def lines(rows: Sequence[Row], *, tiny: bool = False) -> list[str]:
    """The table; columns that no row fills are left out."""
    peers = list(dict.fromkeys(peer for row in rows for peer in (*row.others, *row.refused)))
    cells = [[*HEAD, *peers], *(row.cells(peers, tiny=tiny) for row in rows)]
    columns = list(zip(*cells, strict=True))
    used = [at for at, column in enumerate(columns) if at == 0 or any(column[1:])]
    widths = {at: max(map(len, columns[at])) for at in used}
    return ["  ".join(_padded(at, row[at], widths[at]) for at in used).rstrip() for row in cells]


def _padded(column: int, cell: str, width: int) -> str:
    return cell.ljust(width) if column in LEFT else cell.rjust(width)


def machine_lines(found: dict[str, Any]) -> list[str]:
    """What was measured on, for people."""
    libraries = (f"{b['api']} {b['version']} on {b['threads']} threads, {b['core']} kernels" for b in found["blas"])
    settings = (f"{name}={value}" for name, value in found["settings"].items())
    load = found["load"]
    return [
        f"machine: {found['processor']}, {found['cores']} cores, "
        + (f"load {load:.2f} at the start" if load is not None else "load unknown"),
        *([f"GPU: {found['gpu']['name']}"] if "gpu" in found else []),
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


def peer_lines(peers: dict[str, Any]) -> list[str]:
    """The other libraries for people: by name what each says of itself, {} if it was not asked, or why it cannot be."""
    there, missing = [], dict[str, list[str]]()
    for name, about in peers.items():
        if isinstance(about, str):
            missing.setdefault(about, []).append(name)
        elif name != "torch.compile":  # which is of the same version
            there.append(f"{name} {about['version']}" if about else f"{name} (not asked)")
    found = [", ".join(there) or "none", *(f"{why}: {', '.join(names)}" for why, names in missing.items())]
    return [f"peers: {'; '.join(found)}"] if peers else []
