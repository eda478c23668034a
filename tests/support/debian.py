"""Debian's own supervisor: the installed one, or its package unpacked beside the checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rollout.base.settings import VAR
from tests.support.supervisord import PrivateSupervisord

__all__ = ["DebianSupervisord"]

_PYTHON = Path("/usr/bin/python3")
_INSTALLED = Path("/")

# Debian's Python, which has the module's dependencies; its folder is on no PYTHONPATH that the
# programs of supervisord would inherit.
_SCRIPT = """\
#!{python} -P
import sys
sys.path.insert(0, "{package}/usr/lib/python3/dist-packages")
from supervisor.{name} import main
sys.exit(main())
"""


class DebianSupervisord(PrivateSupervisord):
    """Debian's release on Debian's configuration, which is in a folder of its own here."""

    included = "conf.d/*.conf"

    def __init__(self) -> None:
        package = _package()
        installed = package == _INSTALLED
        super().__init__(programs=_INSTALLED / "usr" / "bin" if installed else _scripts(package))
        text = (package / "etc" / "supervisor" / "supervisord.conf").read_text("utf-8")
        for theirs in ("/var/run", "/var/log/supervisor", "/etc/supervisor"):
            text = text.replace(theirs, str(self.folder))
        (self.folder / "supervisord.conf").write_text(text, "utf-8")
        self.socket = self.folder / "supervisor.sock"


def _package() -> Path:
    """The root of its files."""
    if (_INSTALLED / "usr" / "bin" / "supervisord").exists():
        return _INSTALLED
    missing = [word for word in ("apt-get", "dpkg", _PYTHON) if shutil.which(word) is None]
    if missing:
        pytest.skip(f"NOT TESTED, Debian's supervisor: there is no {missing[0]} here")
    kept = VAR / "debian"
    if not (kept / "root" / "usr" / "bin" / "supervisord").exists():
        kept.mkdir(parents=True, exist_ok=True)
        fetched = _run(kept, "apt-get", "download", "supervisor")
        if fetched.returncode:
            pytest.skip(f"NOT TESTED, Debian's supervisor: apt has none: {fetched.stderr.strip()}")
        (deb,) = kept.glob("supervisor_*.deb")
        unpacked = _run(kept, "dpkg", "-x", str(deb), "unpacked")
        assert unpacked.returncode == 0, unpacked.stderr
        deb.unlink()
        (kept / "unpacked").replace(kept / "root")
    tried = _run(kept, str(_PYTHON), "-c", "import pkg_resources")
    if tried.returncode:
        pytest.skip("NOT TESTED, Debian's supervisor: there is no python3-pkg-resources here")
    return kept / "root"


def _scripts(package: Path) -> Path:
    """Its two programs; those in the package want it installed."""
    folder = package.parent / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("supervisord", "supervisorctl"):
        script = folder / name
        script.write_text(_SCRIPT.format(python=_PYTHON, package=package, name=name), "utf-8")
        script.chmod(0o755)
    return folder


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
