"""The commands: `fastdl train`, `check`, `evaluate`, `predict`, `bench`, `warmup` and `info`."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import errno
import importlib.util
import io
import json
import os
import re
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__, backend
from .config import (
    GROUPS,
    OF_ALL_EPOCHS,
    Config,
    assigned,
    converted,
    from_toml,
    help_of,
    kind_of,
    takes_auto,
)
from .interrupt import none_lost

if TYPE_CHECKING:
    from .recipes import Run

RESUMABLE = ("epochs", "device")  # what a resumed run may change


class UsageError(Exception):
    """What the user asked for cannot be done; one line tells why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the process's exit status."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an umlaut must not end a training
    try:
        with warnings.catch_warnings(), none_lost():
            warnings.showwarning = _say_warning
            status = int(options.run(options) or 0)
            if sys.stdout:
                sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"fastdl {options.command}: interrupted", file=sys.stderr)
        return 130
    except (UsageError, ValueError, TypeError, RuntimeError, MemoryError, OSError) as error:
        # What the library's errors say is for the user too; where one is a bug, --debug shows the place.
        if options.debug:
            traceback.print_exc()
        print(f"fastdl {options.command}: {_told(error)}", file=sys.stderr)
        return 2


def _told(error: Exception) -> str:
    """An error as one line."""
    message = str(error)
    if isinstance(error, MemoryError):
        message = f"out of memory: {error}"
    elif isinstance(error, OSError) and error.filename and error.strerror:
        name = re.sub(r"/\.(.*)\.[0-9a-f]{12}\.part$", r"/\1", str(error.filename))  # a file that was being written
        message = f"{name}: {error.strerror}"
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = "no space is left on the device; files that were there are whole"
    message = re.sub(
        r"^(\w+\.)?(fit|inputs|targets|load|read_csv|load_\w+|split|training|check_gradients): ", "", message
    )
    for keyword in ("drop", "missing", "task", "delimiter"):
        message = re.sub(rf"\b(fit with |pass )?{keyword}=\[?'(.+?)'\]?", rf"--{keyword} \2", message)
    message = message.replace("drop=", "--drop").replace(
        "take such rows out with table.take, or", "take such rows out, or"
    )
    return " ".join(message.split())


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as a line for people, without the place in the source that it comes from."""
    sys.stderr.write(f"fastdl: {str(message).removeprefix('fastdl: ')}\n")


def _say(line: str) -> None:
    print(line, flush=True)  # at once, in order with what goes to the standard error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastdl", description="Train neural networks by fused kernels.")
    parser.add_argument("--version", action="version", version=f"fastdl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    train = commands.add_parser(
        "train",
        allow_abbrev=False,
        help="train a network on the handwritten digits, or on a file",
        description="Train a network. What is not given comes from --set, then from --config, then from the defaults.",
    )
    _add_config(train)
    train.add_argument("--out", type=Path, metavar="DIR", help="folder for the run, new or empty [runs/1, 2, ...]")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    train.set_defaults(run=_train)

    check = commands.add_parser(
        "check",
        allow_abbrev=False,
        help="check a network before it is trained",
        description="Check a network before it is trained. The exit status is 0 if all is right.",
    )
    for name, (told, _) in CHECKS.items():
        check.add_argument(f"--{name}", action="store_true", help=told)
    check.add_argument("--samples", type=int, default=500, metavar="N", help="parameters --grad looks at [%(default)s]")
    _add_config(check)
    check.set_defaults(run=_check, resume=None, out=None)

    evaluate = commands.add_parser("evaluate", help="measure a trained network")
    evaluate.add_argument("folder", type=Path, metavar="DIR", help="of a run, or one of its .safetensors files")
    _add_data(evaluate, "a file to measure it on [the dev and test parts of its own]")
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser("predict", help="predict every row of a file")
    predict.add_argument("folder", type=Path, metavar="DIR", help="of a run, or one of its .safetensors files")
    _add_data(predict, "the file [that of the run]")
    predict.add_argument("--out", type=Path, default=Path("predictions.csv"), metavar="FILE", help="[%(default)s]")
    predict.set_defaults(run=_predict)

    bench = commands.add_parser(
        "bench",
        help="measure kernels and the training step on this machine",
        description="Measure kernels, the training step and prediction beside what this machine can do at most.",
    )
    bench.add_argument(
        "names",
        nargs="*",
        metavar="OP",
        help="a folder of kernels/ (philox and control have nothing to measure), step, predict; all of these by the "
        "name all, or one that is not among them: augment, mix, processes, start, growth [step]",
    )
    bench.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="[%(default)s]")
    bench.add_argument("--peers", action="store_true", help="compare with other libraries, where they are installed")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write all figures, the machine and its ceilings")
    bench.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw a roofline, and every row beside its peers or its floor: .png, .svg or .pdf",
    )
    bench.add_argument("--tiny", action="store_true", help="tiny shapes, in seconds: whether everything runs")
    bench.set_defaults(run=_bench)

    warmup = commands.add_parser("warmup", help="compile all kernels for the CPU now, so that no run waits for them")
    warmup.add_argument("ops", nargs="*", metavar="OP", help="only those of these folders of kernels/")
    warmup.set_defaults(run=_warmup)

    info = commands.add_parser("info", help="show versions, backends, threads, BLAS and cache")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)
    for command in (train, check, evaluate, predict, bench, warmup, info):
        command.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    """The flags of all keys of the configuration, and of files of them."""
    parser.usage = f"{parser.prog} [--KEY VALUE ...] [--config FILE] [--set KEY=VALUE ...] [options]"
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with any of these keys")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key, as often as wanted")
    for field in dataclasses.fields(Config):
        if field.name in GROUPS:
            group = parser.add_argument_group(GROUPS[field.name])
        _add_flag(group, field.name)


def _add_flag(parser: argparse._ArgumentGroup, name: str) -> None:
    """The flag of a key of the configuration; what is not given stays out of the options."""
    kind: Any
    kind, several = kind_of(name)
    options: dict[str, Any] = {"help": help_of(name), "default": argparse.SUPPRESS, "dest": f"config.{name}"}
    flag = "--" + name.replace("_", "-")
    if kind is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        return
    if several:
        options["nargs"] = "*"
    metavar = {int: "N", float: "X", str: "NAME"}[kind]
    if takes_auto(name):
        metavar, kind = f"{metavar}|auto", _or_auto(kind)
    parser.add_argument(flag, type=kind, metavar=metavar, **options)


def _or_auto(kind: Any) -> Any:
    """What reads a flag's text as a number, or as auto."""

    def read(text: str) -> Any:
        try:
            return text if text == "auto" else kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}, wanted a number, or auto") from None

    return read


