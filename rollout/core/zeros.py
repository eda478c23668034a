"""Pure: since when nothing is open on a version, over looks that follow one another.

Between two runs of a continue-as-new chain the server counts none for a moment: 4 of 2,758 counts
of a chain that went on once a second read 0. One zero proves nothing, two some seconds apart do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

__all__ = ["APART", "zeros"]

APART = timedelta(seconds=3)
"""So far apart two looks have to be for their zeros to count as two."""


def zeros(
    before: Mapping[str, datetime], counts: Mapping[str, int | None], now: datetime
) -> dict[str, datetime]:
    """By build id, when the first of its zeros without another count between was seen.

    ``before`` is what this returned for the look before; ``now`` is after the look's ``counts``
    were read. A count that failed ends a series as one above 0 does.
    """
    return {build_id: before.get(build_id, now) for build_id, n in counts.items() if n == 0}
