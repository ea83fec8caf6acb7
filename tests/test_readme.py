"""What README shows is what runs."""

import re
import runpy

import numpy as np
import pytest

README = "README.md"


def blocks(root, language):
    return re.findall(rf"```{language}\n(.*?)```", (root / README).read_text(), re.DOTALL)


def test_ci_calls_readmes_command_for_the_tests(root):
    commands = [command.strip() for command in blocks(root, "sh")]
    assert len(commands) == 2
    assert commands[1] in (root / ".ci/run").read_text()
    assert commands[0] in (root / ".ci/run").read_text()  # with a folder of its own for the run


def test_readmes_python_runs_from_top_to_bottom(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(root, "python"):
        exec(compile(block, README, "exec"), names)
    assert float(re.search(r"'accuracy': ([0-9.]+)", capsys.readouterr().out)[1]) > 0.93
    assert (tmp_path / "digits.safetensors").exists()


def test_the_page_on_ones_own_data_runs(root, tmp_path, monkeypatch):
    from test_runs import houses, write_csv

    monkeypatch.chdir(tmp_path)
    write_csv("houses.csv", ["size", "district", "age", "price"], houses())
    (block,) = re.findall(r"```python\n(.*?)```", (root / "docs/your-own-data.md").read_text(), re.DOTALL)
    names = {}
    exec(compile(block, "your-own-data.md", "exec"), names)
    right = names["test"]["price"]
    assert np.corrcoef(names["prices"][:, 0], right)[0, 1] > 0.95


@pytest.mark.parametrize("name", ["quickstart", "custom_loop", "custom_layer"])
def test_examples_run(root, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(root / "examples" / f"{name}.py"))
    said = capsys.readouterr().out
    if name == "custom_loop":
        assert float(said.split()[-1]) < 0.15
    else:
        assert float(re.search(r"'accuracy': ([0-9.]+)", said)[1]) > 0.93


def test_the_example_on_scales_shows_what_it_says(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["scales_of_features.py", "--plot", str(tmp_path / "scales.png")])
    runpy.run_path(str(root / "examples" / "scales_of_features.py"))
    as_they_are, standardised, squashed = re.findall(r"([0-9.]+) % of the dev rows wrong", capsys.readouterr().out)
    assert float(as_they_are) > 40
    assert float(standardised) > 20
    assert float(squashed) < 5
    assert (tmp_path / "scales.png").read_bytes().startswith(b"\x89PNG")
