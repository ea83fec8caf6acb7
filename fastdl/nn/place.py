"""Where the layers of a model stand: which parameters each use has, and which it shares."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..typing import Shape

if TYPE_CHECKING:
    from .layer import Average, Layer, Param


@dataclass(frozen=True, eq=False)
class Place:
    """One use of a layer in a model."""

    layer: Layer
    path: str
    owner: str
    """The path of the layer's first use, whose parameters this one shares."""
    param_names: tuple[str, ...]
    """Full names of its parameters."""
    stream: int
    """Of random numbers: every place draws its own."""
    shape: Shape
    """Of a row of its input."""
    output_shape: Shape
    wants_dx: bool
    """Whether anything before it has parameters that are trained."""
    children: tuple[Place, ...]

    def walk(self) -> Iterator[Place]:
        """This place, then all within it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def __str__(self) -> str:
        return f"layer {self.path} ({type(self.layer).__name__})"


class Places:
    """All places of a model for rows of one shape, and the parameters and running averages they need.

    Parameters
    ----------
    model : Layer
    shape : tuple of int
        Of one row.
    frozen : collection of str
        Names of parameters that are not trained.

    Attributes
    ----------
    root : Place
    params, averages
        By their full names, "0.weight".
    """

    def __init__(self, model: Layer, shape: Shape, frozen: Collection[str] = ()):
        self.params: dict[str, Param] = {}
        self.averages: dict[str, Average] = {}
        self._frozen = frozen
        self._owners: dict[Layer, tuple[str, Shape]] = {}
        self._streams = 0
        self.root = self._place(model, shape, "", wants_dx=False, before=None)

    def _place(self, layer: Layer, shape: Shape, path: str, wants_dx: bool, before: Place | None) -> Place:
        owner, first_shape = self._owners.setdefault(layer, (path, shape))
        if first_shape != shape:
            raise ValueError(
                f"layer {path} ({type(layer).__name__}) shares the weights of layer {owner}, which takes rows of "
                f"shape {first_shape}, but gets {shape}"
            )
        prefix = f"{path}." if path else ""
        children: list[Place] = []
        below = wants_dx
        try:
            params, averages = layer.params(shape), layer.averages(shape)
            names = [f"{owner}.{name}" if owner else name for name in params]
            below = below or self._trains(names)
            stream, self._streams = self._streams, self._streams + 1
            if owner == path:
                self.params.update(zip(names, params.values(), strict=True))
            self.averages.update({f"{prefix}{name}": average for name, average in averages.items()})
            for number, (child, child_shape) in enumerate(layer.children(shape)):
                source = next((c for c in reversed(children) if c.output_shape == child_shape), before)
                # What a container does between its children is not known here: one asked for too much is safe.
                children.append(self._place(child, child_shape, f"{prefix}{number}", below, source))
                below = below or any(self._trains(place.param_names) for place in children[-1].walk())
            output_shape = layer.output_shape(shape)
        except ValueError as error:
            if not path or str(error).startswith("layer "):
                raise
            maker = f"{before}, which stands before it" if before else "the input"
            raise ValueError(f"layer {path}: {error} (that is what comes from {maker})") from None
        return Place(layer, path, owner, tuple(names), stream, shape, output_shape, wants_dx, tuple(children))

    def _trains(self, names: Collection[str]) -> bool:
        return any(name not in self._frozen for name in names)
