"""What a figure was measured on: processor, caches, libraries, threads, and settings that change their speed."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

import threadpoolctl

from fastdl import info
from fastdl.kernels import _processor

SETTINGS = ("OPENBLAS_", "OMP_", "GOMP_", "MKL_", "NUMBA_")


def describe(device: str = "cpu") -> dict[str, Any]:
    """All that is known of it, as plain values."""
    found = info.collect()
    kept = "fastdl", "processor", "cores", "system", "python", "packages", "backends", "threads"
    return {
        **{name: found[name] for name in kept if name in found},
        **({"gpu": _describe_gpu()} if device == "cuda" else {}),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "last_cache_bytes": last_cache(),
        "blas": _blas(),
        "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)},
    }


def _gpu() -> dict[str, Any]:
    cupy = importlib.import_module("cupy")
    found: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return found


def _describe_gpu() -> dict[str, Any]:
    cupy, properties = importlib.import_module("cupy"), _gpu()
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "last_cache_bytes": properties["l2CacheSize"],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "nvrtc": cupy.cuda.nvrtc.getVersion(),
    }


BUSY = 0.5  # a load at the start that tells of other work on the machine


def warnings(found: dict[str, Any]) -> list[str]:
    """Lines for people, where what was found here makes a machine look like another, or a slower one."""
    lines = []
    if core := found["settings"].get("OPENBLAS_CORETYPE"):
        lines.append(f"OPENBLAS_CORETYPE={core} is set: products run on that processor's kernels, not on this one's")
    if found["load"] is not None and found["load"] > BUSY:
        lines.append(
            f"warning: the load was {found['load']:.2f} at the start: other work ran on this machine, so its ceilings"
            " and times may be too slow; ratios suffer less"
        )
    return lines


def preemptions() -> int:
    """How often another process has taken a core from this one; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def last_cache(device: str = "cpu") -> int:
    """Bytes of the largest cache."""
    return int(_gpu()["l2CacheSize"]) if device == "cuda" else _processor.last_cache()


def all_blas_threads() -> contextlib.AbstractContextManager[Any]:
    """While within it, every BLAS has all threads, whatever it was held to."""
    _load_blas()
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits: contextlib.AbstractContextManager[Any] = threadpoolctl.threadpool_limits(count, user_api="blas")
    return limits


def _load_blas() -> None:
    """NumPy's, and the one that SciPy brings: threadpoolctl sees only what is loaded."""
    import scipy.linalg.blas  # noqa: F401


def _blas() -> list[dict[str, Any]]:
    _load_blas()
    return [
        {
            "library": Path(library["filepath"]).name,
            "api": library["internal_api"],
            "version": library["version"],
            "core": library.get("architecture"),
            "threads": library["num_threads"],
        }
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    ]
