"""Layers: gradients, sharing, shapes, and what their errors say."""

import re
import threading

import numpy as np
import pytest

from fastdl import nn, ops
from fastdl.initializers import ones

LAYERS = {
    "linear": lambda: [nn.Linear(5)],
    "linear without bias": lambda: [nn.Linear(5, bias=False)],
    "linear relu": lambda: [nn.Linear(5, activation="relu")],
    "linear leaky relu": lambda: [nn.Linear(5, activation="leaky_relu")],
    "linear sigmoid": lambda: [nn.Linear(5, activation="sigmoid"), nn.Linear(3)],
    "linear tanh": lambda: [nn.Linear(5, activation="tanh")],
    "batch norm": lambda: [nn.Linear(4), nn.BatchNorm(), nn.Linear(3)],
    "batch norm relu": lambda: [nn.Linear(4), nn.BatchNorm(activation="relu"), nn.Linear(3)],
    "relu": lambda: [nn.Linear(4), nn.ReLU(), nn.Linear(3)],
    "leaky relu": lambda: [nn.Linear(4), nn.LeakyReLU(0.2), nn.Linear(3)],
    "sigmoid": lambda: [nn.Linear(4), nn.Sigmoid(), nn.Linear(3)],
    "tanh": lambda: [nn.Linear(4), nn.Tanh(), nn.Linear(3)],
    "elu": lambda: [nn.Linear(4), nn.ELU(0.7), nn.Linear(3)],
    "gelu": lambda: [nn.Linear(4), nn.GELU(), nn.Linear(3)],
    "silu": lambda: [nn.Linear(4), nn.SiLU(), nn.Linear(3)],
    "softplus": lambda: [nn.Linear(4), nn.Softplus(), nn.Linear(3)],
    "dropout": lambda: [nn.Linear(4), nn.Dropout(0.4), nn.Linear(3)],
    "dropout of the input": lambda: [nn.Dropout(0.4), nn.Linear(3)],
    "dropout, the older form": lambda: [nn.Linear(4), nn.Dropout(0.4, inverted=False), nn.Linear(3)],
    "one batch norm at two places": lambda: (
        lambda shared: [nn.Linear(5), shared, nn.Tanh(), nn.Linear(5), shared, nn.Linear(3)]
    )(nn.BatchNorm()),
    "flatten": lambda: [nn.Linear(4), nn.Flatten(), nn.Linear(3)],
    "softmax": lambda: [nn.Linear(4), nn.Softmax(), nn.Linear(3)],
    "residual": lambda: [nn.Linear(4), nn.Residual(nn.Linear(5), nn.Tanh(), nn.Linear(4)), nn.Linear(3)],
    "residual of the input": lambda: [nn.Residual(nn.Linear(6, activation="tanh")), nn.Linear(3)],
    "residual with a shortcut": lambda: [
        nn.Linear(4),
        nn.Residual(nn.Linear(5, activation="tanh"), nn.BatchNorm(), shortcut=nn.Linear(5, bias=False)),
        nn.Linear(3),
    ],
    "nested": lambda: [nn.Linear(4), nn.Sequential(nn.Tanh(), nn.Linear(4)), nn.Linear(3)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_match_central_differences(name):
    rng = np.random.default_rng(1)
    weights = nn.Weights(nn.Sequential(*LAYERS[name]()), (6,), dtype=np.float64, seed=3)
    workspace = nn.Workspace(weights, 7)
    x = rng.standard_normal((7, 6))
    direction = rng.standard_normal((7, *weights.output_shape))

    def objective():
        workspace.begin(7)
        return float((weights.model.forward(x, workspace.frame, train=True) * direction).sum())

    objective()
    workspace.begin(7)
    assert weights.model.backward(direction, workspace.frame) is None  # nothing before it has parameters
    for parameter, array in weights.params.items():
        for at in np.ndindex(array.shape):
            kept = array[at]
            array[at] = kept + 1e-6
            above = objective()
            array[at] = kept - 1e-6
            below = objective()
            array[at] = kept
            difference = (above - below) / 2e-6
            found = workspace.shared.grads[parameter][at]
            assert found == pytest.approx(difference, rel=1e-6, abs=1e-7), (parameter, at)


def test_gradient_of_the_input_where_something_stands_before():
    weights = nn.Weights(nn.Sequential(nn.Linear(4), nn.Dropout(0.5), nn.Linear(3)), (6,))
    first, dropout, last = nn.Workspace(weights, 2).frame.children
    assert (first.wants_dx, dropout.wants_dx, last.wants_dx) == (False, True, True)


def test_prediction_leaves_dropout_out_and_takes_running_averages():
    weights = nn.Weights(nn.Sequential(nn.BatchNorm(), nn.Dropout(0.9)), (3,), dtype=np.float64)
    weights.averages["0.mean"][...] = [1, 2, 3]
    weights.averages["0.variance"][...] = [4, 4, 4]
    workspace = nn.Workspace(weights, 5, train=False)
    x = np.array([[3.0, 2.0, 7.0]])
    workspace.begin(1)
    alone = weights.model.forward(x, workspace.frame, train=False).copy()
    np.testing.assert_allclose(alone, [[1, 0, 2]], rtol=1e-5)
    workspace.begin(5)
    others = np.random.default_rng(0).standard_normal((4, 3))
    among = weights.model.forward(np.concatenate([x, others]), workspace.frame, train=False)
    np.testing.assert_array_equal(among[:1], alone)


def test_one_layer_at_two_places_shares_weights_and_sums_their_gradients():
    shared = nn.Linear(4)
    weights = nn.Weights(nn.Sequential(shared, nn.Tanh(), shared), (4,), dtype=np.float64)
    assert set(weights.params) == {"0.weight", "0.bias"}
    apart = nn.Weights(nn.Sequential(nn.Linear(4), nn.Tanh(), nn.Linear(4)), (4,), dtype=np.float64)
    for name, array in apart.params.items():
        array[...] = weights.params["0." + name[2:]]
    x = np.random.default_rng(0).standard_normal((3, 4))
    grads = []
    for each in (weights, apart):
        workspace = nn.Workspace(each, 3)
        workspace.begin(3)
        y = each.model.forward(x, workspace.frame, train=True)
        each.model.backward(np.ones_like(y), workspace.frame)
        grads.append(workspace.shared.grads)
    for name in ("weight", "bias"):
        expected = grads[1][f"0.{name}"] + grads[1][f"2.{name}"]
        np.testing.assert_allclose(grads[0][f"0.{name}"], expected, rtol=1e-13)


def test_running_averages_are_each_places_own():
    shared = nn.BatchNorm()
    weights = nn.Weights(nn.Sequential(shared, nn.Tanh(), shared), (4,))
    assert set(weights.params) == {"0.gamma", "0.beta"}
    assert set(weights.averages) == {"0.mean", "0.variance", "2.mean", "2.variance"}


class Scale(nn.Layer):
    """y = scale inner(x), by its own parameter."""

    def __init__(self, inner):
        self.inner = inner

    def children(self, shape):
        return ((self.inner, shape),)

    def params(self, shape):
        return {"scale": nn.Param((1,), ones)}


def test_a_child_of_what_has_parameters_hands_its_gradient_on():
    workspace = nn.Workspace(nn.Weights(Scale(nn.Sequential(nn.Linear(4))), (6,)), 2)
    (sequential,) = workspace.frame.children
    assert sequential.wants_dx
    assert sequential.children[0].wants_dx


def test_a_buffer_has_one_shape():
    workspace = nn.Workspace(nn.Weights(nn.Linear(2), (3,)), 4)
    workspace.frame.array("a", 3)
    with pytest.raises(ValueError, match=r"buffer 'a' has shape \(3,\) and dtype float32, but \(5,\) and float32"):
        workspace.frame.array("a", 5)


def test_a_linear_layer_without_outputs_is_refused():
    with pytest.raises(ValueError, match="Linear: outputs is 0, wanted an integer of at least 1"):
        nn.Linear(0)


@pytest.mark.parametrize("name", ["gelu", "swish"])
def test_a_linear_layer_refuses_activations_whose_gradient_it_could_not_give(name):
    with pytest.raises(ValueError, match=f"Linear: activation is '{name}', wanted one of 'relu'"):
        nn.Linear(3, activation=name)


def test_two_threads_with_a_workspace_each_share_one_model():
    model = nn.Sequential(nn.Linear(64), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Linear(10))
    weights = nn.Weights(model, (32,))
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((48, 32), np.float32) for _ in range(2)]

    def gradients(x, workspace):
        workspace.begin(len(x))
        y = model.forward(x, workspace.frame, train=True)
        model.backward(y, workspace.frame)
        return workspace.grads_flat.tobytes()

    expected = [gradients(x, nn.Workspace(weights, 48)) for x in data]
    wrong = []

    def work(number):
        workspace = nn.Workspace(weights, 48)
        wrong.extend(1 for _ in range(300) if gradients(data[number], workspace) != expected[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_weights_lie_in_one_buffer_those_that_decay_first():
    weights = nn.Weights(nn.Sequential(nn.Linear(3), nn.BatchNorm(), nn.Linear(2)), (5,))
    split = weights.decayed
    assert {n for n, at in weights.layout.offsets.items() if at < split} == {"0.weight", "2.weight"}
    for array in weights.params.values():
        assert array.ctypes.data % 256 == 0
        assert np.shares_memory(array, weights.flat)


def test_weights_depend_on_the_seed_alone():
    model = nn.Sequential(nn.Linear(30), nn.Linear(20))
    assert nn.Weights(model, (9,), seed=4).flat.tobytes() == nn.Weights(model, (9,), seed=4).flat.tobytes()
    assert nn.Weights(model, (9,), seed=4).flat.tobytes() != nn.Weights(model, (9,), seed=5).flat.tobytes()


def test_he_start_has_the_variance_it_names():
    weight = nn.Weights(nn.Linear(500), (400,)).params["weight"]
    assert weight.std() == pytest.approx(np.sqrt(2 / 400), rel=0.01)
    assert abs(weight.mean()) < 1e-3


def test_snapshot_and_load_carry_everything():
    model = nn.Sequential(nn.Linear(3), nn.BatchNorm())
    first, second = nn.Weights(model, (5,), seed=1), nn.Weights(model, (5,), seed=2)
    first.averages["1.mean"][...] = 7
    second.load(first.snapshot())
    assert first.flat.tobytes() == second.flat.tobytes()
    assert (second.averages["1.mean"] == 7).all()


def test_load_names_all_that_does_not_fit_and_takes_nothing():
    weights = nn.Weights(nn.Sequential(nn.Linear(3)), (5,))
    before = weights.flat.copy()
    with pytest.raises(ValueError, match=r"missing 0\.bias.*unknown other.*0\.weight has shape \(2,\), wanted \(5, 3"):
        weights.load({"0.weight": np.zeros(2), "other": np.zeros(1)})
    assert weights.flat.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Linear(3, inputs=4)], "layer 0: Linear was made for 4 inputs, got 6"),
        ([nn.Linear(3), nn.Linear(2, inputs=5)], "layer 1: Linear was made for 5 inputs, got 3"),
        ([nn.Linear(3), nn.Sequential(nn.Linear(2, inputs=5))], r"layer 1\.0: Linear was made for 5 inputs, got 3"),
    ],
)
def test_shape_errors_name_the_layer(layers, message):
    with pytest.raises(ValueError, match=message):
        nn.Weights(nn.Sequential(*layers), (6,))


