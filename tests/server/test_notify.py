"""Telling people: each way for real, tried again, and never in a rollout's way."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from rollout.base import settings
from rollout.base.exit import Failure
from rollout.controller import notifying
from rollout.controller.channels import Message, channels
from rollout.controller.notified import Notified
from rollout.controller.notifying import Notifier
from rollout.core.actions import Plan
from rollout.core.config import RolloutConfig
from rollout.core.observation import Ramp
from tests.support.synthetic_deployment import config, seen, version
from tests.support.waiting import until

MESSAGE = Message(
    id="1", event="routing", text="d: all new runs go to v2", at="2026-01-01T12:00:00+00:00",
    deployment="d", namespace="n", build_id="v2", target="v2", current="v2", ramping=None,
    phase="complete", reason="v2 takes all new runs",
)  # fmt: skip


class Hook(HTTPServer):
    """A webhook that takes what it is sent, once it has refused some."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hooked)
        self.taken: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.refuses = 0
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class _Hooked(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.refuses:
            self.server.refuses -= 1
            self.send_response(503)
        else:
            self.server.taken.append((dict(self.headers), body))
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook of the test's own."""
    with Hook() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the test's own, and short pauses."""
    monkeypatch.setattr(settings, "VAR", tmp_path / "var")
    monkeypatch.setattr(notifying, "_FIRST_PAUSE", 0.01)


def wanted(more: str) -> RolloutConfig:
    """A rollout.toml with a table [notify]."""
    return config(more=f"[notify]\n{more}")


async def send(more: str) -> None:
    """Tell `MESSAGE` in the one way that there is."""
    (way,) = channels(wanted(more).notify).values()
    await way(MESSAGE)


class TestWays:
    """Each takes the message, or says why not."""

    async def test_a_command(self, tmp_path: Path) -> None:
        """It reads one JSON object on stdin, its arguments untouched."""
        file = tmp_path / "a file"
        await send(f'command = ["sh", "-c", "cat > \\"$1\\"", "sh", "{file}"]')
        told = json.loads(file.read_text())
        assert (told["event"], told["text"], told["ramping"]) == (
            "routing", "d: all new runs go to v2", None,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            ('command = ["/no/such"]', "/no/such cannot be started: No such file or directory"),
            ('command = ["sh", "-c", "echo one; echo no >&2; exit 3"]', "sh ended with 3: no"),
            ('command = ["sleep", "600"]\ntimeout = "100ms"', "it took longer than 0.1 s"),
            ('webhook = "env:NOWHERE"', "the environment variable NOWHERE is not set"),
            ('webhook = "file:/no/such"', "/no/such cannot be read: "),
            (
                'webhook = "http://127.0.0.1:1/secret"',
                "the webhook cannot be reached: ConnectError",
            ),
        ],
    )
    async def test_a_failure_is_a_sentence(self, more: str, why: str) -> None:
        """It names what to mend, and no secret."""
        with pytest.raises(Failure) as caught:
            await send(more)
        assert str(caught.value).startswith(why)
        assert "secret" not in str(caught.value)

    async def test_a_webhook(
        self, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its URL and its headers may be secrets, in the environment or in a file."""
        monkeypatch.setenv("HOOK", hook.url)
        token = tmp_path / "token"
        token.write_text("Bearer abc\n")
        await send(f'webhook = "env:HOOK"\nheaders = {{ Authorization = "file:{token}" }}')
        ((headers, body),) = hook.taken
        assert headers["Authorization"] == "Bearer abc"
        assert headers["Content-Type"] == "application/json"
        assert body["deployment"] == "d"

    async def test_a_service_that_apprise_knows(
        self, hook: Hook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Here its own JSON; text and title arrive."""
        pytest.importorskip("apprise")
        monkeypatch.setenv("SERVICE", hook.url.replace("http://", "json://"))
        await send('apprise = ["env:SERVICE"]')
        ((_, body),) = hook.taken
        assert (body["title"], body["message"]) == ("d: routing", "d: all new runs go to v2")
        monkeypatch.setenv("SERVICE", "nothing at all")
        with pytest.raises(Failure, match="what env:SERVICE holds is no URL that Apprise knows"):
            await send('apprise = ["env:SERVICE"]')

    async def test_apprise_is_an_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where it is not installed, that is said."""
        monkeypatch.setitem(sys.modules, "apprise", None)
        with pytest.raises(Failure, match="Apprise is not installed here"):
            await send('apprise = ["env:SERVICE"]')


PLAN = Plan("progressing", "so")
AT = [
    seen(version("v1", "current"), version("v2"), current="v1", ramping=Ramp("v2", percentage))
    for percentage in (10, 20, 30)
]


def told_by(hook: Hook) -> list[float]:
    """The percentages that were told."""
    return [body["ramping"]["percentage"] for _, body in hook.taken]


def counted(registry: CollectorRegistry) -> dict[str, float | None]:
    """How many notifications there were, by what became of them."""
    outcomes = ("delivered", "lost")
    return {
        outcome: registry.get_sample_value(
            "rollout_notifications_total",
            {"namespace": "n", "deployment_name": "d", "outcome": outcome},
        )
        for outcome in outcomes
    }


class TestNotifier:
    """The controller's own part."""

    async def test_it_is_tried_again_in_order(self, hook: Hook) -> None:
        """A service that is away for a moment misses nothing, and gets nothing twice."""
        hook.refuses = 3
        registry = CollectorRegistry()
        notifier = Notifier("d", Notified(registry, "n").of("d"))
        assert counted(registry) == {"delivered": 0, "lost": 0}
        for look in AT:
            notifier.round(wanted(f'webhook = "{hook.url}"'), look, PLAN, 0)
        with capture_logs() as logged:
            await until(lambda: _same(told_by(hook), [20, 30]))
        failed = [each for each in logged if each["event"] == "a notification failed"]
        assert [each["error"] for each in failed] == [
            "the webhook answered 503 Service Unavailable"
        ] * 3
        assert len({body["id"] for _, body in hook.taken}) == 2
        assert counted(registry) == {"delivered": 2, "lost": 0}

    async def test_one_way_does_not_wait_for_another(self, hook: Hook) -> None:
        """A command that hangs keeps no webhook from being told, nor the rollout."""
        more = f'webhook = "{hook.url}"\ncommand = ["sleep", "600"]\ntimeout = "500ms"\ntries = 1'
        registry = CollectorRegistry()
        notifier = Notifier("d", Notified(registry, "n").of("d"))
        with capture_logs() as logged:
            for look in AT[:2]:
                notifier.round(wanted(more), look, PLAN, 0)
            await until(lambda: _same(told_by(hook), [20]))
            await until(lambda: _logged(logged, "a notification was given up"))
        await until(lambda: _same(counted(registry), {"delivered": 1, "lost": 1}))

    async def test_killed_and_started_again(self, hook: Hook) -> None:
        """What was not told is told by the next one; what changed in between, too."""
        wants = wanted(f'webhook = "{hook.url}"')
        hook.refuses = 1000
        first = Notifier("d")
        for look in AT[:2]:
            first.round(wants, look, PLAN, 0)
        await until(lambda: _same(hook.refuses < 1000, True))
        for task in first._tasks.values():
            task.cancel()
        await asyncio.gather(*first._tasks.values(), return_exceptions=True)
        hook.refuses = 0
        Notifier("d").round(wants, AT[2], PLAN, 0)
        await until(lambda: _same(told_by(hook), [20, 30]))

    async def test_only_what_is_asked_for(self, hook: Hook) -> None:
        """``events`` chooses; without a table nobody is told, then or later."""
        notifier = Notifier("d")
        for look in AT[:2]:
            notifier.round(config(), look, PLAN, 0)
        notifier.round(wanted(f'webhook = "{hook.url}"\nevents = ["complete"]'), AT[2], PLAN, 0)
        arrived = seen(version("v1"), version("v2", "current"), current="v2")
        done = Plan("complete", "v2 takes all new runs")
        notifier.round(wanted(f'webhook = "{hook.url}"\nevents = ["complete"]'), arrived, done, 0)
        await until(lambda: _same([body["event"] for _, body in hook.taken], ["complete"]))

    async def test_nothing_that_goes_wrong_is_the_rollouts(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever fails is logged."""
        monkeypatch.setattr(notifying, "news", lambda *_, **__: 1 / 0)
        with capture_logs() as logged:
            Notifier("d").round(wanted('command = ["true"]'), AT[0], PLAN, 0)
        assert [each["event"] for each in logged] == ["notifications failed"]


async def _same(one: object, other: object) -> bool:
    assert one == other
    return True


async def _logged(logged: list[Any], event: str) -> bool:
    return any(each["event"] == event for each in logged)
