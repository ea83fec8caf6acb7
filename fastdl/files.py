"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
from pathlib import Path

ABANDONED = 3600  # seconds after which an unfinished file of a dead process is swept away


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that after a crash at any moment the old one or the new one is there, whole.

    What is left over, an hour later, of a write that was killed is removed.
    """
    target = Path(path)
    _sweep(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the name must reach the disk as well
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sweep(target: Path) -> None:
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        process = left.name.split(".")[-3]
        with contextlib.suppress(OSError):
            # On a shared folder the number may be another machine's, where it still writes.
            old = time.time() - left.stat().st_mtime > ABANDONED
            if old and process.isdigit() and not _alive(int(process)):
                left.unlink()


def _alive(process: int) -> bool:
    if os.name != "posix":  # there os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
