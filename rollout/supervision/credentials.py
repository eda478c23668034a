"""The user and the password of a supervisord that wants them: never on a command line.

They are SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD, as Supervisor's own event listeners read
them, else those of the supervisord.conf: [supervisorctl], or one of the two servers.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollout.base.settings import HOME

__all__ = ["NONE", "Credentials", "find_credentials", "plain_options"]

_SECTIONS = ("supervisorctl", "inet_http_server", "unix_http_server")
_EXPANSION = re.compile(r"%(?:\((here|ENV_\w+)\)s|%)")
_HASHED = "{SHA}"


@dataclass(frozen=True)
class Credentials:
    """Who asks, and how that is proven."""

    username: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.username}:{self.password}"


NONE = Credentials()


def find_credentials(
    conf: Path = HOME.supervisord_conf, environ: Mapping[str, str] = os.environ
) -> Credentials:
    """What there is, from ``environ`` or the file ``conf``; `NONE` where there is nothing."""
    if name := environ.get("SUPERVISOR_USERNAME"):
        return Credentials(name, environ.get("SUPERVISOR_PASSWORD", ""))
    options = plain_options(conf, environ)
    for section in _SECTIONS:
        found = options.get(section, {})
        password = found.get("password", "")
        if (name := found.get("username")) and not password.startswith(_HASHED):
            return Credentials(name, password)
    return NONE


def plain_options(
    conf: Path, environ: Mapping[str, str] = os.environ
) -> Mapping[str, Mapping[str, str]]:
    """The options of each section of ``conf`` itself; none where it cannot be read."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read_string(conf.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}

    def expanded(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            here = str(conf.absolute().parent)
            return here if name == "here" else environ.get(name.removeprefix("ENV_"), "")

        return _EXPANSION.sub(value, text)

    return {
        section: {name: expanded(text) for name, text in parser.items(section)}
        for section in parser.sections()
    }
