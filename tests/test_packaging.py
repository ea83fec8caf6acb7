"""What pyproject.toml says, held against the tree."""

import fnmatch
import tomllib
from pathlib import Path

import pytest

import fastdl

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
SHIPPED = {"fastdl": "fastdl", "kernels": "fastdl.kernels", "bench": "fastdl.bench"}  # folder: import name


def walk(folder):
    """Files of a shipped folder, not those behind the symbolic links."""
    for path in sorted((ROOT / folder).rglob("*")):
        inside = path.relative_to(ROOT)
        if path.is_file() and "__pycache__" not in inside.parts and not (ROOT / folder / inside.parts[1]).is_symlink():
            yield path


def test_list_of_packages_is_the_tree():
    found = []
    for folder, name in SHIPPED.items():
        packages = [path.parent.relative_to(ROOT / folder) for path in walk(folder) if path.name == "__init__.py"]
        found += [".".join([name, *package.parts]) for package in packages]
    assert sorted(SETUPTOOLS["packages"]) == sorted(found)


def test_folders_under_other_names_are_mapped():
    assert SETUPTOOLS["package-dir"] == {name: folder for folder, name in SHIPPED.items() if name != folder}


@pytest.mark.parametrize("folder", SHIPPED)
def test_every_source_is_in_a_listed_package(folder):
    alone = [str(p) for p in walk(folder) if p.suffix == ".py" and not (p.parent / "__init__.py").exists()]
    assert alone == []


def test_every_file_that_is_no_source_ships():
    patterns = SETUPTOOLS["package-data"]["*"]
    files = [p for folder in SHIPPED for p in walk(folder) if p.suffix not in (".py", ".pyc") and p.name != "README.md"]
    left = {p.parent for p in files if not any(fnmatch.fnmatch(p.name, x) for x in patterns)}
    assert left <= {ROOT / "bench" / "results"}  # records of runs stay in the repository


@pytest.mark.parametrize("name", ["fastdl/py.typed", "fastdl/data/digits.npz", "fastdl/data/digits.md"])
def test_data_is_there(name):
    assert (ROOT / name).is_file()


def test_version_is_one():
    assert PROJECT["project"]["version"] == fastdl.__version__


@pytest.mark.parametrize("name", ["kernels", "bench"])
def test_link_for_uninstalled_checkouts_is_relative(name):
    link = ROOT / "fastdl" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


def test_command_exists():
    module, _, function = PROJECT["project"]["scripts"]["fastdl"].partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))
