"""rollout.toml: what is wanted, read with every mistake named by its line, and edited in place."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from rollout.base.durations import parse_duration
from rollout.base.exit import Misuse
from rollout.base.files import alone_in, replace
from rollout.base.names import UNVERSIONED, valid_build_id, valid_deployment
from rollout.base.settings import ROLLOUT_FILE
from rollout.core.config import (
    Delay,
    Promotion,
    RolloutConfig,
    Seconds,
    Secret,
    WebAddress,
)
from rollout.core.config_text import NotToml, changed, tables

__all__ = ["differences", "edit", "load", "parse", "read_text"]

Place = tuple[str | int, ...]

_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a table",
    "array": "an array",
}


def load(path: Path = ROLLOUT_FILE) -> RolloutConfig:
    """Read and check the file. Raises `Misuse` with file, line, key and what is wrong."""
    return parse(read_text(path), path.name)


def read_text(path: Path) -> str:
    """The file's text, its line ends as they are. Raises `Misuse` where it cannot be read."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"{path} cannot be read: {error}") from error


def parse(text: str, name: str = "rollout.toml") -> RolloutConfig:
    """`load`, for the file's text; ``name`` stands in the messages."""
    try:
        document = tables(text)
    except NotToml as error:
        raise Misuse(f"{name}{_line(error.line)}: {error}") from error
    try:
        config = msgspec.convert(document, RolloutConfig, dec_hook=_decode)
    except msgspec.ValidationError as error:
        path, message = _sentence(*_apart(str(error)))
        raise _mistake(text, name, path, message) from error
    _check(config, text, name)
    return config


def edit(path: Path, table: str, **values: str | bool | None) -> None:
    """Set keys of one table, or remove those that are None, in one atomic replacement.

    Comments and order stay.

    Two edits at once happen one after the other. Raises `Misuse`, and leaves the file as
    it was, where it does not load, before or after.
    """
    path = path.resolve()  # the folder of the file itself, where ``path`` is a link
    with alone_in(path.parent):
        text = read_text(path)
        parse(text, path.name)
        wanted = changed(text, table, values)
        parse(wanted, path.name)
        replace(path, wanted)


def differences(before: RolloutConfig, after: RolloutConfig) -> str:
    """What ``after`` says otherwise: each key of ``[deployment]``, and other tables by name."""
    old, new = (msgspec.to_builtins(c.deployment, enc_hook=str) for c in (before, after))
    changes = [
        f"{key} = {_value(value)} (was {_value(old[key])})"
        for key, value in new.items()
        if value != old[key]
    ]
    names = [name for name in RolloutConfig.__struct_fields__ if name != "deployment"]
    others = [name for name in names if getattr(before, name) != getattr(after, name)]
    return ", ".join([*changes, *(f"[{name}] has changed" for name in others)])


def _value(value: object) -> str:
    return "none" if value is None else json.dumps(value)


def _decode(kind: type, value: object) -> object:
    if kind in (Secret, WebAddress):
        return kind(value if isinstance(value, str) else "")
    if kind is Promotion:
        if not isinstance(value, str):
            raise ValueError(f'{value!r} is not a build and a percentage, as "v2@50"')
        return Promotion(value)
    if kind not in (Seconds, Delay):
        raise NotImplementedError(kind)
    if kind is Delay and value == "manual":
        return Delay("inf")
    if isinstance(value, str):
        return kind(parse_duration(value))
    raise ValueError(f'{value!r} is not a duration: write it in quotes, as "30s" or "5m"')


def _check(config: RolloutConfig, text: str, name: str) -> None:
    """Raise `Misuse` for what the types alone cannot say."""
    deployment = config.deployment
    baseline = deployment.baseline or deployment.target
    percentages = [step.percentage for step in config.progressive.steps]
    rules: tuple[tuple[Place, Callable[[], object]], ...] = (
        (("deployment", "name"), lambda: valid_deployment(deployment.name)),
        (("deployment", "target"), lambda: _valid_target(deployment.target)),
        (("deployment", "baseline"), lambda: _valid_target(baseline)),
        (("progressive", "steps"), lambda: _rising(percentages)),
    )
    for path, rule in rules:
        try:
            rule()
        except Misuse as error:
            raise _mistake(text, name, path, str(error)) from error


