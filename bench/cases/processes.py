"""Several trainings at once, beside one after the other."""

import time

from fastdl.bench import Variant, shapes
from fastdl.bench.case import Case
from fastdl.bench.child import Child, serve


def serve_steps(batch):
    """In the child: make so many steps when asked."""
    from fastdl.bench.cases.step import stepper

    _, step = stepper(shapes.Network(shapes.LARGE, batch, batch_norm=True, rate=shapes.RATE))
    step()

    def handle(request):
        for _ in range(request["steps"]):
            step()
        return {}

    serve(dict, handle)


def cases(shape, to):
    """The seconds of all, divided by their number: one after the other, and together."""
    code = f"from fastdl.bench.cases.processes import serve_steps; serve_steps({shape.batch})"
    children = [Child("a training", code) for _ in range(shape.count)]

    def seconds(groups):
        began = time.perf_counter()
        for group in groups:
            for child in group:
                child.tell(steps=shape.steps)
            for child in group:
                child.answer()
        return (time.perf_counter() - began) / shape.count

    def variant(groups):
        def block(warm, repeats):
            return [seconds(groups)]  # a second or more each, so that one is enough of a block

        return Variant(block, lambda: [child.ask(steps=2) for child in children])

    variants = {"one by one": variant([[child] for child in children]), "at once": variant([children])}
    try:
        yield Case("training", shape, variants, side_by_side=True)
    finally:
        for child in children:
            child.close()
