"""What a build offers: its workflows, its activities, and a fingerprint of their code.

A build is any importable module with

* ``WORKFLOWS``: a list of ``@workflow.defn`` classes; one that says ``versioning_behavior=``
  itself runs with ``--versioning deployment`` alone, the others with each;
* ``ACTIVITIES``: a list of ``@activity.defn`` functions (async, or plain: those run in threads);
* ``FINGERPRINT`` (optional): a text that changes with the code, such as a commit id.

At least one of the two lists must not be empty.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rollout.base.exit import Misuse
from rollout.base.settings import ROOT

__all__ = ["App", "demo_module", "load", "search_path"]

_DEFINITION = "__temporal_workflow_definition"  # where the SDK's decorator leaves it


@dataclass(frozen=True)
class App:
    """A build's code, imported."""

    module: str
    workflows: list[type]
    activities: list[Callable[..., Any]]
    fingerprint: str

    @property
    def behaviors(self) -> dict[str, str]:
        """The workflows that say themselves how their runs behave: ``pinned``, ``auto-upgrade``."""
        definitions = [getattr(w, _DEFINITION) for w in self.workflows]
        return {
            definition.name or "dynamic": definition.versioning_behavior.name.lower().replace(
                "_", "-"
            )
            for definition in definitions
            if definition.versioning_behavior  # UNSPECIFIED is 0
        }


def demo_module(build_id: str) -> str:
    """The module of the demo's build ``build_id``: ``v1.1`` is ``workers.builds.v1_1``."""
    folder = ROOT / "workers" / "builds"
    known = sorted(
        path.stem.replace("_", ".") for path in folder.glob("v*.py") if path.stem.isidentifier()
    )
    if not known:
        raise Misuse("which workflows? give --app MODULE")
    if build_id not in known:
        raise Misuse(
            f"unknown build {build_id!r}: workers/builds has {', '.join(known)}; "
            "for workflows of your own give --app MODULE"
        )
    return f"workers.builds.{build_id.replace('.', '_')}"


def load(module_name: str) -> App:
    """Import a build. Raises `Misuse` where the module does not keep the contract above."""
    sys.path[:] = search_path(sys.path, _pythonpath(), Path.cwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise Misuse(
            f"--app {module_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    workflows = list(getattr(module, "WORKFLOWS", ()))
    activities = list(getattr(module, "ACTIVITIES", ()))
    if not workflows and not activities:
        raise Misuse(f"{module_name} offers nothing: it needs a list WORKFLOWS or ACTIVITIES")
    for thing, mark, kind in (
        *((w, _DEFINITION, "a @workflow.defn class") for w in workflows),
        *((a, "__temporal_activity_definition", "an @activity.defn function") for a in activities),
    ):
        if not hasattr(thing, mark):
            raise Misuse(f"{module_name}: {thing!r} is not {kind}")
    return App(module_name, workflows, activities, _fingerprint(module))


def search_path(path: Sequence[str], pythonpath: str, folder: Path) -> list[str]:
    """``path``, with what ``pythonpath`` names first, then ``folder``, then the rest.

    Python itself puts the current folder before PYTHONPATH, or leaves it out. Run from this
    checkout, the demo's folders would then be found for packages of yours of the same name.
    """
    named = [str(Path(entry).absolute()) for entry in pythonpath.split(os.pathsep) if entry]
    first = list(dict.fromkeys([*named, str(folder)]))
    return [*first, *(entry for entry in path if entry and entry not in first)]


def _pythonpath() -> str:
    """PYTHONPATH, unless this Python was told to pass over it."""
    return "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")


def _fingerprint(module: ModuleType) -> str:
    """16 hex digits: the module's own FINGERPRINT, or the sources it reaches by imports.

    Installed packages are left out: a new version of a library is a new build
    when you say so, not a changed one.
    """
    own = getattr(module, "FINGERPRINT", None)
    digest = hashlib.sha256()
    if own is not None:
        digest.update(str(own).encode())
    else:
        for path in sorted(_reached(module.__name__)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def _reached(module_name: str) -> set[Path]:
    """The source files of a module and of all it imports, installed packages left out."""
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    found: set[Path] = set()
    waiting = [module_name]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        source = _source(name)
        if source is None or any(source.is_relative_to(place) for place in installed):
            continue
        found.add(source)
        waiting.extend(_imports(source, name))
    return found


def _source(module_name: str) -> Path | None:
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and file.endswith(".py") else None


def _imports(source: Path, module_name: str) -> Iterator[str]:
    """Every module name that ``source`` may import; names of attributes among them do no harm."""
    package = module_name if source.stem == "__init__" else module_name.rpartition(".")[0]
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
