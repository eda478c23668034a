"""The controller as a process, against a real server with real managed workers."""

from __future__ import annotations

import json
import re
import secrets
import signal
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentManagerRequest
from temporalio.client import Client

from rollout.controller.report.folder import report_folder
from rollout.temporal.versions import version_metadata
from tests.support.controlled import WHOLE, Rollout, done
from tests.support.runs import begun, order
from tests.support.scrape import labels, scrape
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually
from tests.support.worker_process import Command, run

pytestmark = pytest.mark.temporal

CANARY = f"canary{secrets.token_hex(6)}"
SECRETS = {
    "TEMPORAL_API_KEY": CANARY,
    "TEMPORAL_TLS": "false",
    "PROMETHEUS_URL": f"http://me:{CANARY}@127.0.0.1:9",
    "SUPERVISOR_SERVER_URL": f"http://me:{CANARY}@127.0.0.1:9",
    "SUPERVISOR_PASSWORD": CANARY,
    "CODEC_KEY": CANARY,
}
"""What no log, metric, answer or report may hold."""


@pytest.fixture
def rollout(temporal_server: DevServer, tmp_path: Path) -> Iterator[Rollout]:
    """A deployment of the test's own."""
    made = Rollout(temporal_server, tmp_path)
    yield made
    made.close()


