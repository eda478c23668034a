"""What a build offers: its workflows, its activities, and a fingerprint of their code.

A build is any importable module with

* ``WORKFLOWS``: a list of ``@workflow.defn`` classes; one that says ``versioning_behavior=``
  itself runs with ``--versioning deployment`` alone, the others with each;
* ``ACTIVITIES``: a list of ``@activity.defn`` functions (async, or plain: those run in threads);
* ``FINGERPRINT`` (optional): a text that changes with the code, such as a commit id; needed
  where no source file of the module's can be found;
* what `rollout.worker.own_options` lists: options of its own for the client and the worker.

It must offer a workflow, an activity or a Nexus handler at least.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from rollout.base.exit import Misuse
from rollout.base.settings import ROOT
from rollout.worker.own_options import OwnOptions, own_options

__all__ = ["App", "demo_module", "load", "search_path"]

_DEFINITION = "__temporal_workflow_definition"  # where the SDK's decorator leaves it


@dataclass(frozen=True)
class App:
    """A build's code, imported."""

    module: str
    workflows: list[type]
    activities: list[Callable[..., Any]]
    fingerprint: str
    own: OwnOptions = field(default_factory=OwnOptions)
    """Of its client and its worker."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """What its workflows are called; None where one of them takes runs of any name."""
        names = [getattr(workflow, _DEFINITION).name for workflow in self.workflows]
        return None if None in names else tuple(sorted(names))

    def on(self, task_queue: str) -> tuple[list[type], list[Callable[..., Any]]]:
        """The workflows and the activities that run on ``task_queue``."""
        served = self.own.served.get(task_queue)
        if served is None:
            return self.workflows, self.activities
        return (
            [each for each in self.workflows if each in served],
            [each for each in self.activities if each in served],
        )

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
    own = own_options(module)
    if not workflows and not activities and not own.nexus_handlers:
        raise Misuse(f"{module_name} offers nothing: it needs a list WORKFLOWS or ACTIVITIES")
    for thing, mark, kind in (
        *((w, _DEFINITION, "a @workflow.defn class") for w in workflows),
        *((a, "__temporal_activity_definition", "an @activity.defn function") for a in activities),
    ):
        if not hasattr(thing, mark):
            raise Misuse(f"{module_name}: {thing!r} is not {kind}")
    offered = [*workflows, *activities, *map(type, own.nexus_handlers)]
    return App(module_name, workflows, activities, _fingerprint(module, offered), own)


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


def _fingerprint(module: ModuleType, offered: Iterable[object]) -> str:
    """16 hex digits: the module's own FINGERPRINT, or the sources it reaches by imports.

    Of what is installed only the packages that the module and its workflows and activities
    are of: a new version of any other library is a new build when you say so, not a changed
    one. Raises `Misuse` where that leaves nothing to tell one code from another by.
    """
    own = getattr(module, "FINGERPRINT", None)
    digest = hashlib.sha256()
    if own is not None:
        if not str(own).strip():
            raise Misuse(
                f"{module.__name__}: FINGERPRINT is empty, so that no code differs from another: "
                "let it be a text that changes with the code, such as a commit id, or leave it out"
            )
        digest.update(str(own).encode())
    else:
        defined_in = (getattr(thing, "__module__", None) for thing in offered)
        names = [module.__name__, *sorted({name for name in defined_in if name})]
        found = sorted(_reached(names))
        if not found:
            raise Misuse(
                f"{module.__name__}: no source of it can be found, so that its code cannot be told "
                "from another's: give the module a text FINGERPRINT that changes with the code, "
                "such as a commit id"
            )
        for path in found:
            digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


def _reached(names: Sequence[str]) -> set[Path]:
    """The files of the modules ``names`` and of all that they import.

    Installed packages are left out, but for those that the modules themselves are of.
    """
    own = {name.partition(".")[0] for name in names} - {"temporalio", "rollout"}
    found: set[Path] = set()
    waiting = list(names)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        is_own = name.partition(".")[0] in own
        file = _file(name)
        if file is None or (_is_installed(name) and not is_own):
            continue
        if file.suffix == ".py":
            found.add(file)
            waiting.extend(_imports(file, name))
            waiting.extend(_packages_with_code(name))
        elif is_own:  # compiled: its bytes are all there is of it
            found.add(file)
    return found


def _is_installed(module_name: str) -> bool:
    """Whether it lies in this Python's own folders, be it there or by a link."""
    file = Path(sys.modules[module_name].__file__ or "")
    places = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    return any(
        file.is_relative_to(place) or file.resolve().is_relative_to(place.resolve())
        for place in places
    )


def _file(module_name: str) -> Path | None:
    file = getattr(sys.modules.get(module_name), "__file__", None)
    path = Path(file).resolve() if file else None
    return path if path is not None and path.is_file() else None


def _packages_with_code(module_name: str) -> Iterator[str]:
    """The packages around a module, which an import of it runs first, where there is code to run.

    An empty one says nothing, and a build's fingerprint should not depend on its being there.
    """
    while module_name := module_name.rpartition(".")[0]:
        file = _file(module_name)
        if file is not None and (file.suffix != ".py" or _has_code(file)):
            yield module_name


def _has_code(source: Path) -> bool:
    body = ast.parse(source.read_bytes()).body
    return any(not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)) for n in body)


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
