"""One piece of work that is measured: ours in its variants, as recorded launches and as it stands, and the peers'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastdl import backend
from fastdl.bench.ceilings import Cost
from fastdl.bench.harness import Variant, replayed
from fastdl.bench.peers import Peer
from fastdl.bench.shapes import Shape

Array = np.ndarray[Any, Any]
Call = Callable[[], object]


def device_of(to: Callable[[Array], Array]) -> str:
    """Where `to` puts arrays."""
    return "cuda" if backend.on_cuda(to(np.zeros(1))) else "cpu"


@dataclass(frozen=True)
class Case:
    """What is compared at one shape."""

    op: str
    shape: Shape | str
    ours: Mapping[str, Variant]
    """By what tells them apart; the first is what peers are held against."""
    cost: Cost = field(default_factory=Cost)
    eager: Mapping[str, Call] = field(default_factory=dict)
    """The same without a recording, for what the checks of an op cost."""
    theirs: Callable[[Peer], Variant | None] | None = None
    """What a peer does for it, if it can; None where none is asked."""
    side_by_side: bool = False
    """Whether the first variant's row tells how many times as long the others take."""


def of_ops(
    op: str,
    shape: Shape,
    cost: Cost,
    calls: Call | Mapping[str, Call],
    results: Sequence[Array] = (),
    part: str = "",
) -> Case:
    """Calls of ops, each as its recorded launches and as it stands.

    `results` are what peers must get too, by the `part` of their work for this shape.
    """
    calls = calls if isinstance(calls, Mapping) else {"": calls}
    ours = {name: replayed(call) for name, call in calls.items()}
    theirs = (lambda peer: peer.variant(shape, results, part)) if results else None
    return Case(op, shape, ours, cost, calls, theirs)
