"""CUDA kernels on the emulator: the same results as the reference, in whatever order threads run."""

import importlib
import inspect

import emulator
import numpy as np
import pytest
from cases import CASES
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fastdl.kernels import _cuda
from fastdl.testing import Guarded, assert_agree, assert_same_bits

OPS = sorted(CASES)
KERNELS = [(op, name) for op in OPS for name in CASES[op]]
every_kernel = pytest.mark.parametrize("op, name", KERNELS, ids=[".".join(k) for k in KERNELS])


def module(op, file="cuda"):
    return importlib.import_module(f"fastdl.kernels.{op}.{file}")


def run(function, args, case):
    """Call on guarded copies of the arguments. The outputs; inputs must be as before, and memory beside all intact."""
    guarded = {name: Guarded.of(v) for name, v in args.items() if isinstance(v, np.ndarray)}
    with np.errstate(all="ignore"):
        function(*(guarded[name].array if name in guarded else v for name, v in args.items()))
    for name, guard in guarded.items():
        assert guard.intact(), f"memory beside {name} was written"
        if name not in case.bounds and name not in case.scratch:
            assert_same_bits(guard.array, args[name], name=f"input {name}")
    return {name: guarded[name].array for name in case.bounds}


def wide(args):
    return {
        name: v.astype(np.float64) if isinstance(v, np.ndarray) and v.dtype == np.float32 else v
        for name, v in args.items()
    }


def check(case, actual, expected):
    bad_label = "status" in expected and expected["status"][0]
    for output, bound in case.bounds.items():
        if output == "total" and bad_label:
            assert np.isnan(actual["total"]).all()  # nobody waits for a GPU to raise
        elif not (output == "whole" and bad_label):
            assert_agree(actual[output], expected[output], **bound, name=output, flushed=True)


@pytest.mark.parametrize("op", OPS)
def test_parameters_are_those_of_the_reference(op):
    for name in CASES[op]:
        ours = getattr(module(op), name)
        assert isinstance(ours, _cuda.Launcher)
        assert [*inspect.signature(ours.function).parameters] == [
            *inspect.signature(getattr(module(op, "reference"), name)).parameters
        ]


@every_kernel
@pytest.mark.parametrize("large", [False, True], ids=["ragged", "pieces"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_and_reference_compute_the_same(op, name, dtype, large):
    function, reference = getattr(module(op), name), getattr(module(op, "reference"), name)
    orders = [("forward", 0), ("reverse", 0), *(("random", seed) for seed in (1, 2, 3))]
    if large:  # where several blocks have work, and all threads of a block one row
        orders = orders[1:4:2]
    if emulator.SANITIZER:  # which looks at the lines that run, not at results
        orders = [("random", 1)]
        if dtype == np.float64:
            pytest.skip("the same lines run in float32")

    @settings(max_examples=3 if emulator.SANITIZER else 5, phases=[Phase.generate])
    @given(st.data())
    def agrees(data):
        case = CASES[op][name](data.draw, dtype, large)
        expected = run(reference, wide(case.args), case)
        found = []
        for order, seed in orders if dtype == np.float32 else orders[:1]:
            with emulator.cuda(order, seed, flush=dtype == np.float32):
                found.append(run(function, case.args, case))
        check(case, found[0], expected)
        for other in found[1:]:
            for output, array in found[0].items():
                assert_same_bits(other[output], array, name=output)

    agrees()


@pytest.mark.parametrize("name", [name for name in CASES["matmul"] if not name.endswith("_loops")])
def test_products_in_large_tiles(name, monkeypatch):
    """Which otherwise take results too large for an emulator."""
    cuda = module("matmul")
    monkeypatch.setattr(cuda, "ENOUGH", 1)
    taken = []
    monkeypatch.setattr(
        emulator, "load", lambda s, variant, k, load=emulator.load: taken.append(variant) or load(s, variant, k)
    )

    @settings(max_examples=3, phases=[Phase.generate])
    @given(st.data())
    def agrees(data):
        for large in (False, True):
            case = CASES["matmul"][name](data.draw, np.float32, large)
            expected = run(getattr(module("matmul", "reference"), name), wide(case.args), case)
            with emulator.cuda("random", 1):
                check(case, run(getattr(cuda, name), case.args, case), expected)

    agrees()
    assert {dict(variant)["TILE"] for variant in taken} == {"128"}


# ---------------------------------------------------------------- on a device


def run_on_device(function, case):
    """Call on copies on the GPU, each with a few numbers beside it. The outputs; inputs must be as before."""
    import cupy

    beside, held = 16, {}
    for name, v in case.args.items():
        if isinstance(v, np.ndarray):
            held[name] = whole = cupy.zeros(v.size + beside, v.dtype)
            whole[: v.size] = cupy.asarray(v.reshape(-1))
    views = {name: whole[: whole.size - beside].reshape(case.args[name].shape) for name, whole in held.items()}
    function(*(views.get(name, v) for name, v in case.args.items()))
    for name, whole in held.items():
        assert not whole[whole.size - beside :].any(), f"memory beyond {name} was written"
        if name not in case.bounds and name not in case.scratch:
            assert_same_bits(views[name].get(), case.args[name], name=f"input {name}")
    return {name: views[name].get() for name in case.bounds}


@every_kernel
@pytest.mark.gpu
@pytest.mark.parametrize("large", [False, True], ids=["ragged", "pieces"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_and_reference_compute_the_same_on_a_device(op, name, dtype, large):
    function, reference = getattr(module(op), name), getattr(module(op, "reference"), name)

    @settings(max_examples=10, phases=[Phase.generate])
    @given(st.data())
    def agrees(data):
        case = CASES[op][name](data.draw, dtype, large)
        found = run_on_device(function, case)
        check(case, found, run(reference, wide(case.args), case))
        for output, array in run_on_device(function, case).items():
            assert_same_bits(array, found[output], name=f"{output} of a second run")

    agrees()


@every_kernel
@pytest.mark.skipif(bool(emulator.SANITIZER), reason="no other lines run than above")
def test_nan_and_infinity_go_where_the_reference_lets_them(op, name):
    function, reference = getattr(module(op), name), getattr(module(op, "reference"), name)

    @settings(max_examples=3, phases=[Phase.generate])
    @given(st.data())
    def agrees(data):
        case = CASES[op][name](data.draw, np.float32, False)
        for read, array in case.args.items():
            if not isinstance(array, np.ndarray) or array.dtype != np.float32 or read in case.scratch + case.finite:
                continue
            if read == "gamma" and name.startswith("forward") and name.endswith("_relu"):
                continue  # infinity times what rounding leaves of 0 may have either sign
            for value in (np.nan, np.inf, -np.inf):
                for place in np.linspace(0, array.size - 1, 3).astype(int) if array.size else ():
                    spoilt = array.copy()
                    spoilt.flat[place] = value
                    other = case._replace(args=case.args | {read: spoilt})
                    with emulator.cuda():
                        found = run(function, other.args, other)
                    check(other, found, run(reference, wide(other.args), other))

    agrees()
