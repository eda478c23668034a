"""Workers of any command under a real supervisord: added, scaled and removed, others untouched."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from rollout.base.exit import Failure
from rollout.core.observation import Processes
from rollout.exporter.targets import worker_targets
from rollout.supervision.fleet.command_addition import refuse_command
from rollout.supervision.fleet.command_worker import CommandWorker
from rollout.supervision.fleet.fleet import AddedProgram
from rollout.supervision.fleet.leftovers import Families, families
from rollout.supervision.fleet.release_folder import folder_fingerprint
from rollout.temporal.programs import programs_by_build
from tests.support.fleet_stack import BYSTANDERS, FleetStack
from tests.support.temporal_server import free_port
from tests.support.waiting import until

_COMMAND = ("sh", "-c", 'echo "on {metrics_port}"; exec sleep 1000')


@pytest.fixture(scope="module")
def running() -> Iterator[FleetStack]:
    """One supervisord for all tests here; each leaves it as it was."""
    with FleetStack().running() as made:
        yield made


@pytest.fixture
async def stack(running: FleetStack) -> AsyncIterator[FleetStack]:
    """The stack, and the proof that the test has left nothing behind and touched no bystander."""
    async with running.untouched():
        yield running
        await running.fleet("shop").remove("3f9c2ab")


def release(stack: FleetStack, name: str = "3f9c2ab", code: str = "a = 1\n") -> Path:
    """A release folder with ``code`` in it."""
    folder = stack.folder / "releases" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "worker.py").write_text(code)
    return folder.resolve()


def worker(folder: Path, *words: str, **more: object) -> CommandWorker:
    """A worker of the build 3f9c2ab in ``folder``, with its fingerprint and a port of its own."""
    told = {"fingerprint": folder_fingerprint(folder), "metrics_port": free_port(), **more}
    return CommandWorker(
        "3f9c2ab",
        "incompatible",
        "shop",
        words or _COMMAND,
        folder,
        **told,  # type: ignore[arg-type]
    )


async def environ(stack: FleetStack, program: str) -> dict[str, str]:
    """What the process of ``program`` has in its environment, once it is its own command."""

    async def of_its_own() -> dict[str, str]:
        process = psutil.Process((await stack.pids())[program])
        assert process.name() == "sleep"
        return process.environ()

    return await until(of_its_own)


async def said(program: AddedProgram) -> bool:
    """Whether its command has said in its log which port it was given."""
    return f"on {program.metrics_port}" in program.log_file.read_text()


async def never(_started: bool) -> bool:
    """The server does not know the worker."""
    return False


class TestAdd:
    """Program files of any command."""

    async def test_each_process_is_a_program_and_a_target(self, stack: FleetStack) -> None:
        """Two of them share no port, and both are seen as the build's own."""
        told = worker(release(stack), processes=2)
        added = await stack.fleet("shop").add_command(told)
        first, second = added
        assert (first.name, second.name) == ("worker-3f9c2ab", "worker-3f9c2ab@2")
        assert told.metrics_port is not None
        assert [each.metrics_port for each in added] == [told.metrics_port, told.metrics_port + 1]
        targets = worker_targets(await stack.rpc.config())
        assert [each["targets"] for each in targets] == [
            [f"127.0.0.1:{each.metrics_port}"] for each in added
        ]
        assert {each["labels"]["build_id"] for each in targets} == {"3f9c2ab"}
        assert {each["labels"]["deployment_name"] for each in targets} == {"shop"}
        problems: list[str] = []
        programs = await programs_by_build(stack.rpc, "shop", problems)
        assert (len(programs["3f9c2ab"].pids), problems) == (2, [])
        for each in added:
            await until(partial(said, each))
        found = await environ(stack, "worker-3f9c2ab@2")
        assert found["TEMPORAL_DEPLOYMENT_NAME"] == "shop"
        assert found["TEMPORAL_WORKER_BUILD_ID"] == "3f9c2ab"
        assert found["ROLLOUT_METRICS_PORT"] == str(second.metrics_port)

    async def test_the_same_again_is_success_and_starts_what_is_stopped(
        self, stack: FleetStack
    ) -> None:
        """A pipeline may repeat itself; what runs goes on."""
        told = worker(release(stack), processes=2)
        await stack.fleet("shop").add_command(told)
        before = await stack.pids()
        await stack.rpc.stop("worker-3f9c2ab@2", wait=True)
        again = await stack.fleet("shop").add_command(told)
        assert [each.existed for each in again] == [True, True]
        after = await stack.pids()
        assert after["worker-3f9c2ab"] == before["worker-3f9c2ab"]
        assert after["worker-3f9c2ab@2"] not in (None, before["worker-3f9c2ab@2"])

    async def test_a_program_that_was_not_loaded_is(self, stack: FleetStack) -> None:
        """Whoever died between writing and loading it can begin again."""
        told = worker(release(stack))
        text = told.render(1, told.metrics_port, stack.logs.resolve() / "worker-3f9c2ab.log")
        (stack.programs / "worker-3f9c2ab.ini").write_text(text)
        (added,) = await stack.fleet("shop").add_command(told)
        assert added.existed
        assert (await stack.pids())["worker-3f9c2ab"]

    async def test_other_code_under_the_same_build_id_is_refused(self, stack: FleetStack) -> None:
        """With both fingerprints and folders; the one that runs is not touched."""
        one, other = release(stack), release(stack, "other", "a = 2\n")
        told = worker(one)
        await stack.fleet("shop").add_command(told)
        before = await stack.pids()
        with pytest.raises(Failure) as failure:
            await stack.fleet("shop").add_command(worker(other, metrics_port=told.metrics_port))
        said = str(failure.value)
        assert f"code {folder_fingerprint(one)} of {one}, and this is code " in said
        assert f"{folder_fingerprint(other)} of {other}: give changed code a build id" in said
        with pytest.raises(Failure, match=r"told otherwise \(stopwaitsecs\): `rollout retire"):
            await stack.fleet("shop").add_command(
                worker(one, metrics_port=told.metrics_port, stop_seconds=30)
            )
        assert await stack.pids() == before

    async def test_a_name_or_a_port_of_another_is_refused(self, stack: FleetStack) -> None:
        """Before anything is written."""
        stack.configure("worker-3f9c2ab", "command = sleep 1000")
        await stack.rpc.update("worker-3f9c2ab")
        with pytest.raises(Failure, match=r"worker-3f9c2ab\.ini exists already and says something"):
            await stack.fleet("shop").add_command(worker(release(stack)))
        stack.forget("worker-3f9c2ab")
        await stack.rpc.update("worker-3f9c2ab")
        port = free_port()
        stack.configure("other", f"command = sleep 1000 --port {port}")
        await stack.rpc.update("other")
        with pytest.raises(Failure, match=rf"port {port} is another program's; \d+ is free"):
            await stack.fleet("shop").add_command(worker(release(stack), metrics_port=port))
        stack.forget("other")
        await stack.rpc.update("other")

    async def test_a_build_that_was_written_by_hand_is_named(self, stack: FleetStack) -> None:
        """It is the same build, under a name that nobody here would give."""
        stack.configure(
            "hand",
            "command = sleep 1000",
            'environment = TEMPORAL_DEPLOYMENT_NAME="shop",TEMPORAL_WORKER_BUILD_ID="3f9c2ab"',
        )
        await stack.rpc.update("hand")
        with pytest.raises(Failure, match="3f9c2ab has the program hand already"):
            await stack.fleet("shop").add_command(worker(release(stack)))

    async def test_one_that_does_not_stay_up_is_told_by_its_last_line(
        self, stack: FleetStack
    ) -> None:
        """Whatever language that is in."""
        told = worker(release(stack), "sh", "-c", "echo no module named shop; exit 1")
        with pytest.raises(Failure, match="does not stay up, saying: no module named shop; see"):
            await stack.fleet("shop").add_command(told, registered=never)


