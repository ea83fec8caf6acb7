"""What every op promises about its arguments: one table of ops, and each promise once."""

import inspect
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from fastdl import backend, ops
from fastdl.testing import LAYOUTS, Guarded, assert_agree, assert_same_bits, normal

SMALL, LARGE = (6, 5, 4), (300, 260, 64)  # n, k, m; the large ones run in parallel


@dataclass(frozen=True)
class Op:
    call: Callable
    inputs: Callable
    """From `f`, which makes float arrays, and n, k, m: what is only read, by name."""
    outputs: Callable
    """What is written, by name, and what stands there before."""
    returns: tuple
    """Names of outputs."""
    options: dict = field(default_factory=dict)
    updates: tuple = ()
    """Names of outputs that must be given, since they are read too."""
    in_place: tuple = ()
    """Names of inputs that `out` may be."""


def columns(f, k, *names):
    return {name: f(k) for name in names}


def statistics(f, k):
    return {f"statistics.{name}": abs(f(k)) + f.dtype(0.1) for name in ops.BatchStatistics._fields}


def work(f, *shape):
    sums, terms = ops.BatchNormWork.shapes(shape)
    return {"work.sums": np.ones(sums), "work.terms": f(*terms)}


def image(f, n, k):
    return f(n, k, 3, 2)


def scalars(name, *numbers):
    return np.array(getattr(ops, f"{name}_scalars")(*numbers))


def words(*numbers):
    return np.array(numbers, np.int64)


