"""rollout.toml: what is wanted, read with every mistake named by its line, and edited in place."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from rollout.base.durations import parse_duration
from rollout.base.exit import Misuse
from rollout.base.names import UNVERSIONED, valid_build_id, valid_deployment
from rollout.base.settings import ROLLOUT_FILE
from rollout.core.config import Delay, RolloutConfig, Seconds

__all__ = ["differences", "edit", "load", "parse"]


def load(path: Path = ROLLOUT_FILE) -> RolloutConfig:
    """Read and check the file. Raises `Misuse` with file, line and what is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"{path} cannot be read: {error}") from error
    return parse(text, path.name)


def parse(text: str, name: str = "rollout.toml") -> RolloutConfig:
    """`load`, for the file's text; ``name`` stands in the messages."""
    try:
        document = tomlkit.parse(text).unwrap()
    except ParseError as error:
        raise Misuse(f"{name} line {error.line}: {_reason(error)}") from error
    except TOMLKitError as error:  # a key twice, whose line it does not know
        twice = re.search(r'Key "(.+?)"', str(error))
        line = _last_line(text, twice.group(1)) if twice else None
        raise Misuse(f"{name}{f' line {line}' if line else ''}: {error}") from error
    try:
        config = msgspec.convert(document, RolloutConfig, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        line = _line(text, path.rstrip("`"), message)
        raise Misuse(f"{name}{f' line {line}' if line else ''}: {_plain(message, path)}") from error
    _check(config, text, name)
    return config


def edit(path: Path, table: str, **values: str | bool | None) -> None:
    """Set keys of one table, or remove those that are None, in one atomic replacement.

    Comments and order stay.

    Two edits at once happen one after the other. Raises `Misuse`, and leaves the file as
    it was, where it does not load, before or after.
    """
    path = path.resolve()  # a link stays one
    with _alone(path.parent):
        _edit(path, table, values)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the files in ``folder``; an edit takes milliseconds."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Misuse(f"{folder} cannot be read: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _edit(path: Path, table: str, values: Mapping[str, str | bool | None]) -> None:
    load(path)
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    section: Any = document.setdefault(table, tomlkit.table())
    for key, value in values.items():
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value
    text = tomlkit.dumps(document)
    parse(text, path.name)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(path.stat().st_mode & 0o777)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def differences(before: RolloutConfig, after: RolloutConfig) -> str:
    """What ``after`` says otherwise: each key of ``[deployment]``, and other tables by name."""
    old, new = (msgspec.to_builtins(config.deployment) for config in (before, after))
    changes = [
        f"{key} = {_value(value)} (was {_value(old[key])})"
        for key, value in new.items()
        if value != old[key]
    ]
    tables = [name for name in RolloutConfig.__struct_fields__ if name != "deployment"]
    changed = [name for name in tables if getattr(before, name) != getattr(after, name)]
    return ", ".join([*changes, *(f"[{name}] has changed" for name in changed)])


def _value(value: object) -> str:
    return "none" if value is None else json.dumps(value)


def _decode(kind: type, value: object) -> object:
    if kind not in (Seconds, Delay):
        raise NotImplementedError(kind)
    if kind is Delay and value == "manual":
        return Delay("inf")
    if isinstance(value, str):
        return kind(parse_duration(value))
    raise ValueError(f'{value!r} is no duration: write it in quotes, as "30s" or "5m"')


def _check(config: RolloutConfig, text: str, name: str) -> None:
    deployment = config.deployment
    percentages = [step.percentage for step in config.progressive.steps]
    rules: tuple[tuple[str, Callable[[], object]], ...] = (
        (".deployment.name", lambda: valid_deployment(deployment.name)),
        (".deployment.target", lambda: _valid_target(deployment.target)),
        (".deployment.baseline", lambda: _valid_target(deployment.baseline or deployment.target)),
        (".progressive.steps", lambda: _rising(percentages)),
    )
    for path, rule in rules:
        try:
            rule()
        except Misuse as error:
            line = _line(text, path, "")
            raise Misuse(f"{name}{f' line {line}' if line else ''}: {error}") from error


def _valid_target(build_id: str) -> None:
    if build_id != UNVERSIONED:
        valid_build_id(build_id)


def _rising(percentages: list[float]) -> None:
    if percentages != sorted(set(percentages)):
        raise Misuse(f"the percentages of the steps, {percentages}, must rise")


def _reason(error: ParseError) -> str:
    return re.sub(r" at line \d+ col \d+$", "", str(error)).rstrip(".")


def _plain(message: str, path: str) -> str:
    """The message, with the path as a person writes it: ``progressive.steps[0].pause``."""
    where = path.rstrip("`").lstrip(".").replace("[...]", "")
    return f"{where}: {message}" if where else message


def _line(text: str, path: str, message: str) -> int | None:
    """The line of the value at ``path`` (as ``.table.key[2].key``), as well as it can be told.

    A path into an array names no element's line, so it is that of the key it ends with,
    counted from the header of its table, or of its own element.
    """
    unknown = re.search(r"unknown field `(.+?)`", message)
    parts = re.findall(r"[A-Za-z_][\w-]*", path)
    index = re.search(r"\[(\d+)\]", path)
    if unknown:
        parts.append(unknown.group(1))
    if not parts:
        return None
    lines = text.splitlines()
    table, *keys = parts
    header = re.compile(rf"\s*\[+{table}[\].]")
    start = next((n for n, line in enumerate(lines) if header.match(line)), None)
    if start is None:
        return next(
            (n + 1 for n, line in enumerate(lines) if re.match(rf"\s*{table}\b", line)), None
        )
    if index and (elements := _elements(lines, table, keys)):
        start, index = elements[int(index.group(1))], None
    for key in keys[-1:]:
        hits = [
            n
            for n in range(start, len(lines))
            if re.search(rf"(^|[\s{{,]){re.escape(key)}\s*=", lines[n].split("#")[0])
        ]
        wanted = int(index.group(1)) if index else 0
        if hits:
            return hits[min(wanted, len(hits) - 1)] + 1
    return start + 1


def _elements(lines: list[str], table: str, keys: list[str]) -> list[int]:
    """Where the elements of an array of tables begin, ``[[table.key]]``; none if it is no such."""
    header = re.compile(rf"\s*\[\[\s*{table}\.{re.escape(keys[0])}\s*\]\]" if keys else "$^")
    return [n for n, line in enumerate(lines) if header.match(line)]


def _last_line(text: str, key: str) -> int | None:
    """The last line that sets ``key``."""
    lines = text.splitlines()
    found = [n for n, line in enumerate(lines, 1) if re.match(rf"\s*{re.escape(key)}\s*=", line)]
    return found[-1] if found else None
