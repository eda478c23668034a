"""What is said near the server's version limit, and which versions would make room."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from rollout.core.observation import Observation, Ramp, Version
from rollout.core.version_limit import deletable, warning

T0 = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)

OLD = Version("v1", "drained", first_activated_at=T0, open_runs=0, backlog=0, workers=0)
CURRENT = Version("v2", "current", first_activated_at=T0, open_runs=5, backlog=0, workers=1)
NEVER = Version("v3", "inactive", open_runs=0, backlog=0, workers=0)
SEEN = Observation("d", "n", T0, current="v2", versions=(OLD, CURRENT, NEVER))


def seen_with(**change: object) -> Observation:
    """The observation, with v1 changed."""
    return replace(SEEN, versions=(replace(OLD, **change), CURRENT, NEVER))  # type: ignore[arg-type]


class TestDeletable:
    """Versions whose record nobody needs."""

    def test_the_drained_and_the_never_used(self) -> None:
        """Both are, oldest first; the current one never is."""
        assert deletable(SEEN, "v2") == ("v1", "v3")

    @pytest.mark.parametrize(
        "change",
        [
            {"status": "draining"},
            {"status": "unknown"},
            {"status": "unregistered"},
            {"status": "inactive"},  # but it had traffic once
            {"open_runs": 1},
            {"open_runs": None},
            {"backlog": None},
            {"workers": 1},
            {"workers": None},
        ],
    )
    def test_anything_open_or_unknown_speaks_against(self, change: dict[str, object]) -> None:
        """Each point counts alone."""
        assert deletable(seen_with(**change), "v2") == ("v3",)

    def test_what_is_wanted_stays(self) -> None:
        """The target, those to keep, and what the routing names, whatever its status says."""
        assert deletable(SEEN, "v3") == ("v1",)
        assert deletable(SEEN, "v2", keep={"v1"}) == ("v3",)
        assert deletable(replace(SEEN, ramping=Ramp("v3", 10.0)), "v2") == ("v1",)
        assert deletable(replace(SEEN, current="v1"), "v2") == ("v3",)


class TestWarning:
    """From 80 % of the limit on."""

    def test_below_there_is_none(self) -> None:
        """Seventy-nine of a hundred are fine, and what the server does not know does not count."""
        crowd = tuple(Version(f"b{n}", "drained") for n in range(79))
        strangers = tuple(Version(f"s{n}", "unregistered") for n in range(30))
        assert warning(replace(SEEN, versions=crowd + strangers), 100) is None

    @pytest.mark.parametrize(
        ("free", "way_out"),
        [
            (("v1", "v3"), "can be deleted now: v1, v3"),
            ((), "none can be deleted yet: one has to be drained and its workers stopped first"),
        ],
    )
    def test_at_the_limit(self, free: tuple[str, ...], way_out: str) -> None:
        """It names the count, the limit, what no longer works, and what can be deleted."""
        assert warning(SEEN, 4, free) is None
        assert warning(SEEN, 3, free) == (
            f"the server has 3 of at most 3 versions of d, so no new build can register; {way_out}"
        )

    def test_at_80_percent(self) -> None:
        """The warning begins there, while new builds can still register; a long list is cut."""
        crowd = tuple(Version(f"b{n}", "drained") for n in range(80))
        said = warning(replace(SEEN, versions=crowd), 100, [v.build_id for v in crowd])
        assert said is not None
        assert said.startswith("the server has 80 of at most 100 versions of d; can be deleted")
        assert said.endswith("b8, b9 and 70 more")
