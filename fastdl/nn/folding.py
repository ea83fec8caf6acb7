"""A model as prediction has it: batch norms in the linear layers before them, and no pass for an activation alone."""

from __future__ import annotations

from collections.abc import Iterator

from .activation import Activation
from .batch_norm import BatchNorm
from .dropout import Dropout
from .layer import Layer
from .linear import ACTIVATIONS, Linear
from .place import Place
from .residual import Residual
from .sequential import Sequential

Norms = dict[Layer, Place]


def folded(root: Place) -> tuple[Layer, Norms]:
    """A model that predicts what this one does, in fewer passes.

    What another layer has taken over is replaced by an empty `Sequential`, so that all places keep their paths.

    Returns
    -------
    model : Layer
    norms : dict
        For each new linear layer that also computes a batch norm, that batch norm's place.
    """
    norms: Norms = {}
    return _folded(root, norms), norms


def _folded(place: Place, norms: Norms) -> Layer:
    """One layer, with those within it."""
    layer = place.layer
    if type(layer) is Sequential:
        return Sequential(*_in_turn(place.children, norms))
    if type(layer) is Residual:
        body, *shortcut = place.children
        return Residual(*_in_turn(body.children, norms), shortcut=_folded(shortcut[0], norms) if shortcut else None)
    return layer


def _in_turn(places: tuple[Place, ...], norms: Norms) -> Iterator[Layer]:
    """Layers one after the other: each linear one takes what follows it."""
    at = 0
    while at < len(places):
        place = places[at]
        at += 1
        if type(place.layer) is not Linear:
            yield _folded(place, norms)
            continue
        norm, activation, taken = None, place.layer.activation, 0
        for after in places[at:]:
            layer = after.layer
            if type(layer) is BatchNorm and norm is None and activation is None:
                norm, activation = after, layer.activation
            elif isinstance(layer, Activation) and activation is None and _in_a_product(layer):
                activation = layer.name
            elif type(layer) is not Dropout or not layer.inverted:  # which does nothing in prediction
                break
            taken += 1
        if not taken:
            yield place.layer
            continue
        linear = place.layer
        new = Linear(linear.outputs, bias=linear.bias or norm is not None, activation=activation)
        if norm is not None:
            norms[new] = norm
        yield new
        for _ in range(taken):
            yield Sequential()
        at += taken


def _in_a_product(layer: Activation) -> bool:
    """Whether a product's own pass can compute it."""
    return (
        type(layer).__module__ == Activation.__module__
        and layer.name in ACTIVATIONS
        and layer.slope == Activation.slope
    )
