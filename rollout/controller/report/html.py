"""Pure: HTML whose every text is escaped, because there is no other way to put one in."""

from __future__ import annotations

import html

__all__ = ["Html", "el", "joined"]

_VOID = ("br", "line", "meta", "path", "polyline", "rect")


class Html(str):
    """What is HTML already; any other text becomes it by being escaped."""

    __slots__ = ()


def el(name: str, /, *content: str | Html, **attributes: str | float) -> Html:
    """The element ``name``; an underscore at an attribute's end is left out, others are dashes."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_plain(value))}"'
        for key, value in attributes.items()
    )
    if name in _VOID and not content:
        return Html(f"<{name}{told}/>")
    return Html(f"<{name}{told}>{joined(*content)}</{name}>")


def joined(*content: str | Html) -> Html:
    """Several one after another."""
    return Html("".join(c if isinstance(c, Html) else html.escape(_printable(c)) for c in content))


def _plain(value: str | float) -> str:
    return _printable(value) if isinstance(value, str) else f"{value:g}"


def _printable(text: str) -> str:
    """Without what no page can hold: control characters, and halves of UTF-16 pairs."""
    told = text.encode("utf-8", errors="backslashreplace").decode()
    return "".join(c if c in "\n\t" or c.isprintable() or ord(c) > 159 else "\ufffd" for c in told)
