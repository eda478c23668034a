"""Traces of client, workflows and activities, sent to a collector where one is named.

``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) says where to, as
https://opentelemetry.io/docs/specs/otel/protocol/exporter/ has it, and the further variables of
OpenTelemetry hold, too. The spans are those of Temporal's SDK (`temporalio.contrib.opentelemetry`).
It takes the extra ``otel``; without it, or without an address, nothing is traced.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from rollout.base.logger import get_logger

__all__ = ["add_trace", "is_tracing", "traced"]

log = get_logger(__name__)

_WHERE = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LAST_WORDS_MS = 2000
"""So long the end of a process waits for its last spans to be taken."""


def traced(service: str, own: Mapping[str, Any] | None = None, **attributes: str) -> dict[str, Any]:
    """``own`` options of a client, with what traces its calls; as they are where nothing is traced.

    ``service`` and ``attributes`` (``build_id``, ``deployment_name``) are said of each span.
    A client that has OpenTelemetry's interceptor or plugin already is let be.
    """
    options = dict(own or {})
    if not _is_wanted(os.environ) or _has_its_own(options):
        return options
    try:
        interceptor = _interceptor(service, attributes)
    except ModuleNotFoundError as error:
        log.warning(
            "traces are not sent: pip install 'temporal-worker-rollout[otel]'",
            error=f"{error.name} is not installed",
        )
        return options
    options["interceptors"] = [*options.get("interceptors", ()), interceptor]
    return options


def is_tracing() -> bool:
    """Whether this process traces: workflows then have to share its OpenTelemetry."""
    return "opentelemetry.sdk.trace" in sys.modules and _is_wanted(os.environ)


def add_trace(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of log records: the ids of the span that is under way, where one is."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            event.setdefault("trace_id", f"{context.trace_id:032x}")
            event.setdefault("span_id", f"{context.span_id:016x}")
    return event


def _is_wanted(environ: Mapping[str, str]) -> bool:
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    none = environ.get("OTEL_TRACES_EXPORTER", "") == "none"
    return any(environ.get(name) for name in _WHERE) and not off and not none


def _has_its_own(options: Mapping[str, Any]) -> bool:
    given = [*options.get("interceptors", ()), *options.get("plugins", ())]
    return any("opentelemetry" in type(each).__module__ for each in given)


def _interceptor(service: str, attributes: Mapping[str, str]) -> object:
    """Imported only here: nobody else needs to have it installed."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from temporalio.contrib.opentelemetry import TracingInterceptor  # noqa: PLC0415

    said = dict(attributes)
    if not os.environ.get("OTEL_SERVICE_NAME"):
        said["service.name"] = service
    if "build_id" in said:
        said["service.version"] = said["build_id"]
    # Not the global one, which is the build's own to set; ended by us, for by itself it would wait
    # for a collector that is away.
    provider = TracerProvider(resource=Resource.create(said), shutdown_on_exit=False)
    processor = BatchSpanProcessor(OTLPSpanExporter())
    provider.add_span_processor(processor)
    atexit.register(processor.force_flush, _LAST_WORDS_MS)
    return TracingInterceptor(provider.get_tracer("rollout"))
