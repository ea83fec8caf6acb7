"""Softmax cross-entropy: extreme logits, and labels that are no class."""

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import Guarded, assert_agree, normal

both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
INTEGERS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]


@both_backends
@both_dtypes
def test_logits_of_1e4_give_finite_numbers(dtype, on):
    logits = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [0, 1e4, 1e4]], dtype)
    losses = np.empty(3, dtype)
    with backend.use(on):
        total, dlogits = ops.softmax_cross_entropy(logits, np.array([1, 0, 2]), losses=losses)
    assert_agree(losses, [1e4, np.log(3), np.log(2)])
    assert_agree(total, [(1e4 + np.log(6)) / 3], precision=dtype)
    assert_agree(dlogits, np.array([[1, -1, 0], [-2 / 3, 1 / 3, 1 / 3], [0, 0.5, -0.5]]) / 3, scale=1)


@both_backends
@pytest.mark.parametrize("size", [3, 1000])
def test_loss_and_gradient_are_those_of_the_equation(size, on):
    logits, labels = normal((size, 10), np.float64, 0, scale=3), np.arange(size) % 10
    with backend.use(on):
        total, dlogits = ops.softmax_cross_entropy(logits, labels)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert_agree(total, [-np.log(p[np.arange(size), labels]).mean()])
    assert_agree(dlogits, (p - np.eye(10)[labels]) / size, scale=1 / size)


@both_backends
def test_batch_in_parts_adds_up_to_the_whole(on):
    logits, labels = normal((7, 4), np.float64, 0), np.arange(7) % 4
    scale, total = np.array([1 / 7]), np.zeros(1)
    with backend.use(on):
        whole, dlogits = ops.softmax_cross_entropy(logits, labels)
        parts = [
            ops.softmax_cross_entropy(logits[a:b], labels[a:b], scale=scale, total=total)[1]
            for a, b in ((0, 3), (3, 7))
        ]
    assert_agree(total, whole)
    assert_agree(np.concatenate(parts), dlogits)


@both_backends
@pytest.mark.parametrize("dtype", INTEGERS)
def test_labels_of_every_integer_dtype(dtype, on):
    logits = normal((4, 100), np.float64, 0)
    labels = np.array([0, 99, 5, 0])
    with backend.use(on):
        total, dlogits = ops.softmax_cross_entropy(logits, labels.astype(dtype))
        expected, gradient = ops.softmax_cross_entropy(logits, labels)
    assert total == expected
    assert (dlogits == gradient).all()


BAD = [
    pytest.param(dtype, bad, id=f"{np.dtype(dtype)} {bad}")
    for dtype in INTEGERS
    for bad in sorted({3, np.iinfo(dtype).max, np.iinfo(dtype).min or 4, -1 if np.iinfo(dtype).min else 5})
]


def results(n, c):
    """Guarded out=, losses= and total=, each with numbers of its own."""
    return {
        "out": Guarded.of(normal((n, c), np.float64, 1)),
        "losses": Guarded.of(normal((n,), np.float64, 2)),
        "total": Guarded.of(np.array([0.25])),
    }


def arrays(guarded):
    return {name: g.array for name, g in guarded.items()}


@both_backends
@pytest.mark.parametrize("row", [0, 69])
@pytest.mark.parametrize("dtype, bad", BAD)
def test_bad_label_raises_naming_its_row_and_nothing_is_written(dtype, bad, row, on):
    labels = np.zeros(70, dtype)
    labels[row] = bad
    given = results(70, 3)
    before = {name: g.memory.copy() for name, g in given.items()}
    with (
        backend.use(on),
        pytest.raises(ValueError, match=rf"^softmax_cross_entropy: the label of row {row} is {bad}, "),
    ):
        ops.softmax_cross_entropy(normal((70, 3), np.float64, 0), labels, **arrays(given))
    for name, guarded in given.items():
        assert (guarded.memory == before[name]).all(), name


@both_backends
@pytest.mark.parametrize("bad", [-1, 3, 2**62, -(2**63)])
def test_with_status_a_bad_label_sets_its_row_and_nothing_else(bad, on):
    labels = np.zeros(70, np.int64)
    labels[[40, 60]] = bad  # the first of them counts
    given = results(70, 3) | {"status": Guarded.of(np.zeros(1, np.int64))}
    before = {name: g.memory.copy() for name, g in given.items()}
    with backend.use(on):
        ops.softmax_cross_entropy(normal((70, 3), np.float64, 0), labels, **arrays(given))
    assert given.pop("status").array.tolist() == [41]
    for name, guarded in given.items():
        assert (guarded.memory == before[name]).all(), name


# ---------------------------------------------------------------- weights, smoothing, ignored labels, shares of classes

VARIANTS = {
    "smoothing": {"smoothing": 0.2},
    "class weights": {"class_weights": True},
    "ignored": {"ignored": 2},
    "ignored outside": {"ignored": -100},
    "all": {"smoothing": 0.1, "class_weights": True, "ignored": -100},
}


