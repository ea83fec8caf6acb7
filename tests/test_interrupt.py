"""Ctrl-C where Python cannot raise it."""

import sys
import time

import pytest

from fastdl import __main__, cli
from fastdl.interrupt import none_lost


class Deleted:
    """Raises where Python ignores it."""

    def __init__(self, error):
        self.error = error

    def __del__(self):
        raise self.error


def wait():
    for _ in range(500):
        time.sleep(0.01)


def test_an_interrupt_that_could_not_be_raised_comes_again():
    with pytest.raises(KeyboardInterrupt), none_lost():
        Deleted(KeyboardInterrupt())
        wait()


def test_other_errors_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with none_lost():
        Deleted(ValueError("a"))
    assert [found.exc_type for found in told] == [ValueError]
    Deleted(KeyboardInterrupt())
    assert len(told) == 2, "the hook stays when it is over"


def test_commands_lose_none(monkeypatch, capsys):
    def measure(options):
        Deleted(KeyboardInterrupt())
        wait()

    monkeypatch.setattr(cli, "_bench", measure)
    assert cli.main(["bench"]) == 130
    assert capsys.readouterr().err == "fastdl bench: interrupted\n"


def test_an_interrupt_before_the_command_begins_is_one_line(monkeypatch, capsys):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_parser", stopped)
    assert __main__.main() == 130
    assert capsys.readouterr().err == "fastdl: interrupted\n"
