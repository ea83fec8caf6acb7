"""A model as a table for people."""

from __future__ import annotations

import math

from .place import Place, Places


def summary(places: Places) -> str:
    """A line a layer: its path, type, the shape of its output, and its parameters.

    Layers that hold others are told by their paths alone; a layer that shares the parameters of an
    earlier one says so and counts none.
    """
    lines = [("layer", "type", "output", "parameters"), ("", "input", str(places.root.shape), "")]
    lines += [_line(place, places) for place in places.root.walk() if not place.children]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * widths[3]))
    count = sum(math.prod(param.shape) for param in places.params.values())
    total = f"{count:,} parameters, {4 * count:,} bytes in float32"
    table = [
        f"{path:<{widths[0]}}  {kind:<{widths[1]}}  {output:<{widths[2]}}  {told:>{widths[3]}}".rstrip()
        for path, kind, output, told in lines
    ]
    return "\n".join([*table, total])


def _line(place: Place, places: Places) -> tuple[str, str, str, str]:
    count = sum(math.prod(places.params[name].shape) for name in place.param_names)
    told = f"{count:,}" if count else ""
    if count and place.owner != place.path:
        told = f"those of {place.owner}"
    return place.path, type(place.layer).__name__, str(place.output_shape), told
