"""The house: which module may import which, what no shipped source may hold, what an import loads."""

import ast
import graphlib
import importlib.util
from pathlib import Path

import pytest

import fastdl

ROOT = Path(__file__).parents[1]

# A module imports from floors below its own, and on its own floor never in a circle.
FLOORS = [
    {"backend", "devices", "kernels", "typing"},
    {"ops", "recorder", "random", "checks", "files", "drawing"},
    {"arena", "averages", "schedules", "initializers"},
    {"nn", "losses", "optim", "regularizers", "testing"},
    {"step", "update", "predictor", "data", "metrics", "checkpoint", "distributed", "gradient_check"},
    {
        "trainer",
        "course",
        "callbacks",
        "ensemble",
        "feed",
        "history",
        "interrupt",
        "learning_rate",
        "progress",
        "state",
    },
    {
        "cli",
        "bench",
        "sklearn",
        "onnx",
        "search",
        "diagnose",
        "plot",
        "recipes",
        "preparation",
        "config",
        "info",
        "warmup",
        "__main__",
    },
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def sources():
    """Every shipped source under its module's name, a package's under the package's."""
    found = {}
    for package in ("fastdl", "fastdl.kernels", "fastdl.bench"):
        folder = ROOT / package.rpartition(".")[2]
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if not (folder / parts[0]).is_symlink():
                found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


SOURCES = sources()


def nodes(tree):
    """All nodes, those within functions too, but for what stands under `if TYPE_CHECKING:`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from nodes(child)


def named(node, package):
    """Full names of what an import statement names, or a call of import_module with a literal."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        return [".".join(filter(None, [*base, node.module, alias.name])) for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
        literal = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
        return literal[:1]
    return []


def imports(text, package):
    """Names of shipped modules that a source imports, `package` being the one it is in."""
    for node in nodes(ast.parse(text)):
        for name in named(node, package):
            while name and name not in SOURCES:  # it may name something within a module
                name = name.rpartition(".")[0]
            if name:
                yield name


IMPORTS = {
    module: set(imports(path.read_text(), module if path.name == "__init__.py" else module.rpartition(".")[0]))
    - {module}
    for module, path in SOURCES.items()
}


def row(module):
    return module.split(".")[1]


def below_the_door():
    """Pairs of a module and one that it imports, without fastdl/__init__.py, which only opens the others."""
    return [(m, target) for m, targets in IMPORTS.items() for target in targets if "fastdl" not in (m, target)]


def test_every_module_stands_on_a_floor():
    assert {row(module) for module in SOURCES if module != "fastdl"} <= FLOOR_OF.keys()


def test_no_import_points_up():
    up = [f"{m} imports {t}" for m, t in below_the_door() if FLOOR_OF[row(t)] > FLOOR_OF[row(m)]]
    assert up == []


@pytest.mark.parametrize("unit", [row, str], ids=["rows", "modules"])
def test_no_imports_go_in_a_circle(unit):
    graph = {}
    for module, target in below_the_door():
        if unit(module) != unit(target):
            graph.setdefault(unit(module), set()).add(unit(target))
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


def test_kernels_import_nothing_else_of_fastdl():
    others = {
        f"{m} imports {t}"
        for m, targets in IMPORTS.items()
        for t in targets
        if m.startswith("fastdl.kernels") and not t.startswith("fastdl.kernels")
    }
    assert others == set()


@pytest.mark.parametrize(
    "text",
    [
        "from ..recorder import launch",
        "from .. import recorder",
        "import fastdl.recorder",
        "from fastdl import recorder",
        "def f():\n    from ..recorder import launch",
        "try:\n    import fastdl.recorder as o\nexcept ImportError: pass",
        "import importlib\nimportlib.import_module('fastdl.recorder')",
        "import importlib\nimportlib.import_module(f'fastdl.recorder{x}')",
    ],
)
def test_imports_are_found_however_they_are_written(text):
    assert set(imports(text, "fastdl.nn")) - {"fastdl"} == {"fastdl.recorder"}


def test_imports_for_types_alone_do_not_count():
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .trainer import Trainer\n"
    assert set(imports(text, "fastdl")) <= {"fastdl.typing"}


# ---------------------------------------------------------------- nothing that runs what it reads

UNSAFE = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "numba.core.serialize"}


def offences(text):
    """Ways to run code out of data."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        names = named(node, "")
        found |= {u for u in UNSAFE for name in names if f"{name}.".startswith(f"{u}.")}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.removeprefix("builtins.") in ("eval", "exec", "__import__"):
                found.add(called)
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                    found.add("allow_pickle")
    return found


def test_only_the_private_cache_of_kernels_reads_pickles():
    found = {module: offences(path.read_text()) for module, path in SOURCES.items()}
    assert {module: what for module, what in found.items() if what} == {
        "fastdl.kernels._cache": {"pickle", "numba.core.serialize"},  # in a folder of mode 0700
        "fastdl.ensemble": {"joblib"},  # which runs its members in processes of its own
    }


def test_of_joblib_only_what_runs_functions_is_taken():
    tree = ast.parse(SOURCES["fastdl.ensemble"].read_text())
    taken = {name for node in ast.walk(tree) for name in named(node, "") if name.startswith("joblib")}
    assert taken == {"joblib.Parallel", "joblib.delayed"}  # not joblib.load, which reads pickles


@pytest.mark.parametrize(
    "text, what",
    {
        "import pickle": "pickle",
        "def f():\n    from pickle import loads": "pickle",
        "import importlib; importlib.import_module('marshal')": "marshal",
        "import shelve as s": "shelve",
        "eval('1')": "eval",
        "import builtins; builtins.exec('1')": "builtins.exec",
        "import numpy as np; np.load(f, allow_pickle=True)": "allow_pickle",
        "import numpy as np; np.load(f, allow_pickle=yes)": "allow_pickle",
    }.items(),
)
def test_offences_are_found(text, what):
    assert offences(text) == {what}


def test_what_is_harmless_is_no_offence():
    assert offences("import numpy as np; np.load(f, allow_pickle=False); model.eval(); re.compile('a')") == set()


# ---------------------------------------------------------------- imports that run


@pytest.mark.parametrize("name", ["kernels", "other.kernels"])
def test_kernels_refuse_another_name(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "kernels" / "__init__.py")
    with pytest.raises(ImportError, match=f"were imported as '{name}'; import them as 'fastdl.kernels'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_import_loads_no_large_library(run_python):
    large = ("numba", "llvmlite", "cupy", "scipy", "hypothesis", "tqdm", "safetensors")
    assert run_python(f"import sys, fastdl\nprint([m for m in {large} if m in sys.modules])") == "[]\n"


def test_every_public_name_can_be_had():
    assert set(fastdl.__all__) <= set(dir(fastdl))
    for name in fastdl.__all__:
        assert getattr(fastdl, name) is not None
    with pytest.raises(AttributeError, match="module 'fastdl' has no attribute 'nothing'"):
        _ = fastdl.nothing
