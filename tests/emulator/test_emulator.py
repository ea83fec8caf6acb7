"""The emulator finds what is planted in planted.cu, and nothing in what is right."""

import subprocess
import sys
from pathlib import Path

import emulator
import numpy as np
import pytest
import sanitized

from fastdl.kernels import _cuda

HERE = Path(__file__).parent
TYPES = (_cuda.HERE / "types.cuh").read_text()
PLANTED = (HERE / "planted.cu").read_text().replace('#include "types.cuh"', f'{TYPES}#line 3 "planted.cu"')
PLANTED = f'#line 1 "planted.cu"\n{PLANTED}'
NAMES = [line.split("(")[0].split()[-1] for line in PLANTED.splitlines() if line.startswith('extern "C"')]
SIZE = 64
ORDERS = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2), ("random", 3)]


@pytest.fixture(scope="module")
def planted():
    return emulator.build("planted", PLANTED, NAMES)


def launch(kernel, *args, **options):
    kernel((1,), (SIZE,), args, **options)


# ---------------------------------------------------------------- wrong results


def results(planted, name, x):
    found = []
    for order, seed in ORDERS:
        y = np.zeros(SIZE, np.float32)
        with emulator.cuda(order, seed):
            launch(planted(name), x, y)
        found.append(y)
    return found


RIGHT = {
    "missing_barrier": lambda x: x[:SIZE][::-1],
    "missing_second_barrier": lambda x: x.reshape(4, SIZE).sum(0)[::-1],
    "missing_warp_barrier": lambda x: x[:SIZE].reshape(-1, 2)[:, ::-1].ravel(),
    "unset_shared_memory": lambda x: x[:SIZE],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_missing_barrier_gives_a_wrong_result_in_some_order(planted, name):
    x = np.arange(4 * SIZE, dtype=np.float32)
    found = results(planted, name, x)
    assert not all(np.array_equal(y, RIGHT[name](x)) for y in found)


def test_reverse_order_alone_is_not_enough(planted):
    x = np.arange(4 * SIZE, dtype=np.float32)
    wrong = [
        not np.array_equal(y, RIGHT["missing_second_barrier"](x)) for y in results(planted, "missing_second_barrier", x)
    ]
    assert any(wrong[2:])


def test_an_order_is_drawn_from_its_seed(planted):
    x = np.arange(SIZE, dtype=np.float32)
    again = [results(planted, "missing_barrier", x) for _ in range(2)]
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*again, strict=True))
    assert not np.array_equal(again[0][2], again[0][3], equal_nan=True)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "name, args, message",
    [
        ("early_return", (np.int32(40),), r"a barrier after 24 threads of the block returned; block \(0, 0, 0\)"),
        ("two_barriers", (), r"planted.cu:\d+#\d+ and .*planted.cu:\d+#\d+"),
        ("shuffle_without_all", (), r"the mask names a lane that returned or does not exist; .* thread \(\d+, 0, 0\)"),
        ("shuffle_from_outside", (), r"a shuffle reads a lane that the mask does not name"),
    ],
)
def test_misuse_of_barriers_is_an_error_that_names_where(planted, name, args, message):
    with pytest.raises(emulator.EmulatorError, match=rf"^planted.{name}: .*{message}"):
        launch(planted(name), np.zeros(SIZE, np.float32), *args)


@pytest.mark.parametrize(
    "args, message",
    [
        ((), r"takes 2 arguments, got 0"),
        ((np.zeros(SIZE, np.float32), np.int64(3)), r"argument 1 is of 4 bytes, got 8"),
    ],
)
def test_arguments_of_a_wrong_number_or_size(planted, args, message):
    with pytest.raises(emulator.EmulatorError, match=message):
        launch(planted("early_return"), *args)


@pytest.mark.parametrize("grid, block", [((0,), (32,)), ((1,), (2048,)), ((1, 70000), (32,)), ((1,), (0,))])
def test_shapes_that_cannot_be_launched(planted, grid, block):
    with pytest.raises(emulator.EmulatorError, match="cannot be launched"):
        planted("two_barriers")(grid, block, (np.zeros(SIZE, np.float32),))


