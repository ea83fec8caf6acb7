"""Files: whole or not at all, and damage found out."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fastdl import checkpoint
from fastdl.files import write_atomic

ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([1, 2], np.int64), "s": np.float64(3.5)}


def test_arrays_and_texts_come_back(tmp_path):
    checkpoint.save(tmp_path / "a", ARRAYS, {"model": "ünïcode"})
    arrays, texts = checkpoint.load(tmp_path / "a")
    assert texts == {"model": "ünïcode"}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


@pytest.mark.parametrize("view", [np.transpose, lambda a: a[::2, ::-1], np.asfortranarray])
def test_strided_arrays_are_written_by_value(tmp_path, view):
    array = view(np.arange(20.0).reshape(4, 5))
    checkpoint.save(tmp_path / "a", {"a": array})
    np.testing.assert_array_equal(checkpoint.load(tmp_path / "a")[0]["a"], array)


def test_foreign_byte_orders_and_any_name_of_a_text_come_back(tmp_path):
    checkpoint.save(tmp_path / "a", {"a": np.arange(3, dtype=">f4")}, {"sha256": "mine", "texts": "t"})
    arrays, texts = checkpoint.load(tmp_path / "a")
    np.testing.assert_array_equal(arrays["a"], [0, 1, 2])
    assert texts == {"sha256": "mine", "texts": "t"}
    with pytest.raises(ValueError, match="an array is named __metadata__"):
        checkpoint.save(tmp_path / "b", {"__metadata__": np.ones(1)})
    assert not (tmp_path / "b").exists()


def test_every_flipped_byte_and_every_truncation_is_found_out(tmp_path):
    path = tmp_path / "a"
    checkpoint.save(path, ARRAYS, {"model": "m"})
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match=r"checkpoint\.load"):
            checkpoint.load(path)
        path.write_bytes(whole[:at])
        with pytest.raises(ValueError, match=r"checkpoint\.load"):
            checkpoint.load(path)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    code = (
        "import sys, numpy as np; from fastdl import checkpoint; "
        "checkpoint.save(sys.argv[1], {c: np.ones(3) for c in 'abcdef'}, {c: c for c in 'uvwxyz'})"
    )
    for name in "pq":
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True)
    assert (tmp_path / "p").read_bytes() == (tmp_path / "q").read_bytes()


def test_a_file_of_somebody_else_is_told(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.ones(2)}, tmp_path / "a")
    with pytest.raises(ValueError, match="holds no hash, so it was not written by fastdl"):
        checkpoint.load(tmp_path / "a")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


SAVE = """
import sys, numpy as np
from fastdl import checkpoint
arrays = {f"{n}": np.full(100_000, n, np.float32) for n in range(8)}
print("ready", flush=True)
while True:
    checkpoint.save(sys.argv[1], arrays, {"all": "of it"})
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no kill -9")
def test_saves_killed_at_random_moments_leave_a_whole_file_and_nothing_else(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a[1]"
    for _ in range(15):
        child = subprocess.Popen([sys.executable, "-c", SAVE, path], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.03))
        child.kill()
        child.communicate()
        if path.exists():
            arrays, texts = checkpoint.load(path)
            assert sorted(arrays) == list("01234567")
            assert texts == {"all": "of it"}
    checkpoint.save(path, ARRAYS)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="there such files cannot be removed anyway")
def test_unfinished_files_of_the_living_stay(tmp_path):
    import fcntl

    living, other = tmp_path / f".a.{'0' * 12}.part", tmp_path / ".a.my.notes.part"
    other.write_bytes(b"half")
    with living.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_atomic(tmp_path / "a", b"new")
        assert sorted(tmp_path.iterdir()) == sorted([living, other, tmp_path / "a"])
    write_atomic(tmp_path / "a", b"newer")
    assert sorted(tmp_path.iterdir()) == sorted([other, tmp_path / "a"])


@pytest.mark.skipif(os.name != "posix", reason="links need rights there")
def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    write_atomic(tmp_path / "there" / "file", b"old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_takes_the_bytes_and_stays(tmp_path):
    path, got = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_atomic(path, b"bytes")
    reader.join()
    assert got == [b"bytes"]
    assert path.is_fifo()
    assert [*tmp_path.iterdir()] == [path]


def test_threads_that_write_one_file_do_not_hurt_each_other(tmp_path):
    path = tmp_path / "a"
    contents = [bytes([n]) * 50_000 for n in range(4)]
    threads = [threading.Thread(target=lambda c=c: [write_atomic(path, c) for _ in range(25)]) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
