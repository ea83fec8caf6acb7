"""Tables of README.md, kernels/README.md and docs/, made from the tree and from the records in bench/results/.

fastdl bench all mix processes start growth --peers --json bench/results/MACHINE.json  # make a record
python -m fastdl.bench.report                                                          # write the tables anew
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

from fastdl.bench.table import peer_lines

KERNELS = Path(__file__).resolve().parents[1] / "kernels"
RESULTS = Path(__file__).resolve().parent / "results"
PAGES = (KERNELS / "README.md", KERNELS.parent / "README.md", KERNELS.parent / "docs" / "performance.md")
SHOWN = "cpu-amd-epyc-zen4-2-cores"  # the record that README.md and docs/performance.md show
APART = ("step", "predict", "augment", "mix", "processes", "start", "growth")  # no ops: docs/performance.md has them
DTYPES = {"gather": "any number of 8 to 64 bits but float16", "philox": "32-bit words"}  # others: float32, float64
BACKENDS = {"NumPy": "reference.py", "Numba": "cpu.py", "CUDA": "cuda.cu*"}


Row = dict[str, Any]  # of a record
Record = dict[str, Any]


def records() -> dict[str, Record]:
    """All records that are kept, by their files' names.

    Raises
    ------
    ValueError
        If one is of `--tiny`.
    """
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    for name, record in found.items():
        if record.get("tiny"):
            raise ValueError(f"report: {RESULTS / name}.json is of --tiny, so its figures mean nothing; take it out")
    return found


def shown() -> Record:
    """The record of whole steps beside peers that is shown."""
    found = records()
    if SHOWN not in found:
        raise ValueError(f"report: SHOWN is {SHOWN!r}, wanted a record of {RESULTS}: {', '.join(found)}")
    return found[SHOWN]


def pytorch(row: Row) -> float | None:
    """How many times as long PyTorch takes, eager or compiled, whichever is the faster."""
    found = (row["peers"].get(peer) for peer in ("torch", "torch.compile"))
    return min(filter(None, found), default=None)


def described() -> str:
    """Every record that is kept: of what machine, when, by which commit, under what settings."""
    rows = []
    for name, record in records().items():
        machine = record["machine"]
        processor = f"{machine['processor']}, {machine['cores']} cores"
        rows.append([name, processor, record["date"], record["commit"][:7], " ".join(_settings(record)), _note(record)])
    return _table(["record", "processor", "date", "commit", "settings", "note"], rows)


def _settings(record: Record) -> list[str]:
    return [f"{name}={value}" for name, value in record["machine"]["settings"].items()]


def _note(record: Record) -> str:
    note: str = record.get("note", "")
    return note


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
    """Every kept figure of an op beside PyTorch's: times as fast, and per cent of the floor, in each record."""
    kept = records()
    table: dict[tuple[str, str, str], dict[str, str]] = {}
    for column, record in kept.items():
        for row in record["rows"]:
            if row["folder"] in APART:
                continue
            text = f"{row['percent_of_floor']:.0f} %"
            if ratio := pytorch(row):
                text = f"{ratio:.1f} x, {text}"
            name = f"{row['op']} {row['variant']}".rstrip()
            table.setdefault((row["folder"], name, row["shape"]), {})[column] = text
    by_folder = sorted(table.items(), key=lambda item: item[0][0])
    rows = [[name, shape, *(cells.get(column, "") for column in kept)] for (_, name, shape), cells in by_folder]
    heads = (f"{name}, {record['date']}, {record['commit'][:7]}" for name, record in kept.items())
    return _table(["op", "shape", *heads], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _rows(*folders: str) -> list[Row]:
    return [row for row in shown()["rows"] if row["folder"] in folders]


def measured_on() -> str:
    """What the tables below were measured on."""
    record = shown()
    machine = record["machine"]
    products = ", ".join(f"{b['api']} {b['version']} ({b['core']} kernels)" for b in machine["blas"][:1])
    (peers,) = peer_lines(machine["peers"])
    settings, note = " ".join(_settings(record)), _note(record)
    return (
        f"Measured on {record['date']} at commit {record['commit'][:7]}, kept as `bench/results/{SHOWN}.json`: "
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {products}"
        f"{f', {settings}' if settings else ''}; {peers.removeprefix('peers: ')}.{f' Note: {note}.' if note else ''}"
    )


def beside_peers() -> str:
    """Whole steps and prediction: how many times as long others take; PyTorch's is the better of eager and compiled."""
    rows = []
    for row in _rows("step", "predict"):
        others = (row["peers"].get(name) for name in ("jax", "scikit-learn", "onnxruntime"))
        low, median, high = (f"{1e3 * seconds:.3g}" for seconds in row["quartiles"])
        cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in (pytorch(row), *others)]
        percent = f"{row['percent_of_floor']:.0f} %"
        rows.append([f"{row['op']} {row['shape']}", f"{median} ({low} to {high})", percent, *cells])
    return _table(["work", "ms (quartiles)", "of the floor", "PyTorch", "JAX", "scikit-learn", "ONNX Runtime"], rows)


def beyond_the_caches() -> str:
    """Ops at their largest shape, where they move more than the last cache holds, beside the floor and PyTorch."""
    cache = shown()["machine"]["last_cache_bytes"]
    largest: dict[str, Row] = {}
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
        if row["bytes"] <= cache:
            continue
        if name not in largest or row["bytes"] >= largest[name]["bytes"]:
            largest[name] = row
    rows = []
    for name, row in largest.items():
        ratio = pytorch(row)
        moved, percent = f"{row['bytes'] / 1e6:.0f}", f"{row['percent_of_floor']:.0f} %"
        rows.append([name, row["shape"], moved, percent, f"{ratio:.2f}" if ratio else ""])
    told = f"Here: more than {cache / 1e6:.0f} MB, which the last cache holds."
    return f"{told}\n\n{_table(['op', 'shape', 'MB moved', 'of the floor', 'PyTorch over ours'], rows)}"


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
    rows: dict[str, list[str]] = {}  # by the network: two series may have one in common, which stands once
    for row in _rows("growth"):
        if not row["variant"] and row["shape"] not in rows:
            seconds = row["quartiles"][1]
            one = f"{row['peers']['1 thread']:.2f}" if "1 thread" in row["peers"] else ""
            rate, percent = f"{row['flops'] / seconds / 1e9:.0f}", f"{row['percent_of_floor']:.0f} %"
            rows[row["shape"]] = [row["shape"], f"{1e6 * seconds:,.0f}", one, rate, percent]
    return _table(["network", "us a step", "one thread's time over it", "GFLOP/s", "of the floor"], list(rows.values()))


TABLES = {
    "catalogue": catalogue,
    "records": described,
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
    if missing := [page for page in PAGES if not page.is_file()]:
        sys.exit(f"report: there is no {missing[0]}; the tables are written in a checkout's pages, so run it in one")
    try:
        texts = {page: written(page.read_text()) for page in PAGES}
    except ValueError as error:
        sys.exit(str(error))
    for page, text in texts.items():
        page.write_text(text)


if __name__ == "__main__":
    main()
