"""What every kernel must pass: same signature, same result and same non-numbers as its reference, same bits always."""

import contextlib
import importlib
import inspect
import os
from pathlib import Path

import numba
import numpy as np
import pytest
from cases import CASES
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fastdl import kernels
from fastdl.kernels._numba import Kernel
from fastdl.testing import Guarded, assert_agree, assert_same_bits

OPS = sorted(path.parent.name for path in Path(kernels.__file__).parent.glob("*/reference.py"))
HELPERS = {"philox"}  # drawn from by dropout's kernels, and tested in test_philox.py


def module(op, file):
    return importlib.import_module(f"fastdl.kernels.{op}.{file}")


def references(op):
    """Public functions of the op's reference, aliases included."""
    return {
        name: f
        for name, f in vars(module(op, "reference")).items()
        if inspect.isfunction(f) and f.__module__.endswith(f"{op}.reference") and not name.startswith("_")
    }


def compiled(op):
    return {
        name: k for name, k in vars(module(op, "cpu")).items() if isinstance(k, Kernel) and not name.startswith("_")
    }


KERNELS = [(op, name) for op in OPS if op not in HELPERS for name in references(op)]
every_kernel = pytest.mark.parametrize("op, name", KERNELS, ids=[".".join(k) for k in KERNELS])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.parametrize("op", sorted(set(OPS) - HELPERS))
def test_both_files_and_the_cases_name_the_same_kernels(op):
    assert references(op).keys() == compiled(op).keys() == CASES[op].keys()


@every_kernel
def test_parameters_are_those_of_the_reference(op, name):
    assert [*inspect.signature(compiled(op)[name].source).parameters] == [
        *inspect.signature(references(op)[name]).parameters
    ]


def test_each_kernel_is_cached_under_a_name_of_its_own():
    kernels = {id(k): k for op in CASES for k in compiled(op).values()}  # one may stand under two names
    names = [k.name for k in kernels.values()]
    assert sorted(set(names)) == sorted(names)


# ---------------------------------------------------------------- running one case


def run(function, case, within=None):
    """Call on guarded copies of the arguments. The outputs; inputs must be as before, and memory beside all intact."""
    guarded = {name: Guarded.of(v) for name, v in case.args.items() if isinstance(v, np.ndarray)}
    args = [guarded[name].array if name in guarded else v for name, v in case.args.items()]
    with np.errstate(all="ignore"), within or contextlib.nullcontext():
        function(*args)
    for name, guard in guarded.items():
        assert guard.intact(), f"memory beside {name} was written"
        if name not in case.bounds and name not in case.scratch:
            assert_same_bits(guard.array, case.args[name], name=f"input {name}")
    return {name: guarded[name].array for name in case.bounds}


def in_float64(case):
    wide = {
        name: v.astype(np.float64) if isinstance(v, np.ndarray) and v.dtype == np.float32 else v
        for name, v in case.args.items()
    }
    return case._replace(args=wide)


def right(op, name, case):
    return run(references(op)[name], in_float64(case))


def check(case, actual, expected):
    for output, bound in case.bounds.items():
        assert_agree(actual[output], expected[output], **bound, name=output)


def check_same_bits(actual, expected):
    for output, array in expected.items():
        assert_same_bits(actual[output], array, name=output)


# ---------------------------------------------------------------- claims

# Small shapes are where loops begin and end, and cost little: in all more than 36,000 examples a run.
FUZZ = settings().max_examples
# FASTDL_FUZZ_EXAMPLES is what small shapes get; several pieces of work, each as dear as forty of those, a thirteenth.
EXAMPLES = {False: FUZZ, True: FUZZ // 13} if "FASTDL_FUZZ_EXAMPLES" in os.environ else {False: 13 * FUZZ, True: FUZZ}
if numba.config.BOUNDSCHECK:
    EXAMPLES = {False: FUZZ, True: 3}


@pytest.mark.parametrize("large", [False, True], ids=["ragged", "pieces"])
@both_dtypes
@every_kernel
def test_kernel_and_reference_compute_the_same(op, name, dtype, large):
    kernel = compiled(op)[name]

    @settings(max_examples=EXAMPLES[large])
    @given(st.data())
    def agrees(data):
        case = CASES[op][name](data.draw, dtype, large)
        expected = right(op, name, case)
        check(case, run(references(op)[name], case), expected)
        serial = run(kernel.serial, case, kernel.within)
        check(case, serial, expected)
        if numba.config.BOUNDSCHECK:
            return  # the parallel twin hands the same slices to the same chunks
        for threads in sorted({1, numba.config.NUMBA_NUM_THREADS}):
            numba.set_num_threads(threads)
            for twin in kernel.twins.values():
                check_same_bits(run(twin, case, kernel.within), serial)

    agrees()


@both_dtypes
@every_kernel
def test_nan_and_infinity_go_where_the_reference_lets_them(op, name, dtype):
    kernel = compiled(op)[name]

    @settings(max_examples=5, phases=[Phase.generate])  # each is hundreds of calls
    @given(st.data())
    def agrees(data):
        case = CASES[op][name](data.draw, dtype, False)
        for read, array in case.args.items():
            if not isinstance(array, np.ndarray) or array.dtype != dtype or read in case.scratch + case.finite:
                continue
            if read == "gamma" and name in (
                "forward_relu",
                "forward_images_relu",
            ):
                continue
            for value in (np.nan, np.inf, -np.inf):
                for place in np.linspace(0, array.size - 1, 5).astype(int) if array.size else ():
                    spoilt = array.copy()
                    spoilt.flat[place] = value
                    other = case._replace(args=case.args | {read: spoilt})
                    check(other, run(kernel.serial, other, kernel.within), right(op, name, other))

    agrees()
