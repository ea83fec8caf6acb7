"""Metrics: values by hand, and scikit-learn's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastdl import metrics

nan = math.nan

# Five rows of three classes. Predicted: 0, 1, 1, 2, 0.
OUTPUTS = np.array([[3.0, 1, 2], [0, 5, 4], [1, 2, 0], [-3, -2, -1], [9, 0, 8]])
LABELS = np.array([0, 2, 1, 1, 0])

# Three rows of two labels that hold or not. Said: 1 0, 0 1, 1 1.
LOGITS = np.array([[0.1, -4.0], [-0.1, 2.0], [3.0, 1.0]])
HOLDS = np.array([[1, 0], [1, 1], [1, 0]])

BOTH = [metrics.accuracy, metrics.error, metrics.precision, metrics.recall, metrics.f1]
ONE_CLASS = [*BOTH, metrics.top_k, metrics.confusion]
ALL = [*ONE_CLASS, metrics.mse, metrics.r2]
NAME = {"ids": lambda metric: metric.__name__}


# ---------------------------------------------------------------- by hand


def test_one_class_a_row_by_hand():
    assert metrics.accuracy(OUTPUTS, LABELS) == 3 / 5
    np.testing.assert_array_equal(metrics.confusion(OUTPUTS, LABELS), [[2, 0, 0], [0, 1, 1], [0, 1, 0]])
    assert metrics.precision(OUTPUTS, LABELS) == pytest.approx((2 / 2 + 1 / 2 + 0) / 3, rel=1e-15)
    assert metrics.recall(OUTPUTS, LABELS) == pytest.approx((2 / 2 + 1 / 2 + 0) / 3, rel=1e-15)
    assert metrics.f1(OUTPUTS, LABELS) == pytest.approx((1 + 1 / 2 + 0) / 3, rel=1e-15)


def test_top_k_by_hand():
    # Places of the labels' outputs: 1, 2, 1, 2, 1.
    assert [metrics.top_k(OUTPUTS, LABELS, k) for k in (1, 2, 3)] == [3 / 5, 1, 1]
    assert metrics.top_k(np.arange(10.0)[None], np.array([5])) == 1  # k is 5
    assert metrics.top_k(np.arange(10.0)[None], np.array([4])) == 0


def test_several_labels_a_row_by_hand():
    assert metrics.accuracy(LOGITS, HOLDS) == 4 / 6
    assert metrics.precision(LOGITS, HOLDS) == (2 / 2 + 1 / 2) / 2
    assert metrics.recall(LOGITS, HOLDS) == (2 / 3 + 1 / 1) / 2
    assert metrics.f1(LOGITS, HOLDS) == pytest.approx((4 / 5 + 2 / 3) / 2, rel=1e-15)
    assert metrics.accuracy(np.array([[0.0]]), np.array([[0]])) == 1  # a logit of 0 does not hold


def test_a_class_that_does_not_occur_counts_for_nothing_and_one_without_a_part_for_0():
    wide = np.zeros((2, 5))
    wide[:, 0] = 1
    assert metrics.precision(wide, np.array([0, 1])) == (1 / 2 + 0) / 2  # class 1 is never predicted
    assert metrics.recall(wide, np.array([0, 0])) == 1
    assert metrics.recall(wide, np.array([1, 1])) == 0  # class 0 is never a label
    assert metrics.f1(wide, np.array([0, 1])) == pytest.approx((2 / 3 + 0) / 2, rel=1e-15)
    # Of several labels every one counts, that too which never holds.
    assert metrics.f1(np.array([[1.0, -1.0]]), np.array([[1, 0]])) == 1 / 2


def test_mse_and_r2_by_hand():
    y, t = np.array([2.5, 0.0, 2.0, 8.0]), np.array([3.0, -0.5, 2.0, 7.0])
    assert metrics.mse(y, t) == 1.5 / 4
    assert metrics.r2(y, t) == pytest.approx(1 - 1.5 / 29.1875, rel=1e-14)
    two = np.array([[0.0, 2], [-1, 2], [8, -5]]), np.array([[0.5, 1], [-1, 1], [7, -6]])
    assert metrics.mse(*two) == 4.25 / 6
    assert metrics.r2(*two) == pytest.approx(1 - (1.25 / (217 / 6) + 3 / (98 / 3)) / 2, rel=1e-14)
    assert metrics.r2(np.full(3, 2.0), np.array([1.0, 2, 3])) == 0
    assert metrics.r2(np.array([3.0, 2, 1]), np.array([1.0, 2, 3])) == -3


def test_r2_of_a_target_that_never_changes():
    for value in (7.0, 0.1):  # the mean of three 0.1 is not 0.1
        target = np.full((3, 1), value)
        assert metrics.r2(target, target) == 1
        assert metrics.r2(target + np.array([[0], [0], [1e-8]]), target) == 0
    both = np.array([[1.0, 5], [2, 5], [3, 5]])
    assert metrics.r2(both, both) == 1
    assert metrics.r2(both + np.array([0, 1]), both) == 1 / 2
    assert math.isnan(metrics.r2(np.ones(1), np.ones(1)))


def test_sums_are_float64_whatever_the_arrays_are():
    # float32 holds neither 2^24 + 1 nor the difference's square.
    y, t = np.full(3, 2**24 + 2, np.float32), np.full(3, 1, np.float32)
    assert metrics.mse(y, t) == (2**24 + 1) ** 2
    assert metrics.mse(np.array([300], np.uint16), np.array([301], np.uint16)) == 1
    assert metrics.mse(np.array([True]), np.array([False])) == 1
    half = np.full(4, 300, np.float16)
    assert metrics.mse(half, np.zeros(4, np.float16)) == 90000
    assert metrics.r2(np.float32([1e8, 1e8 + 8]), np.float32([1e8, 1e8 + 8])) == 1


# ---------------------------------------------------------------- NaN, infinity, equal outputs


def test_a_row_that_holds_nan_is_never_right():
    outputs = np.array([[nan, 1.0], [1.0, nan], [nan, nan], [1.0, 0.0]])
    for label in (0, 1):
        assert metrics.accuracy(outputs, np.full(4, label)) == (label == 0) / 4
        for k in (1, 2):
            assert metrics.top_k(outputs, np.full(4, label), k) == (label == 0 or k == 2) / 4
    labels = np.array([0, 0, 1, 0])
    assert metrics.precision(outputs, labels) == 1 / 2  # predicted: none, none, none, 0
    assert metrics.recall(outputs, labels) == (1 / 3 + 0) / 2
    assert metrics.f1(outputs, labels) == (2 / 4 + 0) / 2
    assert metrics.f1(outputs[:3], labels[:3]) == 0
    with pytest.raises(ValueError, match="confusion: the outputs of row 2 hold NaN and predict no class; leave"):
        metrics.confusion(outputs[[3, 3, 2, 1]], labels)


def test_a_logit_that_is_nan_is_wrong_both_ways():
    logits = np.array([[nan, nan], [1.0, 1.0]])
    assert metrics.accuracy(logits, np.array([[1, 0], [1, 1]])) == 1 / 2
    assert metrics.recall(logits, np.array([[1, 0], [1, 1]])) == (1 / 2 + 1) / 2


def test_what_has_diverged_is_no_number_and_no_warning():
    t = np.array([1.0, 2.0, 3.0])
    for bad in (nan, math.inf, 1e200):
        y = np.array([1.0, 2.0, bad])
        assert not metrics.mse(y, t) < math.inf
        assert not metrics.r2(y, t) > -math.inf
        assert not metrics.mse(t, y) < math.inf
    assert math.isnan(metrics.r2(t, np.array([1.0, 2.0, nan])))
    assert math.isnan(metrics.r2(np.array([1.0, nan]), np.ones(2)))
    assert math.isnan(metrics.mse(np.array([math.inf]), np.array([math.inf])))
    assert metrics.accuracy(np.array([[-math.inf, math.inf]]), np.array([1])) == 1


def test_equal_outputs_count_against_a_label():
    equal = np.zeros((6, 6))
    labels = np.arange(6)
    assert [metrics.top_k(equal, labels, k) for k in range(1, 7)] == [0, 0, 0, 0, 0, 1]
    # 2 1 1 0: the largest is sure, of the next two neither is second, both are third.
    row = np.array([[2.0, 1.0, 1.0, 0.0]])
    places = {0: 1, 1: 3, 2: 3, 3: 4}
    for label, place in places.items():
        for k in range(1, 5):
            assert metrics.top_k(row, np.array([label]), k) == (k >= place)
    assert metrics.accuracy(equal, labels) == 1 / 6  # argmax's: the first


# ---------------------------------------------------------------- scikit-learn

CLASSES = 4
ROWS = st.integers(1, 12)


@st.composite
def classified(draw):
    """Outputs without ties, and labels; often not all classes occur."""
    n = draw(ROWS)
    orders = [draw(st.permutations(range(CLASSES))) for _ in range(n)]
    top = draw(st.integers(1, CLASSES))
    labels = draw(
        hnp.arrays(draw(st.sampled_from([np.int64, np.uint8, np.int16])), n, elements=st.integers(0, top - 1))
    )
    return np.array(orders, draw(st.sampled_from([np.float32, np.float64]))), labels


@st.composite
def labelled(draw):
    shape = draw(ROWS), draw(st.integers(1, 4))
    logits = draw(hnp.arrays(np.float32, shape, elements=st.floats(-2, 2, width=32)))
    return logits, draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 1)))


def macro(function):
    return lambda truth, predicted: function(truth, predicted, average="macro", zero_division=0)


@given(classified())
def test_one_class_a_row_as_scikit_learn_has_it(given_):
    oracle = pytest.importorskip("sklearn.metrics")
    outputs, labels = given_
    predicted = outputs.argmax(axis=1)
    assert metrics.accuracy(outputs, labels) == pytest.approx(oracle.accuracy_score(labels, predicted))
    assert metrics.error(outputs, labels) == pytest.approx(oracle.zero_one_loss(labels, predicted))
    for name in ("precision", "recall", "f1"):
        expected = macro(getattr(oracle, f"{name}_score"))(labels, predicted)
        assert getattr(metrics, name)(outputs, labels) == pytest.approx(expected, rel=1e-14), name
    every = np.arange(CLASSES)
    table = metrics.confusion(outputs, labels)
    assert table.dtype == np.int64
    np.testing.assert_array_equal(table, oracle.confusion_matrix(labels, predicted, labels=every))
    for k in range(1, CLASSES):
        expected = oracle.top_k_accuracy_score(labels, outputs, k=k, labels=every)
        assert metrics.top_k(outputs, labels, k) == pytest.approx(expected)


@given(labelled())
def test_several_labels_a_row_as_scikit_learn_has_them(given_):
    oracle = pytest.importorskip("sklearn.metrics")
    logits, targets = given_
    says = (logits > 0).astype(int)
    assert metrics.accuracy(logits, targets) == pytest.approx(1 - oracle.hamming_loss(targets, says))
    assert metrics.error(logits, targets) == pytest.approx(oracle.hamming_loss(targets, says))
    # One label alone scikit-learn takes for two classes, of which it averages both.
    average = {"average": "macro" if targets.shape[1] > 1 else "binary", "zero_division": 0}
    for name in ("precision", "recall", "f1"):
        expected = getattr(oracle, f"{name}_score")(targets, says, **average)
        assert getattr(metrics, name)(logits, targets) == pytest.approx(expected, rel=1e-14), name


@given(hnp.arrays(np.float64, st.tuples(st.integers(2, 8), st.integers(1, 3), st.just(2)), elements=st.integers(-3, 3)))
def test_mse_and_r2_as_scikit_learn_has_them(both):
    oracle = pytest.importorskip("sklearn.metrics")
    y, t = both[..., 0], both[..., 1]
    assert metrics.mse(y, t) == pytest.approx(oracle.mean_squared_error(t, y), rel=1e-14)
    for constant in (t, np.full_like(t, 0.5)):
        assert metrics.r2(y, constant) == pytest.approx(oracle.r2_score(constant, y), rel=1e-12, abs=1e-14)
    assert metrics.r2(y[:, 0], t[:, 0]) == metrics.r2(y[:, :1], t[:, :1])


@given(classified())
def test_accuracy_is_the_confusion_tables_diagonal(given_):
    outputs, labels = given_
    table = metrics.confusion(outputs, labels)
    assert table.sum() == len(labels)
    assert metrics.accuracy(outputs, labels) == pytest.approx(np.trace(table) / len(labels))
    assert metrics.top_k(outputs, labels, 1) == metrics.accuracy(outputs, labels)


# ---------------------------------------------------------------- names and errors


def test_names():
    wanted = {"accuracy": 3 / 5, "error": 2 / 5, "precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2}
    assert {name: metrics.by_name(name)(OUTPUTS, LABELS) for name in wanted} == pytest.approx(wanted)
    assert metrics.by_name("top_5")(np.arange(10.0)[None], np.array([5])) == 1
    assert metrics.by_name("top_5")(np.arange(10.0)[None], np.array([4])) == 0
    y, t = np.array([1.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert (metrics.by_name("mse")(y, t), metrics.by_name("r2")(y, t)) == (1 / 3, 0.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acuracy", r"'acuracy' \(did you mean 'accuracy'\?\), wanted one of 'accuracy', 'error', .*'mse', 'r2'"),
        ("F1", r"'F1' \(did you mean 'f1'\?\)"),
        ("auc", "'auc', wanted one of"),
        (None, "None, wanted one of"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_and_all(name, message):
    with pytest.raises(ValueError, match=f"metrics.by_name: there is no {message}"):
        metrics.by_name(name)


@pytest.mark.parametrize("metric", ONE_CLASS, **NAME)
@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_label_that_is_no_class_is_named_by_its_row(metric, label):
    labels = np.array([0, 2, 1, label, label])
    with pytest.raises(
        ValueError, match=rf"{metric.__name__}: the label of row 3 is {label}, wanted 0 to 2, .* 3 outp"
    ):
        metric(OUTPUTS, labels)


@pytest.mark.parametrize("metric", ONE_CLASS, **NAME)
@pytest.mark.parametrize("shapes", [((5, 3), (4,)), ((5,), (5,)), ((5, 3, 2), (5,)), ((5, 3), (5, 1, 1))], ids=str)
def test_shapes_that_do_not_fit_are_told(metric, shapes):
    outputs, labels = (np.zeros(shape, int) for shape in shapes)
    with pytest.raises(ValueError) as told:
        metric(outputs, labels)
    text = f"{metric.__name__}: outputs have shape {shapes[0]} and targets {shapes[1]}, wanted (n, classes) and (n,)"
    assert str(told.value).startswith(text)
    assert ("or (n, labels) logits" in str(told.value)) == (metric in BOTH)


@pytest.mark.parametrize("metric", BOTH, **NAME)
def test_targets_of_several_labels_are_checked(metric):
    with pytest.raises(
        ValueError, match=r"shape \(3, 2\) and targets \(2, 2\), wanted the same, \(n, labels\), for sev"
    ):
        metric(LOGITS, HOLDS[:2])
    for bad in (0.5, nan, 2, -1):
        targets = HOLDS.astype(float)
        targets[1, 0] = bad
        with pytest.raises(ValueError, match=rf"the target of row 1, label 0 is {float(bad)}, wanted 0 or 1; .*argmax"):
            metric(LOGITS, targets)
    with pytest.raises(
        ValueError, match=r"\(3, 1\), one logit a row .* targets \(3,\), .*pass targets.reshape\(-1, 1\)"
    ):
        metric(LOGITS[:, :1], HOLDS[:, 0])


@pytest.mark.parametrize("metric", [metrics.top_k, metrics.confusion], **NAME)
def test_what_is_about_one_class_refuses_several_labels(metric):
    with pytest.raises(ValueError, match=r"targets \(3, 2\), wanted \(n, classes\) and \(n,\)"):
        metric(LOGITS, HOLDS)


@pytest.mark.parametrize("metric", ALL, **NAME)
def test_what_is_no_array_of_numbers_is_refused(metric):
    with pytest.raises(
        TypeError, match=f"{metric.__name__}: outputs must be a numpy.ndarray of real numbers, got list"
    ):
        metric(OUTPUTS.tolist(), LABELS)
    with pytest.raises(TypeError, match=f"{metric.__name__}: targets must be .*, got <U1"):
        metric(OUTPUTS, LABELS.astype("U1"))
    with pytest.raises(ValueError, match=rf"{metric.__name__}: outputs has shape \(0, 3\), wanted at least one row"):
        metric(np.empty((0, 3)), np.empty(0, int))


@pytest.mark.parametrize("metric", ONE_CLASS, **NAME)
def test_labels_that_are_no_integers_are_refused(metric):
    with pytest.raises(TypeError, match=r"labels have dtype float64, wanted integers; pass labels\.astype"):
        metric(OUTPUTS, LABELS.astype(float))


@pytest.mark.parametrize("k", [0, 4, -1, 1.0, None])
def test_a_k_that_is_no_number_of_classes_is_refused(k):
    with pytest.raises(ValueError, match=f"top_k: k is {k!r}, wanted an integer, 1 to 3, the number of classes"):
        metrics.top_k(OUTPUTS, LABELS, k)


@pytest.mark.parametrize("metric", [metrics.mse, metrics.r2], **NAME)
def test_numbers_are_never_broadcast(metric):
    with pytest.raises(
        ValueError, match=r"shape \(3, 1\) and targets \(3,\), wanted the same; pass targets.reshape\(\(3, 1"
    ):
        metric(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(3, 2\) and targets \(2, 3\), wanted the same$"):
        metric(np.zeros((3, 2)), np.zeros((2, 3)))
