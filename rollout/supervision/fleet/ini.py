r"""Texts as they must stand in a program file, so that supervisord reads exactly them.

It reads a value four times over: a blank and then ``;`` or ``#`` begin a comment, also within
quotes; ``%(here)s`` is replaced as plain text, and after that every other ``%``; ``command`` is
then split as a shell would, and ``environment`` by rules of its own that know no escapes and take
any quote off both ends of a value. What cannot be written is refused, with `Misuse`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from rollout.base.exit import Misuse
from rollout.supervision import contract

__all__ = ["command", "environment", "plain"]

_HERE = "%(here)s"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMENT = re.compile(r"\s[;#]")
_INDENT = "\n" + " " * 10


def command(words: Sequence[str]) -> str:
    """The value of ``command``: each word by itself, whatever is in it."""
    return " ".join(map(_word, words))


def environment(variables: Mapping[str, str]) -> str:
    """The value of ``environment``, a variable a line."""
    return f",{_INDENT}".join(
        f"{_named(name)}={_value(name, value)}" for name, value in variables.items()
    )


def plain(value: str, what: str) -> str:
    """A value that is taken as it is, such as a path."""
    _refuse_control(value, what)
    if _COMMENT.search(value) or value != value.strip() or _HERE in value or not value:
        raise Misuse(f"{what} {value!r} cannot stand in a program file; use another")
    return value.replace("%", "%%")


def _word(word: str) -> str:
    _refuse_control(word, "the word")
    quoted = shlex.quote(word)
    # The blank and the sign that would begin a comment, and the two halves of %(here)s, are
    # parted by the end and the beginning of quotes, which the splitting takes out again.
    quoted = re.sub(r"(\s)(?=[;#])", r"\1''", quoted)
    return quoted.replace("%", "%%").replace("%(here)s", "%''(here)s")


def _named(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Misuse(f"{name!r} is not the name of an environment variable")
    return name


def _value(name: str, value: str) -> str:
    _refuse_control(value, f"the value of {name}")
    quotes = {"'", '"'}
    trouble = None
    if _COMMENT.search(value):
        trouble = "a blank and then ; or #"
    elif {value[:1], value[-1:]} & quotes or quotes <= set(value):
        trouble = "the quotes"
    elif _HERE in value:
        trouble = f"the {_HERE}"
    if trouble:
        is_replay = name == contract.REPLAY
        what = "--replay" if is_replay else f"the value of {name}"
        elsewhere = "a script of its own" if is_replay else "an --env-file"
        raise Misuse(
            f"{what} cannot stand in a program file, for {trouble} in it: put it into {elsewhere}"
        )
    quote = "'" if '"' in value else '"'
    return f"{quote}{value.replace('%', '%%')}{quote}"


def _refuse_control(text: str, what: str) -> None:
    """A line's end would begin an option of its own, and supervisord reads no others."""
    if any(ord(each) < ord(" ") and each != "\t" for each in text) or "\x7f" in text:
        raise Misuse(f"{what} {text!r} has a line's end or another control character in it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Misuse(f"{what} {text!r} is no text in UTF-8") from error