def test_shape_errors_tell_what_stands_before():
    layers = nn.BatchNorm(), nn.Residual(nn.Linear(3), shortcut=nn.Linear(3))
    message = (
        "layer 1.0.0: Linear takes rows of shape (features,), got (8, 4); flatten them first "
        "(that is what comes from layer 0 (BatchNorm), which stands before it)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nn.Weights(nn.Sequential(*layers), (8, 4))
    with pytest.raises(ValueError, match=r"layer 0: Linear takes rows .* \(that is what comes from the input\)$"):
        nn.Weights(nn.Sequential(nn.Linear(2)), (8, 4))
    with pytest.raises(
        ValueError, match=r"layer 1: Residual: the layers make rows of shape \(4,\), and the way around"
    ):
        nn.Weights(nn.Sequential(nn.Linear(3), nn.Residual(nn.Linear(4))), (5,))
    with pytest.raises(ValueError, match=r"BatchNorm takes rows of shape \(features,\) or \(channels, ...\), got \(\)"):
        nn.Weights(nn.BatchNorm(), ())


def test_images_are_normalised_by_channel_and_flattened():
    weights = nn.Weights(nn.Sequential(nn.BatchNorm(), nn.Flatten()), (3, 4, 5), dtype=np.float64)
    assert {name: array.shape for name, array in weights.params.items()} == {"0.gamma": (3,), "0.beta": (3,)}
    workspace = nn.Workspace(weights, 6)
    x, dy = np.random.default_rng(0).standard_normal((2, 6, 3, 4, 5))
    workspace.begin(6)
    y = weights.model.forward(x, workspace.frame, train=True)
    over = (0, 2, 3)
    expected = (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, expected.reshape(6, 60), rtol=1e-12, atol=1e-12)
    weights.model.backward(dy.reshape(6, 60), workspace.frame)
    np.testing.assert_allclose(workspace.shared.grads["0.beta"], dy.sum(over), rtol=1e-12)
    np.testing.assert_allclose(workspace.shared.grads["0.gamma"], (dy * expected).sum(over), rtol=1e-12)


SUMMARY = """\
layer  type       output  parameters
-----  ---------  ------  ----------
       input      (2, 3)
0      Flatten    (6,)
1.0.0  Linear     (6,)            42
1.0.1  BatchNorm  (6,)            12
2      Linear     (6,)    those of 1.0.0
54 parameters, 216 bytes in float32"""


def test_a_summary_is_a_table_of_all_layers():
    shared = nn.Linear(6)
    model = nn.Sequential(nn.Flatten(), nn.Residual(shared, nn.BatchNorm()), shared)
    lines, wanted = model.summary((2, 3)).split("\n"), SUMMARY.split("\n")
    assert [line.split() for line in lines if "--" not in line] == [w.split() for w in wanted if "--" not in w]
    assert nn.Sequential(nn.Linear(3, inputs=2), nn.ReLU()).summary().endswith("9 parameters, 36 bytes in float32")
    with pytest.raises(ValueError, match=r"pass the shape of a row, summary\(\(64,\)\)"):
        model.summary()


def test_gradients_pass_whatever_a_container_does_between_its_children():
    class Between(nn.Layer):
        first, last = nn.Linear(4), nn.Sequential(nn.Flatten(), nn.Linear(3))

        def children(self, shape):
            return (self.first, shape), (self.last, (2, 2))

        def output_shape(self, shape):
            return (3,)

    first, last = nn.Weights(Between(), (6,)).root.children
    assert (first.wants_dx, last.wants_dx) == (False, True)
    assert all(place.wants_dx for place in last.children)


def test_frozen_parameters_stand_last_and_need_no_gradients():
    model = nn.Sequential(nn.Linear(4), nn.ReLU(), nn.Linear(5), nn.Linear(3))
    weights = nn.Weights(model, (6,), frozen=["0.*", "*.bias"])
    assert weights.frozen == {"0.weight", "0.bias", "2.bias", "3.bias"}
    ends = {name: at for name, at in weights.layout.offsets.items() if at < weights.trained}
    assert set(ends) == {"2.weight", "3.weight"}
    assert weights.decayed == weights.trained < weights.flat.size
    whole = nn.Weights(model, (6,))
    for name, array in weights.params.items():
        np.testing.assert_array_equal(array, whole.params[name])  # the same start
    assert [place.wants_dx for place in weights.root.children] == [False, False, False, True]
    with pytest.raises(ValueError, match=r"no parameter is called '7.weight'; there are 0.weight, 0.bias, 2.weight"):
        nn.Weights(model, (6,), frozen=["7.weight"])
    with pytest.raises(TypeError, match=r"got the text '0.\*', wanted a sequence of patterns, \['0.\*'\]"):
        nn.Weights(model, (6,), frozen="0.*")


def test_a_shared_layer_cannot_take_two_shapes():
    shared = nn.Linear(4)
    with pytest.raises(ValueError, match=r"layer 1 \(Linear\) shares the weights of layer 0.*\(6,\), but gets \(4,\)"):
        nn.Weights(nn.Sequential(shared, shared), (6,))


def test_a_class_in_the_place_of_a_layer_is_told():
    with pytest.raises(TypeError, match=r"layer 1 is <class.*ReLU'>, wanted a Layer; write nn.ReLU\(\)"):
        nn.Sequential(nn.Linear(3), nn.ReLU)


def test_a_list_in_the_place_of_layers_is_told():
    with pytest.raises(TypeError, match=r"layer 0 is \[.*pass the layers one by one, nn.Sequential\(a, b\)"):
        nn.Sequential([nn.Linear(3)])


def test_more_rows_than_the_workspace_holds_raise():
    workspace = nn.Workspace(nn.Weights(nn.Linear(2), (3,)), 4)
    with pytest.raises(ValueError, match="room for 4 rows, got 5; make it with batch_size=5"):
        workspace.begin(5)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_dropout_refuses_rates_outside_zero_to_one(rate):
    with pytest.raises(ValueError, match="Dropout: rate must be at least 0 and below 1"):
        nn.Dropout(rate)


def test_every_dropout_draws_a_mask_of_its_own():
    weights = nn.Weights(nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)), (64,))
    workspace = nn.Workspace(weights, 4)
    workspace.begin(4)
    weights.model.forward(np.ones((4, 64), np.float32), workspace.frame, train=True)
    masks = [child.saved["mask"] for child in workspace.frame.children]
    assert (masks[0] != masks[1]).any()
    for child, mask in zip(workspace.frame.children, masks, strict=True):
        np.testing.assert_array_equal(mask, ops.dropout_mask((4, 64), rate=0.5, stream=child.stream))
