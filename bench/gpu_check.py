"""Everything that a machine with an NVIDIA GPU must show, in one run of under eight minutes.

python -m fastdl.bench.gpu_check FOLDER            # all of it, from the project's root; writes FOLDER/gpu_check.json
python -m fastdl.bench.gpu_check FOLDER --only figures first-launches

It runs the tests marked gpu, compute-sanitizer over a short training, `fastdl train` on the GPU and on the CPU, first
launches with an empty cache and a full one, and the figures: every kernel against the bytes it must move at the
measured copy bandwidth, and against PyTorch in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

import fastdl as fd
from fastdl import backend, nn, ops
from fastdl.recorder import record

ROOT = Path(__file__).resolve().parents[1]
Call = Callable[[], Any]
ROUNDS = 7  # of each thing that is timed, in turn
MILLISECONDS = 20  # that a round is to take


# ------------------------------------------------------------ processes


def run(arguments: list[str], limit: float, **environment: str) -> tuple[int | None, str, float]:
    """Run a program from the project's root: its exit status (None: out of time), what it printed, seconds."""
    began = time.perf_counter()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **environment}
    try:
        done = subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True, timeout=limit)
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


# ------------------------------------------------------------ figures


class Figure(NamedTuple):
    """One thing to measure: ours, what it cannot do without, and what others call for the same."""

    name: str
    ours: Call
    bytes: float = 0.0
    flops: float = 0.0
    peers: Mapping[str, Call] = MappingProxyType({})
    agree: Callable[[], float] | None = None
    """The largest difference from a peer's result, relative to its largest value."""


