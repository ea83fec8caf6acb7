"""What fastdl finds on this machine: versions, backends and why one is missing, threads, BLAS, cache."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

from . import __version__, backend

_PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "safetensors", "threadpoolctl", "tqdm", "cupy-cuda13x")
_SETTINGS = (
    "FASTDL_CACHE_DIR",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_THREAD_TIMEOUT",
)


def collect() -> dict[str, Any]:
    """Everything `fastdl info` shows, as plain values.

    Examples
    --------
    >>> from fastdl import info
    >>> info.collect()["backends"]["numpy"]
    'usable'
    """
    numba, cuda = backend.numba_missing(), backend.cuda_missing()
    found: dict[str, Any] = {
        "fastdl": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "backends": {
            "numpy": "usable",
            "numba": f"not usable: {numba}" if numba else "usable",
            "cuda": f"not usable: {cuda}" if cuda else "usable",
        },
        "settings": {name: os.environ[name] for name in _SETTINGS if name in os.environ},
        "advice": _advice(),
    }
    return found | _numba_details() if numba is None else found


def _numba_details() -> dict[str, Any]:
    threads = importlib.import_module("fastdl.kernels._numba").threads
    cache = importlib.import_module("fastdl.kernels._cache")
    blas = importlib.import_module("fastdl.kernels._blas")
    folder = cache.folder()
    return {
        "threads": {"layer": threads.layer, "count": threads.count},
        "blas": blas.describe(),
        "cache": {
            "folder": str(folder or cache.root()),
            "kernels": len(list(folder.glob("*.kernel"))) if folder else 0,
        },
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _advice() -> list[str]:
    """What keeps this machine from its speed, or this project from being itself."""
    found = []
    if _version("fastdl"):
        found.append(
            "another distribution, called fastdl, is installed and has the same import name as this one "
            "(fastdl-kernels); uninstall it: pip uninstall fastdl"
        )
    if core := os.environ.get("OPENBLAS_CORETYPE"):
        found.append(f"OPENBLAS_CORETYPE={core} makes OpenBLAS use that processor's kernels; unset it to let it choose")
    return found


def as_text(found: dict[str, Any]) -> str:
    """The same for people: a line a fact."""
    lines = []
    for name, value in found.items():
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {key:<24} {'not installed' if item is None else item}" for key, item in value.items()]
        elif isinstance(value, list):
            lines.append(f"{name}:" if value else f"{name}: none")
            lines += [f"  {item}" for item in value]
        else:
            lines.append(f"{name + ':':<12} {value}")
    return "\n".join(lines)
