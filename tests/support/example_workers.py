"""The examples in other languages, built; without the language, or its registry, skipped."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rollout.base.settings import ROOT, VAR

__all__ = ["Example", "go", "typescript"]

_EXAMPLES = ROOT / "examples"
_MINUTES = 300


class Example:
    """One example built in ``folder``, and its copies with other code."""

    def __init__(self, folder: Path, worker: tuple[str, ...], replay: tuple[str, ...]) -> None:
        self.folder = folder
        self.worker = worker
        self.replay = replay


def typescript(folder: Path, change: tuple[str, str] | None = None) -> Example:
    """The TypeScript example; with ``change`` a text of its workflows is another."""
    for program in ("node", "npm"):
        _needed(program, "the TypeScript example was not tried")
    _copy("typescript", folder, "src/workflows.ts", change)
    modules = _node_modules(folder)
    (folder / "node_modules").symlink_to(modules)
    _run(folder, "node", "node_modules/typescript/bin/tsc")
    return Example(folder, ("node", "lib/worker.js"), ("node", "lib/replay.js"))


def go(folder: Path, change: tuple[str, str] | None = None) -> Example:
    """The Go example; with ``change`` a text of its workflows is another."""
    program = _needed("go", "the Go example was not tried")
    _copy("go", folder, "shop/shop.go", change)
    fetched = _start(folder, program, "mod", "download")
    if fetched.returncode:
        pytest.skip(f"the Go example was not tried: its modules are not here: {fetched.stderr}")
    _run(folder, program, "build", "-o", "bin/", "./...")
    return Example(folder, ("bin/worker",), ("bin/replay",))


def _needed(program: str, consequence: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{consequence}: there is no {program} on this machine")
    return found


def _copy(name: str, folder: Path, file: str, change: tuple[str, str] | None) -> None:
    ignored = shutil.ignore_patterns("node_modules", "lib", "bin")
    shutil.copytree(_EXAMPLES / name, folder, ignore=ignored)
    if change is not None:
        text = (folder / file).read_text()
        assert change[0] in text
        (folder / file).write_text(text.replace(*change))


def _node_modules(folder: Path) -> Path:
    """What `npm ci` installs, once for each lock file."""
    lock = (folder / "package-lock.json").read_bytes()
    kept = VAR / "examples" / f"typescript-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (kept / "done").exists():
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(folder / file, kept)
        words = ("ci", "--prefer-offline", "--no-audit", "--no-fund")
        done = _start(kept, "npm", *words)
        if done.returncode:
            pytest.skip(f"the TypeScript example was not tried: npm ci failed: {done.stderr}")
        (kept / "done").touch()
    return kept / "node_modules"


def _start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "GOFLAGS": "-mod=readonly"},
        capture_output=True,
        text=True,
        timeout=_MINUTES,
        check=False,
    )


def _run(folder: Path, *words: str) -> None:
    done = _start(folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
