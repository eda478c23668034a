"""The ways to a supervisord: a socket, a port, a user and a password, its releases."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.base.exit import Misuse
from rollout.supervision.credentials import NONE, Credentials, find_credentials
from rollout.supervision.rpc import NotRunning, Refused, Supervisor
from tests.support.supervisord import PrivateSupervisord

_TCP = """
[inet_http_server]
port = 127.0.0.1:{port}
username = shop
password = s%%3cret
"""


@pytest.fixture
def port() -> int:
    """One that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    return number


@pytest.fixture
def supervisord(port: int) -> Iterator[PrivateSupervisord]:
    """One that also listens on ``port``, for those who know the password."""
    made = PrivateSupervisord()
    conf = made.folder / "supervisord.conf"
    conf.write_text(conf.read_text() + _TCP.format(port=port))
    made.start()
    try:
        yield made
    finally:
        made.stop()


async def test_a_port_with_a_password(supervisord: PrivateSupervisord, port: int) -> None:
    """The password is found in the environment or in the supervisord.conf, and is asked for."""
    url = f"http://127.0.0.1:{port}"
    conf = supervisord.folder / "supervisord.conf"
    pid = await supervisord.rpc.pid()

    environ = {"SUPERVISOR_USERNAME": "shop", "SUPERVISOR_PASSWORD": "s%3cret"}
    known = Supervisor(url, credentials=lambda: find_credentials(Path("/none"), environ))
    assert await known.pid() == pid
    with pytest.raises(Refused, match="wants a user and a password: set SUPERVISOR_USERNAME"):
        await Supervisor(url, credentials=lambda: NONE).pid()
    with pytest.raises(Refused, match="refuses this user and password"):
        await Supervisor(url, credentials=lambda: Credentials("shop", "no")).pid()
    found = find_credentials(conf, {})
    assert (found.username, "cret" in repr(found)) == ("shop", False)
    assert await Supervisor(url, credentials=lambda: found).pid() == pid


async def test_a_place_that_is_none() -> None:
    """What cannot be a supervisord's address is said so; where nobody listens, that."""
    for place in ("https://127.0.0.1", "/run/supervisor.sock", "http://", "http://h:x"):
        with pytest.raises(Misuse, match="is not where a supervisord is: write unix:///run/"):
            await Supervisor(place).pid()
    with pytest.raises(NotRunning, match=r"supervisord is not running \(http://127.0.0.1:9\)"):
        await Supervisor("http://127.0.0.1:9").pid()