TABLE = {
    "matmul": Op(
        ops.matmul,
        lambda f, n, k, m: {"x": f(n, k), "w": f(k, m), "b": f(m)},
        lambda f, n, k, m: {"out": f(n, m)},
        ("out",),
        {"activation": "tanh"},
    ),
    "matmul accumulating": Op(
        ops.matmul,
        lambda f, n, k, m: {"x": f(k, n), "w": f(m, k)},
        lambda f, n, k, m: {"out": f(n, m)},
        ("out",),
        {"transpose_x": True, "transpose_w": True, "accumulate": True},
        updates=("out",),
    ),
    "matmul_backward_input": Op(
        ops.matmul_backward_input,
        lambda f, n, k, m: {"dy": f(n, m), "w": f(k, m)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
    ),
    "matmul_backward_weights": Op(
        ops.matmul_backward_weights,
        lambda f, n, k, m: {"x": f(n, k), "dy": f(n, m)},
        lambda f, n, k, m: {"out": f(k, m), "out_bias": f(m)},
        ("out", "out_bias"),
    ),
    "add": Op(
        ops.add,
        lambda f, n, k, m: {"a": f(n, k), "b": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        in_place=("a",),
    ),
    "clip": Op(
        ops.clip,
        lambda f, n, k, m: {"x": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"limit": 0.5},
        in_place=("x",),
    ),
    "activation": Op(
        ops.activation,
        lambda f, n, k, m: {"x": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"name": "sigmoid"},
        in_place=("x",),
    ),
    "activation_backward": Op(
        ops.activation_backward,
        lambda f, n, k, m: {"dy": f(n, k), "y": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"name": "leaky_relu"},
        in_place=("dy",),
    ),
    "activation_backward from x": Op(
        ops.activation_backward,
        lambda f, n, k, m: {"dy": f(n, k), "x": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"name": "gelu"},
        in_place=("dy",),
    ),
    "softmax": Op(
        ops.softmax,
        lambda f, n, k, m: {"x": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
    ),
    "softmax_backward": Op(
        ops.softmax_backward,
        lambda f, n, k, m: {"dy": f(n, k), "y": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        in_place=("dy",),
    ),
    "loss": Op(
        ops.loss,
        lambda f, n, k, m: {
            "outputs": f(n, k),
            "targets": f(n, k),
            "weights": abs(f(n)),
            "scale": np.full(1, 1 / max(n, 1)),
        },
        lambda f, n, k, m: {"total": np.zeros(1), "work": np.ones(ops.loss_work_size((n, k))), "out": f(n, k)},
        ("total", "out"),
        {"name": "huber"},
    ),
    "global_norm": Op(
        ops.global_norm,
        lambda f, n, k, m: {"x": f(n * k)},
        lambda f, n, k, m: {
            "work": np.ones(ops.global_norm_work_size(n * k)),
            "out": np.ones(1),
            "factor": np.ones(1),
        },
        ("out", "factor"),
        {"limit": 2.0},
    ),
    "batch_norm": Op(
        ops.batch_norm,
        lambda f, n, k, m: {"x": f(n, k), **columns(f, k, "gamma", "beta")},
        lambda f, n, k, m: {"out": f(n, k), **statistics(f, k), **work(f, n, k)},
        ("out", "statistics.mean", "statistics.variance", "statistics.inverse_deviation"),
    ),
    "batch_norm of images": Op(
        ops.batch_norm,
        lambda f, n, k, m: {"x": image(f, n, k), **columns(f, k, "gamma", "beta")},
        lambda f, n, k, m: {"out": image(f, n, k), **statistics(f, k), **work(f, n, k, 3, 2)},
        ("out", "statistics.mean", "statistics.variance", "statistics.inverse_deviation"),
        {"activation": "relu", "correction": 1},
    ),
    "batch_norm_backward of images": Op(
        ops.batch_norm_backward,
        lambda f, n, k, m: {"dy": image(f, n, k), "x": image(f, n, k), "gamma": f(k), **statistics(f, k)},
        lambda f, n, k, m: {
            "out": image(f, n, k),
            **columns(f, k, "out_gamma", "out_beta"),
            **work(f, n, k, 3, 2),
        },
        ("out", "out_gamma", "out_beta"),
    ),
    "batch_norm_predict of images": Op(
        ops.batch_norm_predict,
        lambda f, n, k, m: {"x": image(f, n, k), **columns(f, k, "gamma", "beta", "mean"), "variance": abs(f(k))},
        lambda f, n, k, m: {"out": image(f, n, k), **work(f, n, k, 3, 2)},
        ("out",),
    ),
    "batch_norm_backward": Op(
        ops.batch_norm_backward,
        lambda f, n, k, m: {"dy": f(n, k), "x": f(n, k), "gamma": f(k), **statistics(f, k), "y": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k), **columns(f, k, "out_gamma", "out_beta"), **work(f, n, k)},
        ("out", "out_gamma", "out_beta"),
    ),
    "batch_norm_predict": Op(
        ops.batch_norm_predict,
        lambda f, n, k, m: {"x": f(n, k), **columns(f, k, "gamma", "beta", "mean"), "variance": abs(f(k))},
        lambda f, n, k, m: {"out": f(n, k), **work(f, n, k)},
        ("out",),
    ),
    "update_averages": Op(
        ops.update_averages,
        lambda f, n, k, m: {"batch": f(n * k)},
        lambda f, n, k, m: {"averages": f(n * k), "status": words(0)},
        ("averages",),
        updates=("averages",),
    ),
    "dropout_mask": Op(
        lambda **given: ops.dropout_mask(given.pop("like").shape, **given),
        lambda f, n, k, m: {"like": f(n, k)},
        lambda f, n, k, m: {"out": np.full((n, k), 7, np.uint8)},
        ("out",),
        {"rate": 0.4},
    ),
    "dropout": Op(
        ops.dropout,
        lambda f, n, k, m: {"x": f(n, k), "draw": words(5, 0, 1, 3)},
        lambda f, n, k, m: {"out": f(n, k), "mask": np.full((n, k), 7, np.uint8)},
        ("out", "mask"),
        {"rate": 0.4},
    ),
    "dropout drawn": Op(
        lambda **given: ops.dropout(**given, keep_mask=False)[:1],
        lambda f, n, k, m: {"x": f(n, k), "draw": words(5, 0, 1, 3)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"rate": 0.4, "inverted": False},
    ),
    "dropout_backward drawn": Op(
        ops.dropout_backward,
        lambda f, n, k, m: {"dy": f(n, k), "draw": words(5, 0, 1, 3)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"rate": 0.4},
        in_place=("dy",),
    ),
    "dropout_predict": Op(
        ops.dropout_predict,
        lambda f, n, k, m: {"x": f(n, k)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"rate": 0.4},
        in_place=("x",),
    ),
    "dropout_backward": Op(
        ops.dropout_backward,
        lambda f, n, k, m: {"dy": f(n, k), "mask": (f(n, k) > 0).astype(np.uint8)},
        lambda f, n, k, m: {"out": f(n, k)},
        ("out",),
        {"rate": 0.4},
        in_place=("dy",),
    ),
    "softmax_cross_entropy": Op(
        ops.softmax_cross_entropy,
        lambda f, n, k, m: {"logits": f(n, k), "labels": np.arange(n) % k, "scale": np.full(1, 1 / max(n, 1))},
        lambda f, n, k, m: {"total": np.zeros(1), "out": f(n, k), "losses": f(n), "status": words(0)},
        ("total", "out"),
    ),
    "softmax_cross_entropy weighted": Op(
        ops.softmax_cross_entropy,
        lambda f, n, k, m: {
            "logits": f(n, k),
            "labels": np.arange(n) % k,
            "class_weights": abs(f(k)),
            "weights": abs(f(n)),
            "scale": np.full(1, 1 / max(n, 1)),
        },
        lambda f, n, k, m: {"total": np.zeros(1), "out": f(n, k), "losses": f(n), "status": words(0)},
        ("total", "out"),
        {"smoothing": 0.1, "ignored": 1},
    ),
    "softmax_cross_entropy soft": Op(
        ops.softmax_cross_entropy,
        lambda f, n, k, m: {
            "logits": f(n, k),
            "labels": abs(f(n, k)),
            "class_weights": abs(f(k)),
            "weights": abs(f(n)),
            "scale": np.full(1, 1 / max(n, 1)),
        },
        lambda f, n, k, m: {"total": np.zeros(1), "out": f(n, k), "losses": f(n), "status": words(0)},
        ("total", "out"),
        {"smoothing": 0.1},
    ),
    "gather": Op(
        ops.gather,
        lambda f, n, k, m: {"data": f(n, k), "order": np.arange(n)[::-1].copy(), "start": words(1)},
        lambda f, n, k, m: {"out": f(n - 1, k)},
        ("out",),
        {"rows": -1},  # is made n - 1
    ),
    "sgd_update": Op(
        ops.sgd_update,
        lambda f, n, k, m: {"grads": f(n * k), "scalars": scalars("sgd", 0.1, 0.3, 0.01), "clip": np.full(1, 0.5)},
        lambda f, n, k, m: {"params": f(n * k), "status": words(0)},
        ("params",),
        {"decayed": 11},
        updates=("params",),
    ),
    **{
        f"{name}_update": Op(
            getattr(ops, f"{name}_update"),
            lambda f, n, k, m, numbers=numbers, name=name: {
                "grads": f(n * k),
                "scalars": scalars(name, *numbers),
                "clip": np.full(1, 0.5),
            },
            lambda f, n, k, m: {"params": f(n * k), "m": abs(f(n * k)), "status": words(0)},
            ("params",),
            {"decayed": 11},
            updates=("params", "m"),
        )
        for name, numbers in (("momentum", (0.1, 0.9)), ("adagrad", (0.1,)), ("rmsprop", (0.1,)))
    },
    "adam_update": Op(
        ops.adam_update,
        lambda f, n, k, m: {
            "grads": f(n * k),
            "scalars": scalars("adam", 3, 0.1, (0.9, 0.99)),
            "clip": np.full(1, 0.5),
        },
        lambda f, n, k, m: {"params": f(n * k), "m": f(n * k), "v": abs(f(n * k)), "status": words(0)},
        ("params",),
        {"decayed": 11},
        updates=("params", "m", "v"),
    ),
    "scaled_rate": Op(
        ops.scaled_rate,
        lambda f, n, k, m: {"scalars": scalars("adam", 3, 0.1, (0.9, 0.99))},
        lambda f, n, k, m: {"out": np.ones(12)},
        ("out",),
        {"factor": 0.5},
    ),
}
NOT_ON_ARRAYS = {name for name in vars(ops) if name.endswith(("_scalars", "_work_size"))}


def op_of(name):
    """The op that a row of the table calls, by the name its errors give."""
    return name.partition(" ")[0]


def test_the_table_holds_every_public_op():
    public = {
        name
        for name, f in vars(ops).items()
        if inspect.isfunction(f) and f.__module__.startswith(ops.__name__) and not name.startswith("_")
    }
    assert public - NOT_ON_ARRAYS == set(map(op_of, TABLE))


# ---------------------------------------------------------------- making and calling


class Call:
    """Arguments for one op, which tests then change."""

    def __init__(self, name, dtype=np.float64, size=SMALL):
        self.name, self.op = name, TABLE[name]
        seeds = itertools.count()

        def f(*shape):
            return normal(shape, dtype, next(seeds))

        f.dtype = dtype
        self.inputs = self.op.inputs(f, *size)
        self.outputs = self.op.outputs(f, *size)
        self.options = self.op.options | ({"rows": size[0] - 1} if name == "gather" else {})

    def __call__(self, *, given=None, **changes):
        """Call with those of the outputs that are `given`, by default the ones that must be; the results by name."""
        given = self.op.updates if given is None else given
        arguments = {**self.inputs, **{name: self.outputs[name] for name in given}, **changes}
        if "work.sums" not in arguments:
            arguments.pop("work.terms", None)
        groups = {"statistics": (ops.BatchStatistics, {}), "work": (ops.BatchNormWork, {})}
        for name in [name for name in arguments if "." in name]:
            group, _, field = name.partition(".")
            groups[group][1][field] = arguments.pop(name)
        arguments |= {group: make(**fields) for group, (make, fields) in groups.items() if fields}
        found = self.op.call(**arguments, **self.options)
        flat = []
        for part in found if type(found) is tuple else (found,):
            flat += part if isinstance(part, tuple) else [part]
        return dict(zip(self.op.returns, flat, strict=True))

    def everything(self):
        return self.inputs | self.outputs

    def bytes(self):
        return {name: a.tobytes() for name, a in self.everything().items()}

    def refuses(self, error, argument, **changes):
        """Assert that the call with these changes raises, naming op and argument, and writes nothing."""
        before = self.bytes(), {name: np.array(a).tobytes() for name, a in changes.items()}
        with pytest.raises(error, match=rf"^{op_of(self.name)}: {argument.replace('.', '[.]')} "):
            self(given=self.outputs, **changes)
        assert (self.bytes(), {name: np.array(a).tobytes() for name, a in changes.items()}) == before


def each(kind):
    """All pairs of an op and the name of one of its `kind`."""
    found = []
    for name in TABLE:
        call = Call(name)
        found += [(name, argument) for argument in getattr(call, kind)]
    return found


every_op = pytest.mark.parametrize("name", TABLE)
every_input = pytest.mark.parametrize("name, argument", each("inputs"))
every_output = pytest.mark.parametrize("name, argument", each("outputs"))
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both_backends = pytest.mark.parametrize("on", ["numba", "numpy"])


# ---------------------------------------------------------------- promises


@both_backends
@both_dtypes
@pytest.mark.parametrize("size", [SMALL, LARGE])
@every_op
def test_outputs_are_written_returned_and_nothing_else_is(name, size, dtype, on):
    call, other = Call(name, dtype, size), Call(name, dtype, size)
    guarded = {n: Guarded.of(a) for n, a in call.outputs.items()}
    call.outputs = {n: g.array for n, g in guarded.items()}
    with backend.use(on):
        results, made = call(given=call.outputs), other()
    for n, result in results.items():
        assert result is call.outputs[n]
        assert_same_bits(result, made[n], name=n)
    assert all(g.intact() for g in guarded.values())
    for n, before in Call(name, dtype, size).inputs.items():
        assert_same_bits(call.inputs[n], before, name=f"input {n}")
        assert_same_bits(other.inputs[n], before, name=f"input {n}")


@both_dtypes
@pytest.mark.parametrize("size", [SMALL, LARGE])
@every_op
def test_both_backends_agree(name, size, dtype):
    mine = Call(name, dtype, size)()
    with backend.use("numpy"):
        theirs = Call(name, dtype, size)()
    for n, result in mine.items():
        kind = "exact" if result.dtype == np.uint8 else "elementwise"
        assert_agree(result, theirs[n], kind=kind, scale=10 + 3 * np.abs(theirs[n]).max(), precision=dtype, name=n)


@every_op
def test_second_run_gives_the_same_bits(name):
    first, second = Call(name, np.float32, LARGE)(), Call(name, np.float32, LARGE)()
    for n, result in first.items():
        assert_same_bits(second[n], result, name=n)


FLAWS = {
    "short": lambda a: np.zeros((a.shape[0] - 1, *a.shape[1:]), a.dtype),
    "long": lambda a: np.zeros((*a.shape[:-1], a.shape[-1] + 1), a.dtype),
    "more axes": lambda a: a.copy()[None],
    "transposed": lambda a: np.zeros(a.shape[::-1], a.dtype),
    "other dtype": lambda a: a.astype({"f8": "f4", "f4": "f8", "i8": "i4", "u1": "i1"}[a.dtype.str[1:]]),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "Fortran": LAYOUTS["Fortran"],
    "strided": LAYOUTS["strided"],
    "reversed": LAYOUTS["reversed"],
    "unaligned": LAYOUTS["unaligned"],
}


def flawed():
    for name, argument in each("outputs"):
        right = Call(name).outputs[argument]
        for flaw, make in FLAWS.items():
            wrong = make(right)  # not always: a single element has no stride
            if (wrong.shape, wrong.dtype.str) != (right.shape, right.dtype.str) or not wrong.flags.carray:
                yield name, argument, flaw


@pytest.mark.parametrize("name, argument, flaw", list(flawed()))
def test_unfit_output_is_refused_before_a_write(name, argument, flaw):
    call = Call(name)
    call.refuses(ValueError, argument, **{argument: FLAWS[flaw](call.outputs[argument])})


@pytest.mark.parametrize("make", [list, np.ma.array, lambda a: a.view(np.recarray)], ids=["list", "masked", "subclass"])
@every_output
def test_output_of_another_type_is_refused_before_a_write(name, argument, make):
    call = Call(name)
    call.refuses(TypeError, argument, **{argument: make(call.outputs[argument].copy())})


UNREAD = {("dropout_mask", "like")}
UNREAD |= {(name, "statistics.variance") for name in TABLE if op_of(name) == "batch_norm_backward"}


def pairs():
    """Every output with every other argument, but a status that is only read with what is only read."""
    for name in TABLE:
        call = Call(name)
        for output, other in itertools.product(call.outputs, call.everything()):
            if (other in call.outputs and other <= output) or (name, other) in UNREAD:
                continue
            if output == "status" and other in call.inputs and op_of(name) != "softmax_cross_entropy":
                continue
            yield name, output, other


@pytest.mark.parametrize("name, output, other", list(pairs()))
def test_output_that_overlaps_another_argument_is_refused_before_a_write(name, output, other):
    call = Call(name)
    kind = call.inputs if other in call.inputs else call.outputs
    a, b = call.outputs[output], kind[other]
    memory = np.zeros(a.nbytes + b.nbytes + 8, np.uint8)
    shift = 8 if output == "out" and other in call.op.in_place else 0  # that very array it may be
    both = [memory[at : at + x.nbytes].view(x.dtype).reshape(x.shape) for at, x in ((0, b), (shift, a))]
    for view, x in zip(reversed(both), (a, b), strict=True):  # what is read keeps its values
        view[...] = x
    kind[other], call.outputs[output] = both
    call.refuses(ValueError, rf"({output}|{other}) overlaps")


@pytest.mark.parametrize("name, argument", [(name, a) for name, op in TABLE.items() for a in op.in_place])
def test_output_may_be_that_very_input(name, argument):
    call, other = Call(name), Call(name)
    result = call(out=call.inputs[argument])["out"]
    assert result is call.inputs[argument]
    assert_same_bits(result, other()["out"])


@both_backends
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "C"])
@every_input
def test_layout_of_an_input_does_not_matter(name, argument, layout, on):
    call, other = Call(name), Call(name)
    laid = LAYOUTS[layout](call.inputs[argument])
    with backend.use(on):
        results, expected = call(**{argument: laid}), other()
    for n, result in results.items():
        assert_same_bits(result, expected[n], name=n)
    assert_same_bits(laid, other.inputs[argument])


@every_input
def test_input_may_be_read_only(name, argument):
    call, other = Call(name), Call(name)
    call.inputs[argument].flags.writeable = False
    results, expected = call(), other()
    for n, result in results.items():
        assert_same_bits(result, expected[n], name=n)


WRONG = {
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int": lambda a: a.astype(np.int32),
    "bool": lambda a: a.astype(bool),
    "complex": lambda a: a.astype(complex),
    "object": lambda a: a.astype(object),
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "masked": np.ma.array,
    "matrix": lambda a: np.asmatrix(a),
    "list": lambda a: a.tolist(),
    "None": lambda a: None,
}
NO_MISTAKE = {
    "data": WRONG.keys() - {"masked", "matrix", "list", "None"},  # of gather; see its own tests
    "labels": {"int", "byte-swapped"},
    "mask": {"byte-swapped"},
}


def mistakes():
    for (name, argument), wrong in itertools.product(each("inputs"), WRONG):
        optional = argument in ("b", "draw", "scale", "start", "scalars", "clip", "weights", "class_weights")
        optional |= (name, argument) in {("batch_norm_backward", "y"), ("dropout_backward", "mask")}
        given = Call(name).inputs[argument]
        allowed = set(NO_MISTAKE.get(argument, ()) if given.dtype.kind != "f" or argument == "data" else ())
        allowed |= {"matrix"} if given.ndim > 2 else set()
        if wrong in allowed or (wrong == "None" and optional) or (name, argument) in UNREAD:
            continue
        yield name, argument, wrong


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("name, argument, wrong", list(mistakes()))
def test_input_of_another_kind_is_refused_by_name(name, argument, wrong):
    call = Call(name)
    call.refuses(TypeError, argument, **{argument: WRONG[wrong](call.inputs[argument])})


def mixed():
    for name, argument in each("inputs"):
        floats = [n for n, a in Call(name, np.float32).everything().items() if a.dtype == np.float32]
        if argument in floats and len(floats) > 1 and (name, argument) not in UNREAD:
            yield name, argument


@pytest.mark.parametrize("name, argument", list(mixed()))
def test_float32_and_float64_do_not_mix(name, argument):
    call = Call(name, np.float32)
    before = call.bytes()
    with pytest.raises((TypeError, ValueError), match=rf"^{op_of(name)}: \S+ (must be|has shape)"):
        call(given=call.outputs, **{argument: call.inputs[argument].astype(np.float64)})
    assert call.bytes() == before


def shaped():
    for name, argument in each("inputs"):
        if (name, argument) in UNREAD | {("gather", "data")} or len(Call(name).inputs) == 1:
            continue
        yield name, argument


@pytest.mark.parametrize("name, argument", list(shaped()))
def test_input_with_an_element_less_is_refused(name, argument):
    call = Call(name)
    before = call.bytes()
    with pytest.raises((ValueError, IndexError), match=rf"^{op_of(name)}: "):
        call(given=call.outputs, **{argument: call.inputs[argument][..., :-1].copy()})
    assert call.bytes() == before


def test_errors_tell_what_was_got_wanted_and_what_to_do():
    x = np.zeros((2, 3))
    for mistake, text in {
        lambda: ops.activation(
            x.astype(np.float16), "relu"
        ): "activation: x must be float32 or float64, got <f2; pass ",
        lambda: ops.activation(
            [1.0], "relu"
        ): r"activation: x must be a numpy.ndarray, got builtins.list; pass np.asarray\(x\)",
        lambda: ops.activation(
            x, "swish"
        ): "activation: name is 'swish', wanted one of 'relu', 'leaky_relu', 'sigmoid', 'tanh'",
        lambda: ops.matmul(x, x): r"matmul: w has shape \(2, 3\), wanted 3 along axis 0, to fit x",
        lambda: ops.matmul(
            x, x.astype(np.float32)
        ): "matmul: w must be float64 like the other arrays, got float32; pass ",
        lambda: ops.matmul(x[0], x): r"matmul: x must have 2 axes \(n, k\), got shape \(3,\)",
        lambda: ops.activation(
            x, "relu", out=x[:1]
        ): r"activation: out has shape \(1, 3\) and dtype float64, wanted \(2, 3\) "
        r"and float64; pass out=np.empty\(\(2, 3\), np.float64\)",
    }.items():
        with pytest.raises((TypeError, ValueError), match=f"^{text}"):
            mistake()


# ---------------------------------------------------------------- empty batches

EMPTY_REFUSED = {"batch_norm": r"got 0 values a channel, wanted at least 2"}
EMPTY_REFUSED["batch_norm_backward"] = EMPTY_REFUSED["batch_norm"]
EMPTY_REFUSED["loss"] = r"outputs has shape \(0, 5\), wanted at least one row of one element"
EMPTY_REFUSED["softmax_cross_entropy"] = r"logits has shape \(0, 5\), wanted at least one row and one class"


@both_backends
@every_op
def test_empty_batch(name, on):
    call = Call(name, size=(1, 5, 4) if name == "gather" else (0, 5, 4))
    call.options = {option: 0 if option == "decayed" else value for option, value in call.options.items()}
    with backend.use(on):
        if op_of(name) in EMPTY_REFUSED:
            with pytest.raises(ValueError, match=f"^{op_of(name)}: {EMPTY_REFUSED[op_of(name)]}"):
                call()
        elif name == "global_norm":
            assert [float(a[0]) for a in call().values()] == [0, 1]
        elif name == "scaled_rate":
            assert call()["out"].size == 12  # it takes no rows
        elif name == "matmul_backward_weights":
            assert not any(result.any() for result in call().values())  # a sum over no rows
        else:
            assert all(result.size == 0 for result in call().values())


@both_backends
@pytest.mark.parametrize("rows", [0, 1])
def test_batch_norm_of_fewer_than_two_rows_raises(rows, on):
    with backend.use(on), pytest.raises(ValueError, match=f"^batch_norm: got {rows} value"):
        ops.batch_norm(np.zeros((rows, 3)), np.ones(3), np.zeros(3))


@both_backends
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 1, 3, 1)])
def test_element_wise_ops_take_any_shape(shape, on):
    x = np.full(shape, -2.0)
    with backend.use(on):
        assert_same_bits(ops.activation(x, "leaky_relu", slope=0.5), np.full(shape, -1.0))
        assert_same_bits(ops.activation_backward(x, "relu", y=x), np.zeros(shape))
        y, mask = ops.dropout(x, rate=0)
        assert_same_bits(y, x)
        assert_same_bits(ops.dropout_backward(x, mask, rate=0), x)
        assert ops.dropout_mask(shape, rate=0.5).shape == shape


