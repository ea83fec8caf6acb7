"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # on Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that after a crash at any moment the old one or the new one is there, whole.

    What a write that was killed has left over is removed. A device or a pipe, /dev/stdout say, takes the bytes as
    they are: it cannot be replaced.
    """
    given = Path(path)
    if given.exists() and not given.is_file() and not given.is_dir():
        given.write_bytes(data)
        return
    target = Path(os.path.realpath(path))  # what a link points to
    _sweep(target)
    with _unfinished(target) as (temporary, file):
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()
        temporary.replace(target)
    if os.name == "posix":  # the name must reach the disk as well
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file beside the target, locked as long as its writer lives; removed if an error comes."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        with temporary.open("xb") as file:
            try:
                # Between the two, somebody who sweeps may have taken it for abandoned.
                if not _lock(file, without_locks=True) or not temporary.exists():
                    continue
                yield temporary, file
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return


def _lock(file: BinaryIO, *, without_locks: bool) -> bool:
    """Lock a file; False if another has it, and as told where the file system knows no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return without_locks
    return True


def _sweep(target: Path) -> None:
    """Remove unfinished files of this target whose writers are dead: the system has given up their locks."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}\.part")
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        if not ours.fullmatch(left.name):
            continue
        with contextlib.suppress(OSError), left.open("rb") as file:
            if _lock(file, without_locks=False):
                left.unlink()
