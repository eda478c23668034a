"""Version sets, the older API: real workers on a server that has it switched on, and one not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from temporalio.client import Client

from rollout.base.exit import Failure
from rollout.commands.version_sets import as_json, render
from rollout.core.version_sets import Build, Place, VersionSets, safe_to_stop
from rollout.temporal.version_sets import VersionSetRouting
from tests.support.runs import builds, greet, order, settled
from tests.support.temporal_server import DevServer
from tests.support.waiting import eventually, until
from tests.support.worker_process import run, worker

LEGACY = ("--versioning", "version-sets")


@pytest.fixture(scope="module")
def legacy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A server with version sets switched on."""
    server = DevServer(
        tmp_path_factory.mktemp("legacy"),
        "--dynamic-config-value",
        "frontend.workerVersioningDataAPIs=true",
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def name() -> str:
    """A task queue of the test's own."""
    return f"s{secrets.token_hex(4)}"


@pytest.fixture
async def client(legacy_server: DevServer) -> Client:
    """A client of the server with version sets."""
    return await Client.connect(legacy_server.address)


def sets(client: Client, name: str) -> VersionSetRouting:
    """The version sets of the task queue ``name``."""
    return VersionSetRouting(client, name)


def ids(seen: VersionSets) -> list[list[str]]:
    """The build ids of each set."""
    return [[build.build_id for build in version_set] for version_set in seen.sets]


async def seen_when(client: Client, name: str, **expected: tuple[int, int]) -> VersionSets:
    """The status, once each build named has so many open runs and live workers."""

    async def so() -> VersionSets:
        seen = await sets(client, name).observe()
        counts = {b.build_id.replace(".", "_"): (b.open_runs, b.workers) for b in seen.builds}
        assert {build: counts.get(build) for build in expected} == expected
        return seen

    return await until(so)


@pytest.mark.temporal
class TestStrategies:
    """What happens to new runs and to those that have begun."""

    async def test_by_hand(
        self, legacy_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """v1, then a compatible v1.1 that takes over v1's orders, then an incompatible v2."""
        with worker(legacy_server, tmp_path, name, "v1", "compatible", *LEGACY) as v1:
            settled(v1)
            assert await greet(client, name) == "Hello from worker Build ID: v1!"
            first = await order(client, name, 10)
            await seen_when(client, name, v1=(1, 1))

            with worker(legacy_server, tmp_path, name, "v1.1", "compatible", *LEGACY) as v1_1:
                settled(v1_1)
                assert v1.stop() == 0
                assert await greet(client, name) == "Hello from worker Build ID: v1.1!"
                # The order lists both builds by now, and is counted for the one that it is on.
                seen = await seen_when(client, name, v1=(0, 0), v1_1=(1, 1))
                assert ids(seen) == [["v1", "v1.1"]]
                assert safe_to_stop(seen, "v1").safe_to_stop
                second = await order(client, name, 10)
                await seen_when(client, name, v1_1=(2, 1))

                with worker(legacy_server, tmp_path, name, "v2", "incompatible", *LEGACY) as v2:
                    settled(v2)
                    assert await greet(client, name) == "Hello from worker Build ID: v2!"
                    seen = await seen_when(client, name, v2=(0, 1))
                    assert ids(seen) == [["v1", "v1.1"], ["v2"]]
                    assert seen.default == "v2"
                    assert not safe_to_stop(seen, "v1.1").safe_to_stop
                    assert "v1.1" in builds(await first.result())
                    assert builds(await second.result()) == {"v1.1"}
                    third = await order(client, name, 1)
                    assert builds(await third.result()) == {"v2"}
                    seen = await seen_when(client, name, v1_1=(0, 1))
                    assert safe_to_stop(seen, "v1.1").safe_to_stop

    async def test_runs_wait_for_their_build(
        self, legacy_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """With v1 stopped too early its order waits, and a v1 that is back changes no set."""
        with worker(legacy_server, tmp_path, name, "v1", "compatible", *LEGACY) as v1:
            settled(v1)
            handle = await order(client, name, 2)
            await seen_when(client, name, v1=(1, 1))
            assert v1.stop() == 0
        with worker(legacy_server, tmp_path, name, "v2", "new-default-set", *LEGACY) as v2:
            settled(v2)
            assert await greet(client, name) == "Hello from worker Build ID: v2!"
            with worker(legacy_server, tmp_path, name, "v1", "compatible", *LEGACY) as again:
                settled(again)
                assert again.records("keeping its place")
                assert builds(await handle.result()) == {"v1"}
                assert await greet(client, name) == "Hello from worker Build ID: v2!"
                assert ids(await sets(client, name).observe()) == [["v1"], ["v2"]]

    async def test_a_superseded_build_is_told(
        self, legacy_server: DevServer, client: Client, name: str, tmp_path: Path
    ) -> None:
        """A build whose set has a newer one says that it gets no tasks, and stops when told."""
        await sets(client, name).take_place("v1", "compatible")
        await sets(client, name).take_place("v1.1", "compatible")
        with worker(legacy_server, tmp_path, name, "v1", "compatible", *LEGACY) as v1:
            eventually(lambda: v1.records("polling"), seconds=30)
            warnings = [r for r in v1.records(TOLD) if r["level"] == "warning"]
            assert len(warnings) == 1
            assert v1.stop() == 0


TOLD = (
    "this build gets no tasks: a newer one of its version set has taken them over; "
    "its worker can be stopped once that one polls"
)


@pytest.mark.temporal
class TestRegister:
    """The place that a build takes before it polls."""

    async def test_each_strategy(self, client: Client, name: str) -> None:
        """The first build opens a set, compatible ones join the default set, others open one."""
        taken = [
            await sets(client, name).take_place(build, strategy)
            for build, strategy in (
                ("a", "compatible"),
                ("b", "compatible"),
                ("c", "incompatible"),
                ("d", "new-default-set"),
                ("e", "compatible"),
            )
        ]
        assert taken == ["default"] * 5
        assert ids(await sets(client, name).observe()) == [
            ["a", "b"],
            ["c"],
            ["d", "e"],
        ]

    async def test_a_place_is_kept(self, client: Client, name: str) -> None:
        """A build that is in a set stays there, whatever strategy it comes back with."""
        for build in ("a", "b", "c"):
            await sets(client, name).take_place(
                build, "incompatible" if build == "c" else "compatible"
            )
        assert await sets(client, name).take_place("a", "incompatible") == "superseded"
        assert await sets(client, name).take_place("b", "incompatible") == "set-default"
        assert await sets(client, name).take_place("c", "compatible") == "default"
        assert ids(await sets(client, name).observe()) == [["a", "b"], ["c"]]

    async def test_too_many_sets_are_told(self, client: Client, name: str) -> None:
        """At the server's limit the refusal names the setting that allows more."""
        for number in range(10):
            await sets(client, name).take_place(f"b{number}", "incompatible")
        with pytest.raises(Failure) as refused:
            await sets(client, name).take_place("b10", "incompatible")
        assert str(refused.value).startswith(f"b10 cannot be registered for task queue {name}: ")
        assert "limit.versionCompatibleSetLimitPerQueue" in str(refused.value)


@pytest.mark.temporal
class TestSwitchedOff:
    """A server without version sets."""

    def test_the_worker_says_so(self, temporal_server: DevServer, name: str) -> None:
        """It ends with exit code 1 and one line that names the setting."""
        words = ("--build-id", "v1", "--strategy", "compatible", "--task-queue", name)
        refused = run(temporal_server, "workers", *words, *LEGACY, LOG_FORMAT="console")
        assert refused.returncode == 1
        assert refused.stderr == f"workers: {SWITCHED_OFF}\n"

    async def test_the_status_says_so(self, temporal_server: DevServer, name: str) -> None:
        """The same sentence as a `Failure`."""
        client = await Client.connect(temporal_server.address)
        with pytest.raises(Failure) as refused:
            await sets(client, name).observe()
        assert str(refused.value) == SWITCHED_OFF


SWITCHED_OFF = (
    "this Temporal server has version sets switched off: set its dynamic config "
    "frontend.workerVersioningDataAPIs=true, or use --versioning deployment"
)


class TestBadInput:
    """Options that do not go together are refused before anything is started."""

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ("--versioning blue", "unknown versioning 'blue': use deployment, version-sets, none"),
            ("--versioning version-sets --managed", "--managed goes with --versioning deployment"),
            ("--versioning none --managed", "--managed goes with --versioning deployment alone"),
            ("--versioning none --behavior auto-upgrade", "--behavior auto-upgrade goes with"),
            ("--behavior sticky", "unknown behavior 'sticky': use pinned, auto-upgrade"),
        ],
    )
    def test_it_is_told(self, temporal_server: DevServer, flags: str, message: str) -> None:
        """One line, exit code 2."""
        words = ("--build-id", "v1", "--strategy", "compatible", *flags.split())
        result = run(temporal_server, "workers", *words)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"workers: {message}")
        assert result.stderr.count("\n") == 1

    def test_a_strategy_is_needed(self, temporal_server: DevServer) -> None:
        """Version sets need one as versions do; a worker without a version needs none."""
        words = ("workers", "--build-id", "v1", "--check", "--versioning")
        assert run(temporal_server, *words, "version-sets").returncode == 2
        assert run(temporal_server, *words, "none").returncode == 0


