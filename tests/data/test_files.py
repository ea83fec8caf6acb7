"""IDX, .npy and .npz: exact values, and files that are cut short or lie."""

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastdl import data

IDX = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
SHAPES = hnp.array_shapes(max_dims=4, min_side=0, max_side=5)
ARRAYS = st.sampled_from(sorted(IDX)).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))


def idx(array):
    """The bytes of an IDX file, from the description at http://yann.lecun.com/exdb/mnist/."""
    head = struct.pack(">HBB", 0, IDX[array.dtype.str[1:]], array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def refused(read, path, content, message):
    """Reading `content` raises with the file's name and `message`, and takes little memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message) as raised:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert str(path) in str(raised.value)


@given(array=ARRAYS, packed=st.booleans())
def test_idx_files_are_read_to_the_bit(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "a"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    got = data.load_idx(path)
    assert (got.shape, got.dtype) == (array.shape, array.dtype)
    assert got.dtype.isnative
    assert got.flags.writeable
    np.testing.assert_array_equal(got, array)


def test_an_idx_file_cut_at_any_byte_or_too_long_is_refused(tmp_path):
    whole = idx(np.arange(6, dtype=np.int16).reshape(2, 3))
    for length in range(len(whole)):
        refused(
            data.load_idx, tmp_path / "a", whole[:length], r"begins with|ends in its header|holds \d+ bytes, wanted 24"
        )
    refused(data.load_idx, tmp_path / "a", whole + b"\0", "holds 25 bytes, wanted 24 for shape .2, 3. of int16; fetch")


def test_a_packed_idx_file_cut_at_any_byte_or_too_long_is_refused(tmp_path):
    whole = idx(np.arange(6, dtype=np.int16).reshape(2, 3))
    packed = gzip.compress(whole)
    for length in range(len(packed)):
        refused(data.load_idx, tmp_path / "a", packed[:length], "damaged gzip|begins with")
    refused(data.load_idx, tmp_path / "a", gzip.compress(whole[:-1]), "holds fewer bytes than the 24")
    refused(data.load_idx, tmp_path / "a", gzip.compress(whole + b"\0"), "holds more bytes than the 24")
    damaged = bytearray(packed)
    damaged[-6] ^= 1  # of the checksum
    refused(data.load_idx, tmp_path / "a", damaged, "damaged gzip file .CRC")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"begins with the bytes \(none\)"),
        (b"\x89PNG", "begins with the bytes 89 50 4e 47, wanted 00 00, a type"),
        (bytes([0, 0, 0x0A, 1, 0, 0, 0, 0]), "begins with the bytes 00 00 0a 01"),
        (bytes([0, 0, 8, 0, 7]), "says 0 dimensions, wanted 1 to 32"),
        (bytes([0, 0, 8, 33]) + bytes(33 * 4), "says 33 dimensions, wanted 1 to 32"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "holds 16 bytes, wanted 79,228,162,458,924,105,385,300,197,391"),
        (gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12, mtime=0), "unpacks to at most .* bytes, wanted 79,228,162"),
    ],
)
def test_idx_headers_that_cannot_be_are_refused(tmp_path, content, message):
    refused(data.load_idx, tmp_path / "a", content, message)


@pytest.mark.parametrize("read", [data.load_idx, data.load_npy, data.load_npz, data.read_csv])
def test_a_file_that_is_not_there_is_an_os_error(tmp_path, read):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(array=hnp.arrays(hnp.floating_dtypes() | hnp.integer_dtypes() | hnp.unicode_string_dtypes(), SHAPES))
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_are_mapped_as_numpy_reads_them(tmp_path_factory, array, order):
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, np.asarray(array, order=order))
    got = data.load_npy(path)
    assert (got.shape, got.dtype) == (array.shape, array.dtype)
    assert array.size == 0 or (isinstance(got, np.memmap) and got.mode == "r")
    assert not got.flags.writeable
    np.testing.assert_array_equal(got, np.load(path, allow_pickle=False))


def test_an_npy_file_cut_at_any_byte_or_too_long_is_refused(tmp_path):
    whole = npy(np.arange(3.0))
    for length in range(len(whole)):
        refused(
            data.load_npy, tmp_path / "a", whole[:length], "does not begin as|holds .* bytes, wanted 152 for shape .3,."
        )
    refused(data.load_npy, tmp_path / "a", whole + b"\0", "holds 153 bytes, wanted 152")


def header(text, version=1):
    text = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"), "wanted 8,000,000,000,128 for"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}"), "wanted no negative sizes"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 10000000000000000000)}"), "wanted sizes below"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "holds Python objects, which are not read"),
        (header("{'descr': '<f8', 'shape': (1,)}"), "does not begin as a .npy file"),
        (header("__import__('os').getcwd()"), "does not begin as a .npy file"),
        (header("((((((("), "does not begin as a .npy file"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", version=9), r"version \(9, 0\)"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "does not begin as a .npy file"),
        (b"PK\x03\x04", "does not begin as a .npy file"),
    ],
)
def test_npy_headers_that_cannot_be_are_refused(tmp_path, content, message):
    refused(data.load_npy, tmp_path / "a", content, message)
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("x.npy", content)
    refused(lambda path: data.load_npz(path, ("x",)), tmp_path / "z", (tmp_path / "z").read_bytes(), message)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_an_archive_come_in_the_order_asked_for(tmp_path, save):
    path = tmp_path / "set.npz"
    images, labels = np.zeros((500, 500), np.float32), np.arange(3)[::-1]
    save(path, images=images, labels=labels, more=np.array("text"))
    got = data.load_npz(path, ("labels", "images"))
    np.testing.assert_array_equal(got[0], labels)
    np.testing.assert_array_equal(got[1], images)
    with pytest.raises(ValueError, match=r"set.npz has no array 'x'; there are 'images', 'labels', 'more'"):
        data.load_npz(path)


def test_an_archive_cut_or_changed_at_any_byte_never_gives_other_arrays(tmp_path):
    path, file = tmp_path / "set.npz", io.BytesIO()
    x = np.arange(4, dtype=np.int16)
    np.savez_compressed(file, x=x)
    whole = file.getvalue()
    for length in range(len(whole)):
        refused(lambda path: data.load_npz(path, ("x",)), path, whole[:length], "no whole .npz archive")
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(data.load_npz(path, ("x",))[0], x)  # dates, say, do not matter
        except ValueError as error:
            assert str(path) in str(error)


def test_an_archive_that_says_that_it_unpacks_to_more_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (500000000,)}"))
    whole = bytearray(file.getvalue())
    said = struct.pack("<I", 4_000_000_128)
    entry = whole.index(b"PK\x01\x02")
    whole[22:26] = whole[entry + 24 : entry + 28] = said
    refused(lambda path: data.load_npz(path, ("x",)), tmp_path / "z", whole, "says 4,000,000,128 bytes .* cannot be")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.arange(4.0))[:-1])
    refused(lambda path: data.load_npz(path, ("x",)), tmp_path / "z", file.getvalue(), "holds 159 bytes, wanted 160")
