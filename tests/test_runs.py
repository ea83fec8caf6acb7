"""Runs on files of one's own: train, evaluate, predict, stop and go on."""

import csv
import gzip
import json
import re
import signal
import struct
from pathlib import Path

import numpy as np
import pytest

from fastdl import callbacks, checkpoint, recipes
from fastdl.cli import main
from fastdl.config import Config
from fastdl.preparation import prepare, read

FAST = ["--epochs", "30", "--layers", "16", "--batch-size", "16"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_csv(path, names, rows):
    with open(path, "w", newline="") as file:  # noqa: PTH123
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)


def houses(rows=200, seed=0):
    """Prices that follow from a size, a district and an age, with a little noise."""
    rng = np.random.default_rng(seed)
    size, age = rng.uniform(40, 200, rows), rng.integers(0, 90, rows)
    district = rng.choice(["north", "south", "old town"], rows)
    worth = {"north": 1.0, "south": 1.5, "old town": 3.0}
    price = 1000 * size * [worth[d] for d in district] - 500 * age + rng.normal(0, 2000, rows)
    return [[f"{s:.2f}", d, a, f"{p:.2f}"] for s, d, a, p in zip(size, district, age, price, strict=True)]


def flowers(rows=150, seed=0):
    rng = np.random.default_rng(seed)
    kinds = np.arange(rows) % 3
    x = rng.normal(kinds[:, None] * [1.0, -1.0], 0.4)
    return [[f"{a:.3f}", f"{b:.3f}", ["iris", "rose", "tulip"][k]] for (a, b), k in zip(x, kinds, strict=True)]


def read_rows(path):
    with open(path, newline="") as file:  # noqa: PTH123
        return list(csv.DictReader(file))