def build(
    build_id: str, place: Place, *, open_runs: int | None = 0, workers: int | None = 1
) -> Build:
    """A build without open runs, with one worker."""
    return Build(build_id, place, open_runs, workers)


SEEN = VersionSets(
    "default",
    "greetings",
    ((build("v1", "superseded"), build("v1.1", "set-default")), (build("v2", "default"),)),
)


def with_builds(*changed: Build, not_begun: int | None = 0) -> VersionSets:
    """`SEEN` with some of its builds replaced, and so many runs that have not begun."""
    by_id = {b.build_id: b for b in changed}
    sets = tuple(tuple(by_id.get(b.build_id, b) for b in s) for s in SEEN.sets)
    return replace(SEEN, sets=sets, not_begun=not_begun)


class TestSafeToStop:
    """The verdict, with its evidence."""

    def test_all_is_known_and_well(self) -> None:
        """Every build but the one with the new runs may be stopped where nothing is open."""
        verdicts = {b.build_id: safe_to_stop(SEEN, b.build_id).safe_to_stop for b in SEEN.builds}
        assert verdicts == {"v1": True, "v1.1": True, "v2": False}

    @pytest.mark.parametrize(
        ("seen", "detail"),
        [
            (with_builds(build("v1.1", "set-default", open_runs=2)), "2 runs are open in its set"),
            (with_builds(build("v1", "superseded", open_runs=1)), "1 run is open in its set"),
            (
                with_builds(build("v1", "superseded", open_runs=None)),
                "the open runs of its set could not be counted",
            ),
            (with_builds(not_begun=1), "1 run has not begun and may be for its set"),
            (
                with_builds(not_begun=None),
                "the runs that have not begun could not be counted",
            ),
            (with_builds(build("v2", "default", workers=0)), "v2 has no live worker"),
            (
                with_builds(build("v2", "default", workers=None)),
                "the workers of v2 are not known",
            ),
        ],
    )
    def test_each_point_speaks_against(self, seen: VersionSets, detail: str) -> None:
        """One point that does not hold, or is not known, is enough to keep v1.1's worker."""
        verdict = safe_to_stop(seen, "v1.1")
        assert [point.detail for point in verdict.evidence if not point.ok] == [detail]

    def test_an_heir_without_a_worker(self) -> None:
        """A superseded build is needed until a worker of the newer one lives."""
        seen = with_builds(build("v1.1", "set-default", workers=0))
        assert not safe_to_stop(seen, "v1").safe_to_stop


