"""The commands: `fastdl train`, `fastdl warmup` and `fastdl info`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from . import __version__, backend
from .config import Config


class UsageError(Exception):
    """What the user asked for cannot be done; one line tells why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the process's exit status."""
    options = _parser().parse_args(arguments)
    status, message = 2, ""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            status = int(options.run(options) or 0)
            sys.stdout.flush()
    except UsageError as error:
        message = str(error)
    except MemoryError as error:
        message = f"out of memory: {error}"
    except BrokenPipeError:  # who reads what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        message = str(error)
    except KeyboardInterrupt:
        status, message = 130, "interrupted"
    if message:
        print(f"fastdl {options.command}: {message}", file=sys.stderr)
    return status


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a line for people, without the place in the source that it comes from."""
    sys.stderr.write(f"fastdl: {str(message).removeprefix('fastdl: ')}\n")


def _say(line: str) -> None:
    print(line, flush=True)  # at once, in order with what goes to the standard error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastdl", description="Train neural networks by fused kernels.")
    parser.add_argument("--version", action="version", version=f"fastdl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    default = Config()
    train = commands.add_parser("train", help="train a network on the handwritten digits")
    train.add_argument("--seed", type=int, default=default.seed, help="of everything random (%(default)s)")
    train.add_argument("--epochs", type=int, default=default.epochs, help="passes over the data (%(default)s)")
    train.add_argument("--batch-size", type=int, default=default.batch_size, help="rows a step (%(default)s)")
    train.add_argument(
        "--layers",
        type=int,
        nargs="*",
        default=list(default.layers),
        metavar="WIDTH",
        help=f"widths of the hidden layers ({' '.join(map(str, default.layers))})",
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="folder for the run, new or empty (runs/1, 2, ...)")
    train.set_defaults(run=_train)

    warmup = commands.add_parser("warmup", help="compile all kernels now, so that no run waits for them")
    warmup.add_argument("ops", nargs="*", metavar="OP", help="only those of these folders of kernels/")
    warmup.set_defaults(run=_warmup)

    info = commands.add_parser("info", help="show versions, backends, threads, BLAS and cache")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)
    return parser


def _info(options: argparse.Namespace) -> None:
    from . import info

    found = info.collect()
    print(json.dumps(found, indent=2) if options.json else info.as_text(found))


def _warmup(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from . import warmup

    began = time.perf_counter()
    try:
        count = warmup.warm_up(tuple(options.ops), lambda calls: tqdm(calls, unit="op", disable=None, leave=False))
    except (ValueError, RuntimeError) as error:
        raise UsageError(str(error).removeprefix("warmup: ")) from None
    _say(f"{count} kernels are compiled, each serial and parallel, in {time.perf_counter() - began:.0f} s")


def _train(options: argparse.Namespace) -> int:
    try:
        config = Config(options.seed, options.epochs, options.batch_size, tuple(options.layers))
    except ValueError as error:
        raise UsageError(str(error)) from None
    out = _folder(options.out)

    from . import recipes

    _say(f"backend: {backend.describe()}")
    if backend.must_compile():
        _say("compiling kernels, which are kept for later runs")
    try:
        run = recipes.train_digits(config, say=_say)
    except BaseException:
        with contextlib.suppress(OSError):
            out.rmdir()  # it is empty
        raise
    if run.history.interrupted:
        _say(f"interrupted after {len(run.history)} of {config.epochs} epochs; the weights are those of the last step")
    _say(f"dev accuracy  {run.dev['accuracy']:.2%}   loss {run.dev['loss']:.4f}")
    _say(f"test accuracy {run.test['accuracy']:.2%}   loss {run.test['loss']:.4f}")
    _say("              (a random split: the same 13 writers in all parts, so new writers fare worse)")
    _say(f"wall time {run.seconds:.1f} s")
    run.save(out)
    _say(f"saved in {out}: config.toml, history.csv, weights.safetensors, standardize.safetensors")
    return 130 if run.history.interrupted else 0


def _folder(wanted: Path | None) -> Path:
    """A new or empty folder for a run, made; the first free number under runs/ where none was named."""
    if wanted is None:
        number = 1
        while (Path("runs") / str(number)).exists():
            number += 1
        wanted = Path("runs") / str(number)
    if wanted.exists() and not wanted.is_dir():
        raise UsageError(f"--out {wanted} is a file; name a new folder")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        used = next(wanted.iterdir(), None)
        with tempfile.TemporaryFile(dir=wanted):
            pass  # found out now, not after the training
    except OSError as error:
        raise UsageError(f"cannot write to {wanted}: {error.strerror}; name a folder with --out") from None
    if used is not None:
        raise UsageError(f"--out {wanted} is not empty (it holds {used.name}); name a new folder")
    return wanted