def test_a_regression_with_categories_from_the_file_to_predictions(capsys):
    write_csv("houses.csv", ["size", "district", "age", "price"], houses())
    assert main(["train", "--data", "houses.csv", "--target", "price", "--out", "run", *FAST, "--epochs", "150"]) == 0
    said = capsys.readouterr().out
    assert "houses.csv: 200 rows of 5 inputs; 140 to train, 30 dev, 30 test" in said
    assert "target 'price' (numbers): regression" in said
    assert "error" in said and "in the target's units" in said
    write_csv("new.csv", ["age", "district", "size"], [[a, d, s] for s, d, a, _ in houses(50, seed=1)])
    assert main(["predict", "run", "--data", "new.csv", "--out", "found.csv"]) == 0
    assert capsys.readouterr().out == "50 predictions are in found.csv\n"
    found = np.array([float(row["prediction"]) for row in read_rows("found.csv")])
    right = np.array([float(row[3]) for row in houses(50, seed=1)])
    assert 1 - ((found - right) ** 2).sum() / ((right - right.mean()) ** 2).sum() > 0.95
    write_csv("more.csv", ["size", "district", "age", "price"], houses(50, seed=1))
    assert main(["evaluate", "run", "--data", "more.csv"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("all  R2 0.9")
    error = np.sqrt(((found - right) ** 2).mean())
    told = f"{error:,.0f}" if error >= 1e4 else f"{error:.4g}"
    assert f"error {told} (root mean square, in the target's units)" in said


def test_classes_of_texts_keep_their_names(capsys):
    write_csv("flowers.csv", ["length", "width", "kind"], flowers())
    assert main(["train", "--data", "flowers.csv", "--target", "kind", "--out", "run", *FAST]) == 0
    said = capsys.readouterr().out
    assert "classification into 3 classes, iris, rose, tulip" in said
    assert main(["evaluate", "run"]) == 0
    lines = said.splitlines()
    assert capsys.readouterr().out.splitlines() == [line for line in lines if line.startswith(("dev", "test"))]
    assert main(["predict", "run"]) == 0
    rows = read_rows("predictions.csv")
    assert list(rows[0]) == ["row", "prediction", "probability of iris", "probability of rose", "probability of tulip"]
    assert [row["row"] for row in rows] == [str(n) for n in range(1, 151)]
    right = [row[2] for row in flowers()]
    assert np.mean([row["prediction"] == kind for row, kind in zip(rows, right, strict=True)]) > 0.85
    chances = np.array([[float(row[f"probability of {kind}"]) for kind in ("iris", "rose", "tulip")] for row in rows])
    np.testing.assert_allclose(chances.sum(axis=1), 1, rtol=1e-6)
    assert [("iris", "rose", "tulip")[best] for best in chances.argmax(axis=1)] == [row["prediction"] for row in rows]


def test_nothing_of_dev_and_test_reaches_the_statistics():
    rows = flowers()
    write_csv("flowers.csv", ["length", "width", "kind"], rows)
    run = recipes.train(recipes.Config(data="flowers.csv", target="kind", epochs=1, layers=(4,)))
    table = read("flowers.csv").table
    from fastdl import data

    (train, _), _, _ = data.split(np.arange(150), table["kind"], stratify=True)
    x = np.stack([table["length"], table["width"]], axis=1)[train]
    np.testing.assert_allclose(run.how.scaling.steps[0].mean, x.mean(axis=0, dtype=np.float64), rtol=1e-12)


def test_a_time_in_seconds_keeps_its_digits(capsys):
    rows = [[1_700_000_000 + (20 if n % 2 else -20) + n % 7, "ab"[n % 2]] for n in range(300)]
    write_csv("times.csv", ["time", "kind"], rows)
    assert main(["train", "--data", "times.csv", "--target", "kind", "--out", "run", *FAST]) == 0
    assert "test accuracy 100.00%" in capsys.readouterr().out


def test_groups_stay_together():
    rows = [[a, n // 5, kind, f"p{n // 5}"] for n, (a, _, kind) in enumerate(flowers())]
    write_csv("flowers.csv", ["length", "number", "kind", "patient"], rows)
    config = recipes.Config(data="flowers.csv", target="kind", group="patient", scaling="none")
    prepared = prepare(config)
    assert [column.name for column in prepared.how.encoder.columns] == ["length", "number"]
    numbers, counts = zip(*(np.unique(x[:, 1], return_counts=True) for x, _ in prepared[:3]), strict=True)
    assert sorted(np.concatenate(numbers)) == list(range(30))
    assert (np.concatenate(counts) == 5).all()


@pytest.mark.parametrize("form", ["npz", "npy", "idx", "idx.gz"])
def test_arrays_from_files(form, capsys):
    from fastdl import data

    x, y = data.load_digits()
    images, labels = x.reshape(-1, 8, 8).astype(np.uint8)[:600], y[:600]
    target = []
    if form == "npz":
        np.savez("digits.npz", x=images, y=labels)
        path = "digits.npz"
    elif form == "npy":
        np.save("x.npy", images)
        np.save("y.npy", labels)
        path, target = "x.npy", ["--target", "y.npy"]
    else:
        pack = gzip.compress if form.endswith("gz") else bytes
        whole = struct.pack(">HBB3I", 0, 8, 3, *images.shape) + images.tobytes()
        path, target = "images", ["--target", "labels"]
        for name, content in (
            ("images", whole),
            ("labels", struct.pack(">HBBI", 0, 8, 1, 600) + bytes(labels.tolist())),
        ):
            with open(name, "wb") as file:  # noqa: PTH123
                file.write(pack(content))
    assert main(["train", "--data", path, *target, "--out", "run", "--epochs", "20"]) == 0
    said = capsys.readouterr().out
    assert f"{path}: 600 rows of 8 x 8 inputs; 420 to train, 90 dev, 90 test" in said
    assert "classification into 10 classes, 0, 1, 2" in said
    accuracy = float(said.split("test accuracy ")[1].split("%")[0])
    assert accuracy > 90
    assert main(["predict", "run", "--data", path]) == 0
    found = [row["prediction"] for row in read_rows("predictions.csv")]
    assert np.mean(np.array(found) == labels.astype(str)) > 0.9


def test_several_labels_a_row(capsys):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4)).astype(np.float32)
    np.savez("labels.npz", x=x, y=np.stack([x[:, 0] > 0, x[:, 1] + x[:, 2] > 0], axis=1).astype(int))
    assert main(["train", "--data", "labels.npz", "--out", "run", *FAST]) == 0
    said = capsys.readouterr().out
    assert "2 labels a row, each 0 or 1" in said
    assert float(said.split("test accuracy ")[1].split("%")[0]) > 90
    main(["predict", "run"])
    assert list(read_rows("predictions.csv")[0]) == [
        "row",
        "prediction 0",
        "prediction 1",
        "probability of 0",
        "probability of 1",
    ]


TABLE = ["--data", "houses.csv", "--target", "price", "--batch-size", "16"]
RUNS = {"digits": [], "patience": ["--patience", "2"], "table": TABLE}


@pytest.mark.parametrize("run", RUNS)
def test_a_run_interrupted_and_resumed_is_that_of_one_that_was_not(monkeypatch, capsys, run):
    write_csv("houses.csv", ["size", "district", "age", "price"], houses())
    command = ["train", *RUNS[run], "--set", "dropout=0.3", "--epochs", "12", "--schedule", "cosine"]
    assert main([*command, "--out", "whole"]) == 0

    class Press(callbacks.Callback):
        left = 33

        def on_batch_end(self, batch, logs):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)

    watched = recipes._callbacks
    with monkeypatch.context() as patch:
        patch.setattr(recipes, "_callbacks", lambda *rest: [Press(), *watched(*rest)])
        assert main([*command, "--out", "stopped"]) == 130
    assert "go on with: fastdl train --resume stopped" in capsys.readouterr().out
    assert main(["train", "--resume", "stopped"]) == 0
    first, second = (checkpoint.load(f"{name}/model.safetensors") for name in ("whole", "stopped"))
    assert {k: v.tobytes() for k, v in first[0].items()} == {k: v.tobytes() for k, v in second[0].items()}
    histories = [json.loads(texts.pop("training"))["history"] for _, texts in (first, second)]
    assert first[1] == second[1]  # columns, categories, names of classes, the configuration, the model
    for history in histories:
        for row in history:
            del row["rows_per_second"]
    assert histories[0] == histories[1]
    assert len(read_rows("stopped/history.csv")) == len(histories[0])


def test_a_finished_run_says_so_and_goes_on_with_more_epochs(capsys):
    assert main(["train", "--epochs", "2", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 0
    assert "all 2 epochs were made already; for more: fastdl train --resume run --epochs 4" in capsys.readouterr().out
    assert main(["train", "--resume", "run", "--epochs", "4"]) == 0
    assert len(read_rows("run/history.csv")) == 4
    assert main(["train", "--resume", "run", "--seed", "3"]) == 2
    assert "--resume cannot change seed; only epochs and device" in capsys.readouterr().err


def test_a_run_of_another_file_is_not_resumed(capsys):
    write_csv("flowers.csv", ["length", "width", "kind"], flowers())
    assert main(["train", "--data", "flowers.csv", "--target", "kind", "--out", "run", *FAST]) == 0
    write_csv("flowers.csv", ["length", "width", "kind"], flowers(seed=1))
    assert main(["train", "--resume", "run", "--epochs", "40"]) == 2
    assert "flowers.csv is not the file that the run was trained on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a,b\n1,x\n2,y\n", [], "--target names the column that is to be learnt, one of a, b"),
        ("a,b\n1,x\n2,y\n", ["--target", "c"], "no column 'c'"),
        ("a,b\n1,x\n2\n", ["--target", "b"], "line 3"),
        ("a,b\n1,x\n,y\n", ["--target", "b"], "line 3, column 'a': a cell is missing"),
        ("a,b\n1,x\n2,y\n", ["--target", "b"], "too few"),
        ("", ["--target", "b"], "bad.csv"),
    ],
)
def test_bad_files_are_one_line(capsys, tmp_path, text, arguments, message):
    (tmp_path / "bad.csv").write_text(text)
    assert main(["train", "--data", "bad.csv", "--out", "run", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not (tmp_path / "run").exists()


def test_what_a_network_was_not_trained_on_is_told(capsys, tmp_path):
    write_csv("flowers.csv", ["length", "width", "kind"], flowers())
    assert main(["train", "--data", "flowers.csv", "--target", "kind", "--out", "run", *FAST]) == 0
    write_csv("less.csv", ["length", "kind"], [[row[0], row[2]] for row in flowers()])
    np.save("x.npy", np.zeros((3, 2)))
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        (["predict", "run", "--data", "less.csv"], "no column 'width'"),
        (["predict", "run", "--data", "x.npy"], "trained on a CSV file, and this is none"),
        (
            ["evaluate", "run", "--target", "width"],
            "--target width: the run's target is the column 'kind', in every file",
        ),
        (
            ["predict", "run", "--out", "flowers.csv"],
            "--out flowers.csv is the file of the rows themselves; name another",
        ),
        (["predict", "empty"], "empty holds no model.safetensors"),
        (["predict", "nowhere"], "nowhere: No such file or directory"),
        (["evaluate", "flowers.csv"], "flowers.csv is no whole safetensors file"),
    ):
        capsys.readouterr()
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.err.count("\n") == 1


def test_debug_shows_where_an_error_comes_from(capsys):
    assert main(["train", "--set", "epochs=0", "--debug"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1] == "fastdl train: epochs is 0, wanted at least 1"


def test_a_configuration_file_with_six_techniques(capsys, tmp_path):
    (tmp_path / "run.toml").write_text(
        'optimizer = "adamw"\nschedule = "cosine"\nwarmup = 2\nweight_decay = 0.01\nclip_norm = 1.0\n'
        'smoothing = 0.1\ndropout = 0.3\npatience = 20\nactivation = "gelu"\nstart = "xavier_normal"\nepochs = 10\n'
    )
    assert main(["train", "--config", "run.toml", "--set", "layers=[64, 32]", "--epochs", "12", "--out", "run"]) == 0
    kept = recipes.load(tmp_path / "run").config
    assert (kept.optimizer, kept.layers, kept.epochs, kept.smoothing) == ("adamw", (64, 32), 12, 0.1)
    assert float(capsys.readouterr().out.split("test accuracy ")[1].split("%")[0]) > 90


AUGMENTED = ["--shift", "1", "--rotate", "12", "--noise", "0.3", "--mixup", "0.1"]


def test_an_augmented_run_on_digits_resumed_and_predicting(capsys):
    command = ["train", *AUGMENTED, "--epochs", "6", "--dropout", "0.1"]
    assert main([*command, "--out", "whole"]) == 0
    assert float(capsys.readouterr().out.split("test accuracy ")[1].split("%")[0]) > 80
    assert main([*command, "--epochs", "3", "--out", "first"]) == 0
    assert main(["train", "--resume", "first", "--epochs", "6"]) == 0
    first, second = (checkpoint.load(f"{name}/model.safetensors")[0] for name in ("whole", "first"))
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in second.items()}
    assert len(set(first["standardize/mean"].tolist())) == 1  # pixels move, so all are scaled alike
    capsys.readouterr()
    assert main(["evaluate", "whole"]) == 0
    assert float(capsys.readouterr().out.split("test accuracy ")[1].split("%")[0]) > 80
    assert main(["predict", "whole"]) == 0
    right = read("digits").y
    found = [int(row["prediction"]) for row in read_rows("predictions.csv")]
    assert np.mean(np.array(found) == right) > 0.8


@pytest.mark.parametrize("layout", ["chw", "hwc"])
@pytest.mark.parametrize("form", ["npz", "npy"])
def test_images_with_channels_are_augmented(capsys, layout, form):
    from fastdl import data

    x, y = data.load_digits()
    images = np.stack([x[:300], 16 - x[:300]], axis=1).reshape(-1, 2, 8, 8)
    images = images if layout == "chw" else np.moveaxis(images, 1, 3)
    np.savez("digits.npz", x=images, y=y[:300])
    np.save("x.npy", images)
    np.save("y.npy", y[:300])
    rows = ["--data", "digits.npz"] if form == "npz" else ["--data", "x.npy", "--target", "y.npy"]
    command = ["train", *rows, "--layout", layout, "--flip", "--shift", "1", "--scaling", "minmax", "--epochs", "1"]
    assert main([*command, "--out", "run"]) == 0
    how = recipes.load(Path("run")).how
    np.testing.assert_array_equal(how.scaling.steps[0].greatest, np.full(images.shape[1:], 16))


def test_tables_and_regressions_take_noise_and_mixup(capsys):
    write_csv("houses.csv", ["size", "district", "age", "price"], houses())
    command = [
        "train",
        "--data",
        "houses.csv",
        "--target",
        "price",
        "--noise",
        "0.02",
        "--mixup",
        "0.2",
        "--out",
        "run",
    ]
    assert main([*command, *FAST, "--epochs", "150"]) == 0
    assert float(capsys.readouterr().out.split("test R2 ")[1].split()[0]) > 0.9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shift", "1"], "flip, shift and rotate are for images, and a row has the shape (2,), wanted the axes 'hw'"),
        (["--rotate", "200"], "rotate is 200.0, wanted degrees, 0 to 180"),
        (["--noise", "-1"], "noise is -1.0, wanted 0 or more"),
        (["--squash", "0"], "squash is 0.0, wanted a number above 0"),
        (["--shift", "-1"], "shift is -1, wanted at least 0"),
    ],
)
def test_augmentation_that_cannot_be_is_told(capsys, flags, message):
    write_csv("flowers.csv", ["length", "width", "kind"], flowers())
    assert main(["train", "--data", "flowers.csv", "--target", "kind", "--out", "run", *flags]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not Path("run").exists()
    assert main(["train", "--shift", "8", "--out", "run"]) == 2
    assert "pixels is 8, wanted fewer than images of 8 x 8 have" in capsys.readouterr().err


def test_the_size_of_batches_may_be_left_to_the_number_of_rows():
    write_csv("flowers.csv", ["length", "width", "kind"], flowers())
    flags = ["--batch-size", "auto", "--schedule", "cosine", "--epochs", "3"]
    assert main(["train", "--data", "flowers.csv", "--target", "kind", "--out", "run", *flags]) == 0
    run = recipes.load(Path("run"))
    assert run.config.batch_size == "auto"
    state = json.loads(run.texts["training"])
    assert state["steps"] == 3  # one an epoch
    rates = [float(row["learning_rate"]) for row in read_rows("run/history.csv")]
    assert rates == pytest.approx([3e-3 * (1 + np.cos(np.pi * step / 3)) / 2 for step in (0, 1, 2)], rel=1e-6)


def test_classes_may_be_numbers(capsys):
    write_csv(
        "numbers.csv",
        ["length", "width", "kind"],
        [[a, b, ["iris", "rose", "tulip"].index(k)] for a, b, k in flowers()],
    )
    assert main(["train", "--data", "numbers.csv", "--target", "kind", "--out", "csv", *FAST]) == 0
    assert "classification into 3 classes, 0, 1, 2" in capsys.readouterr().out
    x = np.array([[float(a), float(b)] for a, b, _ in flowers()])
    np.savez("floats.npz", x=x, y=np.arange(150) % 3 * 0.5)
    assert main(["train", "--data", "floats.npz", "--task", "classification", "--out", "npz", *FAST]) == 0
    assert "classification into 3 classes, 0, 0.5, 1" in capsys.readouterr().out


def test_a_finished_run_keeps_its_best_epoch(capsys):
    command = ["train", "--epochs", "12", "--patience", "11", "--learning-rate", "0.05", "--out", "run"]
    assert main(command) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("dev", "test"))]
    before = Path("run/model.safetensors").read_bytes()
    assert main(["train", "--resume", "run"]) == 0
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("dev", "test"))]
    assert again == said
    assert Path("run/model.safetensors").read_bytes() == before