def timed(calls: dict[str, Call]) -> dict[str, float]:
    """Median seconds of each call, by events on the device, round by round in turn."""
    import cupy

    def once(call: Call, repeats: int) -> float:
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(begin, end)) / repeats / 1e3

    repeats = {}
    for name, call in calls.items():
        once(call, 3)
        repeats[name] = max(2, min(2000, round(MILLISECONDS / 1e3 / once(call, 3))))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            seconds[name].append(once(call, repeats[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def replay(call: Call) -> Call:
    """The launches of a call of ops, as a recorded step makes them."""
    with record() as tape:
        call()
    return tape.replay


def figures() -> list[Figure]:
    """All of them; inputs are several times as large as the last cache."""
    import cupy
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    found: list[Figure] = []

    def draw(*shape: int) -> tuple[Any, Any]:
        tensor = torch.randn(*shape, device="cuda")
        return cupy.asarray(tensor), tensor

    def empty(*shape: int, dtype: Any = np.float32) -> Any:
        return cupy.empty(shape, dtype)

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function)  # type: ignore[no-any-return]

    def off(ours: Any, theirs: Any) -> float:
        theirs = cupy.asarray(theirs.detach())
        return float(cupy.abs(ours - theirs).max() / cupy.abs(theirs).max())

    f = torch.nn.functional
    n = 1 << 27
    (x, tx), (dy, tdy), y = draw(n), draw(n), empty(n)
    for name, torch_function in (("relu", torch.relu), ("tanh", torch.tanh), ("gelu", f.gelu)):
        ours = replay(lambda name=name: ops.activation(x, name, out=y))
        peers = {"torch": lambda g=torch_function: g(tx)}
        found.append(Figure(name, ours, 8 * n, peers=peers, agree=lambda g=torch_function: off(y, g(tx))))
    ours = replay(lambda: ops.activation_backward(dy, "relu", y=x, out=y))
    backward = {"torch": lambda: torch.ops.aten.threshold_backward(tdy, tx, 0)}
    found.append(Figure("relu backward", ours, 12 * n, peers=backward))

    mask, numbers = empty(n, dtype=np.uint8), cupy.asarray(np.array([1, 2, 3, 0]))
    ours = replay(lambda: ops.dropout(x, rate=0.2, draw=numbers, out=y, mask=mask))
    found.append(Figure("dropout", ours, 9 * n, peers={"torch": lambda: torch.native_dropout(tx, 0.2, True)}))
    ours = replay(lambda: ops.dropout_backward(dy, mask, rate=0.2, out=y))
    kept = torch.rand(n, device="cuda") > 0.2
    peers = {"torch": lambda: torch.ops.aten.native_dropout_backward(tdy, kept, 1.25)}
    found.append(Figure("dropout backward", ours, 9 * n, peers=peers))

    size = 1 << 26
    state = [draw(size)[0] for _ in range(3)]
    v = cupy.abs(draw(size)[0])
    scalars = cupy.asarray(np.array(ops.adam_scalars(10, 1e-3)))
    clip, status = cupy.ones(1), cupy.zeros(1, np.int64)
    ours = replay(lambda: ops.adam_update(*state, v, scalars=scalars, clip=clip, status=status))
    parameter = torch.nn.Parameter(torch.randn(size, device="cuda"))
    parameter.grad = torch.randn(size, device="cuda")
    adam = torch.optim.Adam([parameter], fused=True)
    found.append(Figure("adam", ours, 28 * size, peers={"torch fused": adam.step}))

    for shape in ((8192, 4096), (256, 64, 56, 56)):
        count, c = int(np.prod(shape)), shape[1]
        (bx, tbx), (bdy, tbdy), by = draw(*shape), draw(*shape), empty(*shape)
        gamma, beta = cupy.ones(c, np.float32), cupy.zeros(c, np.float32)
        tgamma, tbeta, mean, var = (torch.ones(c, device="cuda") for _ in range(4))
        work = ops.BatchNormWork.of(bx)
        statistics_of = ops.BatchStatistics(*(empty(c) for _ in range(3)))
        ours = replay(
            lambda bx=bx, g=gamma, b=beta, o=by, s=statistics_of, w=work: ops.batch_norm(
                bx, g, b, out=o, statistics=s, work=w
            )
        )
        forward = lambda t=tbx, g=tgamma, b=tbeta, m=mean, v=var: torch.native_batch_norm(
            t, g, b, m, v, True, 0.1, 1e-5
        )  # noqa: E731
        name = "batch norm " + "x".join(map(str, shape))
        found.append(
            Figure(name, ours, 12 * count, peers={"torch": forward}, agree=lambda o=by, t=forward: off(o, t()[0]))
        )
        _, saved_mean, saved_inverse = forward()
        ours()
        gradients = empty(c), empty(c)
        dx = empty(*shape)
        ours = replay(
            lambda d=bdy, bx=bx, g=gamma, s=statistics_of, o=dx, gs=gradients, w=work: ops.batch_norm_backward(
                d, bx, g, s, out=o, out_gamma=gs[0], out_beta=gs[1], work=w
            )
        )
        backward_of = lambda d=tbdy, t=tbx, g=tgamma, m=mean, v=var, sm=saved_mean, si=saved_inverse: (  # noqa: E731
            torch.ops.aten.native_batch_norm_backward(d, t, g, m, v, sm, si, True, 1e-5, [True, True, True])
        )
        found.append(
            Figure(
                f"{name} backward",
                ours,
                20 * count,
                peers={"torch": backward_of},
                agree=lambda o=dx, t=backward_of: off(o, t()[0]),
            )
        )

    rows, classes = 8192, 32768
    z, tz = draw(rows, classes)
    labels = torch.randint(classes, (rows,), device="cuda")
    dz, losses = empty(rows, classes), empty(rows)
    shared = {"scale": cupy.full(1, 1 / rows), "total": cupy.zeros(1), "status": cupy.zeros(1, np.int64)}
    whole = cupy.asarray(labels)
    ours = replay(lambda: ops.softmax_cross_entropy(z, whole, out=dz, losses=losses, **shared))
    tz.requires_grad_()

    def value_and_gradient(logits: Any, labels: Any) -> Any:
        return torch.autograd.grad(f.cross_entropy(logits, labels), logits)[0]

    fused = compiled(f.cross_entropy)
    peers = {
        "torch": lambda: value_and_gradient(tz, labels),
        "torch.compile": lambda: torch.autograd.grad(fused(tz, labels), tz)[0],
    }
    found.append(
        Figure(
            f"softmax cross-entropy {rows}x{classes}",
            ours,
            8 * rows * classes,
            peers=peers,
            agree=lambda: off(dz, value_and_gradient(tz, labels)),
        )
    )

    for m, k, width in ((4096, 4096, 4096), (1024, 784, 512), (8192, 1024, 1024)):
        (a, ta), (b, tb), c = draw(m, k), draw(k, width), empty(m, width)
        ours = replay(lambda a=a, b=b, c=c: ops.matmul(a, b, out=c))
        product = {"cuBLAS": lambda ta=ta, tb=tb: ta @ tb}
        agree = lambda c=c, p=product["cuBLAS"]: off(c, p())  # noqa: E731
        found.append(Figure(f"matmul {m}x{k}x{width}", ours, flops=2.0 * m * k * width, peers=product, agree=agree))
    (a, ta), (b, tb), dw = draw(65536, 784), draw(65536, 512), empty(784, 512)
    db, work = empty(512), empty(ops.matmul_work_size(a, 512))
    ours = replay(lambda: ops.matmul_backward_weights(a, b, out=dw, out_bias=db, work=work))
    product = {"cuBLAS": lambda: (ta.T @ tb, tb.sum(0))}
    agree = lambda: off(dw, product["cuBLAS"]()[0])  # noqa: E731
    found.append(
        Figure("weights' gradient 65536x784x512", ours, flops=2.0 * 65536 * 784 * 512, peers=product, agree=agree)
    )
    found.append(_train_step(torch, 1024))
    found.append(_train_step(torch, 128))
    return found


def _train_step(torch: Any, batch: int) -> Figure:
    """784-512-512-10 with batch norm, ReLU, dropout and Adam: gather, forward, backward, update."""
    rows, layers = 60000, []
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((rows, 784)).astype(np.float32), draw.integers(0, 10, rows)
    for _ in range(2):
        layers += [nn.Linear(512, bias=False), nn.BatchNorm(activation="relu"), nn.Dropout(0.2)]
    step = fd.TrainStep(
        nn.Sequential(*layers, nn.Linear(10)),
        fd.losses.SoftmaxCrossEntropy(),
        fd.optim.Adam(1e-3),
        batch_size=batch,
        device="cuda",
    )
    step.bind(x, y)
    of_torch: list[Any] = []
    for inputs in (784, 512):
        of_torch += [
            torch.nn.Linear(inputs, 512, bias=False),
            torch.nn.BatchNorm1d(512),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
        ]
    model = torch.nn.Sequential(*of_torch, torch.nn.Linear(512, 10)).cuda()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    tx, ty = torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda()
    order = torch.arange(rows, device="cuda")

    def torch_step(model: Any) -> Call:
        def call() -> None:
            taken = order[:batch]
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(tx[taken]), ty[taken]).backward()
            optimizer.step()

        return call

    peers = {"torch": torch_step(model), "torch.compile": torch_step(torch.compile(model))}
    return Figure(f"train step 784-512-512-10 batch {batch}", lambda: step.run(0, batch, wait=False), peers=peers)


def copy_bandwidth() -> float:
    """Of a GiB from one place on the device to another."""
    import cupy

    source, target = (cupy.ones(1 << 28, np.float32) for _ in range(2))
    seconds = timed({"copy": lambda: target.data.copy_from_device_async(source.data, source.nbytes)})["copy"]
    return float(2 * source.nbytes / seconds)


def measured() -> dict[str, Any]:
    """The machine's copy bandwidth, bytes read and written a second, and every figure beside it."""
    bandwidth = copy_bandwidth()
    rows = []
    for figure in figures():
        row: dict[str, Any] = {"name": figure.name}
        try:
            figure.ours()
            if figure.agree:
                row["off"] = figure.agree()
            calls = {"ours": figure.ours}
            for name, peer in figure.peers.items():
                try:
                    peer()
                    calls[name] = peer
                except Exception as error:  # a peer that this machine cannot run is no fault of ours
                    row[name] = f"not available: {type(error).__name__}: {str(error)[:200]}"
            seconds = timed(calls)
        except Exception as error:
            rows.append(row | {"error": f"{type(error).__name__}: {str(error)[:2000]}"})
            continue
        row["microseconds"] = {name: value * 1e6 for name, value in seconds.items()}
        row["times as fast"] = {name: seconds[name] / seconds["ours"] for name in seconds if name != "ours"}
        if figure.bytes:
            row["of the floor"] = figure.bytes / bandwidth / seconds["ours"]
        if figure.flops:
            row["TFLOP/s"] = figure.flops / seconds["ours"] / 1e12
        rows.append(row)
    return {"copy bandwidth": bandwidth, "rows": rows}


# ------------------------------------------------------------ the whole


def machine() -> dict[str, Any]:
    """What it runs on."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "gpu": properties["name"].decode(),
        "compute capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "last cache bytes": properties["l2CacheSize"],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
        "nvrtc": cupy.cuda.nvrtc.getVersion(),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "torch": getattr(sys.modules.get("torch"), "__version__", None),
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "figures": measured,
    "tests": lambda: tests(200),
    "train": lambda: train(60),
    "first-launches": lambda: first_launches(60),
    "memcheck": lambda: sanitizer("memcheck", 90),
    "racecheck": lambda: sanitizer("racecheck", 90),
}


def table(found: dict[str, Any]) -> str:
    """A short account for people."""
    lines = []
    if "machine" in found:
        lines.append(", ".join(f"{name} {value}" for name, value in found["machine"].items()))
    if rows := found.get("figures", {}).get("rows"):
        lines.append(f"copy {found['figures']['copy bandwidth'] / 1e12:.2f} TB/s")
        for row in rows:
            text = f"{row['name']:<42}"
            if "error" in row:
                lines.append(f"{text} {row['error'][:160]}")
                continue
            text += f"{row['microseconds']['ours']:>10.1f} us"
            text += f"{100 * row['of the floor']:>6.0f} % of floor" if "of the floor" in row else ""
            text += f"{row['TFLOP/s']:>7.1f} TFLOP/s" if "TFLOP/s" in row else ""
            text += "".join(f"  {ratio:.2f} x {name}" for name, ratio in row["times as fast"].items())
            text += f"  off {row['off']:.0e}" if "off" in row else ""
            lines.append(text)
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
    given.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for part in given.only:
        began = time.perf_counter()
        try:
            found[part] = PARTS[part]()
        except Exception as error:  # the other parts are worth having
            found[part] = {"error": f"{type(error).__name__}: {error}"}
        print(f"{part}: {time.perf_counter() - began:.0f} s", flush=True)
        found["machine"] = machine()
        (given.folder / "gpu_check.json").write_text(json.dumps(found, indent=1, default=str) + "\n")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
