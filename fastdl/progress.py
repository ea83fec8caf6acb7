"""How far a training is, for people."""

from __future__ import annotations

import sys
import time
from typing import Any


class Progress:
    """How far a training is: a bar on a terminal; elsewhere a line for each tenth, or every 10 s.

    It is counted in epochs, or in what else `unit` says.
    """

    def __init__(self, made: int, epochs: int, unit: str = "epoch") -> None:
        self.first, self.epochs, self.unit = made + 1, epochs, unit
        self.said = time.monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            # Without tqdm's own speed, so that figures have room on a terminal of 80 columns.
            layout = "{n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"
            self.bar = tqdm(total=epochs, initial=made, unit=unit, dynamic_ncols=True, bar_format=layout)

    def __call__(self, number: int, row: dict[str, float]) -> None:
        text = f"loss {row['loss']:.4f}"
        for name, value in row.items():
            if name.startswith("val_"):
                told = f"{value:.2%}" if name == "val_accuracy" else f"{value:.4f}"
                text += f"  dev {name.removeprefix('val_').replace('_', ' ')} {told}"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()
        elif (
            number in (self.first, self.epochs)
            or number % max(1, self.epochs // 10) == 0
            or time.monotonic() - self.said > 10
        ):
            self.said = time.monotonic()
            sys.stderr.write(f"{self.unit} {number:{len(str(self.epochs))}}/{self.epochs}  {text}\n")

    def say(self, line: str) -> None:
        """Write a line, above the bar if there is one."""
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            sys.stderr.write(line + "\n")

    def close(self) -> None:
        """Leave the bar as it is and go to the next line."""
        if self.bar is not None:
            self.bar.close()