def _valid_target(build_id: str) -> None:
    if build_id != UNVERSIONED:
        valid_build_id(build_id)


def _rising(percentages: list[float]) -> None:
    if percentages != sorted(set(percentages)):
        told = ", ".join(f"{percentage:g}" for percentage in percentages)
        raise Misuse(f"the percentages of the steps, [{told}], must rise")


def _mistake(text: str, name: str, path: Place, message: str) -> Misuse:
    """What is wrong at ``path``: the key is always named, its line where that is certain.

    A key that is missing has no line: its table's, or its array's, is named.
    """
    from rollout.core.config_lines import line_of  # noqa: PLC0415 - mistakes are rare

    lines = (line_of(text, path[:length]) for length in (len(path), len(path) - 1))
    line = next((line for line in lines if line is not None), None)
    key = re.sub(r"\.\[", "[", ".".join(f"[{p}]" if isinstance(p, int) else p for p in path))
    return Misuse(f"{name}{_line(line)}: {f'{key}: ' if key else ''}{message}")


def _line(line: int | None) -> str:
    return f" line {line}" if line else ""


def _apart(error: str) -> tuple[Place, str]:
    """The place that msgspec names at the end of its message, and what it says of it."""
    message, _, path = error.rpartition(" - at `$")
    if not message:
        return (), error
    # What is in an array of any length, "[...]", is told of the array.
    parts = re.findall(r"\.(\w+)|\[(\d+)\]", path.partition("[...]")[0])
    return tuple(name or int(index) for name, index in parts), message


def _sentence(path: Place, message: str) -> tuple[Place, str]:
    """Msgspec's ``message`` of ``path`` as a person would say it, of the key that it is about."""
    if unknown := re.fullmatch(r"Object contains unknown field `(.+)`", message, re.DOTALL):
        near = difflib.get_close_matches(unknown[1], _keys(path), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return (*path, unknown[1]), f"there is no such key{hint}"
    if missing := re.fullmatch(r"Object missing required field `(.+)`", message):
        return (*path, missing[1]), "it is missing"
    if message.startswith("Invalid enum value "):
        value = message.removeprefix("Invalid enum value ")
        return path, f"{value} is not one of {', '.join(_choices(_kind(path)))}"
    return path, _types(message)


def _types(message: str) -> str:
    """What msgspec says of a wrong type, with the types as a person calls them."""
    expected = re.fullmatch(r"Expected `([\w |]+)`(.*?)(?:, got `(\w+)`)?", message)
    if expected is None:
        return message
    kind, bound, got = expected.groups()
    wanted = " or ".join(_TYPES.get(each, each) for each in kind.split(" | ") if each != "null")
    return f"it must be {wanted}{bound}{f', not {_TYPES.get(got, got)}' if got else ''}"


def _choices(kind: Any) -> Iterator[str]:  # noqa: ANN401 - any type
    """What a value of ``kind`` may be, or each of a list of them."""
    inner = get_args(kind)
    for each in inner[:1] if get_origin(kind) is tuple else inner:
        if isinstance(each, str):
            yield each
        elif get_origin(each) is Literal:
            yield from _choices(each)
        else:
            yield "a number"


def _kind(path: Place) -> Any:  # noqa: ANN401 - any type
    """The type of the value at ``path``."""
    kind: Any = RolloutConfig
    for part in path:
        if isinstance(part, str):
            kind = get_type_hints(_table(kind))[part]
    return kind


def _keys(path: Place) -> list[str]:
    """The keys that the table at ``path`` may have."""
    return list(_table(_kind(path)).__struct_fields__)


def _table(hint: Any) -> Any:  # noqa: ANN401 - any type
    """The one table in a type such as ``Gate | None`` or ``tuple[Step, ...]``."""
    kinds = (hint, *get_args(hint))
    return next(k for k in kinds if isinstance(k, type) and issubclass(k, msgspec.Struct))
