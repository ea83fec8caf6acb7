"""What README shows is what runs."""

import re
import runpy

import numpy as np
import pytest

from fastdl.cli import main

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
    page = (root / "docs/your-own-data.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(compile(block, "your-own-data.md", "exec"), names)
    right = names["test"]["price"]
    assert np.corrcoef(names["prices"][:, 0], right)[0, 1] > 0.95
    (file,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "run.toml").write_text(file)
    assert main(["train", "--config", "run.toml", "--out", "run"]) == 0
    assert main(["check", "--grad", "--config", "run.toml"]) == 0


@pytest.mark.parametrize("name", ["quickstart", "custom_loop", "custom_layer"])
def test_examples_run(root, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(root / "examples" / f"{name}.py"))
    said = capsys.readouterr().out
    if name == "custom_loop":
        assert float(re.search(r"test accuracy ([0-9.]+)%", said)[1]) > 93
    else:
        assert float(re.search(r"'accuracy': ([0-9.]+)", said)[1]) > 0.93
    if name == "quickstart":
        assert int(re.search(r"stopped after (\d+) epochs", said)[1]) < 100


def test_every_regulariser_of_the_example_errs_less_on_new_digits(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["regularisers.py", "--plot", str(tmp_path / "errors.png")])
    runpy.run_path(str(root / "examples" / "regularisers.py"))
    lines = capsys.readouterr().out.splitlines()[1:8]
    table = {line[:16].strip(): [float(cell.rstrip("%")) for cell in line[16:].split()] for line in lines}
    assert len(table) == 7
    train, dev, norm, _ = table.pop("none")
    assert all(row[0] > train and row[1] < dev for row in table.values())
    assert max(table, key=lambda name: table[name][3]) == "L1"
    penalised = {name for name, row in table.items() if row[2] < 0.6 * norm}
    assert penalised == {"L2", "L1", "elastic net"}
    assert (tmp_path / "errors.png").stat().st_size > 10_000


def lines_of(root, tmp_path, monkeypatch, capsys, name):
    """What an example prints, word by word; it must have drawn its picture too."""
    monkeypatch.setattr("sys.argv", [name, "--plot", str(tmp_path / "picture.png")])
    runpy.run_path(str(root / "examples" / f"{name}.py"))
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.slow
def test_the_example_of_starts_shows_which_of_them_learn(root, tmp_path, monkeypatch, capsys):
    lines = lines_of(root, tmp_path, monkeypatch, capsys, "starts")
    relu, tanh = ([line[-1] for line in lines[first : first + 6]] for first in (2, 11))
    zeros, large, small, he, *others = relu
    assert float(he) < 1.5 < 2.2 < min(map(float, (zeros, small, *others)))
    assert large == "number"  # no number
    zeros, large, small, he, *others = map(float, tanh)
    assert he < min(others) < max(others) < 1 < 2.2 < min(zeros, small, large)
    last = {
        (activation, line[0]): float(line[-2])
        for activation, at in (("relu", 2), ("tanh", 11))
        for line in lines[at + 3 : at + 6]
    }
    assert last["relu", "He"] > 0.05 > 1e-5 > max(last["relu", "Xavier"], last["relu", "Glorot"])
    assert last["tanh", "He"] > 5 * last["tanh", "Xavier"] > 10 * last["tanh", "Glorot"]


@pytest.mark.slow
def test_the_example_of_batch_norm_shows_a_larger_rate_in_use(root, tmp_path, monkeypatch, capsys):
    lines = lines_of(root, tmp_path, monkeypatch, capsys, "batch_norm")
    off, off_faster, on, on_faster = (
        list(map(float, " ".join(line[1:]).replace("%", "").split())) for line in lines[2:6]
    )
    assert off[0] == on[0] == off_faster[0] / 10 == on_faster[0] / 10
    assert on_faster[2] < off[2] < 1  # the loss in the end
    assert not off_faster[2] < 1  # it may be no number
    assert on_faster[3] > off[3] + 15  # the accuracy after two epochs
    assert on_faster[4] > off[4] > 80 > 50 > off_faster[4]
    assert "a rate of 0.3 is usable" in " ".join(lines[6])


@pytest.mark.slow
@pytest.mark.numba  # the reference kernels would take minutes
def test_the_example_of_schedules_shows_what_it_says(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["schedules.py", "--plot", str(tmp_path / "schedules.png")])
    runpy.run_path(str(root / "examples/schedules.py"))
    said = capsys.readouterr().out
    shares = {line[:22].strip(): float(line.split()[-3]) for line in said.splitlines() if "of constant's" in line}
    assert len(shares) == 11
    assert shares["tenfold drop at 4/5"] < 0.5
    assert all(shares[name] > 3 for name in ("1 / (1 + epoch)", "0.95 an epoch", "0.995 a step"))
    assert 1 < shares["1 / sqrt(epoch + 1)"] < 3
    assert shares["0.9995 a step"] < 1
    stopped, creeping, falling = map(float, re.findall(r"([0-9][.][0-9]+)(?: of what it was)?\)", said))
    assert falling < 0.7 < 0.75 < creeping < 0.95 < 0.99 < stopped < 1.01
    assert (tmp_path / "schedules.png").stat().st_size > 50_000


def test_the_example_of_the_range_test_trains_at_what_it_proposes(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["range_test.py", "--plot", str(tmp_path / "test.png")])
    runpy.run_path(str(root / "examples/range_test.py"))
    said = capsys.readouterr().out
    accuracies = re.findall(r"([0-9.]+)%, ([0-9.]+)%", said)
    assert len(accuracies) == 4
    assert min(float(proposed) for proposed, _ in accuracies) > 93
    assert max(float(far_above) for _, far_above in accuracies) < 70
    assert 30 < float(re.search(r"proposals lie up to (\d+) times apart", said)[1]) < 300
    assert (tmp_path / "test.png").stat().st_size > 50_000


def test_the_example_on_scales_shows_what_it_says(root, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("sys.argv", ["scales_of_features.py", "--plot", str(tmp_path / "scales.png")])
    runpy.run_path(str(root / "examples" / "scales_of_features.py"))
    as_they_are, standardised, squashed = re.findall(r"([0-9.]+) % of the dev rows wrong", capsys.readouterr().out)
    assert float(as_they_are) > 40
    assert float(standardised) > 20
    assert float(squashed) < 5
    assert (tmp_path / "scales.png").read_bytes().startswith(b"\x89PNG")
