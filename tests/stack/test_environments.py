"""What is known of the environment of a running supervisord's programs."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.exporter.targets import worker_targets
from rollout.supervision.environments import configuration_of
from rollout.supervision.programs import Program, workers
from rollout.supervision.rpc import Supervisor
from rollout.temporal.programs import programs_by_build
from tests.support.supervisord import PrivateSupervisord

_WORKER = (
    "command = /bin/sleep 1000",
    "startsecs = 0",
    (
        'environment = TEMPORAL_DEPLOYMENT_NAME="shop",TEMPORAL_WORKER_BUILD_ID="3f9c2ab",'
        'ROLLOUT_METRICS_PORT="9201"'
    ),
)


@pytest.fixture
def supervisord() -> Iterator[PrivateSupervisord]:
    """A supervisord that has no program yet."""
    running = PrivateSupervisord(environ={"ONLY_SUPERVISORD_HAS": "x y"})
    try:
        running.start()
        yield running
    finally:
        running.stop()


class TestEnvironments:
    """A worker that only its ``environment=`` shows."""

    async def test_a_worker_written_by_hand_is_seen(self, supervisord: PrivateSupervisord) -> None:
        """As a process of its version, and as a target with the version's labels."""
        await _load(supervisord, "other", "command = /bin/sleep 1000")
        await _load(supervisord, "hand-written", *_WORKER)
        programs = await supervisord.rpc.config()
        assert [each.namespec for each in workers(programs)] == ["hand-written"]
        assert worker_targets(programs) == [
            {
                "targets": ["127.0.0.1:9201"],
                "labels": {
                    "job": "worker",
                    "build_id": "3f9c2ab",
                    "deployment_name": "shop",
                    "program": "hand-written",
                },
            }
        ]
        problems: list[str] = []
        by_build = await programs_by_build(supervisord.rpc, "shop", problems)
        assert (by_build["3f9c2ab"].state, problems) == ("RUNNING", [])

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    async def test_a_file_that_may_not_be_read_hides_no_worker(
        self, supervisord: PrivateSupervisord
    ) -> None:
        """To another user its build is unknown, and not one without a program."""
        file = supervisord.folder / "programs" / "worker-3f9c2ab.ini"
        await _load(supervisord, "worker-3f9c2ab", *_WORKER)
        file.chmod(0o600)
        await _load(supervisord, "other", "command = /bin/sleep 1000")
        assert workers(await supervisord.rpc.config())
        supervisord.folder.chmod(0o755)
        supervisord.socket.chmod(0o777)
        problems: list[str] = []
        unread: list[str] = []
        nobody = Supervisor(supervisord.socket, conf=supervisord.folder / "supervisord.conf")
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
        try:
            found = await programs_by_build(nobody, "shop", problems, unread)
        finally:
            os.seteuid(0)
        assert unread == [f"cannot read {file}: what worker-3f9c2ab runs is unknown"]
        assert (found["3f9c2ab"].state, found["3f9c2ab"].processes) == ("UNKNOWN", None)
        assert (list(found), problems) == (["3f9c2ab"], [])

    async def test_a_file_that_breaks_hides_no_worker(
        self, supervisord: PrivateSupervisord
    ) -> None:
        """What was known stays known, and is read again when the file is whole."""
        await _load(supervisord, "hand-written", *_WORKER)
        assert workers(await supervisord.rpc.config())
        supervisord.configure("broken", "command = %(nothing)s")
        assert workers(await supervisord.rpc.config())
        supervisord.forget("broken")
        await _load(supervisord, "second", *_WORKER)
        found = workers(await supervisord.rpc.config())
        assert [each.namespec for each in found] == ["hand-written", "second"]

    async def test_variables_are_those_of_supervisord_and_not_of_this_shell(
        self, supervisord: PrivateSupervisord
    ) -> None:
        """A name that only supervisord has keeps nobody from reading its files."""
        assert "ONLY_SUPERVISORD_HAS" not in os.environ
        environment = f'{_WORKER[2]},X="%(ENV_ONLY_SUPERVISORD_HAS)s"'
        await _load(supervisord, "hand-written", *_WORKER[:2], environment)
        (found,) = workers(await supervisord.rpc.config())
        assert found.environ["X"] == "x y"

    async def test_each_process_of_several_has_its_own_port(
        self, supervisord: PrivateSupervisord
    ) -> None:
        """``%(process_num)d`` in the variable is what supervisord makes of it."""
        several = _WORKER[2].replace('"9201"', '"%(process_num)d"')
        lines = ("numprocs = 2", "numprocs_start = 9301", "process_name = w-%(process_num)d")
        await _load(supervisord, "several", *_WORKER[:2], several, *lines)
        targets = worker_targets(await supervisord.rpc.config())
        assert [each["targets"] for each in targets] == [["127.0.0.1:9301"], ["127.0.0.1:9302"]]

    async def test_programs_without_a_version_stay_unread(
        self, supervisord: PrivateSupervisord
    ) -> None:
        """The reader of supervisord is not even imported for them."""
        await _load(supervisord, "other", "command = /bin/sleep 1000", "environment = A=b")
        programs: list[Program] = await supervisord.rpc.config()
        assert [each.environment for each in programs] == [None]


async def test_the_configuration_is_that_of_its_command_line(
    supervisord: PrivateSupervisord,
) -> None:
    """A process that is no supervisord has none."""
    pid = await supervisord.rpc.pid()
    assert configuration_of(pid) == Path(supervisord.folder / "supervisord.conf")
    assert configuration_of(os.getpid()) is None


async def _load(supervisord: PrivateSupervisord, name: str, *lines: str) -> None:
    supervisord.configure(name, *lines)
    await supervisord.rpc.update(name)
