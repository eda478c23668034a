"""One logger set-up: JSON objects, one a line, or readable text on a terminal.

structlog's records, the standard library's (supervisor's, httpx's) and those of
Temporal's SDK, core, workflow and activity loggers included, take the same way
out to stderr and carry the same keys:

``timestamp`` (RFC 3339, UTC), ``level``, ``event``, ``logger``, ``service.name``, the build
id as ``build_id`` (the metrics' name for it) and ``service.version`` (OpenTelemetry's),
``deployment_name``, and inside a workflow or an activity ``workflow_id``, ``run_id``,
``workflow_type``, ``activity_type``, ``attempt``, and ``trace_id`` where it is traced. What is
logged with ``extra=`` stands beside them; under one of these names it becomes ``extra_event`` and
so on, and what is no JSON its repr.

In workflow code use `temporalio.workflow.logger`, in activities
`temporalio.activity.logger`: they are silent on replay. Elsewhere use structlog.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
import temporalio.activity
import temporalio.workflow
from temporalio.runtime import LogForwardingConfig, LoggingConfig

from rollout.base.exit import Misuse, log_by
from rollout.base.log_records import own_name
from rollout.base.tracing import add_trace

__all__ = ["CORE_LOGGER", "configure", "core_logging", "is_configured"]

CORE_LOGGER = "temporalio.core"
_FORMATS = ("console", "json")
_LEVELS = ("debug", "info", "warning", "error")
_CONTEXT_KEYS = (
    "workflow_id",
    "run_id",
    "workflow_type",
    "activity_type",
    "activity_id",
    "task_queue",
    "attempt",
)
_OURS = frozenset(
    ("timestamp", "level", "event", "logger", "exception", "program", "exc_info", "stack_info")
)
_NO_EXTRA = frozenset(
    (
        *vars(logging.LogRecord("", 0, "", 0, "", (), None)),
        *("message", "asctime", "taskName"),
        *("temporal_workflow", "temporal_activity", "temporal_log"),
    )
)
_NAMED = {
    key: re.compile(
        rf"""\b(?:{name})["']?\s*[:=]\s*(?:Some\()?(?:\\?"([^"\\]+)\\?"|([^\s"',;)}}\]\\]+))"""
    )
    for key, name in {
        "workflow_id": "workflow_id|workflowId|WorkflowId|wf_id",
        "run_id": "run_id|runId|RunId|workflow_run_id",
    }.items()
}
"""How the SDK's core names a workflow in the middle of a sentence."""

EventDict = MutableMapping[str, Any]


def configure(service: str, **fields: str) -> None:
    """Set up logging for this process; call it once, before anything logs.

    ``fields`` (``build_id``, ``deployment_name``) go into every record.
    ``LOG_FORMAT=console|json`` and ``LOG_LEVEL`` decide the rest; without
    LOG_FORMAT a terminal gets text and anything else JSON.
    """
    chosen, level = _choice()
    constant = {"service.name": service, **fields}
    if "build_id" in fields:
        constant["service.version"] = fields["build_id"]
    log_by(constant, as_json=chosen == "json")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _flatten_temporal,
        add_trace,
        lambda _logger, _method, event: {**event, **constant, **event},
        _add_extra,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()  # stderr: stdout belongs to results
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_as_json() if chosen == "json" else _as_text(constant)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    _quieten()


def is_configured() -> bool:
    """Whether this process keeps a log; a command does not, and what it prints is all it says."""
    return structlog.get_config()["wrapper_class"] is structlog.stdlib.BoundLogger


def _choice() -> tuple[str, str]:
    """The format and the level. Raises `Misuse` for a word that is neither."""
    chosen = os.environ.get("LOG_FORMAT") or ("console" if sys.stderr.isatty() else "json")
    level = os.environ.get("LOG_LEVEL", "info").lower()
    if chosen not in _FORMATS:
        raise Misuse(f"LOG_FORMAT={chosen!r} is unknown: use {' or '.join(_FORMATS)}")
    if level not in _LEVELS:
        raise Misuse(f"LOG_LEVEL={level!r} is unknown: use one of {', '.join(_LEVELS)}")
    return chosen, level


def _as_json() -> list[Any]:
    return [structlog.processors.format_exc_info, _to_json]


def _as_text(constant: Mapping[str, str]) -> list[Any]:
    def hide(_logger: object, _method: str, event: EventDict) -> EventDict:
        """Take out what a person at a terminal knows: which program they started."""
        known = {"logger", *(key for key, value in constant.items() if event.get(key) == value)}
        return {key: value for key, value in event.items() if key not in known}

    # The richer formatter prints local variables, and with them API keys.
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [hide, renderer]


def _quieten() -> None:
    """Leave out what other libraries say of each call, and ids that are keys of their own."""
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for adapter in (temporalio.workflow.logger, temporalio.activity.logger):
        for option in ("workflow_info_on_message", "activity_info_on_message"):
            if hasattr(adapter, option):
                setattr(adapter, option, False)


def core_logging() -> LoggingConfig:
    """Send the SDK core's own records (warnings and worse) through this set-up.

    Its line for each retry of each call is left out: during an outage these are
    thousands, and whoever calls says once that Temporal is away.
    """
    return LoggingConfig(
        filter="ERROR,temporalio_sdk_core=WARN,temporalio_client=WARN,temporalio_client::retry=off",
        forwarding=LogForwardingConfig(
            logger=logging.getLogger(CORE_LOGGER),
            append_target_to_name=False,
            prepend_target_on_message=False,
            append_log_fields_to_message=False,
        ),
    )


def _flatten_temporal(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Lift the ids that Temporal's loggers attach to a record into keys of one name each."""
    record = event.get("_record")
    if record is None:
        return event
    for attribute in ("temporal_workflow", "temporal_activity"):
        context = getattr(record, attribute, None)
        if isinstance(context, dict):
            lifted = dict(context)
            if "workflow_run_id" in lifted:  # an activity's name for it
                lifted["run_id"] = lifted.pop("workflow_run_id")
            for key in _CONTEXT_KEYS:
                if key in lifted:
                    event.setdefault(key, lifted[key])
    core = getattr(record, "temporal_log", None)
    if core is not None:
        _add_core(core, event)
    return event


def _add_core(core: Any, event: EventDict) -> None:  # noqa: ANN401 - the SDK keeps its class to itself
    """Add the fields of a record of the SDK's core, and the workflow that its text names."""
    event.setdefault("target", core.target)
    for key, value in core.fields.items():
        event[own_name(key, event)] = value
    texts = [str(event["event"]), *(str(value) for value in core.fields.values())]
    for key, name in _NAMED.items():
        found = (match for text in texts for match in name.finditer(text))
        if key not in event and (match := next(found, None)) is not None:
            event[key] = match[1] or match[2]


def _add_extra(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Add what a record of the standard library's was given as ``extra=``; ours win."""
    record = event.get("_record")
    if record is None:
        return event
    # What a plain logger says of a workflow is of use under its own name.
    taken = {*event, *_OURS}
    for key, value in vars(record).items():
        if key not in _NO_EXTRA:
            name = own_name(key, taken)
            taken.add(name)
            event[name] = _plain(value)
    return event


def _plain(value: object) -> object:
    """``value`` as JSON can say it; what it cannot, by its repr."""
    try:
        return json.loads(json.dumps(value, default=_repr, allow_nan=False))
    except (TypeError, ValueError, RecursionError):  # a key that is no text, a circle, a NaN
        return _repr(value)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a mistake in a repr must not lose the record
        return object.__repr__(value)


def _to_json(_logger: object, _method: str, event: EventDict) -> str:
    """The record as one line, whatever is in it."""
    try:
        return json.dumps(event, default=str, allow_nan=False)
    except Exception:  # noqa: BLE001 - a value that no str() is to be had of is one of many
        return json.dumps({str(key): _plain(value) for key, value in event.items()})
