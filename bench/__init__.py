"""The measuring harness: what every kernel and the training step cost, beside this machine's own ceilings.

`fastdl bench all` measures everything; README.md says how, and how to measure a kernel of one's own.
"""

from fastdl.bench.ceilings import Ceilings, Cost
from fastdl.bench.harness import TINY, Plan, Quartiles, Variant, checked, measure, replayed, timed
from fastdl.bench.inputs import normal, unset
from fastdl.bench.run import Run, compare

__all__ = [
    "TINY",
    "Ceilings",
    "Cost",
    "Plan",
    "Quartiles",
    "Run",
    "Variant",
    "checked",
    "compare",
    "measure",
    "normal",
    "replayed",
    "timed",
    "unset",
]
