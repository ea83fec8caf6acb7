"""Updates on CUDA: one launch for the whole span, a pack of 16 bytes a thread and array."""

from .._cuda import WARP, Kernel, Launch, Source, blocks, tile

REST = "i64 n, i64 decayed, const double* scalars, const double* clip, const i64* status"

source = Source(
    "updates",
    {
        "scaled_rate": Kernel("const double* scalars, double factor, double* out, i64 n", 24, block=WARP),
        "sgd": Kernel(f"real* p, const real* g, {REST}", 32),
        "adam": Kernel(f"real* p, const real* g, real* m, real* v, {REST}", 72),
    }
    | {
        name: Kernel(f"real* p, const real* g, real* m, {REST}", 64)
        for name in ("momentum", "nesterov", "adagrad", "rmsprop")
    },
)


def _launch(name, p, g, moments, decayed, scalars, clip, status):
    arguments = p, g, *moments, p.size, decayed, scalars, clip, status
    return Launch(name, blocks(p.size, tile(p, packs=1)), arguments)


@source.launches
def sgd(p, g, decayed, scalars, clip, status):
    yield _launch("sgd", p, g, (), decayed, scalars, clip, status)


@source.launches
def momentum(p, g, m, decayed, scalars, clip, status):
    yield _launch("momentum", p, g, (m,), decayed, scalars, clip, status)


@source.launches
def nesterov(p, g, m, decayed, scalars, clip, status):
    yield _launch("nesterov", p, g, (m,), decayed, scalars, clip, status)


@source.launches
def adagrad(p, g, m, decayed, scalars, clip, status):
    yield _launch("adagrad", p, g, (m,), decayed, scalars, clip, status)


@source.launches
def rmsprop(p, g, m, decayed, scalars, clip, status):
    yield _launch("rmsprop", p, g, (m,), decayed, scalars, clip, status)


@source.launches
def adam(p, g, m, v, decayed, scalars, clip, status):
    yield _launch("adam", p, g, (m, v), decayed, scalars, clip, status)


@source.launches
def scaled_rate(scalars, factor, out):
    yield Launch("scaled_rate", 1, (scalars, factor, out, out.size))
