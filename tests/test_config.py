"""The configuration: one source of flags, TOML and --set, and what it says of mistakes."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdl import nn, recipes
from fastdl.cli import main
from fastdl.config import CHOICES, Config, assigned, help_of, takes_auto


def test_it_comes_back_from_its_toml():
    config = Config(data="a.csv", target="tree", layers=(64, 32), dropout=0.25, drop=("x", "y"), batch_norm=False)
    assert Config.from_toml(config.to_toml(), "run.toml") == config
    config = Config(start="variance_scaling", start_scale=2.0, start_mode="fan_out", start_distribution="uniform")
    assert Config.from_toml(config.to_toml(), "run.toml") == config
    config = Config(batch_size="auto", squash=2.0, flip=True, shift=2)
    assert Config.from_toml(config.to_toml(), "run.toml") == config
    assert Config.from_toml(Config().to_toml(), "run.toml") == Config()


def test_a_file_that_names_every_default_is_read():
    assert Config.from_toml("decay = 0.95\nperiod = 10\nmomentum = 0.9\n", "run.toml") == Config()


def test_a_rate_may_be_auto():
    config = Config.of({"learning_rate": "auto"}, "run.toml")
    assert config.learning_rate == "auto"
    assert Config.from_toml(config.to_toml(), "run.toml") == config
    assert [name for name in ("learning_rate", "target", "dropout", "epochs", "layers") if takes_auto(name)] == [
        "learning_rate"
    ]


def test_later_values_overrule_earlier_ones():
    base = Config.from_toml("epochs = 5\nlayers = [8]\n", "run.toml")
    assert Config.of({"epochs": 7}, "flags", base) == Config(epochs=7, layers=(8,))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("learning_rate=1e-2", 0.01),
        ("learning_rate=auto", "auto"),
        ("layers=[64, 32]", [64, 32]),
        ("optimizer=sgd", "sgd"),
        ('optimizer="sgd"', "sgd"),
        ("batch_norm = false", False),
        ("batch_size=auto", "auto"),
        ("data=C:\\a.csv", "C:\\a.csv"),
        ("target=", ""),
    ],
)
def test_assignments_hold_toml_or_text(text, value):
    assert assigned(text) == (text.partition("=")[0].strip(), value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learnig_rate": 1}, "run.toml: there is no key 'learnig_rate'; did you mean 'learning_rate'?"),
        ({"epochs": 2.5}, "run.toml: epochs is 2.5, wanted a whole number"),
        ({"epochs": True}, "run.toml: epochs is True, wanted a whole number"),
        ({"learning_rate": "fast"}, "run.toml: learning_rate is 'fast', wanted a number, or auto"),
        ({"epochs": "auto"}, "run.toml: epochs is 'auto', wanted a whole number"),
        ({"schedule": "exponential", "decay": 2.0}, "decay is 2.0, wanted above 0 and at most 1 for the exponential"),
        ({"schedule": "step", "decay": 0.0}, "decay is 0.0, wanted above 0 and at most 1 for the step schedule"),
        ({"decay": -1}, "decay is -1.0, wanted 0 or more"),
        (
            {"decay": 0.9},
            "decay is 0.9, but schedule is 'constant', which has none; leave it out, or set schedule to s",
        ),
        ({"schedule": "cosine", "period": 3}, "period is 3, but schedule is 'cosine', which has none"),
        ({"momentum": 0.8}, "momentum is 0.8, but optimizer is 'adam', which has none; leave it out, or set optimizer"),
        ({"pieces": ["5=0.1"]}, "but schedule is 'constant', which has none; leave it out, or set schedule to piecew"),
        ({"schedule": "piecewise"}, "schedule is 'piecewise', which has no pieces of its own; give it some, pieces="),
        ({"schedule": "piecewise", "pieces": ["a=0.1"]}, "pieces hold 'a=...', wanted an epoch and a factor: 50=0.1"),
        ({"schedule": "piecewise", "pieces": ["5=x"]}, "pieces hold '5=x', wanted an epoch and a factor: 50=0.1"),
        ({"schedule": "piecewise", "pieces": ["0=1"]}, r"pieces begin at the epochs \[0\], wanted each later than the"),
        (
            {"schedule": "piecewise", "pieces": ["5=1", "5=2"]},
            r"pieces begin at the epochs \[5, 5\], wanted each later",
        ),
        (
            {"schedule": "piecewise", "pieces": ["5=1"], "warmup": 5},
            r"epochs \[5\], wanted each later than the last after the 5 of the warm-up",
        ),
        ({"rates": ["0.*=0.1", "0.*=5"]}, r"rates name '0.\*' twice, wanted one factor for each pattern"),
        ({"group": "tree", "target": "tree"}, "group and target are the same column, 'tree'"),
        ({"penalty_over_rows": True}, "penalty_over_rows is true, but there is no penalty; give it one"),
        ({"inverted_dropout": False, "dropout": 0.0}, "inverted_dropout is false, but nothing is dropped"),
        ({"layers": [8, 8], "dropout": [0.1] * 3}, "dropout has 3 rates for 2 hidden layers, wanted one for all, or"),
        ({"period": 1}, "period is 1, wanted at least 2"),
        ({"average_weights": 1.0}, "average_weights is 1.0, wanted at least 0 and below 1"),
        ({"plateau": 5, "patience": 5}, "plateau is 5 and patience 5: the training would end before the rate falls"),
        ({"layers": [8, "x"]}, r"run.toml: layers is \[8, 'x'\], wanted a whole number or a list of them"),
        ({"batch_norm": 1}, "run.toml: batch_norm is 1, wanted true or false"),
        ({"optimizer": "adm"}, "optimizer is 'adm', wanted 'adam', one of sgd, momentum"),
        ({"epochs": 0}, "epochs is 0, wanted at least 1"),
        ({"batch_size": "all"}, "run.toml: batch_size is 'all', wanted a whole number, or auto"),
        ({"batch_size": 0}, "batch_size is 0, wanted at least 1"),
        ({"epochs": "auto"}, "run.toml: epochs is 'auto', wanted a whole number$"),
        ({"scaling": "min-max"}, "scaling is 'min-max', wanted 'minmax', one of standardize, minmax, none"),
        ({"squash": -3}, "squash is -3.0, wanted a number above 0"),
        ({"batch_size": 1}, "batch_size is 1, wanted at least 2, since batch norm"),
        ({"batch_size": 6, "accumulate": 4}, "batch_size is 6 in 4 parts"),
        ({"dropout": 1.0}, "dropout is 1.0, wanted at least 0 and below 1"),
        ({"dropout": [0.5, -0.1]}, "dropout is -0.1, wanted at least 0 and below 1"),
        ({"dropout": ["a"]}, r"dropout is \['a'\], wanted a number or a list of them"),
        ({"input_dropout": 1}, "input_dropout is 1.0, wanted at least 0 and below 1"),
        ({"members": 0}, "members is 0, wanted at least 1"),
        ({"jobs": 0}, "jobs is 0, wanted at least 1, or -1 for as many as there are cores"),
        ({"learning_rate": -1}, "learning_rate is -1.0, wanted 0 or more"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"warmup": 100}, "warmup is 100 epochs of 100, wanted fewer"),
        ({"layers": [0]}, r"layers are \(0,\)"),
        ({"seed": -1}, r"seed is -1, wanted 0 to 2\^64 - 1"),
        ({"start": "normal"}, "start is 'normal', which has no deviation of its own; give it one, start_scale="),
        (
            {"start_scale": 2.0},
            "start_scale is 2.0, but start is 'he_normal', which has none; leave it out, or set start to normal or",
        ),
        (
            {"start": "normal", "start_scale": 1.0, "start_mode": "fan_in"},
            "start_mode is 'fan_in', but start is 'normal', which has none; leave it out, or set start to var",
        ),
        ({"start": "variance_scaling", "start_mode": "fan"}, "start_mode is 'fan', wanted 'fan_in', one of fan_in"),
        ({"start": "variance_scaling", "start_distribution": "cauchy"}, "distribution is 'cauchy', wanted one of"),
        ({"start": "normal", "start_scale": 0}, "start_scale is 0.0, wanted above 0; to start at 0 set"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Config.of(values, "run.toml")


def test_broken_toml_and_assignments_are_told():
    with pytest.raises(ValueError, match=r"^run.toml: Invalid value"):
        Config.from_toml("epochs = ", "run.toml")
    with pytest.raises(ValueError, match="--set epochs: wanted key=value"):
        assigned("epochs")


def test_every_key_has_a_help_line_and_a_single_layer_may_stand_alone():
    for field in dataclasses.fields(Config):
        assert len(help_of(field.name)) > 10
    assert CHOICES.keys() <= {field.name for field in dataclasses.fields(Config)}
    assert Config.of({"layers": 16, "drop": "a"}, "x") == Config(layers=(16,), drop=("a",))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.tuples(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_text_comes_back_from_toml(text, texts):
    config = Config(target=text, drop=texts)
    assert Config.from_toml(config.to_toml(), "run.toml") == config


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match=r"target is .*, which is no text of UTF-8"):
        Config(target="\udcff")
    with pytest.raises(ValueError, match="clip_norm is inf, wanted a number above 0"):
        Config(clip_norm=float("inf"))


@pytest.mark.parametrize(
    ("given", "rates"),
    [(0.25, [0.25, 0.25]), ((0.25,), [0.25, 0.25]), ((0.5, 0.0), [0.5]), (0.0, []), (0, []), (None, [])],
)
def test_dropout_is_one_rate_for_all_hidden_layers_or_one_for_each(given, rates):
    model = recipes.network(Config(layers=(8, 4), dropout=given), 3, (5,))
    assert [layer.rate for layer in model.layers if isinstance(layer, nn.Dropout)] == rates


def test_dropout_of_inputs_and_its_form():
    config = Config.from_toml("dropout = 0.3\ninput_dropout = 0.1\ninverted_dropout = false\n", "run.toml")
    layers = recipes.network(config, 3, (5, 2)).layers
    dropped = [(at, layer.rate, layer.inverted) for at, layer in enumerate(layers) if isinstance(layer, nn.Dropout)]
    assert dropped == [(1, 0.1, False), (4, 0.3, False)]
    with pytest.raises(ValueError, match="dropout has 2 rates for 3 hidden layers, wanted one for all, or one for ea"):
        recipes.network(Config(layers=(8, 8, 8), dropout=(0.1, 0.2)), 3, (5,))


def test_flags_take_one_rate_or_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for flags, dropout in ((["0.3"], (0.3,)), (["0.3", "0.1"], (0.3, 0.1))):
        folder = f"run{len(flags)}"
        assert main(["train", "--epochs", "1", "--layers", "8", "4", "--dropout", *flags, "--out", folder]) == 0
        assert recipes.load(tmp_path / folder).config.dropout == dropout
    optimizer = recipes.optimizer(Config(weight_decay=0.5, l1=0.1, penalty_over_rows=True), 1)
    assert (optimizer.for_rows(10).weight_decay, optimizer.for_rows(10).l1) == (0.05, 0.01)
