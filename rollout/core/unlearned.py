"""How a change is told that the server may or may not have made: it did not answer."""

from __future__ import annotations

__all__ = ["COULD_NOT_LEARN"]

COULD_NOT_LEARN = "could not learn whether"
"""What the words for a change that may have been made begin with."""
