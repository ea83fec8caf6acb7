"""Everything that a machine with an NVIDIA GPU must show, in one run of under eight minutes.

python -m fastdl.bench.gpu_check FOLDER            # all of it, from the project's root; writes FOLDER/gpu_check.json
python -m fastdl.bench.gpu_check FOLDER --only figures first-launches

It needs a checkout, with pytest and hypothesis, and compares with PyTorch and CuPy where PyTorch is installed. It runs
the tests marked gpu, compute-sanitizer over a short training, `fastdl train` on the GPU and on the CPU, first launches
with an empty cache and a full one, and `fastdl bench all --peers`. It ends with 1 if a part went wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastdl import backend
from fastdl.bench import machine as described
from fastdl.bench import run as benchmarks
from fastdl.bench.child import environment

ROOT = Path(__file__).resolve().parents[1]


# ------------------------------------------------------------ processes


def run(arguments: list[str], limit: float, **changes: str) -> tuple[int | None, str, float]:
    """Run a program from the project's root: its exit status (None: out of time), what it printed, seconds."""
    began = time.perf_counter()
    try:
        done = subprocess.run(
            arguments, cwd=ROOT, env=environment(**changes), capture_output=True, text=True, timeout=limit
        )
        status, text = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        status, text = (
            None,
            "".join(part.decode() if isinstance(part, bytes) else part or "" for part in (error.stdout, error.stderr)),
        )
    except OSError as error:
        status, text = -1, str(error)
    return status, text, time.perf_counter() - began


def tests(limit: float) -> dict[str, Any]:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default", "tests"]
    status, text, seconds = run(command, limit, FASTDL_REQUIRE_CUDA="1")
    counts = dict(re.findall(r"(\d+) (passed|failed|skipped|error)", text.splitlines()[-1] if text else ""))
    failed = re.findall(r"^(?:FAILED|ERROR) (.*)$", text, re.MULTILINE)
    found = {"status": status, "seconds": seconds, **{name: int(count) for count, name in counts.items()}}
    return found | {"failures": failed[:100], "output": text[-20000:] if status else ""}


SHORT_RUN = """
import numpy as np, fastdl as fd
from fastdl import nn
x, y = fd.data.load_digits()
x, y = x[:200].astype(np.float32) / 16, y[:200]
for dtype in (np.float32, np.float64):
    model = nn.Sequential(nn.Linear(40), nn.BatchNorm(activation="relu"), nn.Dropout(0.2), nn.Linear(20), nn.GELU(),
                          nn.Linear(10))
    trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(smoothing=0.1), fd.optim.AdamW(1e-3, clip_norm=1.0),
                         device="cuda", dtype=dtype)
    trainer.fit(x, y, validation=(x, y), epochs=2, batch_size=64, progress=False)
print("trained", trainer.history["loss"])
"""


def sanitizer(tool: str, limit: float) -> dict[str, Any]:
    """compute-sanitizer over a short training; some machines do not let it look."""
    program = shutil.which("compute-sanitizer") or next(
        map(str, Path("/usr/local").glob("cuda*/bin/compute-sanitizer")), ""
    )
    if not program:
        return {"result": "not available: compute-sanitizer is not installed"}
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", SHORT_RUN]
    status, text, seconds = run(command, limit)
    summary = re.findall(r"ERROR SUMMARY: .*|RACECHECK SUMMARY: .*", text)
    if status is None:
        result = f"not finished in {limit:.0f} s"
    elif "not supported" in text or "trained" not in text:
        result = "not available: " + (re.search(r".*(?:not supported|rror).*", text) or [text[-300:]])[0].strip()
    else:
        result = summary[-1] if summary else f"exit {status}"
    return {"result": result, "seconds": seconds, "output": text[-6000:] if status else ""}


def train(limit: float) -> dict[str, Any]:
    """`fastdl train` on both devices, three seeds each."""
    found: dict[str, Any] = {}
    for device in ("cuda", "cpu"):
        scores, seconds = [], []
        for seed in range(3):
            with tempfile.TemporaryDirectory() as folder:
                command = [
                    sys.executable,
                    "-m",
                    "fastdl",
                    "train",
                    "--device",
                    device,
                    "--seed",
                    str(seed),
                    "--out",
                    folder,
                ]
                status, text, took = run(command, limit)
                if status != 0:
                    return found | {device: {"status": status, "output": text[-6000:]}}
                scores.append(float(re.search(r"test accuracy ([\d.]+)%", text)[1]))
                seconds.append(took)
        found[device] = {"accuracy": scores, "seconds": seconds}
    return found