class TestSecrets:
    """What a worker is told that others should not know."""

    async def test_an_env_file_is_read_at_each_start_and_copied_nowhere(
        self, stack: FleetStack
    ) -> None:
        """Neither into the program file nor onto a command line; a new value counts next time."""
        folder, file = release(stack), stack.folder / "worker.env"
        file.write_text("API_KEY='hush hush'\n")
        file.chmod(0o600)
        (added,) = await stack.fleet("shop").add_command(worker(folder, env_file=file))
        assert (await environ(stack, added.name))["API_KEY"] == "hush hush"
        assert "hush" not in added.file.read_text()
        for process in psutil.process_iter():
            try:
                assert not any("hush hush" in word for word in process.cmdline())
            except psutil.Error:
                continue
        file.write_text("API_KEY=other\n")
        await stack.rpc.stop(added.name, wait=True)
        await stack.rpc.start(added.name)
        assert (await environ(stack, added.name))["API_KEY"] == "other"

    async def test_told_variables_are_for_the_owner_of_the_file(self, stack: FleetStack) -> None:
        """They stand in the program file, which nobody else may read, its copies neither."""
        told = worker(release(stack), variables={"KEY": '50 %, "x" now', "AT": ":{metrics_port}"})
        (added,) = await stack.fleet("shop").add_command(told)
        await stack.fleet("shop").scale("3f9c2ab", 2)
        for name in ("worker-3f9c2ab", "worker-3f9c2ab@2"):
            mode = (stack.programs / f"{name}.ini").stat().st_mode
            assert stat.S_IMODE(mode) == 0o600
            found = await environ(stack, name)
            assert found["KEY"] == '50 %, "x" now'
            assert found["AT"] == f":{found['ROLLOUT_METRICS_PORT']}"
        assert added.metrics_port == told.metrics_port

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root's supervisord runs others' programs")
    async def test_it_runs_as_the_user_who_is_told(self, stack: FleetStack) -> None:
        """Only supervisord is root's."""
        stack.folder.chmod(0o755)
        told = worker(release(stack), user="nobody")
        try:
            refuse_command(told)
        except Failure as failure:
            pytest.skip(str(failure))  # this Python cannot be read by everybody
        (added,) = await stack.fleet("shop").add_command(told)
        await environ(stack, added.name)
        uids = psutil.Process((await stack.pids())[added.name]).uids()
        assert uids.real == pwd.getpwnam("nobody").pw_uid


