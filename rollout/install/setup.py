"""`rollout stack setup`: the folders in var/, Prometheus, and the optional programs.

Stage 2 of `make setup`; stage 1, the virtual environment, is `rollout.install.bootstrap`.
What a machine already has is used as it is. What it lacks goes into var/tools,
whole or not at all: it is built beside its place and then renamed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from rollout.base.exit import Failure, Misuse
from rollout.base.locks import alone
from rollout.base.settings import ROOT, VAR
from rollout.install import debian
from rollout.install.fetch import Release, Unavailable, unpack
from rollout.supervision.supervisord import find_supervisord

__all__ = ["command", "link_programs", "setup"]

PROMETHEUS_VERSION = "3.5.3"
GRAFANA_VERSION = "12.3.2"
_GITHUB = "https://github.com"
_GRAFANA = "https://dl.grafana.com"
# A mirror is named by an environment variable of the name that is the key.
RELEASES = {
    "PROMETHEUS_RELEASES": f"{_GITHUB}/prometheus/prometheus/releases/download",
    "GRAFANA_RELEASES": f"{_GRAFANA}/oss/release",
}

_FOLDERS = (
    *("run", "log", "programs", "targets", "temporal", "prometheus", "alertmanager"),
    *("grafana", "tools"),
)
_OPTIONAL = ("grafana", "alertmanager")
"""Their programs are linked where tools/NAME/bin/NAME is."""
_ALERTMANAGERS = ("alertmanager", "prometheus-alertmanager")
"""What the project and Debian call it."""
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armv7"}
_PATIENCE = 3600.0  # seconds; another set-up may be downloading over a slow line


def command(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rollout stack setup``."""
    parser.description = (
        "Make the folders in var/, and install there what this machine lacks of Prometheus and "
        "Grafana. `make setup` runs this once the virtual environment is there."
    )
    parser.epilog = "examples: make setup    GRAFANA_HOME=/opt/grafana make setup"
    parser.set_defaults(run=_run)


async def _run(_given: argparse.Namespace) -> int:
    try:
        # What a running stack is made of changes only by a person's `supervisorctl update`.
        setup(link=await find_supervisord() is None)
    except OSError as error:  # a full disk, a folder that is not ours
        raise Failure(str(error)) from error
    return 0


def setup(var: Path = VAR, environ: Mapping[str, str] = os.environ, *, link: bool = True) -> None:
    """Make ``var`` ready for the stack, and say where Prometheus and Grafana are.

    With ``link`` the optional programs are linked as well (`link_programs`). Raises
    `Failure` where Prometheus cannot be had; Grafana may be missing.
    """
    for folder in _FOLDERS:
        (var / folder).mkdir(parents=True, exist_ok=True)
    with _alone(var) as scratch:
        print(f"prometheus: {_prometheus(var / 'tools', scratch, environ)}")
        print(f"grafana: {_grafana(var / 'tools', scratch, environ)}")
        print(f"alertmanager: {_alertmanager(var / 'tools', scratch, environ)}")
    if link:
        link_programs(var)


def link_programs(var: Path = VAR) -> None:
    """Link the programs of Grafana and Alertmanager into var/programs where they are installed.

    Every other link of ours there is removed. What is linked depends on this machine
    alone and not on the shell's environment: it outlives the run that it was made for.
    """
    folder, programs = var / "programs", ROOT / "stack" / "programs"
    # Relative, so that a checkout may be moved.
    wanted = {
        f"{name}.ini": os.path.relpath(programs / f"{name}.ini", folder)
        for name in _OPTIONAL
        if (var / "tools" / name / "bin" / name).exists()
    }
    for link in folder.glob("*.ini"):
        ours = link.is_symlink() and "stack/programs" in str(link.readlink())
        if ours and str(link.readlink()) != wanted.get(link.name):
            link.unlink()
    for name, target in wanted.items():
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(target)