class TestRollout:
    """From nothing to v2, as rollout.toml says."""

    def test_step_by_step(self, rollout: Rollout) -> None:
        """v1 first, then v2 at each percentage; status and plan tell each phase and reason.

        At its end a report is left, and no secret stands in anything that was told.
        """
        port = free_port()
        controller = rollout.start_controller("--metrics-port", str(port), **SECRETS)
        eventually(lambda: controller.records("plan"))
        assert "no worker of deployment" in controller.records("plan")[0]["reason"]
        assert rollout.status()["phase"] == "waiting"

        rollout.start_worker("v1", "compatible")
        eventually(lambda: done(controller) == WHOLE[:1], seconds=20)
        status = rollout.status()
        assert (status["current"], status["reason"]) == ("v1", "no worker of v2 has polled yet")
        assert status["versions"][0]["target_share"] == 1.0
        assert rollout.command("plan") == (0, "waiting: no worker of v2 has polled yet\n", "")

        rollout.start_worker("v2")
        eventually(lambda: done(controller) == WHOLE, seconds=30)
        eventually(lambda: rollout.told()["phase"] == "complete", seconds=10)

        (page,) = eventually(lambda: list(report_folder(rollout.name).glob("*-complete.html")))
        report = json.loads(page.with_suffix(".json").read_text())
        assert (report["target"], report["outcome"]) == ("v2", "complete")
        told = [controller.log_file.read_text(), page.read_text()]
        for path in ("metrics", "api/v1/status", "api/v1/snapshot"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
                told.append(answer.read().decode())
        for words in (("events", "--json"), ("report", "--json"), ("history", "--json")):
            code, stdout, stderr = rollout.command(*words, **SECRETS)
            assert code == 0, stderr
            told += [stdout, stderr]
        assert [text for text in told if CANARY in text] == []

        # Drained and replaced: safe. A check that fails would name itself here.
        eventually(lambda: version(rollout.told(), "v1")["safe_to_stop"], seconds=30)
        v2 = version(rollout.status(), "v2")
        assert not v2["safe_to_stop"]
        assert {p["check"]: p["detail"] for p in v2["evidence"] if not p["ok"]} == {
            "routing": "100% of new runs go to v2",
            "server_status": "the server says current",
            "replacement": "no other version takes the new runs",
        }
        series = scrape(port)
        of = {"namespace": "default", "deployment_name": rollout.name}
        assert series["rollout_phase"][labels(**of, phase="complete")] == 1
        assert series["rollout_target_info"][labels(**of, build_id="v2")] == 1
        assert list(series["rollout_reason_since_seconds"]) == [
            labels(**of, phase="complete", kind="complete")
        ]
        assert set(series["rollout_blocked"].values()) == {0.0}
        assert series["rollout_program_files_ok"] == {labels(**of): 1}
        assert series["rollout_reconciles_total"][labels(**of, result="ok")] > 5
        assert controller.stop() == 0

    def test_killed_and_started_again(self, rollout: Rollout) -> None:
        """Killed after each of its steps: the next controller goes on, and repeats nothing."""
        rollout.start_worker("v1", "compatible")
        rollout.start_worker("v2")
        history: list[str] = []
        for step in range(1, len(WHOLE) + 1):
            controller = rollout.start_controller()
            eventually(lambda c=controller: done(c), seconds=30)  # type: ignore[misc]
            controller.stop(signal.SIGKILL)
            history += done(controller)
            assert history == WHOLE[:step]

    def test_pause_and_resume(self, rollout: Rollout) -> None:
        """A pause keeps the percentage where it is, keeps the comments, and resume goes on."""
        rollout.file.write_text(rollout.file.read_text().replace('pause = "2s"', 'pause = "8s"'))
        rollout.start_worker("v1", "compatible")
        rollout.start_worker("v2")
        controller = rollout.start_controller()
        eventually(lambda: "ramp v2 to 20 %" in done(controller), seconds=30)
        assert rollout.command("pause")[0] == 0
        assert "# first" in rollout.file.read_text()
        status = rollout.status()
        assert (status["phase"], status["paused"]) == ("paused", True)
        held = status["ramping"]
        assert held["build_id"] == "v2"
        eventually(lambda: any(r["phase"] == "paused" for r in controller.records("plan")))
        rounds = len(done(controller))
        assert rollout.status()["ramping"] == held
        assert len(done(controller)) == rounds
        assert rollout.command("resume")[0] == 0
        eventually(lambda: done(controller) == WHOLE, seconds=30)

    def test_a_broken_edit_is_not_followed(self, rollout: Rollout) -> None:
        """While rollout.toml is broken the last good one stays in force, and the log says so."""
        rollout.start_worker("v1", "compatible")
        controller = rollout.start_controller()
        eventually(lambda: done(controller) == WHOLE[:1], seconds=20)
        good = rollout.file.read_text()
        rollout.file.write_text(good.replace("percentage = 60", "percentage = 110"))
        event = "rollout.toml is not followed until it is mended"
        eventually(lambda: controller.records(event))
        assert "line 11" in controller.records(event)[0]["error"]
        status = rollout.status()
        assert (status["target"], status["current"]) == ("v2", "v1")
        assert status["warnings"][0].startswith("rollout.toml line 11: ")
        assert "the last good rollout.toml" in status["warnings"][0]
        assert controller.returncode is None
        rollout.file.write_text(good)
        rollout.start_worker("v2")
        eventually(lambda: done(controller) == WHOLE, seconds=30)


class TestPromotion:
    """A person decides over a ramp that is held."""

    def test_step_by_step_and_to_the_end(self, rollout: Rollout) -> None:
        """Held for want of samples it goes one step on, then to the end; nothing is left behind."""
        text = rollout.file.read_text()
        port = free_port()  # nobody listens: analysis knows nothing, and holds
        rollout.file.write_text(f"{text}\n[analysis]\nmin_samples = 10\n")
        assert rollout.command("promote", "--full")[0] == 1  # there is nothing yet
        rollout.start_worker("v1", "compatible")
        rollout.start_worker("v2")
        controller = rollout.start_controller(PROMETHEUS_URL=f"http://127.0.0.1:{port}")
        eventually(lambda: "ramp v2 to 20 %" in done(controller), seconds=30)
        eventually(
            lambda: any(r["reason"].startswith("held at 20 %") for r in controller.records("plan")),
            seconds=20,
        )
        code, told, warned = rollout.command("promote")
        assert (code, told.splitlines()[-1]) == (0, "v2 gets 60 % of new runs"), warned
        code, told, warned = rollout.command("promote", "--full")
        assert (code, told.splitlines()[-1]) == (0, "v2 takes all new runs"), warned
        assert done(controller) == WHOLE
        code, _, warned = rollout.command("promote")
        assert (code, warned) == (1, "rollout: no ramp of v2 is held: v2 takes all new runs\n")
        assert rollout.file.read_text() == f"{text}\n[analysis]\nmin_samples = 10\n"


class TestReaders:
    """One look of the controller is what everybody shows."""

    def test_from_the_first_look_to_the_end(self, rollout: Rollout) -> None:
        """Readers find it, and look themselves once it has ended; a broken file changes little."""
        rollout.start_worker("v1", "compatible")
        port = free_port()
        controller = rollout.start_controller("--metrics-port", str(port))
        eventually(lambda: done(controller) == WHOLE[:1], seconds=20)
        eventually(lambda: rollout.status()["source"] == "controller")

        def served() -> dict[str, Any]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status") as answer:
                (document,) = json.load(answer)["deployments"]
            return dict(document)

        told, shown = served(), rollout.status()
        assert list(told) == list(shown)
        assert told["server"] == {"address": rollout.server.address, "namespace": "default"}
        assert (told["source"], told["current"]) == ("controller", "v1")
        assert told["warnings"] == shown["warnings"]
        for document in (told, shown):
            at = datetime.fromisoformat(document["observed_at"])
            assert 0 <= document["age_seconds"] < 10
            assert abs((datetime.now(timezone.utc) - at).total_seconds()) < 20
        series, of = scrape(port), labels(namespace="default", deployment_name=rollout.name)
        assert series["rollout_config_ok"] == {of: 1}
        assert 0 < series["rollout_observation_age_seconds"][of] < 10
        assert "rollout_throttled_total" in series

        # Steered while the file is broken: the controller follows, and says so.
        good = rollout.file.read_text()
        rollout.file.write_text(good.replace("[progressive]", "[progressive"))
        eventually(lambda: scrape(port)["rollout_config_ok"] == {of: 0})
        code, _, warned = rollout.command("pause")
        assert (code, warned[:20]) == (0, "! rollout.toml line ")
        eventually(lambda: served()["paused"])
        assert "the last good rollout.toml is followed" in served()["warnings"][0]
        rollout.file.write_text(good)
        eventually(lambda: "paused = true" in rollout.file.read_text())
        eventually(lambda: scrape(port)["rollout_config_ok"] == {of: 1})

        assert controller.stop() == 0
        alone = rollout.status()
        assert alone["source"] == "direct"
        assert alone["warnings"][0].startswith("no controller runs here, so nothing is done")
        assert {k: v for k, v in alone.items() if k in {"current", "paused", "server"}} == {
            "current": "v1", "paused": True, "server": told["server"],
        }  # fmt: skip

    def test_back_although_the_file_is_broken(self, rollout: Rollout) -> None:
        """A rollback does not wait for a comma, and is still one when the file is mended."""
        good = rollout.file.read_text().replace('pause = "2s"', 'pause = "600s"')
        rollout.file.write_text(good)
        rollout.start_worker("v1", "compatible")
        rollout.start_worker("v2")
        controller = rollout.start_controller()
        eventually(lambda: done(controller) == WHOLE[:2], seconds=60)
        broken = good.replace("percentage = 20,", "percentage = 20")
        rollout.file.write_text(broken)
        eventually(lambda: controller.records("rollout.toml is not followed until it is mended"))
        code, told, warned = rollout.command("rollback")
        assert code == 0, warned
        assert "all new runs go to v1" in told
        assert warned.startswith("! rollout.toml line ")
        assert rollout.file.read_text() == broken
        status = rollout.status()
        assert (status["target"], status["current"], status["ramping"]) == ("v1", "v1", None)

        rollout.file.write_text(good)
        eventually(lambda: 'rollback = "v1"' in rollout.file.read_text())
        assert 'target = "v1"' in rollout.file.read_text()
        assert rollout.status()["target"] == "v1"


class TestWhatWaits:
    """What cannot be seen by version is seen all the same."""

    async def test_new_runs_that_nobody_takes(self, rollout: Rollout) -> None:
        """With the current build's worker stopped its rollout is not complete, and nothing safe."""
        rollout.file.write_text(
            rollout.file.read_text().replace("[progressive]", 'pace = "all-at-once"\n[progressive]')
        )
        rollout.start_worker("v1", "compatible")
        v2 = rollout.start_worker("v2")
        controller = rollout.start_controller()
        eventually(lambda: rollout.told()["phase"] == "complete", seconds=60)
        assert v2.stop() == 0
        client = await Client.connect(rollout.server.address)
        for number in range(12):
            await client.start_workflow(
                "Greeting", id=f"{rollout.name}-{number}", task_queue=rollout.name
            )

        def told() -> dict[str, Any]:
            status = rollout.told()
            assert status["phase"] == "waiting", status
            assert re.fullmatch(f"v2 takes all new runs, but {wait}", status["reason"]), status
            assert "v2 has no live worker: its 100% of new runs wait for one" in status["warnings"]
            return status

        # The age is the server's word, which is older at first than the count.
        wait = r"12 new runs wait for a worker of v2, the oldest for about \d+ s"
        status = eventually(told, seconds=60)
        assert any(re.fullmatch(wait, warning) for warning in status["warnings"])
        evidence = {p["check"]: p["detail"] for p in version(status, "v1")["evidence"]}
        assert evidence["new_runs"] == "12 new runs wait for a worker for more than 10 s"
        assert not version(status, "v1")["safe_to_stop"]
        said = "new runs wait for a worker of v2"
        eventually(lambda: any(said in r["reason"] for r in controller.records("plan")))


class TestMidRamp:
    """What happens beside a ramp does not end it."""

    def ramping(self, rollout: Rollout) -> tuple[Command, Command]:
        """The target's worker, and the controller, in the middle of a ramp that stays."""
        rollout.file.write_text(rollout.file.read_text().replace('pause = "2s"', 'pause = "600s"'))
        rollout.start_worker("v1", "compatible")
        v2 = rollout.start_worker("v2")
        controller = rollout.start_controller()
        eventually(lambda: done(controller) == WHOLE[:2], seconds=60)
        return v2, controller

    def test_a_restart_of_its_worker(self, rollout: Rollout) -> None:
        """A worker that says goodbye has time to come back before its share goes back."""
        v2, controller = self.ramping(rollout)
        assert v2.stop() == 0
        back = "v2 has no live worker, and one is on its way back; v2 stays at 20 %"
        eventually(lambda: any(r["reason"] == back for r in controller.records("plan")))
        eventually(lambda: "end the ramp" in done(controller), seconds=60)
        reasons = [r["reason"] for r in controller.records("plan")]
        assert reasons.index(back) < reasons.index("v2 has no live worker: its share goes back")

    def test_a_target_that_nobody_knows(self, rollout: Rollout) -> None:
        """One that is perhaps misspelt is waited for, and said."""
        _, controller = self.ramping(rollout)
        text = rollout.file.read_text()
        rollout.file.write_text(text.replace('target = "v2"', 'target = "v22"'))
        nobody = (
            "no worker of v22 has polled yet, and no program here would run one; v2 stays at 20 %"
        )
        eventually(lambda: any(r["reason"] == nobody for r in controller.records("plan")))
        assert rollout.status()["reason"] == nobody
        assert done(controller) == WHOLE[:2]


class TestAutoUpgrade:
    """Runs that move by themselves are tried on the target first."""

    async def test_they_do_not_move_unseen(self, rollout: Rollout) -> None:
        """An incompatible target gets nothing before they have been replayed on it."""
        rollout.file.write_text(
            rollout.file.read_text().replace("[progressive]", 'pace = "all-at-once"\n[progressive]')
        )
        behavior = ("--behavior", "auto-upgrade")
        rollout.start_worker("v1", "compatible", *behavior)
        controller = rollout.start_controller()
        eventually(lambda: done(controller) == WHOLE[:1], seconds=60)
        client = await Client.connect(rollout.server.address)
        await order(client, rollout.name, 120)
        await begun(client, rollout.name, "v1", 1)
        rollout.start_worker("v2", "incompatible", *behavior)

        reason = "replaying runs of v1 on v2, to which its 1 auto-upgrade run would move"
        eventually(lambda: rollout.told()["reason"] == reason, seconds=60)
        # Here nobody can replay them: then it gets nothing, and that is said.
        told = "could not replay runs of v1 on v2: no program here runs v2"
        eventually(lambda: any(r["reason"].startswith(told) for r in controller.records("refused")))
        assert done(controller) == WHOLE[:1]


class TestRetry:
    """What a person lets through is kept with the version, for this code."""

    async def test_drift_is_accepted(self, rollout: Rollout) -> None:
        """By the command, in the metadata that the replay of the controller reads."""
        rollout.start_worker("v1", "compatible")
        client = await Client.connect(rollout.server.address)

        async def accepted() -> str | None:
            known = await version_metadata(client, rollout.name, "v1")
            assert known is not None
            return known.of_this_code(known.drift_accepted)

        assert rollout.command("retry", "v1") == (0, "v1 may be tried again\n", "")
        assert await accepted() is None
        again = "v1 may be tried again, whatever arguments it gives to runs\n"
        assert rollout.command("retry", "v1", "--accept-drift") == (0, again, "")
        assert await accepted() == "by rollout retry --accept-drift"


class TestGate:
    """Before real traffic a run that is pinned to the target has to complete."""

    def test_a_workflow_that_the_build_has_not(self, rollout: Rollout) -> None:
        """Its workers list theirs: nothing is tried, and another name is another gate."""
        gate = '\n[gate]\nworkflow = "Missing"\ntimeout = "600s"\nretries = 2\n'
        rollout.file.write_text(rollout.file.read_text() + gate)
        rollout.start_worker("v1", "compatible")
        rollout.start_worker("v2")
        controller = rollout.start_controller()
        eventually(lambda: rollout.told()["phase"] == "blocked", seconds=40)
        reason = rollout.status()["reason"]
        assert reason == (
            "the gate of v2 cannot pass: this build has no workflow Missing (it has Greeting, "
            "Order, Subscription); name one that it has in [gate] of rollout.toml"
        )
        assert not [r for r in controller.records("done") if "gate" in r["action"]]

        rollout.file.write_text(rollout.file.read_text().replace("Missing", "Greeting"))
        eventually(lambda: done(controller) == WHOLE, seconds=40)

    def test_shut_and_open_again(self, rollout: Rollout) -> None:
        """A gate that fails blocks with its reason; mended and retried, it lets the rollout go."""
        gate = '\n[gate]\nworkflow = "Order"\ninput = "x"\ntimeout = "2s"\nretries = 1\n'
        rollout.file.write_text(rollout.file.read_text() + gate)
        rollout.start_worker("v1", "compatible")
        rollout.start_worker("v2")
        controller = rollout.start_controller()
        eventually(lambda: rollout.told()["phase"] == "blocked", seconds=40)
        reason = rollout.status()["reason"]
        assert reason.startswith(
            f"the gate of v2 failed on {rollout.name}: gate/{rollout.name}/v2/"
        )
        assert reason.endswith("`rollout retry v2` tries again")
        tries = [r["action"] for r in controller.records("done") if "gate" in r["action"]]
        assert [text.rpartition(" ")[2] for text in tries] == ["1", "2"]
        assert done(controller) == WHOLE[:1]

        mended = rollout.file.read_text().replace('"Order"\ninput = "x"', '"Greeting"')
        rollout.file.write_text(mended)
        assert rollout.command("retry", "v2")[0] == 0
        eventually(lambda: done(controller) == WHOLE, seconds=40)


class TestTaskQueues:
    """A deployment whose workers poll several task queues."""

    def test_there_and_back(self, rollout: Rollout) -> None:
        """Each queue needs a worker on the way there; the way back is open in any case."""
        extra = f"{rollout.name}-extra"
        text = rollout.file.read_text().replace(
            "[progressive]", 'pace = "all-at-once"\n[progressive]'
        )
        rollout.file.write_text(text)
        rollout.start_worker("v1", "compatible")
        beside = rollout.start_worker("v1", "compatible", "--task-queue", extra)
        rollout.start_worker("v2")
        controller = rollout.start_controller()
        eventually(lambda: rollout.told()["current"] == "v1")
        reason = f"v2 has no live worker on task queue {extra}, which v1 has"
        eventually(lambda: rollout.told()["reason"] == reason)

        rollout.start_worker("v2", "incompatible", "--task-queue", extra)
        eventually(lambda: rollout.told()["current"] == "v2")
        assert beside.stop() == 0
        # What v2 alone serves would stand in v1's way: the server refuses that, unless told.
        code, told, warned = rollout.command("rollback", "--to", "v1")
        assert code == 0, warned
        assert "all new runs go to v1" in told
        lacking = f"v1 has no live worker on task queue {extra}, where others have: "

        def told_of() -> bool:
            status = rollout.told()
            assert [w for w in status["warnings"] if w.startswith(lacking)], status
            return True

        eventually(told_of)
        assert controller.returncode is None


class TestOwners:
    """Two never fight."""

    def test_a_second_controller_of_this_checkout_is_refused(self, rollout: Rollout) -> None:
        """It ends with exit code 1 and one line."""
        controller = rollout.start_controller()
        eventually(lambda: controller.records("plan"))
        code, _, stderr = rollout.command("run")
        assert code == 1
        assert f"another controller runs for {rollout.name} here" in stderr

    async def test_another_manager_is_respected(self, rollout: Rollout) -> None:
        """Where somebody else manages the deployment nothing is changed, and they are named."""
        rollout.start_worker("v1", "compatible")
        client = await Client.connect(rollout.server.address)
        await client.workflow_service.set_worker_deployment_manager(
            SetWorkerDeploymentManagerRequest(
                namespace="default",
                deployment_name=rollout.name,
                manager_identity="someone@else",
                identity="someone@else",
            )
        )
        controller = rollout.start_controller()
        eventually(lambda: controller.records("plan"))
        assert controller.records("plan")[0]["reason"] == "someone@else manages this deployment"
        status = rollout.status()
        assert (status["phase"], status["current"]) == ("blocked", None)
        # A worker that would take its place by itself is refused as well, in one line.
        flags = f"--deployment {rollout.name} --task-queue {rollout.name}"
        refused = run(
            rollout.server,
            *f"workers --build-id v2 --strategy incompatible {flags}".split(),
        )
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1] == (
            "workers: someone@else manages this deployment; start the worker with --managed"
        )


def version(status: dict[str, Any], build_id: str) -> dict[str, Any]:
    """One version of a status."""
    found: dict[str, Any] = next(v for v in status["versions"] if v["build_id"] == build_id)
    return found


def test_temporal_away_is_one_line(tmp_path: Path) -> None:
    """`rollout status` without a server ends with exit code 1 and says where it looked."""
    server = DevServer(tmp_path)
    result = run(server, "rollout", "status")
    assert result.returncode == 1
    assert result.stderr.startswith(f"rollout: Temporal is not reachable at {server.address}")
    assert result.stderr.count("\n") == 1
