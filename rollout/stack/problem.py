"""What the preflight finds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """One reason why the stack would not come up, or not do what it is to do."""

    text: str
    code: int = 2
    """The exit code it calls for: 2 a wrong configuration, 1 a wrong state of the machine, 0 none.

    With 0 it is a warning, and nothing stops for it.
    """
