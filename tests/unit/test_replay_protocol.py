"""What a replay program says, held against what it was asked."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rollout.base.exit import Failure
from rollout.replay.process import ReplayCommand, run_replay
from rollout.replay.protocol import NoVerdict, Verdicts


def line(number: int) -> dict[str, Any]:
    """A line of the input."""
    started = {"workflowExecutionStartedEventAttributes": {"workflowType": {"name": "Order"}}}
    return {
        "workflow_id": f"order-{number}",
        "run_id": f"r{number}",
        "namespace": "default",
        "history": {"events": [started]},
    }


def verdict(number: int = 1, **more: object) -> bytes:
    """A line of the output."""
    answer = {"workflow_id": f"order-{number}", "run_id": f"r{number}", "ok": True, **more}
    return json.dumps(answer).encode()


@pytest.fixture
def asked() -> Verdicts:
    """Order 1 was asked for, and order 2."""
    verdicts = Verdicts()
    verdicts.ask(line(1))
    verdicts.ask(line(2))
    return verdicts


class TestVerdicts:
    """Which lines are verdicts."""

    def test_one_a_history(self, asked: Verdicts) -> None:
        """They are told in the order in which they were asked for, each with its type."""
        asked.answer(verdict(2, ok=False, event_id=7, error="no such step"))
        asked.answer(b"\n")
        asked.answer(verdict(1, extra="ignored"))
        first, second = asked.all()
        assert (first["workflow_id"], first["workflow_type"], first["ok"]) == (
            "order-1",
            "Order",
            True,
        )
        assert (second["ok"], second["event_id"], second["error"]) == (False, 7, "no such step")

    def test_a_break_without_a_reason(self, asked: Verdicts) -> None:
        """It is a break all the same."""
        asked.answer(verdict(1, ok=False))
        asked.answer(verdict(2))
        assert asked.all()[0]["error"] == "its replay gives no reason"

    def test_a_long_reason_is_one_short_line(self, asked: Verdicts) -> None:
        """Go's error holds whole events."""
        asked.answer(verdict(1, ok=False, error="no such\n step" + " x" * 1000))
        asked.answer(verdict(2))
        error = asked.all()[0]["error"]
        assert error.startswith("no such step x x")
        assert (len(error), error[-1]) == (300, "…")

    @pytest.mark.parametrize(
        "printed",
        [
            pytest.param(b"> shop@1.0 replay", id="a banner"),
            pytest.param(b"{", id="half of one"),
            pytest.param(b"[]", id="a list"),
            pytest.param(b"true", id="a bare word"),
            pytest.param(json.dumps(line(1)).encode(), id="an echo"),
            pytest.param(b'{"ok": true}', id="of no run"),
            pytest.param(b'{"workflow_id": "order-1", "ok": true}', id="of no run id"),
            pytest.param(b'{"workflow_id": 1, "run_id": "r1", "ok": true}', id="a number"),
            pytest.param(verdict(ok="true"), id="a text for a truth"),
            pytest.param(verdict(ok=1), id="a number for a truth"),
            pytest.param(verdict(ok=None), id="nothing for a truth"),
            pytest.param(verdict(error="it breaks"), id="an error that is well"),
            pytest.param(verdict(ok=False, event_id="7"), id="a text for an event"),
            pytest.param(verdict(ok=False, event_id=True), id="a truth for an event"),
            pytest.param(verdict(ok=False, error=["a"]), id="a list for an error"),
            pytest.param(b"\xff\xfe", id="not UTF-8"),
            pytest.param(b"[" * 100_000, id="too deep"),
        ],
    )
    def test_whatever_else_is_none(self, asked: Verdicts, printed: bytes) -> None:
        """It is shown, and nothing counts as answered."""
        with pytest.raises(NoVerdict, match=r"^its replay printed .* which is no verdict"):
            asked.answer(printed)
        with pytest.raises(NoVerdict, match=r"^its replay judged 0 of 2 runs, not order-1$"):
            asked.all()

    def test_each_once(self, asked: Verdicts) -> None:
        """A second verdict on a run could be the one that is right."""
        asked.answer(verdict(1, ok=False))
        with pytest.raises(NoVerdict, match=r"^its replay judged order-1 twice$"):
            asked.answer(verdict(1))

    def test_of_a_run_that_was_not_given(self, asked: Verdicts) -> None:
        """Another run's verdict is not this one's."""
        with pytest.raises(
            NoVerdict, match=r"^its replay judged a run that it was not given: .*r9"
        ):
            asked.answer(
                json.dumps({"workflow_id": "order-1", "run_id": "r9", "ok": True}).encode()
            )

    def test_a_history_left_out(self, asked: Verdicts) -> None:
        """It was not tried, and whether it is ok counts for nothing."""
        asked.answer(verdict(1, ok=None, left_out="encrypted"))
        asked.answer(verdict(2))
        assert [each.get("left_out") for each in asked.all()] == ["encrypted", None]


