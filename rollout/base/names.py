"""What a build id and a deployment may be called."""

from __future__ import annotations

import re

from rollout.base.exit import Misuse

__all__ = ["UNVERSIONED", "valid_build_id", "valid_deployment"]

UNVERSIONED = "__unversioned__"
"""What stands for a build id where the workers without one are meant, as the server writes it."""


def valid_deployment(name: str) -> str:
    """``name``, or `Misuse`: Temporal allows no dot, no colon and no leading ``__`` there.

    Anything but letters, digits, _ and - is refused as well: it is quoted in
    queries and shown in labels and file names.
    """
    if not re.fullmatch(r"(?!__)[A-Za-z0-9_-]{1,128}", name):
        raise Misuse(
            f"deployment name {name!r}: use letters, digits, _ and -, not beginning with __ "
            "(Temporal allows no '.' and no ':' in it)"
        )
    return name


def valid_build_id(build_id: str) -> str:
    """``build_id``, or `Misuse`: it is quoted in queries and shown in labels and file names."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}", build_id):
        raise Misuse(
            f"build id {build_id!r}: use letters, digits and . _ + : -, beginning with one of the "
            "first two, 128 at most"
        )
    return build_id
