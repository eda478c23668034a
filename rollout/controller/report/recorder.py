"""What the controller remembers of its looks, for reports where there is no Prometheus. Bounded."""

from __future__ import annotations

from collections import deque

from rollout.core.observation import Observation
from rollout.core.report import Curve
from rollout.core.shares import real_share, target_share

__all__ = ["Recorder"]

_APART = 3.0
"""Seconds between two looks that are kept."""
_MOST = 1200
"""Looks: an hour."""
_BUILDS = 12


class Recorder:
    """The shares and the open runs of each build, look by look, the oldest forgotten first."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, dict[str, float | None]]]] = deque(maxlen=_MOST)

    def saw(self, seen: Observation) -> None:
        """Take in one more look."""
        at = seen.at.timestamp()
        if self._looks and at - self._looks[-1][0] < _APART:
            return
        most = sorted(seen.versions, key=lambda v: -(v.open_runs or 0))
        routed = [v for v in most if target_share(seen, v.build_id)]
        kept = dict.fromkeys(v.build_id for v in (*routed, *most[:_BUILDS]))
        counts = {version.build_id: version.open_runs for version in seen.versions}
        look: dict[str, dict[str, float | None]] = {
            build_id: {
                "meant": target_share(seen, build_id),
                "real": real_share(seen, build_id),
                "open": counts[build_id],
            }
            for build_id in kept
        }
        self._looks.append((at, look))

    def curves(self, first: float, last: float) -> tuple[Curve, ...]:
        """Those from ``first`` to ``last``, seconds since 1970; what was not known is left out."""
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for at, look in self._looks:
            if not first <= at <= last:
                continue
            for build_id, values in look.items():
                for kind, value in values.items():
                    if value is not None:
                        found.setdefault((kind, build_id), []).append((at, float(value)))
        return tuple(
            Curve(kind, build_id, tuple(values))  # type: ignore[arg-type]
            for (kind, build_id), values in sorted(found.items())
            if any(value for _, value in values)
        )