def test_a_run_that_diverged_says_so_and_saves_no_model(capsys, tmp_path):
    command = ["train", "--optimizer", "sgd", "--learning-rate", "1e30", "--no-batch-norm", "--out", "run"]
    with np.errstate(all="ignore"):  # where the reference kernels run
        assert main([*command, "--epochs", "3"]) == 2
    said = capsys.readouterr().err
    assert "stopped: the loss of batch" in said
    assert "the training diverged in epoch 1, so its weights are not saved" in said
    assert not (tmp_path / "run").exists()  # so that it is free for another try


def test_an_evaluation_of_all_rows_says_that_most_were_trained_on(capsys):
    x = np.random.default_rng(0).standard_normal((100, 3))
    np.savez("a.npz", x=x, y=x[:, 0])
    np.savez("b.npz", x=x[:50], y=x[:50, 0])
    assert main(["train", "--data", "a.npz", "--out", "run", "--epochs", "1"]) == 0
    for file, told in (("a.npz", True), ("b.npz", False)):
        capsys.readouterr()
        assert main(["evaluate", "run", "--data", file]) == 0
        assert ("7 of whose 10 rows were trained on" in capsys.readouterr().out) is told


def test_columns_of_a_table_are_refused_for_arrays(capsys):
    np.savez("a.npz", x=np.eye(30), y=np.arange(30))
    assert main(["train", "--data", "a.npz", "--weight", "w", "--out", "run"]) == 2
    assert "weight: this is about the columns of a CSV file, and a.npz is none; leave it" in capsys.readouterr().err


