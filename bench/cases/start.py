"""How long a process takes to its first step: with kernels to compile, and from the cache."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fastdl
from fastdl.bench import Variant
from fastdl.bench.case import Case

FIRST_STEP = """
from fastdl.bench import shapes
from fastdl.bench.cases.step import stepper
stepper(shapes.Network(shapes.LARGE, {batch}, batch_norm=True, rate=shapes.RATE))()
"""


def cases(shape, to):
    """Cold, from the cache, and Python with its imports alone."""
    root = str(Path(fastdl.__file__).parents[1])
    full = tempfile.TemporaryDirectory()

    first = FIRST_STEP.format(batch=shape.batch)

    def first_step(folder, code=first):
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "FASTDL_CACHE_DIR": folder}
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        return time.perf_counter() - began

    def cold(warm, repeats):
        with tempfile.TemporaryDirectory() as folder:
            return [first_step(folder)]

    def cached(warm, repeats):
        return [first_step(full.name)]

    def imports(warm, repeats):
        return [first_step(full.name, "import numpy, numba, scipy.linalg.blas")]

    blocks = {"cold": cold, "cached": cached, "imports alone": imports}
    variants = {name: Variant(block, lambda: first_step(full.name)) for name, block in blocks.items()}
    yield Case("first step", shape, variants, close=full.cleanup)
