"""Where compiled kernels are kept, so that a second process need not compile them again.

Each compiled signature is one file: a SHA-256 digest, then what Numba needs to rebuild the code.
The folder is private to the user and named after everything that the code depends on. What cannot
be read back whole is compiled again; what cannot be written is compiled in memory.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import platform
import tempfile
import warnings
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps


class CacheWarning(UserWarning):
    """Compiled kernels cannot be kept on disk, so every process compiles its own."""


def root() -> Path:
    """The folder that holds all caches: $FASTDL_CACHE_DIR, or fastdl in the user's cache folder."""
    if own := os.environ.get("FASTDL_CACHE_DIR"):
        return Path(own).absolute()
    if os.name == "nt" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "fastdl"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastdl"


@functools.cache
def folder() -> Path | None:
    """This version's cache folder, made with mode 0700; None, and one warning, where none can be had."""
    try:
        path = root() / _key()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            status = path.stat()
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                raise PermissionError(f"{path} can be written by another user")
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, RuntimeError) as error:
        _warn(error)
        return None
    return path


def _key() -> str:
    """A name that changes with the kernels' sources, with the compiler and with its options."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for source in sorted(here.rglob("*.py")):
        digest.update(source.relative_to(here).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    options = [getattr(numba.config, name, None) for name in ("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE")]
    digest.update(repr(options).encode())
    versions = f"numba{numba.__version__}-llvmlite{llvmlite.__version__}-py{platform.python_version()}"
    return f"{versions}-{digest.hexdigest()[:16]}"


_warned = False


def _warn(error: BaseException) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"fastdl: compiled kernels cannot be kept in {root()} ({error}); they are compiled in "
            "memory, at each start. Set FASTDL_CACHE_DIR to a folder of your own to keep them.",
            CacheWarning,
            stacklevel=2,
        )


class KernelCache(_Cache):
    """Numba's cache interface for one compilation of one kernel."""

    def __init__(self, name: str):
        self.name = name

    @property
    def cache_path(self) -> str:
        return str(folder())

    def enable(self) -> None:
        pass

    def disable(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        where = folder()
        if where is None:
            return None
        what = repr((signature, codegen.magic_tuple()))  # the magic names the CPU and its features
        return where / f"{self.name}-{hashlib.sha256(what.encode()).hexdigest()[:16]}.kernel"

    def holds(self, signature: Any, dispatcher: Any) -> bool:
        """Whether there is a file for it."""
        path = self._path(signature, dispatcher.targetctx.codegen())
        return path is not None and path.exists()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        target_context.refresh()
        path = self._path(signature, target_context.codegen())
        if path is None:
            return None
        try:
            data = path.read_bytes()
            if hashlib.sha256(data[32:]).digest() != data[:32]:
                return None  # truncated or damaged: compiled again, and written over
            return CompileResult._rebuild(target_context, *pickle.loads(data[32:]))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a file that is not ours holds, the kernel must run
            _warn(error)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        path = self._path(signature, compiled.codegen)
        if path is None:
            return
        try:
            payload = dumps(compiled._reduce())
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(payload).digest() + payload)
                Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            _warn(error)
