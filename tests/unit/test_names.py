"""What a deployment and a build id may be called: the server's own rules."""

from __future__ import annotations

import pytest

from rollout.base.exit import Misuse
from rollout.base.names import valid_build_id, valid_deployment
from rollout.supervision.fleet.names import program_name
from rollout.supervision.fleet.program_files import NewWorker

ODD = ["it's", 'a"b', "release/2026-11", "ü 1", "-x", "a_b__", "_x", "x" * 255, "a\\b", " "]


@pytest.mark.parametrize("name", ODD)
def test_what_the_server_accepts(name: str) -> None:
    """Quotes, blanks, slashes and other scripts are accepted in both."""
    assert valid_build_id(name) == name
    assert valid_deployment(name) == name


@pytest.mark.parametrize("name", ["", "__x", "__unversioned__", "x" * 256, "\udcff"])
def test_what_is_none(name: str) -> None:
    """Empty, reserved, too long, or no text at all."""
    with pytest.raises(Misuse):
        valid_build_id(name)
    with pytest.raises(Misuse):
        valid_deployment(name)


@pytest.mark.parametrize("name", ["a.b", "a:b"])
def test_dots_and_colons(name: str) -> None:
    """A build id may have them, a deployment may not."""
    assert valid_build_id(name) == name
    with pytest.raises(Misuse, match=r"no '\.' and no ':'"):
        valid_deployment(name)


@pytest.mark.parametrize("name", ODD[:5])
def test_a_program_file_holds_less(name: str) -> None:
    """It says so, and that Temporal allows the name."""
    told = "cannot stand in a program file: .*by other means: Temporal allows it"
    with pytest.raises(Misuse, match=f"build id .*{told}"):
        program_name(name)
    with pytest.raises(Misuse, match=f"deployment name .*{told}"):
        NewWorker("v1", "compatible", name)
