"""Debian's packages unpacked into a folder of ours: none is installed, no service is started.

Only the standard library is imported: `rollout.install.bootstrap` needs this before any
package is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["available", "unpack"]

_OPTIONS = (
    # Root would otherwise become the user _apt, who may not write where we unpack.
    *("-o", "APT::Sandbox::User=root"),
    *("-o", "Acquire::Retries=1"),
    *("-o", "Acquire::http::Timeout=10"),
    *("-o", "Acquire::https::Timeout=10"),
)


def available(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this machine has Debian's tools."""
    path = environ.get("PATH", os.defpath)
    return all(shutil.which(tool, path=path) for tool in ("apt-get", "dpkg-deb"))


def unpack(
    package: str,
    into: Path,
    *,
    along: tuple[str, ...] = (),
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Unpack ``package`` under ``into``; this needs no root.

    Those of its dependencies whose names begin with one of ``along`` come with
    it, and theirs. The machine's package lists are used as they are; where they
    are missing or stale, lists of our own are fetched for this one call.

    Raises `OSError` with apt's own last word where that fails.
    """
    environ = {**environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryDirectory(prefix="debian-") as name:
        scratch = Path(name)
        try:
            _unpack_all(package, into, along, [*_OPTIONS], scratch, environ)
        except OSError:
            options = [*_OPTIONS, *_lists_of_our_own(scratch)]
            _run(["apt-get", *options, "update"], scratch, environ)
            _unpack_all(package, into, along, options, scratch, environ)


def _lists_of_our_own(scratch: Path) -> list[str]:
    """Options that keep the lists and the cache of apt in ``scratch``."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    return ["-o", f"Dir::State::lists={scratch}/lists/", "-o", f"Dir::Cache={scratch}/cache/"]


def _unpack_all(  # noqa: PLR0913, PLR0917
    package: str,
    into: Path,
    along: tuple[str, ...],
    options: list[str],
    scratch: Path,
    environ: Mapping[str, str],
) -> None:
    done: set[str] = set()
    wanted = {package}
    while wanted:
        _run(["apt-get", *options, "download", *sorted(wanted)], scratch, environ)
        done |= wanted
        wanted = set()
        for archive in scratch.glob("*.deb"):
            _run(["dpkg-deb", "-x", str(archive), str(into)], scratch, environ)
            depends = _run(["dpkg-deb", "-f", str(archive), "Depends"], scratch, environ)
            names = {clause.split()[0] for clause in depends.split(",") if clause.strip()}
            wanted |= {each for each in names if each.startswith(along)} - done
            archive.unlink()


def _run(command: list[str], folder: Path, environ: Mapping[str, str]) -> str:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        ).stdout
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip().splitlines()
        raise OSError(said[-1] if said else f"{command[0]} failed") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} took more than 300 s") from error