@both_backends
@both_dtypes
@pytest.mark.parametrize("shape", [(7, 3), (60, 10), (5, 200), (700, 33)])
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_torchs(name, shape, dtype, on, torch):
    options = dict(VARIANTS[name])
    logits, labels = normal(shape, dtype, 0, scale=3), np.arange(shape[0]) % shape[1]
    if options.get("class_weights"):
        options["class_weights"] = np.abs(normal((shape[1],), dtype, 1)) + dtype(0.1)
    if options.get("ignored") == -100:
        labels[::4] = -100
    wide = torch.tensor(logits.astype(np.float64), requires_grad=True)
    weight = options.get("class_weights")
    expected = torch.nn.functional.cross_entropy(
        wide,
        torch.tensor(labels),
        weight=None if weight is None else torch.tensor(weight.astype(np.float64)),
        label_smoothing=options.get("smoothing", 0.0),
        ignore_index=options.get("ignored", -1000),
    )
    expected.backward()
    with backend.use(on):
        total, dlogits = ops.softmax_cross_entropy(logits, labels, **options)
    assert_agree(total, [expected.item()], precision=dtype, scale=10 + expected.item())
    assert_agree(dlogits, wide.grad.numpy(), scale=2 * np.abs(wide.grad.numpy()).max())


@both_backends
@both_dtypes
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(7, 3), (60, 10), (5, 200)])
def test_shares_of_classes_are_torchs(shape, weighted, smoothing, dtype, on, torch):
    logits, shares = normal(shape, dtype, 0, scale=3), np.abs(normal(shape, dtype, 1))
    shares /= shares.sum(1, keepdims=True)
    weight = np.abs(normal((shape[1],), dtype, 2)) if weighted else None
    wide = torch.tensor(logits.astype(np.float64), requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        wide,
        torch.tensor(shares.astype(np.float64)),
        weight=None if weight is None else torch.tensor(weight.astype(np.float64)),
        label_smoothing=smoothing,
    )
    expected.backward()
    with backend.use(on):
        total, dlogits = ops.softmax_cross_entropy(logits, shares, class_weights=weight, smoothing=smoothing)
    assert_agree(total, [expected.item()], precision=dtype, scale=10 + expected.item())
    assert_agree(dlogits, wide.grad.numpy(), scale=2 * np.abs(wide.grad.numpy()).max())


@both_backends
def test_weights_of_rows_are_rows_given_so_many_times(on):
    logits, labels = normal((4, 3), np.float64, 0), np.array([0, 1, 2, 0])
    counts = np.array([1, 3, 0, 2])
    many = np.repeat(np.arange(4), counts)
    with backend.use(on):
        total, dlogits = ops.softmax_cross_entropy(logits, labels, weights=counts.astype(float))
        expected, each = ops.softmax_cross_entropy(logits[many], labels[many])
    assert_agree(total, expected)
    assert_agree(dlogits, [each[many == row].sum(0) for row in range(4)], scale=1)


@both_backends
@pytest.mark.parametrize("options", [{"ignored": 1}, {"weights": np.zeros(3)}])
def test_where_no_row_counts_loss_and_gradient_are_0(options, on):
    logits = np.array([[np.nan, 1], [np.inf, 0], [2, 3]])
    with backend.use(on), np.errstate(all="ignore"):
        total, dlogits = ops.softmax_cross_entropy(logits, np.ones(3, int), **options)
    assert total == 0
    assert (dlogits == 0).all()


@both_backends
@pytest.mark.parametrize("soft", [False, True])
def test_rows_of_weight_0_count_for_nothing_not_even_nan(soft, on):
    logits, w = normal((6, 3), np.float64, 0), np.array([1.0, 0, 2, 0, 1, 0])
    labels = np.abs(normal((6, 3), np.float64, 1)) if soft else np.array([0, 1, 2, 0, 1, 2])
    logits[1], logits[3], logits[5] = np.nan, np.inf, -np.inf
    kept = w > 0
    with backend.use(on), np.errstate(all="ignore"):
        total, gradient = ops.softmax_cross_entropy(logits, labels, weights=w)
        alone, of_kept = ops.softmax_cross_entropy(logits[kept], labels[kept], weights=w[kept])
    assert_agree(total, alone)
    assert_agree(gradient[kept], of_kept)
    assert (gradient[~kept] == 0).all()


@both_backends
def test_bad_label_beside_an_ignored_one_is_named(on):
    labels = np.array([-100, 0, -7, 1])
    with backend.use(on), pytest.raises(ValueError, match="the label of row 2 is -7, wanted 0 to 1"):
        ops.softmax_cross_entropy(np.zeros((4, 2)), labels, ignored=-100)


def test_options_that_cannot_be_are_refused():
    logits = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"smoothing is 1.0, wanted at least 0 and below 1"):
        ops.softmax_cross_entropy(logits, np.zeros(2, int), smoothing=1.0)
    with pytest.raises(ValueError, match="ignored is 0, but shares of classes have no labels"):
        ops.softmax_cross_entropy(logits, logits, ignored=0)
    with pytest.raises(ValueError, match="class_weights has 2 elements, wanted 3"):
        ops.softmax_cross_entropy(logits, np.zeros(2, int), class_weights=np.ones(2))


@both_backends
def test_without_a_bad_label_status_stays_0(on):
    status = np.zeros(1, np.int64)
    with backend.use(on):
        ops.softmax_cross_entropy(np.zeros((2, 3)), np.array([0, 2]), status=status)
    assert status.tolist() == [0]


@pytest.mark.parametrize(
    "labels", [np.zeros(2), np.zeros(2, bool), [0, 1], np.array([0, 1], object), np.ma.zeros(2, int), None]
)
def test_labels_that_are_no_integers_raise(labels):
    with pytest.raises(TypeError, match=r"^softmax_cross_entropy: labels must be an array of integers, got "):
        ops.softmax_cross_entropy(np.zeros((2, 3)), labels)


def test_byte_swapped_labels_mean_their_values():
    logits = normal((2, 3), np.float64, 0)
    labels = np.array([2, 1])
    assert ops.softmax_cross_entropy(logits, labels.astype(">i4"))[0] == ops.softmax_cross_entropy(logits, labels)[0]
