"""What a long training keeps: no memory, no thread, no file."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.numba]

STEPS = """
import os
import numpy as np
import fastdl as fd
from fastdl import nn

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def held():
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

rng = np.random.default_rng(0)
x, y = rng.standard_normal((3200, 64)).astype(np.float32), rng.integers(0, 10, 3200)
model = nn.Sequential(nn.Linear(128), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10))
adam = fd.optim.Adam(fd.schedules.Cosine(1e-3, 100_000), clip_norm=1.0)
trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), adam)
trainer.fit(x, y, validation=(x, y), epochs=20, batch_size=32, progress=False)
before, things = resident(), held()
trainer.fit(x, y, validation=(x, y), epochs=1000, batch_size=32, progress=False)
print(trainer.step.count, resident() - before, held() == things)
"""


def test_a_hundred_thousand_steps_keep_nothing(run_python):
    steps, grown, same = run_python(STEPS).split()
    assert steps == "102000"
    assert int(grown) < 2 << 20
    assert same == "True"


MAPPED = """
import numpy as np
import fastdl as fd
from fastdl import nn

rows = (1 << 30) // 4096
with open("x.npy", "wb") as file:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, 1024)})
    file.truncate(file.tell() + rows * 4096)  # a hole, which takes no disk
x, y = fd.data.load_npy("x.npy"), np.random.default_rng(0).integers(0, 10, rows)
train, dev = fd.data.split(x, y, parts=(0.9, 0.1))
standardize = fd.data.Standardize.fit(train[0])
(train, dev) = ((fd.data.Rows(rows, prepare=standardize), labels) for rows, labels in (train, dev))
model = nn.Sequential(nn.Linear(16), nn.BatchNorm(), nn.ReLU(), nn.Linear(10))
trainer = fd.Trainer(model, fd.losses.SoftmaxCrossEntropy(), fd.optim.Adam())
trainer.fit(*train, validation=dev, epochs=1, batch_size=256, progress=False)
with open("/proc/self/status") as file:  # getrusage counts what the process was forked from as well
    print(next(line.split()[1] for line in file if line.startswith("VmHWM")), len(trainer.history))
"""


def test_rows_mapped_from_a_file_do_not_fill_memory(run_python):
    kilobytes, epochs = run_python(MAPPED).split()
    assert epochs == "1"
    assert int(kilobytes) < 600 << 10  # of a file of 1 GiB
