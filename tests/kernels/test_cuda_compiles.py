"""Every CUDA kernel compiles for every architecture, within its registers and without a stack."""

import importlib
import os
import re
from pathlib import Path

import pytest

from fastdl import kernels
from fastdl.kernels import _cuda

# Turing; Ampere, of data centres and of desks; Ada; Hopper; Blackwell, of both kinds.
ARCHITECTURES = "75", "80", "86", "89", "90", "100", "120"
OPS = sorted(path.parent.name for path in Path(kernels.__file__).parent.glob("*/cuda.py"))
SOURCES = {op: importlib.import_module(f"fastdl.kernels.{op}.cuda").source for op in OPS}
REPORT = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)'.*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill "
    r"stores, (?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)

try:
    from cupy.cuda import nvrtc

    nvrtc.getVersion()
except (ImportError, RuntimeError) as error:
    if os.environ.get("FASTDL_REQUIRE_NVRTC"):
        raise
    pytest.skip(f"CuPy or NVRTC is missing ({error})", allow_module_level=True)


def compiled(text, target):
    """What the compiler reports; -ftz=true is what CuPy adds to its options."""
    program = nvrtc.createProgram(text, "kernels.cu", (), ())
    report = ("--ptxas-options=-v",) if target.startswith("sm") else ()
    try:
        nvrtc.compileProgram(program, [*_cuda.OPTIONS, "-ftz=true", f"--gpu-architecture={target}", *report])
        return nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program)[:4000])
    finally:
        nvrtc.destroyProgram(program)


VARIANTS = [(op, n) for op in OPS for n in range(len(SOURCES[op].variants))]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("op, variant", VARIANTS, ids=[f"{op}-{n}" for op, n in VARIANTS])
def test_registers_and_stack(op, variant, architecture):
    source = SOURCES[op]
    text = source.text(source.variants[variant])
    found = {m["kernel"]: m for m in REPORT.finditer(compiled(text, f"sm_{architecture}"))}
    assert found.keys() == source.manifest.keys()
    for name, report in found.items():
        assert (report["stack"], report["stores"], report["loads"]) == ("0", "0", "0"), f"{name} spills"
        assert int(report["registers"]) <= source.manifest[name].registers, name


@pytest.mark.parametrize("op", OPS)
def test_each_kernel_compiles_alone(op):
    """As it is compiled when it is launched: the others are left out."""
    source = SOURCES[op]
    for name in source.manifest:
        compiled(source.text(source.variants[0], only=name), "compute_75")


@pytest.mark.parametrize("op", OPS)
def test_a_source_without_all_but_one_kernel(op):
    source = SOURCES[op]
    whole = source.text(source.variants[0])
    stamped = r'^(?:extern "C"|[A-Z_]+\(\w+, )'
    assert len(re.findall(stamped, whole, re.MULTILINE)) == len(source.manifest)
    for name in source.manifest:
        alone = source.text(source.variants[0], only=name)
        assert len(re.findall(stamped, alone, re.MULTILINE)) == 1
        assert alone.count("\n") == whole.count("\n")  # so that errors name the right lines