def _add_data(parser: argparse.ArgumentParser, told: str) -> None:
    parser.add_argument("--data", metavar="PATH", help=told)
    parser.add_argument("--target", metavar="FILE", help="of an .npy or IDX file, or the array's name in an .npz")


def _info(options: argparse.Namespace) -> None:
    from . import info

    found = info.collect()
    print(json.dumps(found, indent=2) if options.json else info.as_text(found))


def _warmup(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from . import warmup

    began = time.perf_counter()
    try:
        count = warmup.warm_up(tuple(options.ops), partial(tqdm, unit="kernel", disable=None, leave=False))
    except (ValueError, RuntimeError) as error:
        raise UsageError(str(error).removeprefix("warmup: ")) from error
    _say(f"{count} kernels are compiled, each serial and parallel, in {time.perf_counter() - began:.0f} s")


def _bench(options: argparse.Namespace) -> int:
    device = backend.device(options.device)

    from tqdm import tqdm

    from .bench import run as benchmarks
    from .files import write_atomic

    try:
        wanted = benchmarks.names(options.names)
    except ValueError as error:
        raise UsageError(str(error).removeprefix("bench: ")) from None
    for flag, path in (("--json", options.json), ("--plot", options.plot)):
        if path is not None:
            _check_writable(flag, path)
    if options.plot:
        from .bench import pictures

        pictures.check(options.plot)
    print("measuring what this machine can do at most", file=sys.stderr, flush=True)
    run = benchmarks.Run(device, peers=options.peers, tiny=options.tiny)
    interrupted = False
    try:
        count, terminal = run.count(wanted), sys.stderr.isatty()
        bar = tqdm(run.measure_all(wanted), total=count, unit="shape", disable=not terminal, leave=False)
        for number, name in enumerate(bar, start=1):
            if not terminal:  # where no bar moves
                print(f"{number} of {count}: {name}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        if not run.rows:
            raise
        interrupted = True
    finally:
        run.close()
    for line in run.lines():
        _say(line)
    if interrupted:
        _say("interrupted: what was not measured is not in the table")
    record = run.record()
    if options.json:
        write_atomic(options.json, (json.dumps(record, indent=1) + "\n").encode())
    if options.plot:
        pictures.draw(record, options.plot)
    return 130 if interrupted else 1 if run.failed else 0


def _check_writable(flag: str, path: Path) -> None:
    """Raise, before the work whose result it is to hold, unless a file can be written there."""
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.parent}")
    try:
        if path.is_file():
            with path.open("ab"):
                pass
        elif not path.exists():  # and no pipe, which would wait for its reader
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise UsageError(f"{flag}: cannot write to {path}: {error.strerror}; name another file") from None


def _text(path: Path) -> str:
    """A file's text, with or without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from None


def _config(options: argparse.Namespace) -> Config:
    """The configuration that flags, --set and --config give, the former before the latter."""
    flags = {name.removeprefix("config."): v for name, v in vars(options).items() if name.startswith("config.")}
    given = converted(dict(map(assigned, options.set)), "--set") | converted(flags, "flags")
    base = Config()
    if options.resume is not None:
        if options.config or options.out:
            raise UsageError(
                "--resume goes on in its own folder with its own configuration; leave out --config and --out"
            )
        path = options.resume / "config.toml"
        if not path.exists():
            raise UsageError(f"--resume {options.resume}: there is no config.toml, so this is no run's folder")
        base = Config.from_toml(_text(path), str(path))
        if base.members > 1:
            raise UsageError(f"--resume {options.resume}: a run of several members is not gone on with; train it anew")
        if fixed := [name for name in given if name not in RESUMABLE]:
            raise UsageError(f"--resume cannot change {', '.join(fixed)}; only {' and '.join(RESUMABLE)}")
    elif options.config is not None:
        given = from_toml(_text(options.config), str(options.config)) | given
    config = dataclasses.replace(base, **given)
    if options.resume is not None and config.epochs < base.epochs:
        raise UsageError(
            f"--epochs {config.epochs}: the run in {options.resume} is one of {base.epochs}, wanted no fewer"
        )
    if options.resume is not None and config.epochs > base.epochs and config.schedule in OF_ALL_EPOCHS:
        _say(f"the {config.schedule} schedule is that of a run of {config.epochs} epochs from now on")
    return config


def _check_device_and_data(config: Config) -> None:
    """Raise, before anything large is loaded, for a device or a file that is not there."""
    backend.device(config.device)
    if config.data != "digits" and not Path(config.data).is_file():
        raise UsageError(f"--data {config.data}: there is no such file")


def _check(options: argparse.Namespace) -> int:
    wanted = [check for name, (_, check) in CHECKS.items() if getattr(options, name)]
    if not wanted:
        raise UsageError("say what to check: " + ", ".join(f"--{name} ({told})" for name, (told, _) in CHECKS.items()))
    config = _config(options)
    _check_device_and_data(config)
    right = [check(config, options) for check in wanted]  # all of them, whatever the first finds
    return 0 if all(right) else 1


def _check_gradients(config: Config, options: argparse.Namespace) -> bool:
    from . import recipes

    found = recipes.check_gradients(config, options.samples, say=_say)
    _say(str(found))
    return found.verdict == "right"


CHECKS = {"grad": ("gradients by backward against differences of the loss, on one batch", _check_gradients)}


def _train(options: argparse.Namespace) -> int:
    config = _config(options)
    _check_device_and_data(config)
    found = options.resume is not None or (options.out is not None and options.out.exists())
    out = options.resume or _folder(options.out)

    from . import recipes
    from .ensemble import Bagging
    from .files import write_atomic

    if options.resume and not os.access(out, os.W_OK):
        raise UsageError(f"--resume {out}: cannot write to it")
    resume = out / recipes.CHECKPOINT if options.resume else None
    if resume is not None and not resume.exists():
        raise UsageError(f"--resume {out}: there is no {recipes.CHECKPOINT} yet; start anew")
    _say(f"backend: {backend.describe(backend.device(config.device))}")
    if config.device == "auto" and (reason := backend.cuda_missing()) and importlib.util.find_spec("cupy"):
        _say(f"no GPU, though CuPy is installed: {reason}")
    try:
        if resume is None:
            write_atomic(out / "config.toml", config.to_toml().encode())
        run = recipes.train(config, out=out, resume=resume, say=_say)
        made = config.epochs if isinstance(run.trainer, Bagging) else run.trainer.epochs
        if run.diverged:
            raise UsageError(
                f"the training diverged in epoch {made + 1}, so its weights are not saved; a lower "
                "learning_rate or clip_norm may help"
            )
    except BaseException as error:
        if resume is None and not (out / recipes.CHECKPOINT).exists():
            with contextlib.suppress(OSError):
                (out / "config.toml").unlink(missing_ok=True)
                if not found:
                    out.rmdir()  # it is empty
        if isinstance(error, KeyboardInterrupt) and config.members > 1:
            _say("nothing is kept of a run of several members before all of them are trained")
        raise
    if run.history.interrupted:
        again = f"fastdl train --resume {shlex.quote(str(out))}"
        _say(f"interrupted after {made} of {config.epochs} epochs; go on with: {again}")
    elif made < config.epochs:
        best = 1 + min(range(made), key=run.trainer.history["val_loss"].__getitem__)
        _say(f"stopped after {made} of {config.epochs} epochs; kept is epoch {best}, whose dev loss is the lowest")
    elif resume is not None and not len(run.history):
        _say(f"all {made} epochs were made already; for more: fastdl train --resume {out} --epochs {2 * made}")
    _say_measured("dev", run.dev)
    _say_measured("test", run.test)
    if config.data == "digits":
        _say("              (a random split: the same 13 writers in all parts, so new writers fare worse)")
    _say(f"wall time {run.seconds:.1f} s")
    if len(run.history) or run.history.interrupted or not (out / recipes.MODEL).exists():
        run.save(out)
    names = "config.toml", "history.csv", recipes.MODEL, recipes.CHECKPOINT
    _say(f"saved in {out}: {', '.join(name for name in names if (out / name).exists())}")
    return 130 if run.history.interrupted else 0


def _say_measured(part: str, found: dict[str, float]) -> None:
    told = []
    for name, value in found.items():
        if name == "accuracy":
            told.append(f"accuracy {value:.2%}")
        elif name == "rmse":
            number = f"{value:,.0f}" if 1e4 <= value < 1e12 else f"{value:.4g}"
            told.append(f"error {number} (root mean square, in the target's units)")
        elif name != "loss":
            told.append(f"{'R2' if name == 'r2' else name} {value:.4f}")
    told.append(f"loss {found['loss']:.4f}")
    _say(f"{part:<4} {'   '.join(told)}")


def _loaded(options: argparse.Namespace) -> tuple[Run, str, str | None]:
    """The run that was named, and the file and target that were, or else its own."""
    from . import recipes

    run = recipes.load(options.folder)
    if options.target and run.how.encoder is not None:
        raise UsageError(
            f"--target {options.target}: the run's target is the column {run.how.encoder.target!r}, in every file"
        )
    path = options.data or run.config.data
    if options.data is None and path != "digits" and not Path(path).is_file():
        raise UsageError(f"the run's own data, {path}, is not there, seen from {Path.cwd()}; pass --data")
    target = options.target or (run.config.target if options.data is None else None)
    if path != "digits" and not Path(path).is_file():
        raise UsageError(f"--data {path}: there is no such file")
    return run, path, target


def _evaluate(options: argparse.Namespace) -> None:
    from . import preparation, recipes

    run, path, target = _loaded(options)
    if options.data is None:
        recipes.check_data(run.config, run.texts)
        prepared = preparation.prepare(run.config)
        _say_measured("dev", run.evaluate(*prepared.dev))
        _say_measured("test", run.evaluate(*prepared.test))
        return
    source = preparation.read(path, target, run.config.delimiter)
    _say_measured("all", run.evaluate(run.how.inputs(source), run.how.targets(source)))
    if preparation.fingerprint(dataclasses.replace(run.config, data=path)) == run.texts.get("data"):
        _say("     (the file of the run itself, 7 of whose 10 rows were trained on)")


def _predict(options: argparse.Namespace) -> None:
    from . import preparation
    from .files import write_atomic

    run, path, target = _loaded(options)
    if options.out.exists() and path != "digits" and options.out.samefile(path):
        raise UsageError(f"--out {options.out} is the file of the rows themselves; name another")
    if options.out.suffix == ".safetensors" or not options.out.parent.is_dir():
        raise UsageError(f"--out {options.out}: wanted a .csv file in a folder that exists")
    x = run.how.inputs(preparation.read(path, target, run.config.delimiter))
    if len(x) == 0:
        raise UsageError(f"{path} holds no rows")
    outputs = run.trainer.predict(x)
    found, columns = run.how.decode(outputs), ["prediction"]
    sides = [found.reshape(len(found), -1)]
    if run.how.task != "classification":
        columns = ["prediction"] if sides[0].shape[1] == 1 else [f"prediction {n}" for n in range(sides[0].shape[1])]
    if run.how.task != "regression":
        chances = run.trainer.probabilities(outputs)
        names = run.how.classes or tuple(map(str, range(chances.shape[1])))
        columns += [f"probability of {name}" for name in names]
        sides.append(chances)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *columns])
    for number, cells in enumerate(zip(*(side.tolist() for side in sides), strict=True), start=1):
        writer.writerow([number, *(cell for side in cells for cell in side)])
    write_atomic(options.out, text.getvalue().encode())
    _say(f"{len(found):,} predictions are in {options.out}")


def _next_free(runs: Path) -> Path:
    """A folder that this process has made, so that no other takes the same number."""
    try:
        runs.mkdir(exist_ok=True)
        number = 1
        while True:
            with contextlib.suppress(FileExistsError):
                (runs / str(number)).mkdir()
                return runs / str(number)
            number += 1
    except OSError as error:
        raise UsageError(f"cannot write to {runs}: {error.strerror}; name a folder with --out") from None


def _folder(wanted: Path | None) -> Path:
    """A new or empty folder for a run, made; the first free number under runs/ where none was named."""
    if wanted is None:
        wanted = _next_free(Path("runs"))
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
