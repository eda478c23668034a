"""Stage 1 of `make setup`: the virtual environment .venv, with exactly the locked packages.

It runs with the system's Python before anything is installed: standard library
alone, and in syntax that an old Python can read as far as the sentence it gets.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["main"]

OLDEST_PYTHON = (3, 10)
ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"  # the lock files that .venv holds all of; written last

# The Python beside it, found without resolving links to the folder: a checkout that borrows
# this .venv by a link, or that was moved, runs its own modules. Both shells and Python read it.
COMMAND = '''#!/bin/sh
""":"
test ! -L "$0" || exec "$(readlink -f "$0")" "$@"
exec "${0%/*}/python" "$0" "$@"
":"""
from rollout.__main__ import main

main()
'''


def main(arguments: list) -> int:  # type: ignore[type-arg]
    """Make .venv hold what requirements.lock says, and with ``--dev`` requirements-dev.lock."""
    if sys.version_info < OLDEST_PYTHON:
        return _fail(
            "Python {}.{} is too old, 3.10 or newer is needed: "
            "name one, as in `make up PYTHON=python3.12`".format(*sys.version_info)
        )
    locks = [ROOT / "requirements.lock"]
    if "--dev" in arguments:
        locks.append(ROOT / "requirements-dev.lock")
    wanted = [_line(lock) for lock in locks]
    done = STAMP.read_text(encoding="utf-8").splitlines() if STAMP.exists() else []
    try:
        if PYTHON.exists() and set(wanted) <= set(done):
            _make_importable()
            _write_command()
            return 0
        if not _usable():
            _create()
        # Killed from here on, it begins anew: pip would trust a half-written package.
        STAMP.write_text("unfinished\n", encoding="utf-8")
        _install(locks[-1])  # the last has everything that those before it have
        _make_importable()
        _write_command()
        STAMP.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    except subprocess.CalledProcessError as error:
        return _fail(_last_words(error))
    except OSError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def _line(lock: Path) -> str:
    # The folder is in it because the scripts in .venv/bin hold its absolute path.
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    return f"{digest} {lock}"


def _usable() -> bool:
    """Whether .venv can be built on: complete once and not moved since, or made by hand."""
    if not PYTHON.exists():
        return False
    if STAMP.exists() and f" {ROOT}/" not in STAMP.read_text(encoding="utf-8"):
        return False
    command = [str(PYTHON), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _create() -> None:
    _say(f"creating .venv with Python {sys.version.split()[0]}")
    venv = [sys.executable, "-m", "venv", "--clear"]
    if importlib.util.find_spec("ensurepip"):
        _run([*venv, str(VENV)])
        return
    # Debian has ensurepip in a package apart. pip's own archive is enough, and
    # can be run as it is.
    from rollout.install import debian  # noqa: PLC0415 (an old Python could not read it)

    if not debian.available():
        raise OSError("this Python has no ensurepip: install your system's python3-venv package")
    with tempfile.TemporaryDirectory() as name:
        debian.unpack("python3-pip-whl", Path(name))
        pip = next(Path(name).glob("usr/share/python-wheels/pip-*.whl"))
        _run([*venv, "--without-pip", str(VENV)])
        _run([str(PYTHON), str(pip / "pip"), "install", "--quiet", "--no-index", str(pip)])


def _install(lock: Path) -> None:
    _say(f"installing the packages of {lock.name}")
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--require-hashes", "-r", str(lock)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = []
    for line in process.stdout or ():
        said.append(line)
        _tell_progress(line)
    _tell_progress("")
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, "".join(said))


def _make_importable() -> None:
    """Let .venv import this checkout's modules from any folder.

    supervisorctl imports its plugin rollout.commands.supervisorctl wherever it is started,
    and fails whole where it cannot.
    """
    for packages in VENV.glob("lib/python*/site-packages"):
        file = packages / "checkout.pth"
        # Relative, so that a checkout may be moved; read without resolving links, so
        # that one which borrows this .venv by a link finds its own modules.
        line = os.path.relpath(str(VENV.parent), str(packages)) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != line:
            file.write_text(line, encoding="utf-8")


def _write_command() -> None:
    """Write the command `rollout` beside .venv's Python; where a wheel is installed, pip does."""
    command = VENV / "bin" / "rollout"
    if not command.exists() or command.read_text(encoding="utf-8") != COMMAND:
        command.unlink(missing_ok=True)  # not written in place: a running shell reads on in it
        command.write_text(COMMAND, encoding="utf-8")
    command.chmod(0o755)


def _tell_progress(line: str) -> None:
    """Show pip's latest line in place, on a terminal alone."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write("\r\033[K" + line.strip()[:width])
        sys.stderr.flush()


def _run(command: list) -> None:  # type: ignore[type-arg]
    subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _last_words(error: subprocess.CalledProcessError) -> str:
    lines = [line.strip() for line in (error.output or "").splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR")]
    return (errors or lines or [f"{error.cmd[0]} failed"])[-1]


def _say(text: str) -> None:
    sys.stderr.write(f"setup: {text}\n")


def _fail(text: str) -> int:
    _say(text)
    return 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
