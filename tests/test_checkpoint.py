"""Files: whole or not at all, and damage found out."""

import os
import subprocess
import sys

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


@pytest.mark.skipif(os.name != "posix", reason="process numbers are asked for by signal 0")
def test_old_leftovers_of_the_dead_are_swept_and_no_others(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, young, living, other = (
        tmp_path / f".{name}.part"
        for name in (f"a[1].{child.pid}.00", f"a[1].{child.pid}.01", f"a[1].{os.getppid()}.00", f"b.{child.pid}.00")
    )
    for left in (dead, young, living, other):
        left.write_bytes(b"half")
        if left != young:
            os.utime(left, (0, 0))
    write_atomic(tmp_path / "a[1]", b"new")
    assert [left.exists() for left in (dead, young, living, other)] == [False, True, True, True]
