"""The world of the running stack, beside that of the shell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollout.supervision.surroundings import World, adopt, of_running_stack

STACK = World.of({"TEMPORAL_ADDRESS": "prod:7233", "TEMPORAL_NAMESPACE": "shop", "PATH": "/bin"})


class TestAdopt:
    """What the shell leaves unsaid is the stack's; what it says otherwise is told."""

    def test_a_shell_that_says_nothing(self) -> None:
        """It asks what the stack asks, and there is nothing to tell."""
        environ = {"PATH": "/usr/bin"}
        assert adopt(STACK, environ) == ()
        assert environ == {
            "PATH": "/usr/bin",
            "TEMPORAL_ADDRESS": "prod:7233",
            "TEMPORAL_NAMESPACE": "shop",
        }

    def test_a_shell_that_says_the_same(self) -> None:
        """That is no difference."""
        assert adopt(STACK, {"TEMPORAL_NAMESPACE": "shop"}) == ()

    @pytest.mark.parametrize(
        ("shell", "told"),
        [
            (
                {"TEMPORAL_NAMESPACE": "test"},
                "TEMPORAL_NAMESPACE is 'test' in this shell, and 'shop' in the running stack",
            ),
            (
                {"TEMPORAL_PORT": "7999"},
                "TEMPORAL_PORT is '7999' in this shell, and not set in the running stack",
            ),
            (
                {"TEMPORAL_API_KEY": "hunter2"},
                "TEMPORAL_API_KEY is another in this shell, and not set in the running stack",
            ),
        ],
    )
    def test_a_shell_that_says_otherwise(self, shell: dict[str, str], told: str) -> None:
        """The stack's world is used all the same, the difference is named, and no secret shown."""
        environ = dict(shell)
        assert adopt(STACK, environ) == (told,)
        assert World.of(environ) == STACK


class TestRunningStack:
    """It is found by its pid file."""

    @pytest.mark.parametrize("content", [None, "", "nonsense", "999999999", "ours"])
    def test_what_is_no_supervisord_is_none(self, tmp_path: Path, content: str | None) -> None:
        """No file, an empty one (as a full disk leaves it), a dead process, one that is another."""
        (tmp_path / "run").mkdir()
        content = str(os.getpid()) if content == "ours" else content
        if content is not None:
            (tmp_path / "run" / "supervisord.pid").write_text(content)
        assert of_running_stack(tmp_path) is None
