"""What kernels want to know of the processor."""

import functools
from pathlib import Path


@functools.cache
def last_cache() -> int:
    """Bytes of the largest cache; 64 MiB where the system does not tell."""
    sizes = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        number = file.read_text(encoding="ascii").strip()
        sizes.append(int(number[:-1]) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[number[-1]])
    return max(sizes, default=64 << 20)
