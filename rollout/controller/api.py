"""What the controller serves on its port: metrics, what it saw as JSON, the page. It only reads.

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

from prometheus_client import CollectorRegistry, make_wsgi_app

from rollout.base.exit import Failure
from rollout.base.settings import host_port
from rollout.page.site import POLICY, Reply, Site

__all__ = ["Served", "serve"]

Served = Mapping[str, Callable[[], object]]
"""What each path answers with, made anew for each request; `msgspec` makes the JSON of it.

A path with a query counts where exactly that is asked for, before the path alone.
"""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a request, none of which holds up the end of the process."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Requests are not logged: a scrape comes every few seconds."""

    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def serve(
    host: str, port: int, registry: CollectorRegistry, served: Served, site: Site | None = None
) -> int:
    """Serve on ``host``:``port`` from a thread, until the process ends; the port (0: any free one).

    Raises `Failure` where the port is taken.
    """
    try:
        server = make_server(
            host, port, _App(registry, served, site, host), _Server, handler_class=_Handler
        )
    except (OSError, OverflowError) as error:
        raise Failure(f"could not listen on {host_port(host, port)}: {error}") from error
    threading.Thread(target=server.serve_forever, daemon=True, name="api").start()
    return server.server_port


class _App:
    """The WSGI application."""

    def __init__(
        self, registry: CollectorRegistry, served: Served, site: Site | None, host: str
    ) -> None:
        self._metrics = make_wsgi_app(registry)
        self._served = served
        self._site = site
        self._hosts = {*_LOOPBACK, host_port(host, 0).rpartition(":")[0]}
        # Bound to every address, it is reached by names that are not known here.
        self._any_host = host in ("0.0.0.0", "::")  # noqa: S104

    def __call__(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        method = request.get("REQUEST_METHOD")
        path, query = request.get("PATH_INFO", ""), request.get("QUERY_STRING", "")
        if not self._any_host and _without_port(request.get("HTTP_HOST", "")) not in self._hosts:
            status, answer = "421 Misdirected Request", _error("unknown Host header")
        elif method not in ("GET", "HEAD"):
            status, answer = "405 Method Not Allowed", _error("this only reads: use GET")
        elif path == "/metrics":
            metrics: Iterable[bytes] = self._metrics(request, _guarded(start))
            return metrics
        else:
            status, answer = self._found(path, query)
        tag = answer.headers.get("ETag")
        if is_known := tag is not None and request.get("HTTP_IF_NONE_MATCH") == tag:
            status = "304 Not Modified"
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
        ]
        _guarded(start)(status, [*headers, *answer.headers.items()])
        return [] if is_known or method == "HEAD" else [answer.body]

    def _found(self, path: str, query: str) -> tuple[str, Reply]:
        if self._site and (shown := self._site.answer(path, query)):
            return "200 OK", shown
        found = self._served.get(f"{path}?{query}") or self._served.get(path)
        if found is not None:
            return "200 OK", Reply.json(found())
        pages = self._site.paths if self._site else ()
        known = ["/metrics", *(each for each in self._served if "?" not in each), *pages]
        return "404 Not Found", _error(f"there are {', '.join(known)}")


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdecimal() else host


def _guarded(start: Callable[..., Any]) -> Callable[..., Any]:
    """``start``, with what every answer has."""
    return lambda status, headers, *rest: start(status, [*headers, *_HEADERS], *rest)


def _error(text: str) -> Reply:
    return Reply.json({"error": text})
