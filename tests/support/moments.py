"""The five moments of an upgrade at which a newcomer is to know what is what, as observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from rollout.core.config_file import parse
from rollout.core.observation import BuildSample, Measurements, Observation, Ramp, Version

__all__ = ["CONFIG", "moments"]

CONFIG = parse("""
[deployment]
name = "shop"
baseline = "v1"
target = "v2"
[progressive]
settle = "20s"
steps = [{ percentage = 10, pause = "30s" }, { percentage = 50, pause = "30s" }]
[analysis]
min_samples = 10
""")


def moments(now: datetime) -> Mapping[str, Observation]:
    """Settling, ramping (10 %), failing (at 50 %), draining and safe, as seen at ``now``."""
    long_ago = now - timedelta(hours=1)
    v1 = Version(
        "v1", "current", strategy="compatible", open_runs=34, open_pinned=30, workers=1, started=90,
        backlog=0, first_activated_at=long_ago, created_at=long_ago, process="RUNNING",
    )  # fmt: skip
    v2 = Version(
        "v2", "inactive", strategy="incompatible", open_runs=0, open_pinned=0, workers=1,
        backlog=0, created_at=now, process="RUNNING",
    )  # fmt: skip
    settling = Observation(
        "shop", "default", now, current="v1", current_changed_at=now - timedelta(seconds=5),
        versions=(v1, v2), unassigned=0, stuck=0,
    )  # fmt: skip
    fine = Measurements(
        30.0,
        BuildSample("v2", tasks=60, activities=30, workflows=10),
        BuildSample("v1", tasks=600, activities=300, workflows=100),
        counted=30.0,
    )
    ramping = replace(
        settling,
        ramping=Ramp("v2", 10.0),
        ramping_changed_at=now - timedelta(seconds=10),
        versions=(v1, replace(v2, status="ramping", started=10, first_activated_at=now)),
        measurements=fine,
    )
    worse = replace(fine.target, activities=50, activity_failures=20)
    ended = replace(v1, status="draining", drainage_checked_at=now, deactivated_at=now)
    taken = replace(v2, status="current", first_activated_at=now)
    drained = replace(
        ended, status="drained", open_runs=0, open_pinned=0, drained_since=now,
        zero_since=now - timedelta(minutes=1),
    )  # fmt: skip
    draining = replace(settling, current="v2", versions=(ended, taken))
    return {
        "settling": settling,
        "ramping": ramping,
        "failing": replace(
            ramping, ramping=Ramp("v2", 50.0), measurements=replace(fine, target=worse)
        ),
        "draining": draining,
        "safe": replace(draining, versions=(drained, taken)),
    }
