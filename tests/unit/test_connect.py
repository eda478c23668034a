"""Connecting to Temporal: what is said where it fails, and what is tried again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from rollout.base.connect import Refused, _failure, connect_patiently, is_transient
from rollout.base.exit import Failure, Misuse

REFUSAL = (
    "Failed client connect: `get_system_info` call error after connection: Status { "
    'code: PermissionDenied, message: "Request unauthorized.", metadata: MetadataMap { '
    'headers: {"content-type": "application/grpc"} }, source: None }'
)
UNKNOWN_ISSUER = (
    "Failed client connect: Server connection error: tonic::transport::Error(Transport, "
    "ConnectError(Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }))"
)
AWAY = (
    "Failed client connect: Server connection error: tonic::transport::Error(Transport, "
    'ConnectError(ConnectError("tcp connect error", 127.0.0.1:1, Os { code: 111, '
    'kind: ConnectionRefused, message: "Connection refused" })))'
)


@pytest.fixture
def no_tls() -> Iterator[str]:
    """The address of a server that answers whatever comes with a word that is no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"good day to you\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(timeout=10)


class TestPatience:
    """Connecting for as long as Temporal is away, and not where that is not it."""

    async def test_no_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An address that is none ends it at once, with the address."""
        monkeypatch.setenv("TEMPORAL_ADDRESS", "not an address")
        with pytest.raises(Misuse, match="'not an address' is no address of a Temporal server"):
            await connect_patiently()

    async def test_no_tls(self, monkeypatch: pytest.MonkeyPatch, no_tls: str) -> None:
        """A server that does not speak the TLS that was asked for ends it at once."""
        monkeypatch.setenv("TEMPORAL_ADDRESS", no_tls)
        monkeypatch.setenv("TEMPORAL_TLS", "true")
        with pytest.raises(Misuse, match="the server does not speak TLS"):
            await connect_patiently()


@pytest.mark.parametrize(
    ("text", "kind", "said", "again"),
    [
        (REFUSAL, Refused, "refuses this client: Request unauthorized.", False),
        (UNKNOWN_ISSUER, Misuse, "(UnknownIssuer)", False),
        (AWAY, Failure, "(Connection refused)", True),
        (f"Connection {'x' * 500}", Failure, f"(Connection {'x' * 149}...)", True),
    ],
)
def test_what_is_said(text: str, kind: type[Failure], said: str, again: bool) -> None:
    """The innermost reason is kept, short, and says whether another try makes sense."""
    error = RuntimeError(text)
    failure = _failure(error, "temporal.example:7233")
    assert type(failure) is kind
    assert said in str(failure)
    assert "temporal.example:7233" in str(failure)
    assert is_transient(error) == again
