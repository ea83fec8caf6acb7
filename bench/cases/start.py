"""How long a process takes to its first step: with kernels to compile, and from the cache."""

import subprocess
import sys
import tempfile
import time

from fastdl.bench import Variant
from fastdl.bench.case import Case
from fastdl.bench.child import environment

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


IMPORTS = "import numpy, numba, scipy.linalg.blas"


def seconds(code, folder):
    """That a process takes with kernels in this folder."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(FASTDL_CACHE_DIR=folder), check=True)
    return time.perf_counter() - began


def cases(shape, to):
    """Cold, from the cache, and Python with its imports alone."""
    code = FIRST_STEP.format(batch=shape.batch)

    def cold(warm, repeats):
        with tempfile.TemporaryDirectory() as empty:
            return [seconds(code, empty)]

    with tempfile.TemporaryDirectory() as full:
        seconds(code, full)

        def kept(code):
            return lambda warm, repeats: [seconds(code, full)]

        blocks = {"cold": cold, "cached": kept(code), "imports alone": kept(IMPORTS)}
        yield Case("first step", shape, {name: Variant(block, lambda: None) for name, block in blocks.items()})