@contextmanager
def _alone(var: Path) -> Iterator[Path]:
    """An empty folder to build in, for one set-up at a time; a killed one's is cleared first."""
    refusal = f"another set-up has been under way for {_PATIENCE / 60:g} minutes; try again later"
    with alone(var / "run" / "setup.lock", refusal, seconds=_PATIENCE):
        scratch = var / "tools" / ".partial"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _prometheus(tools: Path, scratch: Path, environ: Mapping[str, str]) -> Path:
    """Where the ``prometheus`` to run is: on PATH, else in ``tools``, installed where need be."""
    home = tools / "prometheus"
    found = _on_path("prometheus", tools, environ)
    if found and _on_path("promtool", tools, environ):
        shutil.rmtree(home, ignore_errors=True)  # the launcher would prefer it
        return found
    program = home / "bin" / "prometheus"
    if program.exists():
        return program

    built = scratch / "prometheus"
    try:
        _prometheus_release(built, environ)
    except Unavailable as reason:
        if not debian.available(environ):
            raise Failure(
                f"Prometheus cannot be had: {reason}; install Prometheus, or name a mirror in "
                "PROMETHEUS_RELEASES, then run `make setup` again"
            ) from reason
        _prometheus_of_debian(built, reason, environ)
    _replace(home, built)
    return program


def _prometheus_release(built: Path, environ: Mapping[str, str]) -> None:
    version = PROMETHEUS_VERSION
    folder = f"{_releases('PROMETHEUS_RELEASES', environ)}/v{version}"
    release = Release(
        title=f"Prometheus {version}",
        archive=f"{folder}/prometheus-{version}.{_platform()}.tar.gz",
        checksums=f"{folder}/sha256sums.txt",
    )
    unpack(release, built, _console())
    (built / "bin").mkdir()
    for name in ("prometheus", "promtool"):
        (built / name).rename(built / "bin" / name)


def _prometheus_of_debian(built: Path, reason: Unavailable, environ: Mapping[str, str]) -> None:
    """Build Prometheus from Debian's package and the scripts of its web pages."""
    console = _console()
    console.print(f"{reason}: taking Debian's Prometheus", highlight=False, soft_wrap=True)
    try:
        with console.status("downloading Debian's packages"):
            debian.unpack("prometheus", built, along=("libjs-", "fonts-"), environ=environ)
    except OSError as error:
        raise Failure(
            f"Prometheus cannot be had: {reason}, and Debian's package neither ({error}); "
            "install Prometheus, then run `make setup` again"
        ) from error
    (built / "bin").mkdir()
    (built / "usr" / "bin" / "promtool").rename(built / "bin" / "promtool")
    # Debian's build would look for its web pages where the package installs them.
    _script(
        built / "bin" / "prometheus",
        'usr="${0%/*}/../usr"\n'
        'exec "$usr/bin/prometheus" --web.local-assets="$usr/share/prometheus/web/" "$@"',
    )


def _grafana(tools: Path, scratch: Path, environ: Mapping[str, str]) -> str:
    """Where the Grafana to run is, or why there is none.

    tools/grafana is always the same: ``home``, the folder that Grafana calls
    its home path, and ``bin/grafana``; links, where the machine had them already.
    """
    place = tools / "grafana"
    built = scratch / "grafana"
    found = _grafana_home(tools, environ)
    if found:
        _adopt_grafana(found, place, built, tools, environ)
    elif not (place / "bin" / "grafana").exists():
        try:
            _grafana_release(built, environ)
        except Failure as reason:
            return (
                f"not installed ({reason}). The next `make up` tries again; or install Grafana or "
                "set GRAFANA_HOME, then run `make setup`. Everything else works without it"
            )
        _replace(place, built)
    return str((place / "home").resolve())


