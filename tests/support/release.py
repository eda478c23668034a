"""Python environments of releases, as a team's own pipeline makes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["environment"]


def environment(folder: Path, *libraries: Path) -> Path:
    """Make ``folder/.venv``, in which only what is in the ``libraries`` can be imported.

    Returns its site-packages.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (site,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text("".join(f"{each}\n" for each in libraries))
    return site