FIRST_LAUNCHES = """
import json, time, numpy as np, cupy
from fastdl import devices, ops, warmup
cupy.zeros(1).get()
seen, found = set(), {}
for op, call in warmup.calls(np.float32):
    move = lambda a: devices.asarray(a, "cuda") if isinstance(a, np.ndarray) else a
    args = [ops.BatchStatistics(*map(move, a)) if isinstance(a, ops.BatchStatistics) else move(a) for a in call.args]
    options = {k: move(v) for k, v in call.keywords.items()}
    if call.func is ops.dropout_mask:
        options["device"] = "cuda"
    cupy.cuda.runtime.deviceSynchronize()
    began = time.perf_counter()
    call.func(*args, **options)
    cupy.cuda.runtime.deviceSynchronize()
    name = call.func.__name__
    found.setdefault(name, time.perf_counter() - began)
print("FOUND" + json.dumps(found))
"""


def first_launches(limit: float) -> dict[str, Any]:
    """Seconds of every op's first call in a process, with CuPy's cache empty and full."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("cold", "cached"):
            status, text, seconds = run([sys.executable, "-c", FIRST_LAUNCHES], limit, CUPY_CACHE_DIR=folder)
            if status != 0:
                return found | {cache: {"status": status, "output": text[-4000:]}}
            found[cache] = json.loads(text[text.index("FOUND") + 5 :]) | {"all": seconds}
    return found


# ------------------------------------------------------------ the whole


def figures(budget: float) -> dict[str, Any]:
    """What `fastdl bench all` measures, one op after the other until the time is spent."""
    began, run = time.perf_counter(), benchmarks.Run("cuda", peers=True)
    failed: dict[str, str] = {}
    try:
        for name in benchmarks.names(["step", "all"]):
            if time.perf_counter() - began > budget:
                failed[name] = "left out, for lack of time"
                continue
            try:
                for _ in run.measure_all([name]):
                    pass
            except Exception as error:  # the others are worth having
                failed[name] = f"{type(error).__name__}: {error}"[:2000]
        failed |= run.failed
    finally:
        run.close()
    return run.record() | {"failed": failed, "lines": run.lines()}


def went_wrong(found: dict[str, Any]) -> list[str]:
    """The parts that did not end well."""
    wrong = [part for part in found if "error" in found[part]]
    if found.get("tests", {}).get("status", 0) != 0:
        wrong.append("tests")
    if found.get("figures", {}).get("failed"):
        wrong.append("figures")
    for part in ("memcheck", "racecheck"):
        result = found.get(part, {}).get("result", "")
        if not result.startswith("not ") and not re.search(r"SUMMARY: 0 (errors|hazards)|^exit 0|^$", result):
            wrong.append(part)
    unfinished = ("train", "first-launches")
    return wrong + [part for part in unfinished for of in found.get(part, {}).values() if "status" in of]


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "figures": lambda: figures(240),
    "tests": lambda: tests(200),
    "train": lambda: train(60),
    "first-launches": lambda: first_launches(60),
    "memcheck": lambda: sanitizer("memcheck", 90),
    "racecheck": lambda: sanitizer("racecheck", 90),
}


def table(found: dict[str, Any]) -> str:
    """A short account for people."""
    lines = []
    if "figures" in found:
        lines += found["figures"].get("lines", [])
        lines += [f"{name}: {why}" for name, why in found["figures"].get("failed", {}).items()]
    if "tests" in found:
        kept = {
            k: v
            for k, v in found["tests"].items()
            if k in ("status", "passed", "failed", "skipped", "seconds", "error")
        }
        lines += [f"tests {kept}", *found["tests"].get("failures", [])[:20]]
    lines += [f"{part} {found[part].get('result', found[part])}" for part in ("memcheck", "racecheck") if part in found]
    for device, result in found.get("train", {}).items():
        lines.append(f"train {device} {result}"[:300])
    for cache, seconds in found.get("first-launches", {}).items():
        slowest = sorted(((v, k) for k, v in seconds.items() if isinstance(v, float) and k != "all"), reverse=True)[:5]
        lines.append(f"first launches {cache}: " + ", ".join(f"{name} {value:.2f} s" for value, name in slowest))
    return "\n".join(lines)


def main() -> int:
    """Run the parts, write what was found after each, print the table last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="where gpu_check.json goes")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some parts alone")
    given = parser.parse_args()
    if reason := backend.cuda_missing():
        print(f"gpu_check: no GPU can be used: {reason}", file=sys.stderr)
        return 2
    if not (ROOT / "pyproject.toml").exists() or not (ROOT / "tests").is_dir():
        print(
            f"gpu_check: {ROOT} is no checkout of fastdl; run it from one, installed by `pip install -e .`",
            file=sys.stderr,
        )
        return 2
    given.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for part in given.only:
        began = time.perf_counter()
        try:
            found[part] = PARTS[part]()
        except Exception as error:  # the other parts are worth having
            found[part] = {"error": f"{type(error).__name__}: {error}"}
        print(f"{part}: {time.perf_counter() - began:.0f} s", flush=True)
        record = {"machine": described.describe("cuda"), **found}
        (given.folder / "gpu_check.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    print(table(found))
    if wrong := went_wrong(found):
        print(f"went wrong: {', '.join(dict.fromkeys(wrong))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
