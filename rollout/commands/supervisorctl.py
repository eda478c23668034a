"""The commands of ``rollout`` inside supervisorctl (`[ctlplugin:rollout]`).

Every supervisorctl call imports this module, so it needs nothing but supervisor: a command
runs as a process of its own.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from supervisor.supervisorctl import ControllerPluginBase

__all__ = ["RolloutPlugin", "make_plugin"]

_WRONG_CALL = 2


class RolloutPlugin(ControllerPluginBase):  # type: ignore[misc]
    """``versions`` and ``rollout`` among supervisorctl's commands.

    Supervisor finds commands as ``do_NAME`` and their help as ``help_NAME``
    (supervisor/supervisorctl.py, ``ControllerPluginBase``).
    """

    def do_versions(self, arg: str) -> None:
        """Show the status table; ``arg`` may hold options of ``rollout status``."""
        self._run("status", arg)

    def help_versions(self) -> None:
        """Say what ``versions`` does."""
        self.ctl.output("versions\t\tBuilds, their share of new runs, and what is safe to stop")
        self.ctl.output("versions --json\t\tThe same for a script")

    def do_rollout(self, arg: str) -> None:
        """Run ``rollout ARG``."""
        self._run("", arg)

    def help_rollout(self) -> None:
        """Say what ``rollout`` does."""
        self.ctl.output("rollout plan\t\tWhat would be done now, and why (exit 3: changes pending)")
        self.ctl.output("rollout to <build id>\tMake a build the target of new runs")
        self.ctl.output("rollout watch\t\tWatch the rollout until Ctrl-C")
        self.ctl.output("rollout --help\t\tAll of its commands; rollout <command> --help for one")

    def do_help(self, arg: str) -> None:  # noqa: D102 - supervisorctl would list it for that
        # Help on one command is given by the default plugin: see make_plugin.
        if not arg:
            super().do_help(arg)

    def _run(self, command: str, arg: str) -> None:
        """Run the command in the configuration's folder, and take over its exit status.

        By the Python of that folder where it has one, else by supervisorctl's own.
        """
        try:
            words = [*command.split(), *shlex.split(arg)]
        except ValueError as error:  # a quote that is not closed
            self.ctl.output(f"rollout: {arg!r} cannot be read: {error}")
            self.ctl.exitstatus = _WRONG_CALL
            return
        root = _root(Path(self.ctl.options.configfile))
        python = root / ".venv" / "bin" / "python"
        program = str(python) if python.exists() else sys.executable
        self.ctl.stdout.flush()
        self.ctl.exitstatus = _call([program, "-m", "rollout", *words], root)


def make_plugin(controller: Any, **_options: str) -> RolloutPlugin:  # noqa: ANN401 - untyped there
    """The plugin for ``controller``, supervisorctl's own object: a ``supervisor.ctl_factory``."""
    plugin = RolloutPlugin(controller)
    # `help rollout` asks every plugin, and each that knows nothing of it says so:
    # the default one, which is asked first, is told.
    for other in controller.options.plugins:
        for topic in ("help_rollout", "help_versions"):
            setattr(other, topic, getattr(plugin, topic))
    return plugin


def _root(config: Path) -> Path:
    """The folder that is worked on: that of the supervisord.conf in use, with rollout.toml in it.

    Where supervisord's configuration lies apart, as in /etc, it is the checkout that this file
    is of, if any.
    """
    own = config.absolute().parent
    folders = (own, config.resolve().parent, Path(__file__).resolve().parents[2])
    return next(filter(_is_home, folders), own)


def _is_home(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("rollout.toml", "rollout.ini"))


def _call(command: list[str], root: Path) -> int:
    """The command's exit status (128 + N where signal N ended it), once it has ended.

    Ctrl-C reaches both processes: the command decides what it means, and an
    interactive supervisorctl stays. A handler of ours, unlike SIG_IGN, is not inherited.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        environ = dict(os.environ)
        if _is_home(root):  # else it is where `rollout init` has made one, or as this shell says
            environ["ROLLOUT_HOME"] = str(root)
        status = subprocess.call(command, cwd=root, env=environ)
    except OSError as error:
        sys.stderr.write(f"rollout: {command[0]} cannot be started: {error}\n")
        return 1
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status