def test_a_barrier_of_half_a_warp_forgets_the_shuffle_before_it(planted):
    x = np.arange(SIZE, dtype=np.float32)
    for y in results(planted, "barrier_of_half_after_a_shuffle", x):
        np.testing.assert_array_equal(y, x // 32 * 32)


@pytest.mark.skipif(bool(emulator.SANITIZER), reason="a sanitizer wants no guards, and names the line")
def test_a_write_beyond_the_end_is_an_error_that_names_the_kernel(planted):
    y = np.zeros(40, np.float32)
    launch(planted("beyond_the_end"), y, np.int32(39))
    with pytest.raises(emulator.EmulatorError, match=r"^planted.beyond_the_end: .* of shape \(40,\) .* was written"):
        launch(planted("beyond_the_end"), y, np.int32(40))


@pytest.mark.skipif(bool(emulator.SANITIZER), reason="a sanitizer wants no guards, and names the line")
@pytest.mark.parametrize("size, place", [(39, 40), (40, -1), (40, -16)])
def test_a_write_a_little_apart_from_an_array_is_one_too(size, place):
    source = 'extern "C" __global__ void set(float* y, int at) { y[at] = 1; }'
    kernel = emulator.build("set", source, ["set"])("set")
    with pytest.raises(emulator.EmulatorError, match=rf"^set.set: .* of shape \({size},\) .* was written"):
        kernel((1,), (1,), (np.zeros(size, np.float32), np.int32(place)))


@pytest.mark.parametrize(
    "line, message",
    [
        ("y[0] = __nothing(y[1]);", r"mine\.cu:2:\d+: error: .*__nothing"),
        ("y[0] = absent(y[1]);", "absent"),  # declared, and nowhere defined
    ],
)
def test_what_is_lacking_is_an_error_that_names_it(line, message):
    source = f'__device__ float absent(float);\nextern "C" __global__ void set(float* y) {{ {line} }}\n'
    with pytest.raises(emulator.EmulatorError, match=message):
        emulator.build("mine.cu", source, ["set"])


def test_atomics_add_up_in_every_order(planted):
    for order, seed in ORDERS:
        count = np.zeros(1, np.int32)
        with emulator.cuda(order, seed):
            launch(planted("atomic_by_all"), count)
        assert count == SIZE


def test_subnormal_numbers_are_zero_where_the_device_makes_them_so():
    source = 'extern "C" __global__ void halve(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] * 0.5f; }'
    kernel = emulator.build("halve", source, ["halve"])("halve")
    tiny = np.full(1, np.finfo(np.float32).tiny)
    for flush, right in ((True, 0), (False, tiny / 2)):
        y = np.full(1, 7, np.float32)
        with emulator.cuda(flush=flush):
            kernel((1,), (1,), (tiny, y))
        assert y == right


def test_a_view_keeps_its_place_and_shares_its_memory():
    source = 'extern "C" __global__ void add(const float* x, float* y) { y[0] = x[0] + x[1]; }'
    whole = np.float32([1, 2, 3, 4])
    emulator.build("add", source, ["add"])("add")((1,), (1,), (whole[1:], whole))
    assert whole.tolist() == [5, 2, 3, 4]


# ---------------------------------------------------------------- sanitizers, in processes of their own


def run_planted(sanitizer, name, *args, shared=0):
    """Launch in a process of its own; "float32 x 64" stands for an array, a number for itself."""
    code = (
        "import numpy as np, sys, test_emulator as t, emulator\n"
        f"kernel = emulator.build('planted', t.PLANTED, t.NAMES)('{name}')\n"
        "made = [np.zeros(int(a.split()[2]), a.split()[0]) if ' ' in a else np.int32(a) for a in sys.argv[1:]]\n"
        f"t.launch(kernel, *made, shared_mem={shared})\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env=sanitized.environment(sanitizer),
        capture_output=True,
        text=True,
        timeout=300,
    )


def line_of(name, text):
    """The number of the line of planted.cu, after the kernel's first one, that holds `text`."""
    lines = (HERE / "planted.cu").read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith('extern "C"') and f" {name}(" in line)
    return next(n + 1 for n in range(first, len(lines)) if text in lines[n])


@pytest.mark.parametrize(
    "name, args, shared, message, where",
    [
        ("beyond_the_end", ("float32 x 40", "39"), 0, None, ""),
        ("beyond_the_end", ("float32 x 40", "40"), 0, "heap-buffer-overflow", "y[threadIdx.x] = 1"),
        ("beyond_shared_memory", ("float32 x 64", "0"), 0, None, ""),
        ("beyond_shared_memory", ("float32 x 64", "1"), 0, "out of bounds", "seen[threadIdx.x + by]"),
        ("too_little_dynamic_shared_memory", ("float32 x 64",), 256, None, ""),
        ("too_little_dynamic_shared_memory", ("float32 x 64",), 252, "heap-buffer-overflow", "seen[threadIdx.x] = 1"),
        ("misaligned", ("float32 x 300",), 0, "misaligned address", "float4"),
    ],
)
def test_address_sanitizer_names_the_line(name, args, shared, message, where):
    done = run_planted("address", name, *args, shared=shared)
    if message is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode != 0
        assert message in done.stderr
        assert f"planted.cu:{line_of(name, where)}" in done.stderr


@pytest.mark.parametrize(
    "name, args, lines",
    [
        ("missing_barrier", ("float32 x 64", "float32 x 64"), ("seen[threadIdx.x] = x", "y[threadIdx.x] = seen")),
        ("missing_second_barrier", ("float32 x 256", "float32 x 64"), ("seen[threadIdx.x] = x", "sum += seen")),
        ("missing_warp_barrier", ("float32 x 64", "float32 x 64"), ("seen[threadIdx.x] = x", "y[threadIdx.x] = seen")),
        ("shuffle_for_a_barrier", ("float32 x 64", "float32 x 64"), ("seen[threadIdx.x] = x", "first + seen")),
        ("vote_for_a_barrier", ("float32 x 64", "float32 x 64"), ("seen[threadIdx.x] = x", "any + seen")),
        ("halves_of_a_warp", ("float32 x 64", "float32 x 64", "16"), ("seen[threadIdx.x] = x", "threadIdx.x ^ apart")),
        ("halves_of_a_warp", ("float32 x 64", "float32 x 64", "1"), ()),
        ("barrier_of_half_after_a_shuffle", ("float32 x 64", "float32 x 64"), ()),
        ("write_by_all", ("float32 x 1",), ("y[0] +=",)),
        ("atomic_by_all", ("int32 x 1",), ()),
        ("unset_shared_memory", ("float32 x 64", "float32 x 64"), ()),
    ],
)
def test_thread_sanitizer_names_both_lines_of_a_race(name, args, lines):
    done = run_planted("thread", name, *args)
    assert ("data race" in done.stderr) == bool(lines), done.stderr
    for text in lines:
        assert f"planted.cu:{line_of(name, text)}" in done.stderr
