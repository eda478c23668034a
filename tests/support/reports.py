"""A report of a rollout that never was, with everything in it; for the page that shows it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from rollout.core.report import (
    Build,
    Curve,
    Failed,
    Figures,
    Happened,
    Point,
    Report,
    Stopping,
)

__all__ = ["BEGAN", "example_report"]

BEGAN = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)


def example_report(*, old: str = "v1", new: str = "v2", text: str = "") -> Report:
    """Of ``old`` to ``new``; ``text`` stands at the end of whatever comes from outside."""
    ended = BEGAN + timedelta(seconds=250)

    def at(second: float) -> datetime:
        return BEGAN + timedelta(seconds=second)

    def curve(kind: str, build_id: str, *values: float) -> Curve:
        first = BEGAN.timestamp() - 120
        points = tuple((first + 10 * n, value) for n, value in enumerate(values))
        return Curve(kind, build_id, points)  # type: ignore[arg-type]

    steps = [0.0] * 14 + [0.1] * 8 + [0.5] * 8 + [1.0] * 17
    real = [0.0] * 14 + [0.08, 0.11, 0.1, 0.09] * 2 + [0.5, 0.48, 0.52, 0.51] * 2 + [0.99] * 17
    drain = [24.0] * 14 + [24 - n for n in range(16)] + [max(0.0, 9 - n) for n in range(17)]
    events = (
        Happened(at(-1), "command.done", f"ops: rollout to {new}{text}", "person", None, "ops"),
        Happened(at(0), "config.changed", f'target = "{new}" (was "{old}"){text}', "controller"),
        Happened(at(8), "gate.seen", f"the gate on shop, try 1, has passed{text}", "controller"),
        Happened(at(20), "routing.ramp-set", f"ramp {new} to 10 %{text}", "controller", new),
        Happened(at(44), "process.exited", f"worker-{new} has ended{text}", "supervisord", new),
        Happened(at(100), "routing.ramp-set", f"ramp {new} to 50 %{text}", "controller", new),
        Happened(at(180), "routing.current-set", f"make {new} current{text}", "controller", new),
    )
    return Report(
        deployment=f"shop{text}",
        namespace=f"default{text}",
        target=new,
        previous=old,
        outcome="complete",
        reason=f"all new runs go to {new}{text}",
        began=BEGAN,
        ended=ended,
        made_at=ended,
        builds=(
            Build(old, "draining", "compatible", 3, 2, None),
            Build(new, "current", "incompatible", 9, 2, None),
        ),
        figures=tuple(
            Figures(part, build, 120.0, 300.0, failed, 4.0, 1.0, 0.031, p95)  # type: ignore[arg-type]
            for part, build, failed, p95 in (
                ("before", old, 0.0, 0.045),
                ("during", old, 1.0, 0.047),
                ("during", new, 2.0, 1.2),
                ("after", new, None, None),
            )
        ),
        curves=(
            curve("meant", new, *steps),
            curve("meant", old, *(1 - step for step in steps)),
            curve("real", new, *real),
            curve("real", old, *(1 - share for share in real)),
            curve("open", old, *drain),
            curve("open", new, *([0.0] * 14), *([9.0] * 33)),
            curve("p95", old, *([0.045, 0.047, 0.044, 0.05] * 11)),
            curve("p95", new, *([0.0] * 14), *([0.06, 0.055] * 16)),
            curve("failures", new, *([0.0] * 20), *([0.02, 0.0] * 13)),
        ),
        analysis=(
            (at(100), old, f"workflow tasks{text}", 0, 400),
            (at(100), new, f"activities{text}", 2, 40),
        ),
        failed=(
            Failed(f"order-17{text}", f"run-1{text}", f"Order{text}", new, "failed", at(60)),
            Failed(f"order-18{text}", f"run-2{text}", f"Order{text}", old, "timed out", None),
        ),
        stopping=(
            Stopping(
                old,
                safe_to_stop=False,
                evidence=(
                    Point("status", ok=True, detail=f"{old} gets no new runs{text}"),
                    Point("open", ok=False, detail=f"3 runs are open on {old}{text}"),
                ),
            ),
        ),
        events=events,
        missing=(f"latency of Java{text}",) if text else (),
    )
