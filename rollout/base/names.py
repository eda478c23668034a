"""What a build id and a deployment may be called: exactly what the server lets them be.

Measured on server 1.32: a deployment's name is not empty, has no ``.`` and no ``:``, and does not
begin with ``__``; a build id is not empty and does not begin with ``__``. Anything else, quotes,
blanks, slashes and other scripts, is accepted in both. So are 256 characters; 1000 are refused.
"""

from __future__ import annotations

from rollout.base.exit import Misuse

__all__ = ["UNVERSIONED", "valid_build_id", "valid_deployment"]

UNVERSIONED = "__unversioned__"
"""What stands for a build id where the workers without one are meant, as the server writes it."""

_LONGEST = 255
"""Characters; our own limit, within what every server accepts."""


def valid_deployment(name: str) -> str:
    """``name``, or `Misuse` with the rule that it breaks."""
    _check("deployment name", name)
    if "." in name or ":" in name:
        raise Misuse(f"deployment name {name!r}: Temporal allows no '.' and no ':' in it")
    return name


def valid_build_id(build_id: str) -> str:
    """``build_id``, or `Misuse` with the rule that it breaks."""
    _check("build id", build_id)
    return build_id


def _check(what: str, name: str) -> None:
    if not name:
        raise Misuse(f"a {what} cannot be empty")
    if name.startswith("__"):
        raise Misuse(f"{what} {name!r}: Temporal lets none begin with __")
    if len(name) > _LONGEST:
        raise Misuse(
            f"{what} {name[:20]!r}...: {len(name)} characters, and {_LONGEST} are the most"
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:  # bytes of a command line that are no UTF-8
        raise Misuse(f"{what} {name!r} is no text in UTF-8") from error
