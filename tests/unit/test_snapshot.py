"""One look, many readers: what a controller serves, and when a reader looks for itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from rollout.base.server import Server, asked_server
from rollout.commands.looking import plan_of
from rollout.controller.intent import Intent
from rollout.controller.nudge import nudge
from rollout.controller.places import run_file
from rollout.controller.snapshot import Unanswered, page_of, read
from rollout.core.config_file import load, parse
from rollout.core.plan import plan
from rollout.core.status_document import Source, status_document
from tests.support.answering import CONFIG, Controller, observation


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Controller]:
    """One that has announced itself and seen nothing yet."""
    monkeypatch.setattr("rollout.base.settings.VAR", tmp_path / "var")
    made = Controller(tmp_path)
    yield made
    made.silent.close()


class TestRead:
    """What a reader gets is what was seen, or a reason to look for itself."""

    def test_all_of_it(self, controller: Controller) -> None:
        """Every field of the observation, and the plan, come through whatever they hold."""
        seen = controller.saw()
        snapshot, found = read("shop-orders", controller.server)
        assert found == seen
        assert snapshot.decided is not None
        decided = plan(controller.intent.config, seen, datetime.now(timezone.utc), "me")
        assert (snapshot.decided.phase, snapshot.config) == (decided.phase, CONFIG)

    def test_the_same_server_under_another_name(self, controller: Controller) -> None:
        """Localhost is this machine."""
        controller.saw()
        local = controller.server.address.replace("127.0.0.1", "localhost")
        assert read("shop-orders", Server(local, "default"))

    @pytest.mark.parametrize(
        ("server", "why"),
        [
            (("127.0.0.1:1", "default"), "the controller here asks 127.0.0.1:"),
            (("", "other"), "namespace default"),
        ],
    )
    def test_another_server(
        self, controller: Controller, server: tuple[str, str], why: str
    ) -> None:
        """Neither another address nor another namespace is answered for."""
        controller.saw()
        asked = Server(server[0] or controller.server.address, server[1])
        with pytest.raises(Unanswered, match=why):
            read("shop-orders", asked)

    def test_nothing_seen_yet(self, controller: Controller) -> None:
        """Or only why it could not be seen."""
        with pytest.raises(Unanswered, match="has seen nothing yet"):
            read("shop-orders", controller.server)
        controller.publisher.unread("Temporal is away")
        with pytest.raises(Unanswered, match="Temporal is away"):
            read("shop-orders", controller.server)
        assert controller.get("/api/v1/status") == {"deployments": []}

    def test_too_old(self, controller: Controller) -> None:
        """What began to be read 16 s ago is not shown as what is."""
        controller.saw(seconds_ago=16)
        with pytest.raises(Unanswered, match="what the controller saw is 16 s old"):
            read("shop-orders", controller.server)

    def test_something_was_done_since(self, controller: Controller) -> None:
        """A look from before is not shown: the reader waits for the next, but not for long."""
        controller.saw(seconds_ago=1)
        controller.publisher.changed()
        assert read("shop-orders", controller.server)  # one who looks again and again
        with pytest.raises(Unanswered, match="has not looked since something was changed"):
            read("shop-orders", controller.server, patience=0.5)
        for change in (controller.publisher.changed, lambda: nudge("shop-orders")):
            controller.saw(seconds_ago=1)
            change()
            looking = Timer(0.3, controller.saw)
            looking.start()
            _, seen = read("shop-orders", controller.server, patience=5)
            looking.join()
            assert (datetime.now(timezone.utc) - seen.at).total_seconds() < 1

    def test_an_edit_that_was_not_decided_on(self, controller: Controller) -> None:
        """Until the next look a reader plans on it; the plan that is served is the one before."""
        seen = controller.saw()
        controller.file.write_text(f"{CONFIG}paused = true\n")
        controller.publisher.intent(Intent(controller.file))
        snapshot, _ = read("shop-orders", controller.server)
        assert plan_of(snapshot, load(controller.file), seen).phase == "paused"
        assert not controller.get("/api/v1/status")["deployments"][0]["paused"]

    def test_nobody(self, controller: Controller) -> None:
        """Gone with a clean end; killed; or with a file that is no file of ours."""
        controller.saw()
        file = run_file("shop-orders", "api.json")
        left = file.read_text()
        controller.leave()
        for content in (None, "{", left.replace(str(os.getpid()), "999999999")):
            if content is not None:
                file.write_text(content)
            with pytest.raises(Unanswered, match="no controller answers here"):
                read("shop-orders", controller.server)
        controller.leave()
        assert file.exists()  # it is another's by now


class TestPage:
    """Where the live page is."""

    def test_it_is_left_for_the_commands(self, controller: Controller) -> None:
        """For those who ask about the same server; and `status` says it."""
        assert page_of("shop-orders", controller.server) is None  # one that serves none
        url = f"http://127.0.0.1:{controller.port}"
        leave = controller.publisher.announce("shop-orders", url, f"{url}/")
        assert page_of("shop-orders", controller.server) == f"{url}/"
        assert page_of("shop-orders", Server("127.0.0.1:1", "default")) is None
        controller.saw()
        assert f"live page: {url}/\n" in controller.command("status").stdout
        leave()
        assert page_of("shop-orders", controller.server) is None


class TestStatus:
    """The contract, from the controller and from the command."""

    def test_the_api_is_the_command(self, controller: Controller) -> None:
        """Both are the document that a look of one's own would give, but for source and age."""
        seen = controller.saw()
        (served,) = controller.get("/api/v1/status")["deployments"]
        told = json.loads(controller.command("status", "--json").stdout)
        now = datetime.now(timezone.utc)
        decided = plan(controller.intent.config, seen, now, "me")
        source = Source("controller", controller.server.address)
        own = json.loads(
            json.dumps(status_document(controller.intent.config, seen, decided, now, source))
        )

        def settled(document: dict[str, Any]) -> dict[str, Any]:
            assert 0 <= document["age_seconds"] < 10
            for version in document["versions"]:
                assert version["evidence"][3].pop("detail").startswith("read ")
            return {**document, "age_seconds": 0}

        assert settled(served) == settled(told) == settled(own)
        assert served["observed_at"] == seen.at.isoformat()
        assert served["unassigned_runs"] == 7
        assert served["server"] == {"address": controller.server.address, "namespace": "default"}
        v1, v2 = served["versions"]
        shares = [(v["real_share"], v["real_samples"]) for v in (v1, v2)]
        assert shares == [(0.95, 100), (0.05, 100)]
        assert (v1["open_pinned"], v1["open_auto_upgrade"], v1["waiting_tasks"]) == (2, 1, 4)
        assert (v2["open_pinned"], v2["open_auto_upgrade"]) == (None, None)
        assert (v2["waiting_tasks"], v2["waiting_age_seconds"]) == (None, 1.5)

    def test_five_readers_ask_the_server_nothing(self, controller: Controller) -> None:
        """Not one of them so much as connects to it."""
        for words in ((), ("--json",), ("--json",), (), ("--json",)):
            controller.saw()
            done = controller.command("status", *words)
            assert (done.returncode, done.stderr) == (0, "")
        assert "read from the server by this command" not in done.stdout
        with pytest.raises(BlockingIOError):  # nobody has knocked
            controller.silent.accept()

    def test_a_broken_file_is_said_first(self, controller: Controller) -> None:
        """And what is shown is of the last good one, as the controller follows it."""
        controller.saw()
        controller.file.write_text('[deployment\nname = "shop-orders"')
        done = controller.command("status", "--json")
        assert done.returncode == 0
        status = json.loads(done.stdout)
        assert (status["target"], status["source"]) == ("v2", "controller")
        assert status["warnings"][0].startswith("rollout.toml line 1: ")
        assert "the last good rollout.toml, of " in status["warnings"][0]


