"""A run as pictures: a roofline, and bars of every row beside its floor or its peers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".png", ".svg", ".pdf")
BAR = 0.15  # inches of height for a bar
GAP = 0.5  # bars between two rows


def check(path: Path) -> None:
    """Raise before anything is measured unless a picture can be drawn there."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--plot {path}: wanted a name that ends in {', '.join(SUFFIXES)}")
    _pyplot()


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise RuntimeError("pictures need matplotlib; install the extra: pip install '.[plot]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def caption(record: dict[str, Any]) -> str:
    """What it was measured on, and when."""
    found = record["machine"]
    where = found["gpu"]["name"] if "gpu" in found else f"{found['processor']}, {found['cores']} cores"
    return f"{where}; fastdl {found['fastdl']}, {record['date']}; medians"


def draw(record: dict[str, Any], path: Path) -> None:
    """Write the pictures of a record, as `fastdl bench --json` makes it, into one file."""
    pyplot = _pyplot()
    rows = record["rows"]
    peers = list(dict.fromkeys(peer for row in rows for peer in row["peers"]))
    shown = [row for row in rows if row["peers"]] if peers else [row for row in rows if "floor" in row]
    bars = BAR * (sum(max(1, len(row["peers"])) + GAP for row in shown) + 8)
    figure, (roof, bar) = pyplot.subplots(2, 1, figsize=(10, 6 + bars), height_ratios=(6, bars), layout="constrained")
    _roofline(roof, record, pyplot.get_cmap("viridis"))
    if peers:
        _peers(bar, shown, peers, pyplot.get_cmap("viridis"))
    else:
        _floors(bar, shown)
    figure.suptitle(caption(record), fontsize=10)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _label(row: dict[str, Any]) -> str:
    return f"{row['op']} {row['variant']}".rstrip() + f"  {row['shape']}"


def _roofline(axes: Any, record: dict[str, Any], colours: Any) -> None:
    """What each op computes in a second over what it computes with a byte, under the machine's ceilings."""
    ceilings = record["machine"]["ceilings"]
    rows = [row for row in record["rows"] if row.get("flops")]
    intensity = np.array([row["flops"] / row["bytes"] for row in rows])
    rate = np.array([row["flops"] / row["quartiles"][1] / 1e9 for row in rows])
    top = ceilings["product"]["value"] / 1e9
    left, right = min([0.05, *intensity]) / 2, max([100, *intensity]) * 2
    line = np.geomspace(left, right, 200)
    streams = sorted((int(size), found["value"] / 1e9) for size, found in ceilings["copy"].items())
    for n, (size, bandwidth) in enumerate(streams):
        colour = colours(0.15 + 0.7 * n / max(1, len(streams) - 1))
        label = f"copy of {size / 2**20:.3g} MiB: {bandwidth:.0f} GB/s"
        axes.plot(line, np.minimum(top, bandwidth * line), color=colour, label=label)
    axes.axhline(top, color="black", linewidth=0.8, linestyle=":", label=f"products: {top:.0f} GFLOP/s")
    for op, marker in zip(dict.fromkeys(row["folder"] for row in rows), "osDv^<>Pp*XhHd8" * 2, strict=False):
        of = [n for n, row in enumerate(rows) if row["folder"] == op]
        axes.plot(intensity[of], rate[of], marker, color="black", fillstyle="none", label=op.replace("_", " "))
    axes.set(xscale="log", yscale="log", xlim=(left, right), title="Roofline")
    axes.set(xlabel="arithmetic intensity, flops a byte moved", ylabel="GFLOP/s")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.grid(alpha=0.3)


def _peers(axes: Any, rows: list[dict[str, Any]], peers: list[str], colours: Any) -> None:
    """A bar for every peer that a row has, the rows below one another."""
    colour = {peer: colours(0.1 + 0.8 * n / max(1, len(peers) - 1)) for n, peer in enumerate(peers)}
    at, middles = 0.0, []
    for row in rows:
        for n, (peer, ratio) in enumerate(row["peers"].items()):
            drawn = axes.barh(at + n, ratio - 1, 0.9, left=1, color=colour[peer])
            axes.bar_label(drawn, [f"{ratio:.2f}"], padding=2, fontsize=7)
        middles.append(at + (len(row["peers"]) - 1) / 2)
        at += len(row["peers"]) + GAP
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="times as long as fastdl takes (left of the line: the peer is faster)")
    axes.set_title("Beside other libraries")
    _name(axes, rows, middles)
    from matplotlib.patches import Patch

    axes.legend(handles=[Patch(color=colour[peer], label=peer) for peer in peers], fontsize=8)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12)


def _floors(axes: Any, rows: list[dict[str, Any]]) -> None:
    places = [at * (1 + GAP) for at in range(len(rows))]
    drawn = axes.barh(places, [row["percent_of_floor"] for row in rows], 0.9, color="steelblue")
    axes.bar_label(drawn, [f"{row['percent_of_floor']:.0f} %, {row['ceiling']}" for row in rows], padding=2, fontsize=7)
    axes.axvline(100, color="black", linewidth=0.8)
    axes.set(xlabel="per cent of what the named ceiling allows", title="Beside the machine's ceilings")
    _name(axes, rows, places)
    axes.margins(x=0.25)


def _name(axes: Any, rows: list[dict[str, Any]], places: list[float]) -> None:
    axes.set_yticks(places, [_label(row) for row in rows], fontsize=8)
    axes.set_ylim((places[-1] if places else 0) + 3, -3)
    axes.grid(axis="x", alpha=0.3)
