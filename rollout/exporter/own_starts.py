"""How often supervisord has started this exporter: the one start that nobody tells it of in time.

A counter that began anew with each start would never show one.
"""

from __future__ import annotations

from pathlib import Path

from rollout.base import files

__all__ = ["count_start"]


def count_start(file: Path, supervisord: int) -> int:
    """Count one more start by the process ``supervisord`` in ``file``; how many those are now.

    Raises `OSError` where it cannot be written down.
    """
    starts = _counted(file, supervisord) + 1
    file.parent.mkdir(parents=True, exist_ok=True)
    files.replace(file, f"{supervisord} {starts}\n")
    return starts


def _counted(file: Path, supervisord: int) -> int:
    """Those of this supervisord so far; none where the file tells of another, or of nothing."""
    try:
        words = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return 0
    known = len(words) == 2 and all(word.isdecimal() for word in words)
    return int(words[1]) if known and int(words[0]) == supervisord else 0