def _alertmanager(tools: Path, scratch: Path, environ: Mapping[str, str]) -> str:
    """Where the Alertmanager of this machine is, for which tools/alertmanager stands."""
    place, built = tools / "alertmanager", scratch / "alertmanager"
    program = place / "bin" / "alertmanager"
    on_path = (_on_path(name, tools, environ) for name in _ALERTMANAGERS)
    found = next(filter(None, on_path), None)
    if found and not (program.exists() and program.samefile(found)):
        (built / "bin").mkdir(parents=True)
        (built / "bin" / "alertmanager").symlink_to(found)
        _replace(place, built)
    if not program.exists():
        shutil.rmtree(place, ignore_errors=True)
        return "not installed. Alerts are on Prometheus's page; where it is on PATH it tells people"
    return str(program.resolve())


def _grafana_home(tools: Path, environ: Mapping[str, str]) -> Path | None:
    """The home path of the Grafana that this machine has, by GRAFANA_HOME or on PATH."""
    named = environ.get("GRAFANA_HOME")
    if named:
        home = Path(named).expanduser().resolve()
        if not _is_grafana_home(home):
            raise Misuse(f"GRAFANA_HOME={named} is not Grafana's home: it has no conf/defaults.ini")
        return home
    program = _on_path("grafana", tools, environ) or _on_path("grafana-server", tools, environ)
    if program is None:
        return None
    prefix = program.resolve().parents[1]
    homes = (prefix, prefix / "share" / "grafana", Path("/usr/share/grafana"))
    return next((home for home in homes if _is_grafana_home(home)), None)


def _is_grafana_home(home: Path) -> bool:
    return (home / "conf" / "defaults.ini").is_file()


def _adopt_grafana(
    home: Path, place: Path, built: Path, tools: Path, environ: Mapping[str, str]
) -> None:
    """Make ``place`` stand for the Grafana whose home path is ``home``."""
    current = place / "home"
    if current.is_symlink() and current.resolve() == home and (place / "bin/grafana").exists():
        return
    candidates = (
        home / "bin" / "grafana",
        home / "bin" / "grafana-server",
        _on_path("grafana", tools, environ),
        _on_path("grafana-server", tools, environ),
    )
    program = next((each for each in candidates if each and os.access(each, os.X_OK)), None)
    if program is None:
        raise Misuse(f"Grafana's home {home} has no bin/grafana, and there is none on PATH")
    (built / "bin").mkdir(parents=True)
    (built / "home").symlink_to(home)
    if program.name == "grafana":
        (built / "bin" / "grafana").symlink_to(program)
    else:  # before Grafana 9.3 `grafana server` was a program of its own
        _script(built / "bin" / "grafana", f'shift; exec {shlex.quote(str(program))} "$@"')
    _replace(place, built)


def _grafana_release(built: Path, environ: Mapping[str, str]) -> None:
    archive = (
        f"{_releases('GRAFANA_RELEASES', environ)}/grafana-{GRAFANA_VERSION}.{_platform()}.tar.gz"
    )
    release = Release(f"Grafana {GRAFANA_VERSION}", archive, f"{archive}.sha256")
    (built / "bin").mkdir(parents=True)
    unpack(release, built / "home", _console())
    (built / "bin" / "grafana").symlink_to("../home/bin/grafana")


def _releases(name: str, environ: Mapping[str, str]) -> str:
    return (environ.get(name) or RELEASES[name]).rstrip("/")


def _platform() -> str:
    """Name this machine as release archives do: linux-amd64, darwin-arm64."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"


def _on_path(name: str, tools: Path, environ: Mapping[str, str]) -> Path | None:
    """The program ``name`` on PATH, other than our own."""
    folders = environ.get("PATH", os.defpath).split(os.pathsep)
    others = [each for each in folders if tools not in Path(each).parents]
    found = shutil.which(name, path=os.pathsep.join(others))
    return Path(found) if found else None


def _replace(place: Path, built: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    built.rename(place)


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def _console() -> Console:
    return Console(stderr=True)
