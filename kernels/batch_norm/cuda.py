"""Batch normalisation on CUDA: sums of parts, the parts merged in order, and one map; images and columns alike."""

from .._cuda import BLOCK, Kernel, Launch, Source, blocks, lanes, tile

SUMS = "i64 channels, i64 pixels, i64 parts, double* sums"
MERGED = "const double* sums, i64 parts, i64 values, i64 channels"
GRADIENTS = "const real* dy, const real* y, const real* x, const real* mean"

source = Source(
    "batch_norm",
    {
        "column_moments": Kernel("const real* x, i64 rows, i64 columns, i64 parts, double* sums", 64),
        "image_moments": Kernel(f"const real* x, i64 images, {SUMS}", 64),
        "column_gradients": Kernel(f"{GRADIENTS}, i64 rows, i64 columns, i64 parts, double* sums", 64),
        "image_gradients": Kernel(f"{GRADIENTS}, i64 images, {SUMS}", 64),
        "finish_moments": Kernel(
            f"{MERGED}, const real* gamma, const real* beta, double eps, i64 correction, real* mean, real* var, "
            "real* inv_std, real* terms",
            64,
        ),
        "predict_terms": Kernel(
            "const real* gamma, const real* beta, double eps, const real* mean, const real* var, i64 channels, "
            "real* terms",
            32,
        ),
        "finish_gradients": Kernel(
            f"{MERGED}, const real* gamma, const real* inv_std, int accumulate, real* dgamma, real* dbeta, real* terms",
            40,
        ),
        "normalise": Kernel("const real* x, const real* terms, i64 n, i64 channels, i64 pixels, int relu, real* y", 40),
        "input_gradient": Kernel(f"{GRADIENTS}, const real* terms, i64 n, i64 channels, i64 pixels, real* dx", 56),
        "running": Kernel("const real* batch, real share, const i64* status, real* averages, i64 n", 48),
    },
)

MAPPED = {4: 2, 8: 1}  # packs of a thread in the maps, by bytes of a number
ENOUGH = 1024  # blocks


def _shape(x):
    """Rows or images, channels, pixels."""
    return (*x.shape, 1)[:3]


def _side(columns):
    """Of a block of threads over so many columns."""
    side = lanes(columns)
    return side, BLOCK // side


def _parts(sums, side_by_side):
    """How many parts to cut a channel in, of those that there is room for: enough blocks for a GPU, and no more."""
    parts = 1
    while parts < len(sums) and parts * side_by_side < ENOUGH:
        parts *= 2
    return parts


def _tiles(x):
    """How many blocks stand side by side over the channels."""
    channels = x.shape[1]
    return channels if x.ndim == 3 else blocks(channels, _side(channels)[0])


def _moments(x, sums, parts):
    rows, channels, pixels = _shape(x)
    if x.ndim == 3:
        return Launch("image_moments", channels * parts, (x, rows, channels, pixels, parts, sums))
    block = _side(channels)
    return Launch("column_moments", blocks(channels, block[0]) * parts, (x, rows, channels, parts, sums), block)


def _normalise(x, terms, relu, y):
    _, channels, pixels = _shape(x)
    return Launch(
        "normalise", blocks(x.size, tile(x, MAPPED[x.itemsize])), (x, terms, x.size, channels, pixels, relu, y)
    )


def _forward(relu):
    @source.launches
    def forward(x, gamma, beta, eps, correction, mean, var, inv_std, sums, terms, y):
        rows, channels, pixels = _shape(x)
        parts = _parts(sums, _tiles(x))
        yield _moments(x, sums, parts)
        statistics = gamma, beta, eps, correction, mean, var, inv_std, terms
        merged = sums, parts, rows * pixels, channels
        yield Launch("finish_moments", blocks(channels, BLOCK), (*merged, *statistics))
        yield _normalise(x, terms, relu, y)

    return forward


def _predict(relu):
    @source.launches
    def predict(x, gamma, beta, eps, mean, var, terms, y):
        channels = x.shape[1]
        yield Launch("predict_terms", blocks(channels, BLOCK), (gamma, beta, eps, mean, var, channels, terms))
        yield _normalise(x, terms, relu, y)

    return predict


def _gradient(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    rows, channels, pixels = _shape(x)
    parts, given = _parts(sums, _tiles(x)), (dy, y, x, mean)
    if x.ndim == 3:
        yield Launch("image_gradients", channels * parts, (*given, rows, channels, pixels, parts, sums))
    else:
        block = _side(channels)
        arguments = *given, rows, channels, parts, sums
        yield Launch("column_gradients", blocks(channels, block[0]) * parts, arguments, block)
    merged = sums, parts, rows * pixels, channels
    outputs = dgamma, dbeta, terms
    yield Launch("finish_gradients", blocks(channels, BLOCK), (*merged, gamma, inv_std, accumulate, *outputs))
    arguments = *given, terms, x.size, channels, pixels, dx
    yield Launch("input_gradient", blocks(x.size, tile(x, MAPPED[x.itemsize])), arguments)


@source.launches
def backward(dy, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    yield from _gradient(dy, None, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx)


@source.launches
def backward_relu(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx):
    yield from _gradient(dy, y, x, gamma, mean, inv_std, accumulate, sums, terms, dgamma, dbeta, dx)


@source.launches
def running(batch, decay, status, averages):
    yield Launch("running", blocks(batch.size, tile(batch)), (batch, 1 - decay, status, averages, batch.size))


# A place's shape tells whether it holds columns or images.
forward, forward_relu = forward_images, forward_images_relu = _forward(False), _forward(True)
predict, predict_relu = predict_images, predict_images_relu = _predict(False), _predict(True)
backward_images, backward_images_relu = backward, backward_relu
