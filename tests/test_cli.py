"""The commands, as a user calls them."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from fastdl import checkpoint, recipes
from fastdl.cli import main
from fastdl.config import Config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_train_tells_and_keeps_what_it_did(tmp_path, capsys):
    assert main(["train", "--epochs", "3", "--seed", "7", "--layers", "32", "16"]) == 0
    said = capsys.readouterr().out
    assert "digits: 1,797 images" in said
    assert "test accuracy" in said
    assert "the same 13 writers in all parts" in said
    assert "wall time" in said
    run = tmp_path / "runs" / "1"
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["seed"] == 7
    assert config["layers"] == [32, 16]
    assert len((run / "history.csv").read_text().splitlines()) == 4
    arrays, texts = checkpoint.load(run / "model.safetensors")
    assert arrays["0.weight"].shape == (64, 32)
    assert arrays["standardize/mean"].shape == (64,)
    assert "0x" not in texts["model"]  # no address, which would differ from run to run
    main(["train", "--epochs", "1"])
    assert (tmp_path / "runs" / "2").is_dir()


def test_the_same_seed_gives_the_same_bits_in_another_process(tmp_path):
    for name in ("a", "b"):
        command = [sys.executable, "-m", "fastdl", "train", "--epochs", "2", "--out", name]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    first, second = (checkpoint.load(tmp_path / name / "model.safetensors")[0] for name in "ab")
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@pytest.mark.slow
def test_the_main_job_reaches_its_accuracy():
    tests = [recipes.train(Config(seed=seed)).test["accuracy"] for seed in range(5)]
    assert np.mean(tests) >= 0.975
    assert min(tests) >= 0.96


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "epochs is 0, wanted at least 1"),
        (["--set", "learning_rate=fast"], "--set: learning_rate is 'fast', wanted a number, or auto"),
        (["--batch-norm", "--batch-size", "1"], "batch_size is 1, wanted at least 2"),
        (["--layers", "8", "0"], "layers are"),
        (["--seed", "-1"], "seed is -1"),
        (["--set", "epocs=3"], "--set: there is no key 'epocs'; did you mean 'epochs'? (keys: data, target,"),
        (["--set", "epochs"], "--set epochs: wanted key=value"),
        (["--set", "optimizer=adm"], "optimizer is 'adm', wanted 'adam', one of sgd"),
        (["--config", "none.toml"], "none.toml: No such file or directory"),
        (["--data", "none.csv"], "--data none.csv: there is no such file"),
        (["--device", "cuda"], "device='cuda': "),
        (["--resume", "used"], "--resume used: there is no config.toml, so this is no run's folder"),
        (["--out", "used/file"], "--out used/file is a file; name a new folder"),
        (["--out", "used"], "--out used is not empty (it holds file); name a new folder"),
        (["--out", "used/file/deeper"], "cannot write to used/file/deeper: Not a directory; name a folder with --out"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(tmp_path, capsys, arguments, message):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("")
    assert main(["train", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert message in said.err


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = f"{sys.executable} -u -m fastdl info | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith("fastdl")
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "fastdl", "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    told = "no space is left on the device; files that were there are whole"
    assert done.stderr.splitlines()[0] == f"fastdl info: {told}"


@pytest.mark.numba
def test_output_is_in_order_where_there_is_no_terminal(tmp_path):
    command = [sys.executable, "-m", "fastdl", "train", "--epochs", "1", "--batch-size", "1257"]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("backend: ")
    at = {word: next(n for n, line in enumerate(lines) if line.startswith(word)) for word in ("digits", "epoch", "dev")}
    assert at["digits"] < at["epoch"] < at["dev"]
    assert any(line.startswith("fastdl: fit: the last batch of an epoch would have one row") for line in lines)


def test_a_failed_start_leaves_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipes, "train", lambda *_, **__: (_ for _ in ()).throw(MemoryError("8 TiB")))
    assert main(["train", "--out", "new"]) == 2
    assert capsys.readouterr().err == "fastdl train: out of memory: 8 TiB\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.numba
def test_info_is_for_people_and_as_json(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backends"]["numpy"] == "usable"
    assert found["cache"]["folder"]
    main(["info"])
    text = capsys.readouterr().out
    for word in ("fastdl", "numba", "cuda", "cache", "blas", "threads"):
        assert word in text


def test_version_is_told(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("fastdl 0.1.0")


@pytest.mark.parametrize("installed", [True, False])
def test_auto_tells_why_it_takes_no_gpu_where_one_was_meant(installed, monkeypatch, capsys):
    monkeypatch.setattr("fastdl.backend.cuda_missing", lambda: "no driver")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: installed or None if name == "cupy" else find(name, *rest)
    )
    assert main(["train", "--epochs", "1"]) == 0
    assert ("no GPU, though CuPy is installed: no driver" in capsys.readouterr().out) is installed
