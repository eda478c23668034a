"""The few shapes of Markdown that the reference is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["code", "sentence", "table"]


def code(text: str) -> str:
    """``text`` as code; nothing where there is none."""
    return f"`{text}`" if text else ""


def sentence(text: str) -> str:
    """A help text or a docstring on one line, in Markdown's quotes, without a full stop."""
    line = " ".join(text.split()).replace("``", "`")
    return line if line.endswith("..") else line.removesuffix(".")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar inside a cell does not end it."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
