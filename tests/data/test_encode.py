"""From columns to arrays: what is learnt of the training rows, and what is wrong with later ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdl import data
from fastdl.data import Encoder, Table


def table(**columns):
    """A table whose first row stands on line 2."""
    arrays = {name: np.array(column) for name, column in columns.items()}
    arrays = {name: a if a.dtype.kind == "U" else a.astype(np.float64) for name, a in arrays.items()}
    return Table(arrays, Path("some.csv"), np.arange(2, 2 + len(next(iter(arrays.values())))))


TRAIN = table(size=[1, 2, 4], leaf=["b", "a", "b"], tree=["oak", "ash", "oak"])
GAPS = table(size=[1, np.nan, 4], leaf=["b", "", "b"], tree=["oak", "ash", "oak"])


def test_numbers_make_a_feature_and_texts_one_for_each_category():
    encoder = Encoder.fit(TRAIN, "tree")
    x = encoder.inputs(TRAIN)
    assert x.dtype == np.float64
    assert x.tolist() == [[1, 0, 1], [2, 1, 0], [4, 0, 1]]
    y = encoder.targets(TRAIN)
    assert (y.dtype, y.tolist()) == (np.int64, [1, 0, 1])
    assert (encoder.task, encoder.classes) == ("classification", ("ash", "oak"))
    later = table(extra=["?"], leaf=["a"], size=[8])  # in another order, and without a target
    assert encoder.inputs(later).tolist() == [[8, 1, 0]]
    assert encoder.decode(np.array([[3, 1], [0, 1.0]])).tolist() == ["ash", "oak"]


def test_dropped_columns_are_no_inputs():
    assert Encoder.fit(TRAIN, "tree", drop=["leaf"]).inputs(TRAIN).tolist() == [[1], [2], [4]]


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([10, 9, 9], "classification", ("9", "10")),
        ([-1, 0, 1.0], "classification", ("-1", "0", "1")),
        (list(range(20)), "classification", tuple(map(str, range(20)))),
        (list(range(21)), "regression", ()),
        ([1, 2, 2.5], "regression", ()),
        (["10", "9", "x"], "classification", ("10", "9", "x")),
    ],
)
def test_the_task_is_read_off_the_target(values, task, classes):
    rows = table(x=[0] * len(values), y=values)
    encoder = Encoder.fit(rows, "y")
    assert (encoder.task, encoder.classes) == (task, classes)
    if classes:
        assert [classes[k] for k in encoder.targets(rows)] == [str(v) for v in values] or values == [-1, 0, 1.0]


def test_the_task_can_be_overruled_and_says_how():
    rows = table(x=[0, 0, 0], y=[1, 2, 2], z=[0.5, 1, 2], s=["a", "b", "b"])
    assert Encoder.fit(rows, "y").describe() == (
        "target 'y' (numbers): classification into 2 classes, 1, 2; task='regression' predicts the number"
    )
    assert Encoder.fit(rows, "y", task="regression").describe() == (
        "target 'y' (numbers): regression of its distance from the mean, 1.66667, in units of the deviation, 0.471405; "
        "task='classification' makes each value a class"
    )
    assert Encoder.fit(rows, "z", task="classification").classes == ("0.5", "1", "2")
    assert Encoder.fit(rows, "s").describe().endswith("2 classes, a, b; for regression it must be numbers")
    with pytest.raises(ValueError, match="column 's' holds texts, wanted numbers for task='regression'"):
        Encoder.fit(rows, "s", task="regression")


def test_a_regression_predicts_standardised_values_and_gives_back_the_files_units():
    rows = table(x=[0, 0, 0, 0], price=[100.5, 200, 300, 400])
    encoder = Encoder.fit(rows, "price")
    y = encoder.targets(rows)
    assert (y.shape, y.dtype) == ((4, 1), np.float32)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-6)
    assert (encoder.target_mean, encoder.target_deviation) == (rows["price"].mean(), rows["price"].std())
    back = encoder.decode(y)
    assert (back.shape, back.dtype) == ((4, 1), np.float64)
    np.testing.assert_allclose(back[:, 0], rows["price"], rtol=1e-6)


def test_missing_inputs_become_the_mean_or_zeros_where_asked():
    encoder = Encoder.fit(GAPS, "tree", missing="mean")
    assert encoder.inputs(GAPS).tolist() == [[1, 1], [2.5, 0], [4, 1]]
    nothing = table(size=[np.nan], leaf=[np.nan])  # a file whose texts are all missing reads as numbers
    assert encoder.inputs(nothing).tolist() == [[2.5, 0]]


def test_a_missing_cell_is_an_error_otherwise():
    message = r"some.csv, line 3, column 'size': a cell is missing, the first of 2; fill it in, "
    with pytest.raises(ValueError, match=f"Encoder.fit: {message}take such rows out with table.take, or, if it is"):
        Encoder.fit(GAPS, "tree")
    with pytest.raises(ValueError, match=f"Encoder.inputs: {message}or train again with missing='mean'"):
        Encoder.fit(TRAIN, "tree").inputs(GAPS)
    hole = table(x=[1, 2, 3], y=["a", "", "b"])
    with pytest.raises(ValueError, match=r"Encoder.fit: some.csv, line 3, column 'y': a cell is missing; fill it in"):
        Encoder.fit(hole, "y", missing="mean")
    with pytest.raises(ValueError, match=r"Encoder.targets: some.csv, line 3, column 'y': a cell is missing"):
        Encoder.fit(hole.take([0, 2]), "y").targets(hole)


def test_lines_are_those_of_the_file_after_rows_were_taken():
    with pytest.raises(ValueError, match="line 3, column 'size'"):
        Encoder.fit(GAPS.take([2, 1]), "tree")


def test_one_warning_tells_of_unknown_categories():
    encoder = Encoder.fit(TRAIN, "tree")
    later = table(size=[1, 1, 1], leaf=["a", "z", "y"])
    with pytest.warns(data.UnknownCategoryWarning) as warned:
        x = encoder.inputs(later)
    assert x.tolist() == [[1, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert [str(w.message) for w in warned] == [
        "Encoder.inputs: some.csv, line 3, column 'leaf': 'z', the first of 2 such texts, is in no training row; "
        "its features are all zeros"
    ]


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        ({}, {"target": "Tree"}, r"has no column 'Tree'; did you mean 'tree'\? Its columns are 'size', 'leaf', 'tree'"),
        ({}, {"target": "price"}, "has no column 'price'. Its columns are"),
        ({}, {"target": "tree", "drop": ["leef"]}, r"has no column 'leef'; did you mean 'leaf'\?"),
        ({}, {"target": "tree", "drop": ["size", "leaf"]}, "3 rows and 0 input columns, wanted at least 1 of each"),
        ({}, {"target": "tree", "task": "cluster"}, "task is 'cluster', wanted 'auto' or 'classification' or 'regr"),
        ({}, {"target": "tree", "missing": "drop"}, "missing is 'drop', wanted 'error' or 'mean'"),
        ({"tree": ["oak"] * 3}, {"target": "tree"}, "column 'tree' is 'oak' in all 3 rows, wanted at least 2 values"),
        ({"size": [2.5] * 3}, {"target": "size"}, "column 'size' is 2.5 in all 3 rows"),
        ({"size": [1, 2, np.inf]}, {"target": "size"}, "line 4, column 'size': the target is infinite"),
        ({"size": [0, 1e300, 2]}, {"target": "size", "task": "regression"}, "whose deviation float64 does not hold"),
        ({"size": [1, 1e39, 2]}, {"target": "tree"}, "line 3, column 'size': 1e.39 is beyond float32; mend it"),
        (
            {"size": [np.nan] * 3},
            {"target": "tree", "missing": "mean"},
            "'size' is missing in all 3 rows; leave it out",
        ),
        ({"leaf": [""] * 3}, {"target": "tree", "missing": "mean"}, "'leaf' is missing in all 3 rows; leave it out"),
    ],
)
def test_what_cannot_be_fitted_is_refused(columns, arguments, message):
    rows = Table(TRAIN.columns | table(**columns, tail=["t"] * 3).columns, TRAIN.path, TRAIN.lines)
    rows.columns.pop("tail")
    with pytest.raises(ValueError, match=message):
        Encoder.fit(rows, **arguments)


def test_a_column_of_more_than_a_hundred_texts_is_no_input():
    rows = table(name=[f"n{k}" for k in range(101)], y=[k % 2 for k in range(101)])
    with pytest.raises(ValueError, match=r"'name' has 101 different texts, wanted at most 100, .* drop=\['name'\]"):
        Encoder.fit(rows, "y")
    assert Encoder.fit(rows.take(range(100)), "y").inputs(rows.take([99])).shape == (1, 100)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"size": [1], "tree": ["oak"]}, "Encoder.inputs: some.csv has no column 'leaf'"),
        ({"size": ["1"], "leaf": ["a"]}, "column 'size' holds texts, wanted numbers, as in training"),
        ({"size": [1], "leaf": [1]}, "column 'leaf' holds numbers, wanted texts, as in training"),
        ({"size": [np.inf], "leaf": ["a"]}, "line 2, column 'size': inf is beyond float32"),
    ],
)
def test_later_tables_must_have_the_same_columns(columns, message):
    with pytest.raises(ValueError, match=message):
        Encoder.fit(TRAIN, "tree").inputs(table(**columns))


def test_later_targets_must_be_of_the_known_classes():
    encoder = Encoder.fit(TRAIN, "tree")
    with pytest.raises(
        ValueError, match="line 2, column 'tree': 'elm' is no class of the training rows, which are ash"
    ):
        encoder.targets(table(tree=["elm"]))
    with pytest.raises(ValueError, match=r"Encoder.targets: some.csv has no column 'tree'"):
        encoder.targets(table(leaf=["a"]))
    with pytest.raises(ValueError, match=r"line 3, column 'y': 3.0 is no class of the training rows, which are 1, 2"):
        Encoder.fit(table(x=[1, 2], y=[1, 2]), "y").targets(table(y=[1, 3]))


def test_outputs_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"outputs have shape \(2, 3\), wanted \(n, 2\)"):
        Encoder.fit(TRAIN, "tree").decode(np.zeros((2, 3)))


NUMBERS = st.floats(-1e30, 1e30)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)


@given(st.lists(st.tuples(NUMBERS, TEXTS, NUMBERS), min_size=2, max_size=30, unique_by=lambda row: row[2]))
def test_json_gives_the_same_encoder_to_the_bit(rows):
    numbers, texts, target = zip(*rows, strict=True)
    rows = table(n=numbers, s=texts, y=target)
    for name, task in (("y", "regression"), ("y", "classification")):
        encoder = Encoder.fit(rows, name, task=task)
        again = Encoder.from_json(encoder.to_json())
        assert again == encoder
        np.testing.assert_array_equal(again.inputs(rows), encoder.inputs(rows))
        np.testing.assert_array_equal(again.targets(rows), encoder.targets(rows))


WRONG = (None, 7, "x", [7], {"x": 1}, [[]], [None])
GOOD = json.loads(Encoder.fit(TRAIN, "tree").to_json())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "__import__('os').getcwd()",
        "[" * 100_000,
        "[]",
        "{}",
        "null",
        json.dumps(GOOD)[:-1],
        json.dumps(GOOD | {"more": 1}),
        *(json.dumps({k: v for k, v in GOOD.items() if k != name}) for name in GOOD),
        *(json.dumps(GOOD | {name: wrong}) for name in GOOD for wrong in WRONG if (name, wrong) != ("target", "x")),
        json.dumps(GOOD | {"target_mean": float("nan")}),
        json.dumps(GOOD | {"target_deviation": 0.0}),
        json.dumps(GOOD | {"classes": ["oak", "ash"]}),
        json.dumps(GOOD | {"classes": ["oak"]}),
        json.dumps(GOOD | {"numeric": True}),
        json.dumps(GOOD | {"columns": []}),
        json.dumps(GOOD | {"columns": [{"name": "n", "categories": None, "mean": "1"}]}),
        json.dumps(GOOD | {"columns": [{"name": "n", "categories": "ab", "mean": 1.0}]}),
    ],
)
def test_json_of_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"Encoder.from_json: the text was not written by to_json"):
        Encoder.from_json(text)
