"""Write docs/reference.md from the code, or compare the two."""

from __future__ import annotations

import argparse
from pathlib import Path

from docs.source.commands import commands
from docs.source.environment import bare, environment
from docs.source.log_events import log_events
from docs.source.log_keys import log_keys
from docs.source.metrics import alerts, metrics
from docs.source.status_json import status_json
from docs.source.toml_keys import toml_keys
from rollout.base.exit import Failure, finish
from rollout.base.settings import ROOT

__all__ = ["main", "rendered"]

FILE = ROOT / "docs" / "reference.md"

_HEAD = """\
# Reference

Written from the code by `python -m docs.source`; a test fails where the two differ. In words:
[rollouts.md](rollouts.md). The terms: [glossary.md](glossary.md).
"""

_COMMANDS = """\
`python -m rollout` is the same command, and so is `rollout COMMAND` in supervisorctl.
`--config FILE` stands before COMMAND, or behind those that list it; `rollout --version` says which
one this is.

Exit codes: 0 done; 1 failed or refused; 2 wrong call or rollout.toml; 3 `plan` has changes."""

_JSON = """\
A contract: fields are added, and none goes or changes its meaning."""

_TOML = """\
A key or table that is not here is refused. The shipped file, with comments:
[rollout.toml](../rollout.toml)."""

_ALERTS = (
    "In [metrics/rules](../metrics/rules). Words in capitals are labels, N is the figure; each "
    "alert's name leads to its runbook."
)

_EVENTS = """\
The values of `event_name` in the logs, of `name` in `rollout events --json`, and in reports. A
contract: names are added, and none goes or changes its meaning."""


def rendered() -> str:
    """What the file should hold."""
    with bare():
        parts = (
            ("rollout.toml", f"{_TOML}\n\n{toml_keys()}"),
            ("Commands", f"{_COMMANDS}\n\n{commands()}"),
            ("Environment variables", environment()),
            ("`rollout status --json`", f"{_JSON}\n\n{status_json()}"),
            ("Metrics", metrics()),
            ("Alerts", f"{_ALERTS}\n\n{alerts()}"),
            ("Log keys", log_keys()),
            ("Events", f"{_EVENTS}\n\n{log_events()}"),
        )
    return "\n".join([_HEAD, *(f"## {title}\n\n{text}\n" for title, text in parts)])


def main() -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.source",
        description="Write docs/reference.md from the code.",
        epilog="examples: python -m docs.source; python -m docs.source --check",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the file differs"
    )
    parser.add_argument("--file", type=Path, default=FILE, help="where it is")
    options = parser.parse_args()
    text = rendered()
    if options.file.is_file() and options.file.read_text(encoding="utf-8") == text:
        return 0
    if options.check:
        raise Failure(f"{options.file} is not what the code says; run python -m docs.source")
    options.file.write_text(text, encoding="utf-8")
    print(options.file)
    return 0


if __name__ == "__main__":
    finish("docs.source", main)
