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
import numpy as np
import fastdl as fd
from fastdl import nn
hidden = [nn.Linear(512, bias=False), nn.BatchNorm(activation="relu"), nn.Dropout(0.2)]
again = [nn.Linear(512, bias=False), nn.BatchNorm(activation="relu"), nn.Dropout(0.2)]
loss, adam = fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam()
step = fd.TrainStep(nn.Sequential(*hidden, *again, nn.Linear(10)), loss, adam, batch_size={batch}, device="cpu")
step(np.random.default_rng(0).standard_normal(({batch}, 784), np.float32), np.arange({batch}) % 10)
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
