"""Run Python where it can load kernels that were compiled with a sanitizer.

python tests/emulator/sanitized.py address -m pytest --capture=sys tests/kernels/test_cuda.py
python tests/emulator/sanitized.py thread -m pytest --capture=sys tests/kernels/test_cuda.py

Without --capture=sys pytest holds back what a sanitizer says, and it is lost when the process ends.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUNTIMES = {"address": ["libasan.so", "libubsan.so"], "thread": ["libtsan.so"]}


def environment(sanitizer):
    """The environment variables of such a Python."""
    found = [
        subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip() for name in RUNTIMES[sanitizer]
    ]
    path = [str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(found),
        "EMULATOR_SANITIZER": sanitizer,
        # Python keeps much to its end. Fibers change stacks, which the check of returned ones does not follow.
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "exitcode=66:halt_on_error=1",
        "OPENBLAS_NUM_THREADS": "1",  # threads that ThreadSanitizer did not see begin
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }


if __name__ == "__main__":
    sanitizer, *arguments = sys.argv[1:]
    sys.exit(subprocess.run([sys.executable, *arguments], env=environment(sanitizer)).returncode)