def test_a_misspelt_choice_is_one_line_and_no_flag_is_guessed(capsys):
    assert main(["train", "--schedule", "cosin"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("fastdl train: schedule is 'cosin', wanted 'cosine', one of constant")
    assert said.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["train", "--schedul", "cosine"])


def test_what_is_evaluated_is_what_was_trained_on(capsys):
    x = np.random.default_rng(0).standard_normal((100, 3))
    np.save("x.npy", x)
    np.save("y.npy", x[:, 0])
    assert main(["train", "--data", "x.npy", "--target", "y.npy", "--out", "run", "--epochs", "1"]) == 0
    np.save("y.npy", x[:, 1])
    for command in (["evaluate", "run"], ["train", "--resume", "run", "--epochs", "2"]):
        capsys.readouterr()
        assert main(command) == 2
        assert "x.npy is not the file that the run was trained on; put that back" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["x", "y"])
def test_nan_in_arrays_is_found_before_training(capsys, where):
    x = np.random.default_rng(0).standard_normal((100, 3))
    y = x[:, 0].copy()
    {"x": x, "y": y[:, None]}[where][::3, 0] = np.nan
    np.savez("bad.npz", x=x, y=y)
    assert main(["train", "--data", "bad.npz", "--out", "run"]) == 2
    assert "hold NaN or infinity, in row 0, the first of 34" in capsys.readouterr().err


