"""What of bench/gpu_check.py can be tried without a GPU: its table, its programs, what it says where there is none."""

import subprocess
import sys

import pytest

from fastdl import backend
from fastdl.bench import gpu_check

FOUND = {
    "figures": {"lines": ["relu  250.0 us"], "failed": {"updates": "RuntimeError: no memory"}},
    "tests": {"status": 1, "passed": 3, "failed": 1, "seconds": 20.5, "failures": ["tests/test_gpu.py::test_x - why"]},
    "memcheck": {"result": "not available: Device not supported", "seconds": 3.0},
    "racecheck": {"result": "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"},
    "train": {"cuda": {"accuracy": [97.0], "seconds": [3.5]}, "cpu": {"status": 2, "output": "..."}},
    "first-launches": {"cold": {"matmul": 0.4, "add": 0.1, "all": 9.0}},
}


def test_the_table_tells_every_part_in_a_line():
    assert gpu_check.table(FOUND).splitlines() == [
        "relu  250.0 us",
        "updates: RuntimeError: no memory",
        "tests {'status': 1, 'passed': 3, 'failed': 1, 'seconds': 20.5}",
        "tests/test_gpu.py::test_x - why",
        "memcheck not available: Device not supported",
        "racecheck RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)",
        "train cuda {'accuracy': [97.0], 'seconds': [3.5]}",
        "train cpu {'status': 2, 'output': '...'}",
        "first launches cold: matmul 0.40 s, add 0.10 s",
    ]


def test_what_went_wrong_is_named():
    assert gpu_check.went_wrong(FOUND) == ["tests", "figures", "train"]
    bad = {"memcheck": {"result": "ERROR SUMMARY: 12 errors"}, "train": {"error": "KeyError: 1"}}
    assert gpu_check.went_wrong(bad) == ["train", "memcheck"]
    good = {"memcheck": {"result": "ERROR SUMMARY: 0 errors"}, "tests": {"status": 0}, "figures": {"failed": {}}}
    assert gpu_check.went_wrong(good) == []


def test_the_short_training_runs():
    code = gpu_check.SHORT_RUN.replace('device="cuda"', 'device="cpu"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=gpu_check.ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trained [")


@pytest.mark.skipif(backend.cuda_missing() is None, reason="there is a GPU")
def test_without_a_gpu_it_says_why_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check", str(tmp_path / "out")])
    assert gpu_check.main() == 2
    assert "no GPU can be used" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_program_out_of_time_is_told_of():
    status, text, seconds = gpu_check.run(
        [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(60)"], 2
    )
    assert status is None
    assert "1" in text
    assert seconds < 30
