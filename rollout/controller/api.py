"""What the controller serves on its port: metrics, and what it saw, as JSON. It only reads.

``GET /api/v1/status`` is the document of `rollout status --json`, a list with one of each
deployment. ``GET /api/v1/snapshot`` is the same look as plain data, from which our own readers
(`rollout.controller.snapshot`) make what they show. A request must name this machine in its
Host header, so that no web page can read it through a name of its own (DNS rebinding).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import CollectorRegistry, make_wsgi_app

from rollout.base.exit import Failure
from rollout.base.settings import host_port

__all__ = ["Served", "serve"]

Served = Mapping[str, Callable[[], object]]
"""What each path answers with, made anew for each request; `msgspec` makes the JSON of it.

A path with a query counts where exactly that is asked for, before the path alone.
"""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a request, none of which holds up the end of the process."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Requests are not logged: a scrape comes every few seconds."""

    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def serve(host: str, port: int, registry: CollectorRegistry, served: Served) -> int:
    """Serve on ``host``:``port`` from a thread, until the process ends; the port (0: any free one).

    Raises `Failure` where the port is taken.
    """
    try:
        server = make_server(
            host, port, _App(registry, served, host), _Server, handler_class=_Handler
        )
    except (OSError, OverflowError) as error:
        raise Failure(f"could not listen on {host_port(host, port)}: {error}") from error
    threading.Thread(target=server.serve_forever, daemon=True, name="api").start()
    return server.server_port


class _App:
    """The WSGI application."""

    def __init__(self, registry: CollectorRegistry, served: Served, host: str) -> None:
        self._metrics = make_wsgi_app(registry)
        self._served = served
        self._hosts = {*_LOOPBACK, host_port(host, 0).rpartition(":")[0]}
        # Bound to every address, it is reached by names that are not known here.
        self._any_host = host in ("0.0.0.0", "::")  # noqa: S104

    def __call__(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        path = request.get("PATH_INFO", "")
        host = request.get("HTTP_HOST", "")
        if not self._any_host and _without_port(host) not in self._hosts:
            return _answer(start, "421 Misdirected Request", {"error": "unknown Host header"})
        if request.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _answer(start, "405 Method Not Allowed", {"error": "this only reads: use GET"})
        if path == "/metrics":
            metrics: Iterable[bytes] = self._metrics(request, start)
            return metrics
        query = request.get("QUERY_STRING", "")
        found = self._served.get(f"{path}?{query}") or self._served.get(path)
        if found is None:
            known = ", ".join(["/metrics", *(each for each in self._served if "?" not in each)])
            return _answer(start, "404 Not Found", {"error": f"there are {known}"})
        return _answer(start, "200 OK", found())


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdecimal() else host


def _answer(start: Callable[..., Any], status: str, content: object) -> list[bytes]:
    body = msgspec.json.encode(content) + b"\n"
    headers = [
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(body))),
        *_HEADERS,
    ]
    start(status, headers)
    return [body]
