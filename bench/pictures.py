"""A run as pictures: a roofline, and every row beside its peers, its variants or its floor."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastdl.bench.peers import PEERS
from fastdl.bench.table import in_bytes

SUFFIXES = (".png", ".svg", ".pdf")
LINE = 0.15  # inches of height for a row
LONGEST = 60  # letters of a row's name


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
    tiny = "; tiny shapes: that it runs, not how fast" if record.get("tiny") else ""
    return f"{where}; fastdl {found['fastdl']}, {record['date']}; medians{tiny}"


def draw(record: dict[str, Any], path: Path) -> None:
    """Write the pictures of a record, as `fastdl bench --json` makes it, into one file.

    Raises
    ------
    ValueError
        Where nothing was measured that could be drawn.
    """
    panels = _panels(record)
    if not panels:
        raise ValueError(f"--plot {path}: nothing was measured that could be drawn")
    pyplot = _pyplot()
    heights = [height for height, _ in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(11, sum(heights)), height_ratios=heights, layout="constrained", squeeze=False
    )
    for (_, draw_on), each in zip(panels, axes[:, 0], strict=True):
        draw_on(each)
    figure.suptitle(caption(record), fontsize=10)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _panels(record: dict[str, Any]) -> list[tuple[float, Callable[[Any], None]]]:
    """What there is to draw, each with its inches of height."""
    rows = record["rows"]
    libraries = [row for row in rows if any(name in PEERS for name in row["peers"])]
    variants = [row for row in rows if any(name not in PEERS for name in row["peers"])]
    floors = [] if libraries else [row for row in rows if "percent_of_floor" in row]
    panels: list[tuple[float, Callable[[Any], None]]] = []
    if any(row.get("flops") for row in rows):
        panels.append((5.0, partial(_roofline, record=record)))
    if libraries:
        told = "times as long as fastdl takes (left of the line: the library is faster)"
        panels.append((_height(libraries), partial(_ratios, rows=libraries, title="Beside other libraries", told=told)))
    if variants:
        told = "times as long as the row's own (left of the line: less)"
        panels.append((_height(variants), partial(_ratios, rows=variants, title="Side by side", told=told)))
    if floors:
        panels.append((_height(floors), partial(_floors, rows=floors)))
    if rows and not panels:
        panels.append((_height(rows), partial(_times, rows=rows)))
    return panels


def _height(rows: list[dict[str, Any]]) -> float:
    return 1.4 + LINE * len(rows)


def _label(row: dict[str, Any]) -> str:
    text = f"{row['op']} {row['variant']}".rstrip() + f"  {row['shape']}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 + 1 :]}"


def _colours(count: int) -> list[Any]:
    shades = _pyplot().get_cmap("viridis")
    return [shades(0.1 + 0.8 * n / max(1, count - 1)) for n in range(count)]


def _roofline(axes: Any, record: dict[str, Any]) -> None:
    """What each op computes in a second over what it computes with a byte, under the machine's ceilings."""
    ceilings = record["machine"]["ceilings"]
    rows = [row for row in record["rows"] if row.get("flops")]
    intensity = np.array([row["flops"] / row["bytes"] for row in rows])
    rate = np.array([row["flops"] / row["quartiles"][1] / 1e9 for row in rows])
    top = ceilings["product"]["value"] / 1e9
    left, right = min([0.05, *intensity]) / 2, max([100, *intensity]) * 2
    line = np.geomspace(left, right, 200)
    streams = {name: of for name, of in ceilings.items() if isinstance(of, dict) and name != "product"}
    for (name, of), style in zip(streams.items(), itertools.cycle(("-", "--", "-.", ":")), strict=False):
        for (size, found), colour in zip(of.items(), _colours(len(of)), strict=True):
            bandwidth = found["value"] / 1e9
            label = f"{name} of {in_bytes(int(size))}: {bandwidth:.0f} GB/s"
            axes.plot(line, np.minimum(top, bandwidth * line), style, color=colour, linewidth=1, label=label)
    axes.axhline(top, color="black", linewidth=0.8, linestyle=":", label=f"products: {top:.0f} GFLOP/s")
    for op, marker in zip(dict.fromkeys(row["folder"] for row in rows), "osDv^<>Pp*XhHd8" * 2, strict=False):
        of = [n for n, row in enumerate(rows) if row["folder"] == op]
        axes.plot(intensity[of], rate[of], marker, color="black", fillstyle="none", label=op.replace("_", " "))
    axes.set(xscale="log", yscale="log", xlim=(left, right), title="Roofline")
    axes.set(xlabel="arithmetic intensity, flops a byte moved", ylabel="GFLOP/s")
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.grid(alpha=0.3)


def _ratios(axes: Any, rows: list[dict[str, Any]], title: str, told: str) -> None:
    """A mark for everything that a row is beside, and at its right the figures, in the order of the legend."""
    others = list(dict.fromkeys(name for row in rows for name in row["peers"]))
    for name, colour, marker in zip(others, _colours(len(others)), itertools.cycle("osDv^<>P"), strict=False):
        at = [n for n, row in enumerate(rows) if name in row["peers"]]
        axes.plot([rows[n]["peers"][name] for n in at], at, marker, color=colour, markersize=5, label=name)
    axes.axvline(1, color="black", linewidth=0.8)
    ratios = [ratio for row in rows for ratio in row["peers"].values()]
    axes.set(xscale="log" if max(ratios) > 10 * min(ratios) else "linear", xlabel=told)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(others), frameon=False)
    axes.set_title(title, pad=24)
    figures = [
        "  ".join(f"{row['peers'][name]:.2f}" if name in row["peers"] else "–" for name in others) for row in rows
    ]
    _name(axes, rows, figures)


def _floors(axes: Any, rows: list[dict[str, Any]]) -> None:
    axes.barh(range(len(rows)), [row["percent_of_floor"] for row in rows], 0.7, color="steelblue")
    axes.axvline(100, color="black", linewidth=0.8)
    axes.set(xlabel="per cent of what the ceiling at the right allows (above 100: faster than was measured)")
    axes.set_title("Beside the machine's ceilings")
    _name(axes, rows, [f"{row['percent_of_floor']:.0f} %, {row['ceiling']}" for row in rows])


def _times(axes: Any, rows: list[dict[str, Any]]) -> None:
    seconds = [row["quartiles"][1] for row in rows]
    axes.barh(range(len(rows)), seconds, 0.7, color="steelblue")
    axes.set(xlabel="seconds", title="Times")
    _name(axes, rows, [f"{each:.3g} s" for each in seconds])


def _name(axes: Any, rows: list[dict[str, Any]], figures: list[str]) -> None:
    """What each row is at the left, its figures at the right, where no mark lies on them."""
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(alpha=0.3)
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks(range(len(rows)), figures, fontsize=7)
    right.tick_params(length=0)
