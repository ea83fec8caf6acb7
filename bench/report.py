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
README = KERNELS / "README.md"
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


TABLES = {"catalogue": catalogue, "figures": figures}


def written(text: str) -> str:
    """`text` with each table made anew between its two marks."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, rest = text.split(begin)
        text = f"{before}{begin}{make()}\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    """Write the tables."""
    README.write_text(written(README.read_text()))


if __name__ == "__main__":
    main()
