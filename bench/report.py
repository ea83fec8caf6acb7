"""Tables of README.md, kernels/README.md and docs/, made from the tree and from the records in bench/results/.

fastdl bench all --peers --json bench/results/MACHINE.json   # make a record
python -m fastdl.bench.report                                # write the tables anew
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
RESULTS = Path(__file__).resolve().parent / "results"
PAGES = (KERNELS / "README.md", KERNELS.parent / "README.md", KERNELS.parent / "docs" / "performance.md")
APART = ("step", "predict", "augment", "mix", "processes", "start", "growth")  # no ops: docs/performance.md has them
DTYPES = {"gather": "any number of 8 to 64 bits but float16", "philox": "32-bit words"}  # others: float32, float64
BACKENDS = {"NumPy": "reference.py", "Numba": "cpu.py", "CUDA": "cuda.cu*"}


def records() -> list[dict[str, Any]]:
    """All records that are kept, by name."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def functions(source: Path) -> list[str]:
    """Public names that a reference defines, aliases included."""
    found = []
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in found if not name.startswith("_")]


def catalogue() -> str:
    """A row for every op folder: what it is, its kernels, and which files are there."""
    lines = [f"| op | what | kernels | {' | '.join(BACKENDS)} | dtypes |", "| --- " * (4 + len(BACKENDS)) + "|"]
    for reference in sorted(KERNELS.glob("*/reference.py")):
        folder = reference.parent
        what = (ast.get_docstring(ast.parse(reference.read_text())) or "").split("\n\n")[0].replace("\n", " ")
        there = ("yes" if any(folder.glob(file)) else "not yet" for file in BACKENDS.values())
        names = ", ".join(f"`{name}`" for name in functions(reference))
        cells = [
            f"[{folder.name}]({folder.name}/README.md)",
            what,
            names,
            *there,
            DTYPES.get(folder.name, "float32, float64"),
        ]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def figures() -> str:
    """Every kept figure of an op beside PyTorch's: times as fast, and per cent of the floor, on each machine."""
    kept = records()
    machines = [f"{r['machine']['processor']}, {r['machine']['cores']} cores, {r['date']}" for r in kept]
    table: dict[tuple[str, str, str], dict[int, str]] = {}
    for column, record in enumerate(kept):
        for row in record["rows"]:
            if row["folder"] in APART:
                continue
            ratio = row["peers"].get("torch")
            text = f"{row['percent_of_floor']:.0f} %"
            if isinstance(ratio, float):
                text = f"{ratio:.1f} x, {text}"
            name = f"{row['op']} {row['variant']}".rstrip()
            table.setdefault((row["folder"], name, row["shape"]), {})[column] = text
    lines = [f"| op | shape | {' | '.join(machines)} |", "| --- " * (2 + len(machines)) + "|"]
    for (_, name, shape), cells in sorted(table.items(), key=lambda item: item[0][0]):
        lines.append(f"| {name} | {shape} | {' | '.join(cells.get(n, '') for n in range(len(machines)))} |")
    return "\n".join(lines)


def newest() -> dict[str, Any]:
    """The record of the last run that holds whole steps beside peers."""
    return max((r for r in records() if any(row["folder"] == "mix" for row in r["rows"])), key=lambda r: r["date"])


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _rows(*folders: str) -> list[dict[str, Any]]:
    return [row for row in newest()["rows"] if row["folder"] in folders]


def measured_on() -> str:
    """What the tables below were measured on."""
    record = newest()
    machine = record["machine"]
    products = ", ".join(f"{b['api']} {b['version']} ({b['core']} kernels)" for b in machine["blas"][:1])
    peers = {name: about["version"] for name, about in machine["peers"].items() if isinstance(about, dict) and about}
    told = ", ".join(f"{name} {version}" for name, version in peers.items())
    return (
        f"Measured on {record['date']}: {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{products}; {told}."
    )


def beside_peers() -> str:
    """Whole steps and prediction: how many times as long others take; PyTorch's is the better of eager and compiled."""
    rows = []
    for row in _rows("step", "predict"):
        peers = dict(row["peers"])
        torch = min(peers.pop("torch"), peers.pop("torch.compile"))
        others = (peers.get(name) for name in ("jax", "scikit-learn", "onnxruntime"))
        low, median, high = (f"{1e3 * seconds:.3g}" for seconds in row["quartiles"])
        cells = [f"{torch:.2f}", *("" if ratio is None else f"{ratio:.2f}" for ratio in others)]
        rows.append([f"{row['op']} {row['shape']}", f"{median} ({low} to {high})", *cells])
    return _table(["work", "ms (quartiles)", "PyTorch", "JAX", "scikit-learn", "ONNX Runtime"], rows)


def beyond_the_caches() -> str:
    """Ops at their largest shape: per cent of the floor, and PyTorch's better time over ours."""
    largest: dict[str, dict[str, Any]] = {}
    folders = (
        "activation",
        "add",
        "batch_norm",
        "clip",
        "dropout",
        "losses",
        "norm",
        "softmax",
        "softmax_cross_entropy",
        "updates",
    )
    for row in _rows(*folders):
        name = f"{row['op']} {row['variant']}".strip()
        if name not in largest or row["bytes"] >= largest[name]["bytes"]:
            largest[name] = row
    rows = []
    for name, row in largest.items():
        torch = [row["peers"][peer] for peer in ("torch", "torch.compile") if peer in row["peers"]]
        rows.append([name, row["shape"], f"{row['percent_of_floor']:.0f} %", f"{min(torch):.2f}" if torch else ""])
    return _table(["op", "shape", "of the floor", "PyTorch's time over ours"], rows)


def with_others() -> str:
    """What trainings and other work cost each other, and the first step."""
    rows = []
    for row in _rows("mix", "processes", "start"):
        against = next(iter(row["peers"].values()), None)
        seconds = row["quartiles"][1]
        time = f"{seconds:.2f} s" if seconds >= 0.1 else f"{1e3 * seconds:.2f} ms"
        ratio = f"{against:.2f} times as long" if against else ""
        rows.append([f"{row['op']} {row['variant']}", row["shape"], time, ratio])
    return _table(["work", "", "median", "mixed, or at once"], rows)


def growth() -> str:
    """Steps of growing networks, and how many times as long one thread takes."""
    measured = _rows("growth")
    alone = {row["shape"]: row["quartiles"][1] for row in measured if row["variant"] == "1 thread"}
    rows = []
    for row in measured:
        if not row["variant"]:
            seconds = row["quartiles"][1]
            rate = row["flops"] / seconds / 1e9
            one = f"{alone[row['shape']] / seconds:.2f}" if row["shape"] in alone else ""
            rows.append([row["shape"], f"{1e6 * seconds:,.0f}", one, f"{rate:.0f}", f"{row['percent_of_floor']:.0f} %"])
    return _table(["network", "us a step", "one thread's time over it", "GFLOP/s", "of the floor"], rows)


TABLES = {
    "catalogue": catalogue,
    "figures": figures,
    "measured on": measured_on,
    "beside peers": beside_peers,
    "beyond the caches": beyond_the_caches,
    "with others": with_others,
    "growth": growth,
}


def written(text: str) -> str:
    """`text` with each table that it has marks for made anew between the two."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        if begin in text:
            before, rest = text.split(begin)
            text = f"{before}{begin}{make()}\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    """Write the tables."""
    for page in PAGES:
        page.write_text(written(page.read_text()))


if __name__ == "__main__":
    main()
