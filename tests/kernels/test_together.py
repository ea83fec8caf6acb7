"""Several processes compile at once, and what they do not manage is compiled here."""

import threading

import pytest

pytest.importorskip("numba", exc_type=ImportError)

from fastdl import recorder, warmup
from fastdl.kernels import _numba, _together
from fastdl.kernels._together import Job, compile_together, jobs_of


@pytest.fixture
def calls():
    """Of kernels that nothing has called, in a cache that holds none of them."""
    noted = []
    with recorder.divert(lambda kernel, args: noted.append((kernel, args))):
        for name, call in warmup.calls("float32"):
            if name in ("norm", "add", "gather"):
                call()
    return [(_numba.kernel(threshold=k.threshold, work=k.work)(k.source), args) for k, args in noted]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTDL_CACHE_DIR", str(tmp_path))
    _together.folder.cache_clear()
    yield tmp_path
    _together.folder.cache_clear()


def compiled_here(jobs):
    return {job.kernel.name for job in jobs if job.kernel.serial.overloads}


def test_a_process_is_told_every_job():
    noted = []
    with recorder.divert(lambda kernel, args: noted.append((kernel, args))):
        for dtype in ("float32", "float64"):
            for _, call in warmup.calls(dtype):
                call()
    jobs = jobs_of(noted, every=True)
    assert len(jobs) > 100
    assert [Job.of_line(job.as_line()) for job in jobs] == jobs


@pytest.mark.slow
def test_processes_compile_into_the_cache(cache, calls, monkeypatch):
    monkeypatch.setattr(_numba.threads, "count", 2)
    jobs = jobs_of(calls)
    assert [job.is_done() for job in jobs] == [False] * 4
    assert set(compile_together(jobs)) == set(jobs)
    assert all(job.is_done() for job in jobs) and not compiled_here(jobs)
    assert len(list(cache.glob("*/*.kernel"))) == 4
    monkeypatch.setattr(_together, "_by_processes", None)  # nothing is left to them
    assert set(compile_together(jobs)) == set(jobs)


@pytest.mark.parametrize("process", ["missing", "ends"])
def test_what_processes_do_not_manage_is_compiled_here(process, cache, calls, monkeypatch):
    monkeypatch.setattr(_numba.threads, "count", 2)
    monkeypatch.setattr(_together, "SERVE", "raise SystemExit(1)")
    if process == "missing":
        monkeypatch.setattr(_together.sys, "executable", str(cache / "python"))
    jobs = jobs_of(calls)
    assert set(compile_together(jobs)) == set(jobs)
    assert compiled_here(jobs) == {"norm.forward", "add.forward", "gather.forward"}


@pytest.mark.slow
def test_who_stops_waiting_waits_for_no_more_than_what_was_begun(cache, calls, monkeypatch):
    monkeypatch.setattr(_numba.threads, "count", 2)
    jobs = jobs_of(calls, every=True)
    begun = compile_together(jobs)
    next(begun)
    begun.close()
    assert sum(job.is_done() for job in jobs) < len(jobs)
    for thread in threading.enumerate():  # those that hand jobs over
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    assert sum(job.is_done() for job in jobs) < len(jobs)