def test_the_steps_of_an_epoch_leave_out_what_is_left_out():
    config = recipes.Config(schedule="cosine", epochs=4, batch_size=64)
    assert recipes.steps_of_epoch(65, 64, leaves_one_out=True) == 1
    assert recipes.steps_of_epoch(65, 64, leaves_one_out=False) == 2
    assert recipes.optimizer(config, 1).learning_rate(5) == pytest.approx(0)


@pytest.mark.parametrize(
    ("keys", "wanted"),  # rates of the first steps of the epochs, two steps each
    [
        ({"schedule": "piecewise", "pieces": ("1=0.5", "3=0.1")}, [1, 0.5, 0.5, 0.1]),
        ({"schedule": "piecewise", "pieces": ("3=0.1",), "warmup": 2}, [1 / 4, 3 / 4, 1, 0.1]),
        ({"schedule": "step", "period": 2}, [1, 1, 0.95, 0.95]),
        ({"schedule": "step", "period": 2, "decay": 0.1}, [1, 1, 0.1, 0.1]),
        ({"schedule": "inverse_time", "decay": 1.0}, [1, 1 / 2, 1 / 3, 1 / 4]),
        ({"schedule": "exponential", "decay": 0.5}, [1, 0.5, 0.25, 0.125]),
        ({"schedule": "inverse_sqrt"}, [1, 2**-0.5, 3**-0.5, 0.5]),
        ({"schedule": "inverse_sqrt", "warmup": 2}, [1 / 4, 3 / 4, 1, 2**-0.5]),
        ({"schedule": "triangular", "period": 2}, [0.1, 1, 0.1, 1]),
        ({"schedule": "one_cycle", "warmup": 2}, [0.04, 0.52, 1, 0.5]),
        ({"schedule": "one_cycle"}, [0.04, 1, 0.75, 0.25]),  # a rise of 3/10, 2 steps of 8
    ],
)
def test_schedules_by_their_names(keys, wanted):
    made = recipes.optimizer(recipes.Config(learning_rate=0.1, epochs=4, **keys), 2)
    assert [made.learning_rate(1 + 2 * epoch) / 0.1 for epoch in range(4)] == pytest.approx(wanted, rel=1e-12)


