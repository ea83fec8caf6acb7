"""docs/techniques.md names every technique, and only what exists: names, tests, examples."""

import ast
import importlib
import re
from typing import NamedTuple

import pytest

IDS = {
    "A": 7,
    "B": 7,
    "C": 8,
    "D": 4,
    "E": 1,
    "F": 8,
    "G": 7,
    "H": 4,
    "L": 1,
}


class Row(NamedTuple):
    id: str
    technique: str
    names: str
    equation: str
    tests: str
    example: str


@pytest.fixture(scope="module")
def rows(root):
    text = (root / "docs/techniques.md").read_text()
    found = re.findall(r"^\| ([A-Z]\d+) \|(.*)\|$", text, re.MULTILINE)
    return [Row(id, *map(str.strip, re.split(r"(?<!\\)\|", rest))) for id, rest in found]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_id_is_there_once(rows):
    assert sorted(row.id for row in rows) == sorted(
        f"{group}{n}" for group, last in IDS.items() for n in range(1, last + 1)
    )


def test_every_row_tells_all(rows):
    for row in rows:
        assert row.technique and row.equation and quoted(row.names) and quoted(row.tests), row


def test_names_exist(rows):
    for row in rows:
        for name in quoted(row.names):
            place, _, rest = name.partition("(")[0].partition(".")
            found = importlib.import_module("fastdl")
            assert place == "fd", f"{row.id}: {name} should begin with fd."
            for part in rest.split("."):
                found = getattr(found, part)


def test_tests_exist(rows, root):
    defined = {}
    for row in rows:
        for name in quoted(row.tests):
            path, _, test = name.partition("::")
            if path not in defined:
                tree = ast.parse((root / "tests" / path).read_text())
                defined[path] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
            assert test in defined[path], f"{row.id}: there is no {name}"


def test_examples_exist(rows, root):
    named = {name for row in rows for name in quoted(row.example)}
    assert named <= {path.name for path in (root / "examples").glob("*.py")}
