"""The launch helper: what a manifest says is held against what a launch is given, and faults name their kernel."""

import emulator
import numpy as np
import pytest

from fastdl.kernels import _cuda
from fastdl.kernels._cuda import Kernel, Launch, Source
from fastdl.kernels.activation.cuda import source as activation
from fastdl.kernels.add import cuda as add
from fastdl.kernels.control import cuda as control


def floats(n=4, dtype=np.float32):
    return np.ones(n, dtype)


def test_a_manifest_is_read_as_cpp():
    first, second, third = Kernel("const real* x, i64 n, real* y", 32).parsed()
    assert first == ("x", "real", True, False)
    assert second == ("n", "i64", False, False)
    assert third == ("y", "real", True, True)


@pytest.mark.parametrize("op", ["activation", "add", "control", "matmul", "softmax_cross_entropy", "updates"])
def test_manifests_are_what_the_sources_declare(op):
    source = __import__(f"fastdl.kernels.{op}.cuda", fromlist=["source"]).source
    with emulator.cuda():
        for number, variant in enumerate(source.variants):
            for name, kernel in source.manifest.items():
                wanted = ", ".join(
                    f"{'const ' if p.pointer and not p.changed else ''}{variant.get(p.type, p.type)}{'*' * p.pointer}"
                    for p in kernel.parsed()
                )
                found = emulator.library(source)(f"variant_{number}::{name}").signature
                assert found == wanted.replace("Record", "something else"), name


@pytest.mark.parametrize(
    "launch, message",
    [
        (Launch("forward", 1, (floats(), floats(), 4)), r"add.forward: got 3 arguments, wanted 4"),
        (Launch("forward", 1, (floats(), floats(4, np.float64), floats(), 4)), r"b is of float64, wanted float32"),
        (Launch("forward", 1, (floats(), floats(), floats(), 4), block=(32, 2)), r"got a block of \(32, 2\) threads"),
    ],
)
def test_launches_that_do_not_fit_the_manifest(launch, message):
    with emulator.cuda(), pytest.raises(TypeError, match=message):
        add.source.call(launch)


def test_numpy_arrays_never_reach_a_device():
    launch = Launch("forward", 1, (floats(), floats(), floats(), 4))
    with pytest.raises(TypeError, match=r"^add.forward: a is a NumPy array, wanted CuPy's"):
        add.source.call(launch)


def test_scalars_have_just_the_size_that_the_kernel_reads():
    x = floats()
    with emulator.cuda():
        call = activation.call(Launch("relu", 1, (x, 0.01, x, 4)))
        wide = activation.call(Launch("relu", 1, (floats(4, np.float64), 0.01, floats(4, np.float64), 4)))
    assert [type(a) for a in call.arguments[1::2]] == [np.float32, np.int64]
    assert type(wide.arguments[1]) is np.float64


def test_nothing_is_launched_for_no_blocks():
    with emulator.cuda():
        assert add.forward.calls((floats(0), floats(0), floats(0))) == []


def test_a_fault_names_the_kernel():
    def fault(*_):
        raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

    call = _cuda.Call("add.forward", fault, (1,), (256,), ())
    message = r"kernel add.forward, or one before it, failed on the device: CUDA_ERROR_ILLEGAL_ADDRESS; nothing on it"
    with pytest.raises(_cuda.DeviceError, match=message + ".*FASTDL_SYNC=1"):
        call()
    text = str(
        _cuda.device_error("kernel add.forward", RuntimeError("cudaErrorInvalidConfiguration: invalid configuration"))
    )
    assert text.endswith("invalid configuration")  # which leaves the device as it was


def test_the_emulators_errors_name_kernel_line_block_and_thread():
    x = floats(40)
    source = Source("add", add.source.manifest)
    with emulator.cuda():
        call = source.call(Launch("forward", 1, (x, x, x, 40)))
        with pytest.raises(_cuda.DeviceError, match=r"kernel add.forward, .*a block of that shape cannot be launched"):
            call._replace(block=(2048,))()


def test_headers_are_inlined_once_and_lines_keep_their_numbers():
    text = activation.text({"real": "float"})
    assert text.startswith("#define real float\n#line 1 ")
    assert text.count("struct alignas(16) Pack") == 1
    assert "#include" not in text
    for number, line in enumerate((_cuda.HERE / "activation" / "cuda.cu").read_text().splitlines(), 1):
        if line.startswith("FORWARD(relu"):
            after = text[: text.index(line)].rpartition("#line ")[2].splitlines()
            start = int(after[0].split()[0])
            assert start + len(after) - 1 == number


def test_a_record_goes_by_value():
    words = np.arange(control.WORDS + 2)
    state = np.full(control.WORDS, 7)
    floats_of = state.view(np.float64)
    floats_of[control.SUM], floats_of[control.LOSS] = 2.0, 3.0
    words.view(np.float64)[control.WORDS] = 5.0  # rows of the last batch
    words[control.WORDS + 1] = state[control.STATUS] = 0
    for order, seed in (("forward", 0), ("reverse", 0), ("random", 1)):
        found = state.copy()
        with emulator.cuda(order, seed):
            control.tick(words, found)
        expected = words[: control.WORDS].copy()
        expected[control.STATUS], expected[control.COUNT] = 0, 8
        expected.view(np.float64)[control.SUM] = 2.0 + 5.0 * 3.0
        assert found.tolist() == expected.tolist()


def test_a_loss_can_be_kept_and_a_sum_left_alone():
    words = np.zeros(control.WORDS + 2, np.int64)
    words[control.WORDS + 1] = 1
    found = np.zeros(control.WORDS, np.int64)
    found.view(np.float64)[[control.SUM, control.LOSS]] = 2.0, np.nan
    with emulator.cuda():
        control.tick(words, found)
    assert found.view(np.float64)[control.SUM] == 2.0  # not NaN: there was nothing to add
    assert np.isnan(found.view(np.float64)[control.LOSS])
