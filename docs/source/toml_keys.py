"""Every key of rollout.toml, from its schema: path, type, default, and what is written below it."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import inspect as types

from docs.source.markdown import code, sentence, table
from rollout.core import config
from rollout.core.config import Delay, Promotion, RolloutConfig, Seconds, Secret, WebAddress

__all__ = ["toml_keys"]

_UNITS = (("h", 3600), ("m", 60), ("s", 1))
_OURS: dict[type, str] = {
    Seconds: 'duration, `"30s"`',
    Delay: 'duration, or `"manual"`: never',
    Promotion: 'build and percentage, `"v2@50"`',
    Secret: '`"env:NAME"` or `"file:PATH"`',
    WebAddress: 'URL, `"env:NAME"` or `"file:PATH"`',
}
_PLAIN = {types.BoolType: "true or false", types.StrType: "text", types.AnyType: "any value"}
_SIGNS = (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))


def toml_keys() -> str:
    """One table for each table of the file, in its order."""
    whole = cast("types.StructType", types.type_info(RolloutConfig))
    return "\n\n".join(part for field in whole.fields for part in _tables(field))


def _tables(field: types.Field, above: str = "") -> Iterator[str]:
    struct, path = _struct(field.type), f"{above}{field.encode_name}"
    title = f"[[{path}]]" if isinstance(field.type, types.VarTupleType) else f"[{path}]"
    about = sentence(inspect.getdoc(struct.cls) or "").partition(": ")[2]
    meanings = _docstrings(struct.cls)
    rows = [
        (
            code(each.encode_name),
            _type_name(each.type),
            _default(each),
            sentence(meanings[each.name]),
        )
        for each in struct.fields
    ]
    head = f"### `{title}`\n\n{about[0].upper()}{about[1:]}.\n\n"
    yield head + table(("key", "type", "default", "meaning"), rows)
    for each in struct.fields:
        if isinstance(each.type, types.VarTupleType) and isinstance(
            each.type.item_type, types.StructType
        ):
            yield from _tables(each, f"{path}.")


def _struct(kind: types.Type) -> types.StructType:
    """The table that a field holds, alone, in a list, or not at all."""
    inner = kind
    if isinstance(kind, types.UnionType):
        inner = next(each for each in kind.types if isinstance(each, types.StructType))
    if isinstance(inner, types.VarTupleType):
        inner = inner.item_type
    return cast("types.StructType", inner)


def _docstrings(struct: type) -> dict[str, str]:
    """The text below each attribute of a class; `LookupError` names one that has none."""
    tree = ast.parse(inspect.getsource(config))
    body = next(
        n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == struct.__name__
    )
    found: dict[str, str] = {}
    for line, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        text = ast.literal_eval(following.value) if isinstance(following, ast.Expr) else None
        if text is None:
            raise LookupError(f"{struct.__name__}.{line.target.id} has no docstring below it")
        found[line.target.id] = inspect.cleandoc(text)
    return found


def _type_name(kind: types.Type) -> str:
    match kind:
        case types.UnionType():
            some = [each for each in kind.types if not isinstance(each, types.NoneType)]
            name = " or ".join(map(_type_name, some))
        case types.LiteralType():
            name = " or ".join(code(f'"{value}"') for value in kind.values)
        case types.VarTupleType(item_type=types.StructType()):
            name = "list of tables"
        case types.VarTupleType():
            name = f"list of {_type_name(kind.item_type)}"
        case types.DictType():
            name = f"table, each value {_type_name(kind.value_type)}"
        case types.IntType() | types.FloatType():
            name = _number_name(kind)
        case types.CustomType():
            name = _OURS[kind.cls]
        case _:
            name = _PLAIN[type(kind)]
    return name


def _number_name(kind: types.IntType | types.FloatType) -> str:
    word = "whole number" if isinstance(kind, types.IntType) else "number"
    limits = [(text, getattr(kind, sign)) for sign, text in _SIGNS]
    return ", ".join([word, *(f"{text} {n:g}" for text, n in limits if n is not None)])


def _default(field: types.Field) -> str:
    if field.required:
        return "required"
    default = field.default
    if default is msgspec.NODEFAULT and callable(field.default_factory):
        default = field.default_factory()
    return "" if default is msgspec.NODEFAULT or default is None else code(_as_toml(default))


def _as_toml(value: Any) -> str:  # noqa: ANN401, PLR0911 - any default of the schema
    match value:
        case bool():
            return str(value).lower()
        case Delay() | Seconds():
            return '"manual"' if math.isinf(value) else f'"{_duration(value)}"'
        case msgspec.Struct():
            pairs = (
                f"{name} = {_as_toml(getattr(value, name))}" for name in value.__struct_fields__
            )
            return f"{{ {', '.join(pairs)} }}"
        case dict():
            return f"{{ {', '.join(f'{key} = {_as_toml(each)}' for key, each in value.items())} }}"
        case tuple():
            return f"[{', '.join(map(_as_toml, value))}]"
        case str():
            return f'"{value}"'
        case _:
            return f"{value:g}"


def _duration(seconds: float) -> str:
    """``seconds`` in the largest unit that divides it; of one unit a person reads it as it is."""
    unit, size = next((u, s) for u, s in _UNITS if seconds % s == 0 and (seconds > s or s == 1))
    return f"{seconds / size:g}{unit}"