def test_a_rate_that_the_run_finds_itself(capsys):
    command = ["train", "--learning-rate", "auto", "--out", "run", *FAST, "--epochs", "3"]
    assert main(command) == 0
    said = capsys.readouterr().out
    rate = float(re.search(r"learning rate ([0-9.e-]+): a tenth of that of the lowest loss in a range test", said)[1])
    assert 1e-3 < rate < 0.3
    kept = Config.from_toml(Path("run/config.toml").read_text(), "config.toml")
    assert kept.learning_rate == rate
    # The number in the file makes the same run, and the run goes on with it.
    assert main(["train", "--config", "run/config.toml", "--out", "again"]) == 0
    assert "range test" not in capsys.readouterr().out
    assert weights("again") == weights("run")
    assert main(["train", "--resume", "run", "--epochs", "4"]) == 0
    assert "range test" not in capsys.readouterr().out
    assert float(read_rows("run/history.csv")[-1]["learning_rate"]) == rate


class Fail(callbacks.Callback):
    """Ends a training as a crash does."""

    def on_epoch_end(self, epoch, logs):
        if epoch == 1:
            raise RuntimeError("no power")


def test_a_rate_that_was_found_outlives_a_crash(capsys, monkeypatch):
    command = ["train", "--learning-rate", "auto", *FAST, "--epochs", "3"]
    assert main([*command, "--out", "whole"]) == 0
    made = recipes._callbacks
    with monkeypatch.context() as patched:
        patched.setattr(recipes, "_callbacks", lambda *of: [*made(*of), Fail()])
        assert main([*command, "--out", "run"]) == 2
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 0
    assert "range test" not in capsys.readouterr().out
    assert weights("run") == weights("whole")


