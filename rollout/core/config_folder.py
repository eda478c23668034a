"""Several deployments: a folder with a file for each, ``*.toml``, whatever the files are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from rollout.base.exit import Misuse

__all__ = ["choose", "files_of", "is_folder", "named"]


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder, with any number of deployments."""
    return path.is_dir()


def files_of(path: Path) -> list[Path]:
    """The file at ``path``, or those of that folder, ordered by name."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.glob("*.toml") if not file.name.startswith("."))


def named(path: Path) -> Mapping[Path, str]:
    """The deployment that each file names, however broken the rest of it; else the file's stem."""
    return {file: _name_in(file) or file.stem for file in files_of(path)}


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


def _name_in(file: Path) -> str | None:
    try:
        table = tomlkit.parse(file.read_bytes().decode()).unwrap().get("deployment")
    except (OSError, UnicodeDecodeError, TOMLKitError):
        return None
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) and name else None
