"""Adding and removing worker programs under a real supervisord, without touching any other."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import Client

from rollout.base.exit import Failure, Misuse
from rollout.supervision.fleet.fleet import Fleet
from rollout.supervision.fleet.loading import Loader
from rollout.supervision.fleet.program_files import NewWorker
from rollout.supervision.rpc import NotRunning, Supervisor
from rollout.temporal.observer import Observer
from tests.support.fleet_stack import BYSTANDERS, FleetStack
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually


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
    assert await running.targets() == {}


async def states(stack: FleetStack, group: str) -> list[str]:
    """The states of a group's processes."""
    return [each.state for each in (await stack.groups()).get(group, [])]


def hand_made(stack: FleetStack, name: str, build_id: str, *more: str) -> None:
    """Write a program file as a person might."""
    python = f"{stack.folder}/.venv/bin/python"
    stack.configure(
        name,
        f"command = {python} -m workers --build-id {build_id} --metrics-port 9150",
        f"directory = {stack.folder}",
        *more,
    )


class TestAdd:
    """A new build's program."""

    async def test_it_is_written_loaded_and_scraped(self, stack: FleetStack) -> None:
        """It runs under its file's name, and has a port of its own; it returns once it polls."""
        asked = iter([False, False, True])

        async def registered() -> bool:
            assert (await states(stack, "worker-v3"))[0] in ("STARTING", "RUNNING")
            return next(asked)

        added = await stack.fleet().add("v3", "incompatible", registered=registered)
        assert next(asked, None) is None
        assert added.metrics_port is not None
        assert added.file.read_text() == NewWorker("v3", "incompatible", "greetings").render(
            added.metrics_port
        )
        assert await stack.targets() == {"worker-v3": added.metrics_port}
        assert added.metrics_port >= 9103
        eventually(lambda: "polling" in added.log_file.read_text())

        beside = await stack.fleet().add("v4:x+1", "compatible", flags=["--drain", "5s"])
        assert beside.name == "worker-v4-x+1"
        assert beside.metrics_port is not None
        assert beside.metrics_port > added.metrics_port
        for build_id in ("v3", "v4:x+1"):
            await stack.fleet().remove(build_id)
        assert added.log_file.exists()

    async def test_what_is_there_already_is_refused(self, stack: FleetStack) -> None:
        """Another program of the build, or of that name, is named; the same is success."""
        added = await stack.fleet().add("v3", "incompatible")
        (before,) = (await stack.groups())["worker-v3"]
        with pytest.raises(
            Failure, match="v3 has the program worker-v3 already, in state STARTING"
        ):
            await stack.fleet().add("v3", "compatible")
        again = await stack.fleet().add("v3", "incompatible")
        assert again == replace(added, existed=True)
        with pytest.raises(Failure, match="supervisord has another program called worker-v3"):
            await stack.fleet("shop").add("v3", "compatible")
        with pytest.raises(Failure, match=rf"port {added.metrics_port} is another program's"):
            await stack.fleet().add("v4", "compatible", metrics_port=added.metrics_port)
        (after,) = (await stack.groups())["worker-v3"]
        assert before.pid == after.pid
        await stack.fleet().remove("v3")

    async def test_a_pending_file_is_not_overwritten(self, stack: FleetStack) -> None:
        """What a person has written and not loaded yet is named, under any name, and kept."""
        hand_made(stack, "worker-v3", "v3")
        with pytest.raises(Failure, match=r"worker-v3\.ini exists already, says something else"):
            await stack.fleet().add("v3", "compatible")
        stack.forget("worker-v3")
        hand_made(stack, "third", "v3")
        with pytest.raises(Failure, match="v3 has the program third already, which is not loaded"):
            await stack.fleet().add("v3", "compatible")
        assert "third.ini" in stack.files()
        stack.forget("third")

    @pytest.mark.parametrize(
        ("build_id", "flags", "kind", "message"),
        [
            ("v 3", (), Misuse, "build id 'v 3'"),
            ("broken", (), Failure, "^the code of this build is broken$"),
            ("v3", ("--drain", "5s;"), Misuse, "'5s;' cannot stand in a program file"),
            ("v3", ("--app=%(here)s",), Misuse, "cannot stand in a program file"),
            ("v3", ("--drain", "${X}"), Misuse, "cannot stand in a program file"),
            ("v3", ("--build=v4",), Misuse, "--build cannot be among"),
            ("v3", ("--check",), Misuse, "--check cannot be among"),
        ],
    )
    async def test_a_bad_call_changes_nothing(
        self, stack: FleetStack, build_id: str, flags: list[str], kind: type, message: str
    ) -> None:
        """It is told before anything is written."""
        with pytest.raises(kind, match=message):
            await stack.fleet().add(build_id, "compatible", flags=flags)

    async def test_a_folder_without_workflows_of_its_own(self, stack: FleetStack) -> None:
        """Where ``python -m workers`` is not there, the module of the workflows has to be given."""
        door = stack.folder / "workers" / "__main__.py"
        away = door.rename(door.with_name("away.py"))
        try:
            with pytest.raises(Misuse, match=r"^which workflows\? give --app MODULE$"):
                await stack.fleet().add("v3", "compatible")
            with pytest.raises(Misuse, match=r"no\.such\.app"):
                await stack.fleet().add("v3", "compatible", app="no.such.app")
        finally:
            away.rename(door)

    async def test_a_broken_file_of_another_is_named(self, stack: FleetStack) -> None:
        """It is all or nothing for supervisord: neither adding nor removing begins."""
        added = await stack.fleet().add("v3", "incompatible")
        (stack.programs / "broken.ini").write_text("[program:broken]\nno option\n")
        with pytest.raises(
            Failure, match=r"nothing can be added until this is mended.*broken\.ini"
        ):
            await stack.fleet().add("v4", "compatible")
        with pytest.raises(Failure, match=r"until this is mended.*broken\.ini"):
            await stack.fleet().remove("v3")
        assert added.file.exists()
        assert await states(stack, "worker-v3") == ["STARTING"]
        stack.forget("broken")
        await stack.fleet().remove("v3")

    async def test_a_foreign_supervisord_is_told(self, stack: FleetStack) -> None:
        """Where supervisord reads other files than ours, ours is taken back."""
        other = FleetStack()
        with pytest.raises(Failure, match=r"supervisord has not taken .*worker-v3\.ini"):
            await Fleet(stack.rpc, other.folder).add("v3", "compatible")
        assert "worker-v3.ini" not in other.files()
        other.stop()

    async def test_no_supervisord(self) -> None:
        """Without supervisord nothing is written, nor deleted."""
        other = FleetStack()
        hand_made(other, "worker-v3", "v3")
        for call in (
            other.fleet().add("v4", "compatible"),
            other.fleet().remove("v3"),
            other.fleet().stop("v3"),
            other.fleet().start("v3"),
        ):
            with pytest.raises(NotRunning, match="supervisord is not running"):
                await call
        assert other.files() == {"one.ini", "two.ini", "worker-v3.ini"}
        other.stop()

    async def test_a_worker_that_dies_is_told(self, stack: FleetStack) -> None:
        """Its last words, its log and what undoes it are named; its program stays to be read."""
        with pytest.raises(Failure) as failure:
            await stack.fleet().add("dying", "compatible", registered=never)
        said = str(failure.value)
        assert said.startswith("worker-dying does not stay up, saying: the server knows other code")
        assert "worker-dying.log; `rollout retire dying` removes it" in said
        assert (stack.programs / "worker-dying.ini").exists()
        await stack.fleet().remove("dying")

    async def test_a_worker_that_never_polls_is_told(self, stack: FleetStack) -> None:
        """After the deadline the call ends, and says where to look."""
        with pytest.raises(Failure, match=r"the server has not had v3 polling within 0.3 s; see "):
            await stack.fleet().add("v3", "compatible", registered=never, seconds=0.3)
        await stack.fleet().remove("v3")


