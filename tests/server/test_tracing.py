"""Traces from the client through workflows to activities, as a collector receives them."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest
import structlog

from rollout.base.tracing import traced
from tests.support.otlp import Collector, Span, collector
from tests.support.temporal_server import DevServer, free_port
from tests.support.waiting import eventually
from tests.support.worker_process import Command, environ, python, run

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def served(server: DevServer, folder: Path, name: str, **more: str) -> Command:
    """A worker of the demo's v1."""
    words = python(
        *("workers", "--build-id", "v1", "--strategy", "compatible"),
        *("--deployment", name, "--task-queue", name),
    )
    found = Command(words, environ(server, LOG_LEVEL="debug", **more), folder)
    eventually(lambda: found.records("polling"), seconds=30)
    return found


def loaded(server: DevServer, name: str, **more: str) -> None:
    """One short order, started by the load and waited for."""
    words = ["--rate", "2", "--orders", "1", "--order-seconds", "0.2", "--duration", "0.4s"]
    done = run(server, "client", "load", "--task-queue", name, *words, **more)
    assert done.returncode == 0, done.stderr


@pytest.mark.temporal
class TestTraces:
    """With OTEL_EXPORTER_OTLP_ENDPOINT, and without."""

    def test_one_trace_from_the_client_to_the_activity(
        self, temporal_server: DevServer, tmp_path: Path
    ) -> None:
        """Its spans hang together, its id stands in the worker's log, and no secret is sent."""
        name, secret = f"t{secrets.token_hex(4)}", secrets.token_hex(8)
        with collector() as found:
            more = {_ENDPOINT: found.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
            worker = served(temporal_server, tmp_path, name, ORDERS_KEY=secret, **more)
            try:
                loaded(temporal_server, name, **more)
                eventually(lambda: _trace(found), seconds=20)
                trace = _trace(found)
                shipped = worker.records("order shipped")
                assert {record["trace_id"] for record in shipped} <= {
                    span.trace_id for span in found.spans
                }
                assert trace[0].trace_id in [record["trace_id"] for record in shipped]
                assert any("span_id" in each for each in _of_activities(worker))
                assert worker.stop() == 0
            finally:
                worker.end()
            by_name = {span.name: span for span in trace}
            start, body = by_name["StartWorkflow:Order"], by_name["RunWorkflow:Order"]
            step = by_name["StartActivity:reserve"]
            assert (start.service, body.service, body.version) == ("load", "worker", "v1")
            assert body.parent_id == start.span_id
            assert by_name["RunActivity:reserve"].parent_id == step.span_id
            assert not any(secret in span.text for span in found.spans)

    def test_a_collector_that_is_away_holds_nothing_up(
        self, temporal_server: DevServer, tmp_path: Path
    ) -> None:
        """Runs complete, and the worker ends in time."""
        name, more = f"t{secrets.token_hex(4)}", {_ENDPOINT: f"http://127.0.0.1:{free_port()}"}
        worker = served(temporal_server, tmp_path, name, **more)
        try:
            loaded(temporal_server, name, **more)
            began = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - began < 8
        finally:
            worker.end()
        assert all("trace_id" in record for record in worker.records("order shipped"))


def _trace(found: Collector) -> list[Span]:
    """The spans of one trace that has reached an activity, once there is one."""
    whole = {span.trace_id for span in found.spans if span.name == "RunActivity:ship"}
    whole &= {span.trace_id for span in found.spans if span.name == "StartWorkflow:Order"}
    whole &= {span.trace_id for span in found.spans if span.name == "RunActivity:reserve"}
    first = min(whole, default="")
    return [span for span in found.spans if span.trace_id == first]


def _of_activities(worker: Command) -> list[dict[str, object]]:
    lines = worker.log_file.read_text().splitlines()
    return [{"span_id": 1} for line in lines if '"activity_type"' in line and '"span_id"' in line]


class TestOptions:
    """What decides whether anything is traced."""

    def test_nothing_is_added_without_an_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor where OpenTelemetry's own variables say no."""
        monkeypatch.delenv(_ENDPOINT, raising=False)
        assert traced("worker", {"identity": "x"}) == {"identity": "x"}
        monkeypatch.setenv(_ENDPOINT, "http://127.0.0.1:9")
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
        assert traced("worker") == {}

    def test_a_build_that_traces_itself_is_let_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No span comes twice."""
        monkeypatch.setenv(_ENDPOINT, "http://127.0.0.1:9")
        first = traced("worker", {"interceptors": ["mine"]})
        assert first["interceptors"][0] == "mine"
        assert len(first["interceptors"]) == 2
        assert traced("worker", first) == first

    def test_without_the_extra_it_is_said_and_goes_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A variable that is set for a whole machine must not end a worker."""
        monkeypatch.setenv(_ENDPOINT, "http://127.0.0.1:9")
        monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.resources", None)
        with structlog.testing.capture_logs() as logged:
            assert traced("worker") == {}
        assert "pip install 'temporal-worker-rollout[otel]'" in logged[0]["event"]
