"""A look of a command's own: what the server says, and what stands in the way on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.agent.lock import is_worker_host
from rollout.commands.shared import observe
from rollout.commands.world import is_elsewhere
from rollout.controller.identity import own_identity
from rollout.controller.lock import is_running
from rollout.controller.refusals import last_refusals
from rollout.controller.telling import limit_warnings
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.host_notes import wanted_config
from rollout.core.observation import Observation
from rollout.supervision.survey import Surveyor

__all__ = ["own_look"]


async def own_look(config: RolloutConfig) -> tuple[Observation, Plan, tuple[str, ...]]:
    """What is seen, what would be done about it, and the warnings beside it, the gravest first.

    Raises `Failure` where the server cannot be asked.
    """
    seen, decided = await observe(config)
    return seen, _as_host(config, seen, decided), tuple(_own_warnings(config, seen))


def _as_host(config: RolloutConfig, seen: Observation, decided: Plan) -> Plan:
    """On a worker host: who decides, and what is wanted. Its own rollout.toml does not count."""
    if is_elsewhere() or not is_worker_host(config.deployment.name):
        return decided
    wanted = wanted_config(seen.deployment, seen.wanted)
    target = f" and wants {wanted.deployment.target}" if wanted else ""
    who = f"{seen.manager} decides{target}" if seen.manager else "nobody decides yet"
    return Plan(
        "waiting", f"{who}; this is a worker host, which routes nothing", kind="other_manager"
    )


def _own_warnings(config: RolloutConfig, seen: Observation) -> Iterator[str]:
    """What stands in the way although the plan does not know of it."""
    name = config.deployment.name
    if not is_elsewhere():
        yield from Surveyor().look()
        alone = not is_worker_host(name) and not is_running(name)
        if alone and seen.manager in ("", own_identity()):
            yield "no controller runs here, so nothing is done: `supervisorctl start rollout`"
        else:
            yield from last_refusals(name)
    yield from limit_warnings(config, seen)
