"""A training halves its threads where others want the cores, and takes them back when they are free."""

import threading
from pathlib import Path

import pytest

pytest.importorskip("numba", exc_type=ImportError)

from fastdl.kernels._share import CROWDED, LOOK, Share, _own_running


class Machine:
    """Whose clock, preemptions and running threads a test sets."""

    def __init__(self, cores, threads):
        self.now, self.preempted, self.others = 0.0, 0, 0
        self.share = Share(
            cores,
            threads,
            preemptions=lambda: self.preempted,
            running=self.running,
            own_running=lambda: self.share.threads,
            clock=lambda: self.now,
        )

    def running(self):
        return self.others + self.share.threads

    def pass_time(self, preemptions_a_second):
        self.now += 1.01 * LOOK
        self.preempted += round(preemptions_a_second * LOOK)
        return self.share()


def test_a_quiet_machine_changes_nothing():
    machine = Machine(2, 2)
    assert {machine.pass_time(10) for _ in range(50)} == {2}


def test_others_that_do_not_preempt_change_nothing():
    machine = Machine(2, 2)
    machine.others = 3
    assert {machine.pass_time(10) for _ in range(50)} == {2}


def test_preemptions_by_what_does_not_stay_change_nothing():
    machine = Machine(2, 2)
    assert {machine.pass_time(10 * CROWDED) for _ in range(50)} == {2}


def test_among_others_threads_are_halved_down_to_one():
    machine = Machine(8, 8)
    machine.others = 6
    assert [machine.pass_time(10 * CROWDED) for _ in range(9)] == [8, 8, 4, 4, 4, 2, 2, 2, 2]
    machine.others = 30
    assert [machine.pass_time(10 * CROWDED) for _ in range(5)] == [2, 2, 1, 1, 1]


def test_others_that_run_for_a_moment_change_nothing():
    """Pools of other libraries in this process preempt it, and another process happens to run at one look in two."""
    machine = Machine(2, 2)
    for look in range(50):
        machine.others = look % 2
        assert machine.pass_time(10 * CROWDED) == 2


def test_free_cores_are_taken_back_after_three_looks():
    machine = Machine(8, 8)
    machine.others = 30
    while machine.share.threads > 1:
        machine.pass_time(10 * CROWDED)
    machine.others = 7
    assert {machine.pass_time(0) for _ in range(10)} == {1}
    machine.others = 4
    assert [machine.pass_time(0) for _ in range(9)] == [1, 1, 2, 2, 2, 4, 4, 4, 4]
    machine.others = 0
    assert [machine.pass_time(0) for _ in range(3)] == [4, 4, 8]


def test_it_looks_seldom():
    looked = []
    share = Share(2, 2, preemptions=lambda: looked.append(1) or 0, running=lambda: 0, clock=lambda: LOOK / 2)
    for _ in range(100):
        share()
    assert len(looked) == 1


def test_threads_are_as_before_after_a_step(monkeypatch):
    import numba

    from fastdl.kernels import _share

    taking = _share._Taking()
    with taking:
        pass
    monkeypatch.setattr(taking, "_share", lambda: 1)
    before = numba.get_num_threads()
    with taking:
        assert numba.get_num_threads() == 1
    assert numba.get_num_threads() == before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no /proc")
def test_threads_that_sleep_do_not_count():
    done = threading.Event()
    sleeping = [threading.Thread(target=done.wait) for _ in range(20)]
    for thread in sleeping:
        thread.start()
    try:
        assert 1 <= _own_running() < 20
    finally:
        done.set()