WELL = """
import json, sys
for text in sys.stdin:
    given = json.loads(text)
    print(json.dumps({"workflow_id": given["workflow_id"], "run_id": given["run_id"], "ok": True}),
          flush=True)
"""


async def replayed(program: str, folder: Path, count: int = 3, timeout: float = 20) -> list[Any]:
    """What is made of ``count`` histories and ``program``, a text in Python."""

    async def histories() -> AsyncIterator[dict[str, Any]]:
        for number in range(1, count + 1):
            yield line(number)

    words = (sys.executable, "-c", program)
    command = ReplayCommand("v2", words, folder, os.environ, timeout=timeout)
    return await run_replay(command, histories())


class TestProgram:
    """What is made of a program, however it behaves."""

    async def test_well(self, tmp_path: Path) -> None:
        """A verdict a history, and exit code 0."""
        assert [each["ok"] for each in await replayed(WELL, tmp_path, 200)] == [True] * 200

    @pytest.mark.parametrize(
        ("program", "reason"),
        [
            pytest.param(
                f"print('ready', flush=True)\n{WELL}",
                "its replay printed 'ready', which is no verdict",
                id="it chats",
            ),
            pytest.param("", "its replay judged 0 of 3 runs, not order-1", id="it ends"),
            pytest.param(
                WELL.replace("sys.stdin:", "list(sys.stdin)[:2]:"),
                "its replay judged 2 of 3 runs, not order-3",
                id="one too few",
            ),
            pytest.param(
                f"{WELL}\nprint('out of memory', file=sys.stderr)\nsys.exit(3)",
                "out of memory",
                id="it fails at the end",
            ),
            pytest.param(
                f"{WELL}\nimport os\nos.kill(os.getpid(), 9)", "exit code -9", id="it is killed"
            ),
            pytest.param("import sys\nsys.exit('no module')", "no module", id="it fails at once"),
            pytest.param(
                "print('x' * (1 << 21))",
                "its replay printed more than 1048576 bytes as one line",
                id="a line without end",
            ),
            pytest.param(
                "while True: print('x')", "its replay printed 'x', which is no verdict", id="floods"
            ),
        ],
    )
    async def test_could_not_be_tried(self, tmp_path: Path, program: str, reason: str) -> None:
        """Whatever is not a verdict on each run, and nothing else, is told; it never passes."""
        with pytest.raises(Failure) as failed:
            await replayed(program, tmp_path)
        assert str(failed.value) == f"the code of v2 cannot be tried: {reason}"

    @pytest.mark.parametrize(
        "program",
        [
            pytest.param("import time\ntime.sleep(600)", id="it reads nothing"),
            pytest.param(f"{WELL}\nimport time\ntime.sleep(600)", id="it does not end"),
        ],
    )
    async def test_a_hang(self, tmp_path: Path, program: str) -> None:
        """Answers do not count where the program never ends, for it may not have been through."""
        with pytest.raises(Failure, match=r"^the replay on v2 took longer than 1 s"):
            await replayed(program, tmp_path, timeout=1)

    async def test_what_it_started_ends_with_it(self, tmp_path: Path) -> None:
        """As with `npm run replay`, whose processes are three."""
        child = "import subprocess, sys\nsubprocess.run(['sleep', '613'])"
        with pytest.raises(Failure, match="took longer"):
            await replayed(child, tmp_path, timeout=1)
        await asyncio.sleep(0)
        sleeping = [
            p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "613"]
        ]
        assert [p for p in sleeping if p.status() != psutil.STATUS_ZOMBIE] == []
