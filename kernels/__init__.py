"""Kernels: arrays in, arrays out. One folder an op; see README.md beside this file."""

if __name__ != "fastdl.kernels":
    raise ImportError(
        f"the kernels of fastdl were imported as {__name__!r}; import them as 'fastdl.kernels' "
        "(install the project with `pip install -e .`, or put its root folder on the path)"
    )
