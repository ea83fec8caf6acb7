"""What was measured: rows, as a table for people and as plain values for a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastdl.bench.ceilings import Ceilings, Cost, Floor, in_bytes
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
            "" if self.eager is None or self.eager < 0 else f"{1e6 * self.eager:+.1f}",  # below 0 it is noise
            str(self.preemptions),
            *(beside.get(peer, "") for peer in peers),
        ]


def microseconds(seconds: float) -> str:
    """With a decimal where there is need of one."""
    return f"{1e6 * seconds:,.{1 if seconds < 1e-4 else 0}f}"


HEAD = ("op", "shape", "median us", "quartiles us", "rate", "% of floor", "ceiling", "eager +us", "preempted")
LEFT = (0, 1, 6)  # columns that are text


# What the columns mean, by their titles.
NOTES = {
    "median us": "median us, quartiles us: of single calls, in microseconds",
    "rate": "rate: what the call does in a second, of what its ceiling limits: operations, or bytes moved",
    "% of floor": (
        "% of floor: the least time by the ceilings above, over the median; above 100 it was faster than the floor that"
        " was measured, as where a nearer cache held the arrays"
    ),
    "ceiling": "ceiling: what sets that floor: the rate of products, or of a stream of this kind that moves so much",
    "eager +us": "eager +us: what a call of the op takes beyond its recorded launch; blank where noise hides it",
    "preempted": "preempted: how often other work took a core while the row was measured",
}


def notes(rows: Sequence[Row]) -> list[str]:
    """What the columns of these rows' table mean."""
    used = {HEAD[at] for at in _used([HEAD, *(row.cells(()) for row in rows)])} if rows else set()
    found = [note for title, note in NOTES.items() if title in used]
    peers = list(dict.fromkeys(name for row in rows for name in (*row.others, *row.refused)))
    if peers:
        found.append(f"{', '.join(peers)}: its median over the row's own; above 1, the row's is the faster")
    return found


def _used(cells: Sequence[Sequence[str]]) -> list[int]:
    """The columns that a row fills."""
    return [at for at, column in enumerate(zip(*cells, strict=True)) if at == 0 or any(column[1:])]


def lines(rows: Sequence[Row], *, tiny: bool = False) -> list[str]:
    """The table; columns that no row fills are left out."""
    peers = list(dict.fromkeys(peer for row in rows for peer in (*row.others, *row.refused)))
    cells = [[*HEAD, *peers], *(row.cells(peers, tiny=tiny) for row in rows)]
    columns = list(zip(*cells, strict=True))
    used = _used(cells)
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
    streams = {name: rates for name, rates in vars(ceilings).items() if isinstance(rates, dict)}
    for name, rates in streams.items():
        text = ", ".join(f"{rate.value / 1e9:.3g} at {in_bytes(size)} ({rate.by})" for size, rate in rates.items())
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
