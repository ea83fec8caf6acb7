"""Another library's work between our steps, in one process: what each costs the other."""

import importlib
import importlib.util
import itertools
import time

import numpy as np

from fastdl.bench import Variant, shapes
from fastdl.bench.case import Case
from fastdl.bench.child import Child, serve

MODULES = {"NumPy": "numpy", "PyTorch": "torch", "scikit-learn": "sklearn"}


def others_work(name):
    """A product of NumPy's or PyTorch's, or a step of scikit-learn's: each with threads of its own."""
    a = np.random.default_rng(0).standard_normal((512, 512), np.float32)
    if name == "NumPy":
        out = np.empty_like(a)
        return lambda: np.matmul(a, a, out=out)
    if name == "PyTorch":
        torch = importlib.import_module("torch")
        tensor = torch.from_numpy(a)
        out = torch.empty_like(tensor)
        return lambda: torch.mm(tensor, tensor, out=out)
    model = importlib.import_module("sklearn.neural_network").MLPClassifier((512,), batch_size=128)
    labels = np.arange(128) % 10
    model.partial_fit(a[:128], labels, classes=np.arange(10))
    return lambda: model.partial_fit(a[:128], labels)


def serve_mixture(name, batch):
    """In the child: time blocks of ours and theirs, alone or in turn."""
    from fastdl.bench.cases.step import stepper

    _, ours = stepper(shapes.Network(shapes.LARGE, batch, batch_norm=True, rate=shapes.RATE))
    works = {"ours": ours, "theirs": others_work(name)}

    def handle(request):
        timed, between = works[request["timed"]], works.get(request["between"], lambda: None)
        seconds = []
        for n in range(request["warm"] + request["repeats"]):
            between()
            began = time.perf_counter()
            timed()
            if n >= request["warm"]:
                seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    serve(dict, handle)


def cases(shape, to):
    """Ours alone and after theirs; theirs alone and after ours."""
    if importlib.util.find_spec(MODULES[shape.other]) is None:
        return
    call = f"serve_mixture({shape.other!r}, {shape.batch})"
    child = Child(f"the mixture {shape}", f"from fastdl.bench.cases.mix import serve_mixture; {call}")

    def variant(timed, between):
        def block(warm, repeats):
            return child.ask(timed=timed, between=between, warm=warm, repeats=repeats)["seconds"]

        return Variant(block, lambda: None)

    titles = {"ours": "train step", "theirs": f"{shape.other}'s work"}
    try:
        for timed, between in itertools.permutations(titles):
            variants = {"alone": variant(timed, ""), "mixed": variant(timed, between)}
            yield Case(titles[timed], shape, variants, side_by_side=True)
    finally:
        child.close()