class TestShow:
    """The status for people and for scripts."""

    def test_text(self) -> None:
        """Sets, builds, what each takes, counts and verdicts, within 80 columns."""
        console = Console(width=80)
        with console.capture() as captured:
            console.print(render(with_builds(build("v1", "superseded", open_runs=None))))
        text = captured.get()
        lines = [line.split() for line in text.splitlines()]
        assert ["v1", "v1", "nothing", "?", "1"] in lines
        assert ["v2", "v2", "new", "runs", "and", "its", "set's", "0", "1"] in lines
        assert "v1.1 not safe to stop\n  - the open runs of its set could not be counted" in text
        assert max(map(len, text.splitlines())) <= 80

    def test_nothing_registered(self) -> None:
        """Without any set it says how to make one."""
        console = Console(width=80)
        with console.capture() as captured:
            console.print(render(VersionSets("default", "greetings")))
        assert "--versioning version-sets" in captured.get()

    def test_json(self) -> None:
        """The keys that scripts read."""
        shown = as_json(SEEN)
        assert (shown["task_queue"], shown["default"], shown["not_begun"]) == ("greetings", "v2", 0)
        assert [s["default"] for s in shown["sets"]] == [False, True]
        v1 = shown["sets"][0]["builds"][0]
        assert (v1["build_id"], v1["place"], v1["safe_to_stop"]) == ("v1", "superseded", True)
        assert {point["check"] for point in v1["evidence"]} == {"routing", "replacement"}
