"""`python -m fastdl`, and the command `fastdl`."""

import sys


def main() -> int:
    """Run a command; the process's exit status."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # before the command began, while modules were loaded
        sys.stderr.write("fastdl: interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