async def never() -> bool:
    """The server does not know the worker."""
    return False


class TestOthers:
    """What other people do to the files at the same time."""

    async def test_pending_changes_stay_pending(self, stack: FleetStack) -> None:
        """Neither a new file nor a changed one of somebody else's is taken along."""
        text = (stack.programs / "one.ini").read_text()
        stack.configure("one", "command = sleep 2000")
        stack.configure("three", "command = sleep 1000")
        before = (await stack.groups())["one"][0].pid
        await stack.fleet().add("v3", "compatible")
        await stack.fleet().remove("v3")
        groups = await stack.groups()
        assert set(groups) == set(BYSTANDERS)
        assert groups["one"][0].pid == before
        changes = await stack.rpc.reread()
        assert (changes.added, changes.changed, changes.removed) == (("three",), ("one",), ())
        stack.forget("three")
        (stack.programs / "one.ini").write_text(text)
        await stack.rpc.reread()

    async def test_two_at_once(self, stack: FleetStack) -> None:
        """Of two processes that add two builds each gets its own port; then both remove theirs."""
        add = "asyncio.run(fleet.add({!r}, 'compatible'))"
        for _, status in run_all(stack, [add.format("v3"), add.format("v4")]):
            assert status == 0
        ports = await stack.targets()
        assert set(ports) == {"worker-v3", "worker-v4"}
        assert len(set(ports.values())) == 2
        for _, status in run_all(
            stack, [f"asyncio.run(fleet.remove({b!r}))" for b in ("v3", "v4")]
        ):
            assert status == 0

    async def test_the_same_build_twice_at_once(self, stack: FleetStack) -> None:
        """One adds it; the other finds it there."""
        add = "finish('add', lambda: bool(asyncio.run(fleet.add('v3', 'compatible'))) - 1)"
        ended = run_all(stack, [add, add])
        assert [status for _, status in ended] == [0, 0], ended
        assert len(await states(stack, "worker-v3")) == 1
        await stack.fleet().remove("v3")

    async def test_waiting_has_an_end(self, stack: FleetStack) -> None:
        """Whoever holds the lock for too long is named by it; once it is free all goes on."""
        loader = Loader(stack.rpc, stack.folder)
        async with loader.alone():
            with pytest.raises(Failure, match=r"who holds .*/var/run/programs\.lock; try again"):
                async with loader.alone(seconds=0.2):
                    pass
        async with loader.alone(seconds=0.2):
            descriptor = os.open(stack.folder / "var/run/programs.lock", os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(descriptor)


def run_all(stack: FleetStack, scripts: list[str]) -> list[tuple[str, int]]:
    """Run scripts at once: what each said on stderr, and its exit code."""
    processes = [stack.script(each) for each in scripts]
    return [(each.communicate(timeout=60)[1], each.returncode) for each in processes]


class TestCrashes:
    """Killed in the middle, and begun again."""

    @pytest.mark.parametrize("where", ["Loader.update", "Supervisor.add_group"])
    async def test_add(self, stack: FleetStack, where: str) -> None:
        """Written and not loaded: a second call loads it as it is, on the same port."""
        script = f"{where} = crash\nasyncio.run(fleet.add('v3', 'compatible'))"
        ((_, status),) = run_all(stack, [script])
        assert status == -9
        text = (stack.programs / "worker-v3.ini").read_text()
        assert await states(stack, "worker-v3") == []
        added = await stack.fleet().add("v3", "compatible")
        assert added.file.read_text() == text
        await stack.fleet().remove("v3")

    async def test_add_before_the_rename(self, stack: FleetStack) -> None:
        """Half-written: the next change of any program sweeps it away."""
        ((_, status),) = run_all(
            stack, ["os.fsync = crash\nasyncio.run(fleet.add('v3', 'compatible'))"]
        )
        assert status == -9
        assert [each for each in stack.files() if re.fullmatch(r"\.worker-v3\.ini\..*new", each)]
        (stack.folder / ".supervisord.conf.new").touch()
        await stack.fleet().remove("v9")

    @pytest.mark.parametrize(
        "where", ["Path.unlink", "Loader.update", "Supervisor.reread", "Supervisor.remove_group"]
    )
    async def test_remove(self, stack: FleetStack, where: str) -> None:
        """Stopped, deleted or forgotten, yet still loaded: a second call removes what is left."""
        await stack.fleet().add("v3", "compatible")
        ((_, status),) = run_all(stack, [f"{where} = crash\nasyncio.run(fleet.remove('v3'))"])
        assert status == -9
        assert len(await states(stack, "worker-v3")) == 1
        assert await stack.fleet().remove("v3") == ("worker-v3",)
        assert await stack.fleet().remove("v3") == ()


class TestStopStartRemove:
    """The programs of one build, however many there are."""

    async def test_several_processes(self, stack: FleetStack) -> None:
        """All processes of a build stop, start and go together, whatever their file is called."""
        hand_made(
            stack, "third", "slow", "numprocs = 2", "process_name = w%(process_num)d",
            "startsecs = 0",
        )  # fmt: skip
        await stack.rpc.update("third")
        names = ("third:w0", "third:w1")
        eventually(lambda: "RUNNING" in stack.ctl("status", "third:*").stdout)
        assert await stack.fleet().stop("slow") == names
        assert await states(stack, "third") == ["STOPPED", "STOPPED"]
        assert await stack.fleet().stop("slow") == names
        assert await stack.fleet().start("slow") == names
        assert set(await states(stack, "third")) <= {"STARTING", "RUNNING"}
        assert await stack.fleet().remove("slow") == names

    async def test_a_start_during_a_stop(self, stack: FleetStack) -> None:
        """A worker that is still stopping is waited for, and then started."""
        added = await stack.fleet().add("slow", "compatible")
        eventually(lambda: "polling" in added.log_file.read_text())
        with stack.slow_workers_held():
            await stack.fleet().stop("slow", wait=False)
            starting = asyncio.create_task(stack.fleet().start("slow"))
            await asyncio.wait([starting], timeout=0.3)
            assert await states(stack, added.name) == ["STOPPING"]
            assert not starting.done()
        await starting
        assert set(await states(stack, added.name)) <= {"STARTING", "RUNNING"}
        await stack.fleet().remove("slow")

    async def test_a_stop_that_takes_too_long(self, stack: FleetStack) -> None:
        """After the deadline the call ends, and says how to end the process; the file stays."""
        added = await stack.fleet().add("slower", "compatible")
        eventually(lambda: "polling" in added.log_file.read_text())
        with (
            stack.slow_workers_held(),
            pytest.raises(Failure, match=r"worker-slower did not end within 0\.1 s; .*signal KILL"),
        ):
            await stack.fleet().remove("slower", seconds=0.1)
        assert added.file.exists()
        await stack.fleet().remove("slower")

    async def test_a_build_of_another_deployment_is_let_be(self, stack: FleetStack) -> None:
        """Two deployments may use one build id: each fleet sees its own alone."""
        hand_made(stack, "third", "v3 --deployment shop")
        await stack.rpc.update("third")
        with pytest.raises(Failure, match="supervisord has no program that runs v3 of greetings"):
            await stack.fleet().stop("v3")
        assert await stack.fleet().remove("v3") == ()
        assert await stack.fleet("shop").remove("v3") == ("third",)

    async def test_a_shared_file_is_not_deleted(self, stack: FleetStack) -> None:
        """A file with another section, or a section elsewhere, is named, and nothing is stopped."""
        hand_made(stack, "third", "v3", "[program:fourth]", "command = sleep 1", "autostart = no")
        await stack.rpc.update("third")
        with pytest.raises(Failure, match=r"third.ini holds \[program:fourth\] as well as"):
            await stack.fleet().remove("v3")
        assert "STOPPED" not in await states(stack, "third")
        conf, file = stack.folder / "supervisord.conf", stack.programs / "third.ini"
        text = conf.read_text()
        conf.write_text(f"{text}\n{file.read_text()}")
        file.unlink()
        with pytest.raises(Failure, match=r"third has no file of its own in .*workers/programs"):
            await stack.fleet().remove("v3")
        assert "STOPPED" not in await states(stack, "third")
        conf.write_text(text)
        await stack.rpc.update("third")

    async def test_logs(self, stack: FleetStack) -> None:
        """The log stays, what was rotated goes, and a log nobody has written to for a week."""
        added = await stack.fleet().add("v3", "compatible")
        rotated = added.log_file.with_name("worker-v3.log.1")
        old, recent = stack.logs / "worker-v0.log", stack.logs / "worker-v1.log"
        for file in (rotated, old, recent):
            file.write_text("line\n")
        os.utime(old, (0, 0))
        await stack.fleet().add("v4", "compatible")
        os.utime(stack.logs / "worker-v4.log", (0, 0))
        await stack.fleet().remove("v3")
        assert {file.name for file in stack.logs.iterdir()} >= {
            added.log_file.name, recent.name, "worker-v4.log",
        }  # fmt: skip
        assert not rotated.exists()
        assert not old.exists()
        await stack.fleet().remove("v4")

    async def test_ten_in_a_row(self, stack: FleetStack) -> None:
        """Ten builds come and go: no file, group, target or open file of supervisord's is left."""
        await stack.fleet().add("v9", "compatible")
        await stack.fleet().remove("v9")
        before = stack.open_files()
        ports = set()
        for number in range(10, 20):
            added = await stack.fleet().add(f"v{number}", "incompatible")
            ports.add(added.metrics_port)
            assert set(await stack.targets()) == {added.name}
            await stack.fleet().remove(f"v{number}")
            assert stack.files() == {"one.ini", "two.ini"}
        assert len(ports) == 1
        eventually(lambda: stack.open_files() <= before)


@pytest.mark.temporal
async def test_with_a_real_worker(temporal_server: DevServer) -> None:
    """A demo build that is added polls a real server when the call returns, and can be removed."""
    name = f"f{secrets.token_hex(4)}"
    stack = FleetStack("real", **temporal_server.environ)
    stack.start()
    try:
        fleet = stack.fleet(name)
        observer = Observer(await Client.connect(temporal_server.address), name)

        async def polls() -> bool:
            return bool((await observer.observe()).version("v1.1").workers)

        with pytest.raises(Misuse, match="unknown build 'v9'"):
            await fleet.add("v9", "compatible")
        port = free_port()
        added = await fleet.add(
            "v1.1", "compatible", task_queue=name, metrics_port=port, registered=polls
        )
        assert added.metrics_port == port
        assert await polls()
        await fleet.remove("v1.1")
        assert not await polls()
        assert stack.files() == {"one.ini", "two.ini"}
    finally:
        stack.stop()


def test_a_supervisord_that_is_gone_is_typed(tmp_path: Path) -> None:
    """Callers can tell "not running" from a refusal."""
    with pytest.raises(NotRunning):
        asyncio.run(Fleet(Supervisor(tmp_path / "s.sock"), tmp_path).remove("v3"))
