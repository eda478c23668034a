"""The one argument parser: examples as they are written, and one line for a wrong call."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from stack.exit import Misuse

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line that names the help, exit code 2."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Raise `Misuse`, which `stack.exit.run` turns into the line."""
        raise Misuse(f"{message}; see `{self.prog} --help`")