def weights(run):
    arrays = checkpoint.load(Path(run) / "model.safetensors")[0]
    return {name: array.tobytes() for name, array in arrays.items() if "/" not in name}


def test_a_run_with_a_plateau_and_an_average_goes_on_to_the_bit(capsys):
    write_csv("flowers.csv", ["length", "width", "kind"], flowers())
    options = ["--data", "flowers.csv", "--target", "kind", *FAST, "--learning-rate", "0.3", "--plateau", "2"]
    options += ["--average-weights", "0.9"]
    assert main(["train", *options, "--epochs", "20", "--out", "whole"]) == 0
    assert main(["train", *options, "--epochs", "7", "--out", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "20"]) == 0
    assert weights("run") == weights("whole")
    rates = [float(row["learning_rate"]) for row in read_rows("whole/history.csv")]
    assert rates[0] == 0.3
    assert rates[-1] <= 0.03
    plain = ["train", *options[:-2], "--epochs", "20", "--out", "plain"]
    assert main(plain) == 0
    assert weights("plain") != weights("whole")


def test_rows_and_classes_count_what_the_configuration_says(capsys):
    clean = flowers(300)
    right = np.random.default_rng(0).random(600) < 0.4
    spoilt = [[*row[:2], *((row[2], "2.5") if r else ("rose", "0"))] for row, r in zip(clean * 2, right, strict=True)]
    write_csv("flowers.csv", ["a", "b", "kind", "weight"], spoilt)
    write_csv("clean.csv", ["a", "b", "kind"], clean)
    accuracies = {}
    for name, options in {
        "plain": ["--drop", "weight"],
        "rows": ["--weight", "weight"],
        "classes": ["--drop", "weight", "--class-weights", "1", "0", "1"],
    }.items():
        command = ["train", "--data", "flowers.csv", "--target", "kind", "--out", name, *FAST, *options]
        assert main(command) == 0, capsys.readouterr().err
        trainer, source = recipes.load(Path(name)), read("clean.csv", "kind")
        x, y = trainer.how.inputs(source), trainer.how.targets(source)
        accuracies[name] = [float((trainer.trainer.predict(x).argmax(1) == y)[y == k].mean()) for k in range(3)]
    assert min(accuracies["rows"]) > 0.8 and accuracies["plain"][0] < 0.5  # where most are said to be roses
    assert accuracies["classes"][1] < 0.1 and min(accuracies["classes"][::2]) > 0.9


@pytest.mark.parametrize(
    "options, message",
    [
        (["--weight", "wieght"], "no column 'wieght'"),
        (["--weight", "kind"], "the weight in column 'kind' is"),
        (["--class-weights", "1", "2"], "got 2 class_weights for 3 outputs"),
        (["--class-weights", "1", "2", "-1"], "class_weights are .* wanted numbers of 0 or more"),
        (["--weight", "a", "--accumulate", "2"], "accumulate is 2, but weights of classes or rows need whole batches"),
    ],
)
def test_weights_that_cannot_be_are_told(options, message, capsys):
    write_csv("flowers.csv", ["a", "b", "kind", "target"], [[*row, n % 3] for n, row in enumerate(flowers())])
    target = ["--target", "target"] if "kind" in options else ["--target", "kind", "--drop", "target"]
    assert main(["train", "--data", "flowers.csv", *target, "--out", "run", *FAST, *options]) == 2
    assert re.search(message, capsys.readouterr().err)
