"""The measuring harness: what every kernel and the training step cost, beside this machine's own ceilings.

`pytest bench` measures everything; README.md says how, and how to measure a kernel of one's own.
"""

# Absolute imports here and in all of the folder: pytest, run in a checkout, also loads it as `bench`.
from fastdl.bench.ceilings import Ceilings, Cost
from fastdl.bench.harness import Plan, Quartiles, Variant, checked, measure, replayed, timed
from fastdl.bench.inputs import normal, unset

__all__ = [
    "Ceilings",
    "Cost",
    "Plan",
    "Quartiles",
    "Variant",
    "checked",
    "measure",
    "normal",
    "replayed",
    "timed",
    "unset",
]
