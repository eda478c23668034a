"""The controller's HTTP port: metrics and JSON, for this machine alone, and only to read."""

from __future__ import annotations

import http.client
import json
import socket

import pytest
from prometheus_client import CollectorRegistry, Gauge

from rollout.base.exit import Failure
from rollout.controller.api import serve


@pytest.fixture
def port() -> int:
    """A port with a metric and one document."""
    registry = CollectorRegistry()
    Gauge("up_to_now", "Something.", registry=registry).set(3)
    return serve("127.0.0.1", 0, registry, {"/api/v1/status": lambda: {"deployments": []}})


def ask(
    port: int, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.headers)


def test_it_serves_metrics_and_documents(port: int) -> None:
    """Both from one port; what it does not have it names."""
    assert b"up_to_now 3.0" in ask(port, "/metrics")[1]
    status, body, headers = ask(port, "/api/v1/status")
    assert (status, json.loads(body)) == (200, {"deployments": []})
    assert headers["Cache-Control"] == "no-store"
    status, body, _ = ask(port, "/nothing")
    assert (status, json.loads(body)) == (404, {"error": "there are /metrics, /api/v1/status"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    """Whatever is not a reading is refused."""
    assert ask(port, "/api/v1/status", method)[0] == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9193", "127.0.0.1.evil.example"])
def test_a_foreign_host_name_is_refused(port: int, host: str) -> None:
    """A web page that has its own name lead here reads nothing, metrics included."""
    assert ask(port, "/api/v1/status", host=host)[0] == 421
    assert ask(port, "/metrics", host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:9193", "[::1]:9193"])
def test_this_machine_by_any_of_its_names(port: int, host: str) -> None:
    """With a port or without."""
    assert ask(port, "/api/v1/status", host=host)[0] == 200


def test_a_taken_port_is_a_sentence() -> None:
    """It names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(Failure, match=rf"could not listen on 127\.0\.0\.1:{number}: "):
            serve("127.0.0.1", number, CollectorRegistry(), {})