class TestLeftovers:
    """Processes that a worker has started."""

    async def test_they_end_with_its_program(self, stack: FleetStack) -> None:
        """One that would poll on is ended, after the program and not with it."""
        command = ("sh", "-c", "sleep 1234 & exec sleep 1000")
        told = worker(release(stack), *command, metrics_port=None)
        (added,) = await stack.fleet("shop").add_command(told)
        await environ(stack, added.name)
        (child,) = psutil.Process((await stack.pids())[added.name]).children()
        assert child.cmdline() == ["sleep", "1234"]
        await stack.fleet("shop").stop("3f9c2ab")
        assert not child.is_running()

    async def test_nothing_else_does(self, stack: FleetStack) -> None:
        """Neither what is younger than the stop, nor what is of a program by another name."""
        mine = psutil.Process()
        group = os.getpgid(mine.pid)
        assert not Families({group: "x"}, mine.create_time() - 1)._left().get(mine)
        (bystander,) = (each for each in await stack.rpc.processes() if each.name == BYSTANDERS[0])
        assert set(families([bystander]).groups.values()) == {BYSTANDERS[0]}
        assert not families([replace(bystander, name="other")]).groups


class TestScale:
    """More and fewer processes of one build."""

    async def test_those_that_stay_are_not_touched(self, stack: FleetStack) -> None:
        """Up, down, and to what there is already: by their process ids."""
        told = worker(release(stack))
        await stack.fleet("shop").add_command(told)
        before = await stack.pids()
        up = await stack.fleet("shop").scale("3f9c2ab", 3)
        assert up.added == ("worker-3f9c2ab@2", "worker-3f9c2ab@3")
        three = await stack.pids()
        assert three.items() >= before.items()
        ports = await stack.targets()
        assert told.metrics_port is not None
        assert sorted(ports.values()) == [told.metrics_port + each for each in range(3)]

        down = await stack.fleet("shop").scale("3f9c2ab", 2)
        assert (down.added, down.removed) == ((), ("worker-3f9c2ab@3",))
        two = await stack.pids()
        assert two == {name: pid for name, pid in three.items() if not name.endswith("@3")}
        same = await stack.fleet("shop").scale("3f9c2ab", 2)
        assert (same.added, same.removed) == ((), ())
        assert await stack.pids() == two

    async def test_what_does_not_run_goes_first(self, stack: FleetStack) -> None:
        """So one is left that does; how many there are, and in which state, the controller sees."""

        async def counted() -> Processes | None:
            problems: list[str] = []
            found = await programs_by_build(stack.rpc, "shop", problems)
            assert not problems
            return found["3f9c2ab"].processes

        await stack.fleet("shop").add_command(worker(release(stack), processes=3))
        assert await counted() == Processes(3, 0, 3, changing=True)  # they start
        for name in ("worker-3f9c2ab", "worker-3f9c2ab@3"):
            await stack.rpc.stop(name)

        async def is_one_left() -> bool:
            return await counted() == Processes(3, 1, 1)

        await until(is_one_left)
        before = (await stack.pids())["worker-3f9c2ab@2"]
        down = await stack.fleet("shop").scale("3f9c2ab", 1)
        assert set(down.removed) == {"worker-3f9c2ab", "worker-3f9c2ab@3"}
        left = {name: pid for name, pid in (await stack.pids()).items() if name not in BYSTANDERS}
        assert left == {"worker-3f9c2ab@2": before}
        await stack.fleet("shop").scale("3f9c2ab", 2)
        assert (await stack.pids()).keys() - BYSTANDERS == {"worker-3f9c2ab", "worker-3f9c2ab@2"}

    async def test_it_writes_what_add_would_have(self, stack: FleetStack) -> None:
        """So that adding with that number of processes is success afterwards."""
        told = worker(release(stack))
        await stack.fleet("shop").add_command(told)
        await stack.fleet("shop").scale("3f9c2ab", 2)
        more = worker(release(stack), metrics_port=told.metrics_port, processes=2)
        assert [each.existed for each in await stack.fleet("shop").add_command(more)] == [True] * 2

    async def test_a_taken_port_is_passed_over(self, stack: FleetStack) -> None:
        """The new process gets the first free one."""
        told = worker(release(stack))
        await stack.fleet("shop").add_command(told)
        assert told.metrics_port is not None
        stack.configure("other", f"command = sleep 1000 --port {told.metrics_port + 1}")
        await stack.rpc.update("other")
        await stack.fleet("shop").scale("3f9c2ab", 2)
        port = (await stack.targets())["worker-3f9c2ab@2"]
        assert port not in (told.metrics_port, told.metrics_port + 1)
        again = worker(release(stack), metrics_port=told.metrics_port, processes=2)
        assert [each.existed for each in await stack.fleet("shop").add_command(again)] == [True] * 2
        stack.forget("other")
        await stack.rpc.update("other")

    async def test_a_build_of_this_folders_own_code_scales_too(self, stack: FleetStack) -> None:
        """Its program file is of another form, and one process is like another all the same."""
        added = await stack.fleet().add("v7", "compatible")
        before = (await stack.pids())["worker-v7"]
        await stack.fleet().scale("v7", 2)
        assert (await stack.pids())["worker-v7"] == before
        ports = await stack.targets()
        assert added.metrics_port is not None
        assert ports["worker-v7@2"] != ports["worker-v7"] == added.metrics_port
        assert await stack.fleet().remove("v7") == ("worker-v7", "worker-v7@2")

    async def test_what_was_not_added_cannot_be_scaled(self, stack: FleetStack) -> None:
        """No program, or one of another hand: that is told."""
        with pytest.raises(Failure, match="supervisord has no program that runs 3f9c2ab of shop"):
            await stack.fleet("shop").scale("3f9c2ab", 2)
        stack.configure(
            "hand",
            "command = sleep 1000",
            'environment = TEMPORAL_DEPLOYMENT_NAME="shop",TEMPORAL_WORKER_BUILD_ID="3f9c2ab"',
        )
        await stack.rpc.update("hand")
        with pytest.raises(Failure, match=r"hand has no file .* that `rollout add` wrote"):
            await stack.fleet("shop").scale("3f9c2ab", 2)


class TestRemove:
    """All processes of a build."""

    async def test_a_removal_that_died_half_way_is_finished(self, stack: FleetStack) -> None:
        """Its files are gone and its programs still loaded: only their names tell what they are."""
        await stack.fleet("shop").add_command(worker(release(stack), processes=2))
        for name in ("worker-3f9c2ab", "worker-3f9c2ab@2"):
            stack.forget(name)
        fresh = FleetStack.fleet(stack, "shop")
        assert set(await fresh.remove("3f9c2ab")) == {"worker-3f9c2ab", "worker-3f9c2ab@2"}
