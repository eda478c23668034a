"""Several deployments: a folder with a file for each, ``*.toml``, whatever the files are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rollout.base.exit import Misuse
from rollout.core.config_text import NotToml, tables

__all__ = ["choose", "files_of", "is_folder", "name_in", "named"]


_NAME = re.compile(r"""^\[deployment\][^\[]*?^name *= *["']([^"'\n]+)["']""", re.MULTILINE)
"""Where it stands in a file that is broken elsewhere."""


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder, with any number of deployments."""
    return path.is_dir()


def files_of(path: Path) -> list[Path]:
    """The file at ``path``, or those of that folder, ordered by name."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.glob("*.toml") if not file.name.startswith("."))


def named(path: Path) -> Mapping[Path, str]:
    """The deployment of each file at ``path``, as `name_in` has it."""
    return {file: name_in(file) for file in files_of(path)}


def name_in(file: Path) -> str:
    """The deployment that ``file`` names, whatever else is wrong with it; else the file's stem."""
    try:
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return file.stem
    try:
        table = tables(text).get("deployment")
    except NotToml:
        found = _NAME.search(text)
        return found[1] if found else file.stem
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) and name else file.stem


def choose(path: Path, deployment: str | None) -> Path:
    """The file of ``deployment`` at ``path``, a file or a folder; None: of the only one.

    Raises `Misuse` that names those that are there.
    """
    if not path.is_dir() and deployment is None:
        return path
    found = named(path)
    fitting = [file for file, name in found.items() if deployment in (None, name)]
    if len(fitting) == 1:
        return fitting[0]
    if not found:
        raise Misuse(f"{path} has no deployment's *.toml: `rollout init` writes one")
    if fitting and deployment is not None:
        raise Misuse(f"{' and '.join(map(str, fitting))} both name deployment {deployment}")
    names = ", ".join(sorted(set(found.values())))
    if deployment is None:
        raise Misuse(f"which deployment? name one with -d: {names}")
    raise Misuse(f"{path} has no deployment {deployment!r}, but {names}")
