"""How many examples a property is tried on."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["QUICK", "many"]

QUICK = "quick"
"""The profile of `make test-unit`: a look at every property, a tenth of the examples."""

# A busy machine is slow, which is no fault of what is tried.
settings.register_profile(QUICK, deadline=None, max_examples=10)
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")


def many(examples: int) -> int:
    """``examples``, or a tenth of them where it has to be quick."""
    return examples // 10 if settings.get_current_profile_name() == QUICK else examples