def test_real_shares_need_all_counts() -> None:
    """One count that is not known makes the others say nothing."""
    seen = observation(datetime.now(timezone.utc))
    v1, v2 = seen.versions
    half = replace(seen, versions=(v1, replace(v2, started=None)))
    config = parse(CONFIG)
    document = status_document(config, half, plan(config, half, half.at, None), half.at)
    assert [v["real_share"] for v in document["versions"]] == [None, None]


class TestAskedServer:
    """Where a client would connect, without connecting."""

    @pytest.mark.parametrize(
        ("environ", "address", "namespace"),
        [
            ({}, "127.0.0.1:7233", "default"),
            ({"TEMPORAL_PORT": "7300"}, "127.0.0.1:7300", "default"),
            ({"TEMPORAL_ADDRESS": "a:1", "TEMPORAL_NAMESPACE": "n"}, "a:1", "n"),
        ],
    )
    def test_by_variables(
        self, environ: dict[str, str], address: str, namespace: str, tmp_path: Path
    ) -> None:
        """Or by what is usual."""
        found = asked_server({"HOME": str(tmp_path), **environ})
        assert (found.address, found.namespace) == (address, namespace)

    def test_by_a_profile(self, tmp_path: Path) -> None:
        """As the `temporal` CLI's own file says."""
        file = tmp_path / "temporal.toml"
        file.write_text('[profile.prod]\naddress = "prod:7233"\nnamespace = "shop"\n')
        environ = {"TEMPORAL_CONFIG_FILE": str(file), "TEMPORAL_PROFILE": "prod"}
        assert asked_server(environ) == Server("prod:7233", "shop")