@both_backends
@both_dtypes
@every_op
def test_one_row(name, dtype, on):
    size = (2, 5, 4) if name == "gather" else (1, 5, 4)  # of which it takes one less
    call = Call(name, dtype, size)
    call.options |= {"decayed": 3} if "decayed" in call.options else {}
    with backend.use(on):
        if name in ("batch_norm", "batch_norm_backward"):
            with pytest.raises(ValueError, match=f"^{name}: got 1 value a channel, wanted at least 2"):
                call()
            return
        results = call()
    with backend.use("numpy"):
        expected = Call(name, dtype, size)
        expected.options = call.options
        for n, result in expected().items():
            kind = "exact" if result.dtype == np.uint8 else "elementwise"
            assert_agree(results[n], result, kind=kind, scale=10 + 3 * np.abs(result).max(), precision=dtype, name=n)


# ---------------------------------------------------------------- threads


def test_two_threads_at_once_get_what_one_gets():
    alone = {name: Call(name, np.float32, LARGE)() for name in TABLE}
    wrong, start = [], threading.Barrier(2)

    def work():
        try:
            start.wait(60)
            for _ in range(5):
                for name, expected in alone.items():
                    for n, result in Call(name, np.float32, LARGE)().items():
                        assert_same_bits(result, expected[n], name=f"{name} {n}")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
