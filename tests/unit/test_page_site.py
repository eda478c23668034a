"""The live page over HTTP: who may read it, what it may do, and that it changes nothing."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from rollout.controller.api import serve
from rollout.core.config_file import parse
from rollout.core.observation import Observation, Version
from rollout.core.plan import plan
from rollout.page.document import Told
from rollout.page.memory import Change, Memory
from rollout.page.refreshed import Refreshed
from rollout.page.site import Site
from tests.support.temporal_server import free_port
from tests.support.waiting import eventually

FILES = ("/", "/page.css", "/page.js", "/parts.js", "/dom.js", "/curve.js", "/text.js", "/icon.svg")
EVIL = "</script><img src=x onerror=alert(1)>"


def told(name: str) -> Told:
    """A deployment with one build, whose log has seen HTML."""
    config = parse('[deployment]\nname = "shop"\ntarget = "v1"\n')
    now = datetime.now(timezone.utc)
    seen = Observation(name, "default", now, current="v1", versions=(Version("v1", "current"),))
    memory = Memory()
    memory.did([Change(now, EVIL)])
    decided = plan(config, seen, now, "me")
    return Told(name, config, seen, decided, None, "127.0.0.1:7233", (EVIL,), memory)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A port with the page of two deployments; no Prometheus answers it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PROMETHEUS_URL", f"http://127.0.0.1:{free_port()}")
        site = Site(lambda: [told("a b~*<i>"), told("shop")])
        yield serve("127.0.0.1", 0, CollectorRegistry(), {"/api/v1/status": dict}, site)


def ask(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.headers)


@pytest.mark.parametrize(
    "path", [*FILES, "/metrics", "/api/v1/page", "/api/v1/past", "/api/v1/status", "/no"]
)
def test_every_answer_is_guarded(port: int, path: str) -> None:
    """It may load its own files alone, be framed by nobody, and nothing guesses its type."""
    status, _, headers = ask(port, path)
    assert status == (404 if path == "/no" else 200)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for name in ("script-src", "style-src", "img-src", "connect-src"):
        assert policy[name] == "'self'"
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert policy[name] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Set-Cookie" not in headers
    assert not any(name.startswith("Access-Control") for name in headers)


def test_nothing_comes_from_outside(port: int) -> None:
    """Each address in a file is one of this site; no text is ever made HTML, no style inline."""
    for path in FILES:
        text = ask(port, path)[1].decode()
        outside = {url for url in re.findall(r"https?://[^\"' ]+", text) if "w3.org" not in url}
        assert outside == set()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
        assert " style=" not in text
        for link in re.findall(r'(?:href|src|from)[= ]"([./][^"]*)"', text):
            assert link.removeprefix(".") in FILES or link.startswith("#")


def test_a_file_that_is_known_is_not_sent_again(port: int) -> None:
    """It is asked for each time, so that nobody keeps the page of an older controller."""
    _, body, headers = ask(port, "/page.js")
    assert headers["Cache-Control"] == "no-cache"
    status, again, same = ask(port, "/page.js", If_None_Match=headers["ETag"])
    assert (status, again, same["ETag"]) == (304, b"", headers["ETag"])
    assert ask(port, "/page.js", If_None_Match='"other"')[:2] == (200, body)


@pytest.mark.parametrize("path", ["/", "/api/v1/page", "/no"])
def test_head_is_get_without_the_body(port: int, path: str) -> None:
    """As HTTP has it."""
    status, body, headers = ask(port, path, "HEAD")
    assert (status, body) == (404 if path == "/no" else 200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(port: int, method: str) -> None:
    """Nor is anybody told that he might ask from elsewhere."""
    assert ask(port, "/", method)[0] == 405


def page(port: int, query: str) -> Any:
    """What the page is told."""
    return json.loads(ask(port, f"/api/v1/page?{query}")[1])


def test_each_deployment_by_its_name(port: int) -> None:
    """Whatever it is called; the first where none is named, and none where there is no such."""
    assert page(port, "")["shown"]["deployment"] == "a b~*<i>"
    assert page(port, "deployment=shop")["shown"]["deployment"] == "shop"
    for encoded in ("a+b~*%3Ci%3E", "a%20b%7E%2A<i>"):
        assert page(port, f"deployment={encoded}")["shown"]["deployment"] == "a b~*<i>"
    unknown = page(port, "deployment=other")
    assert unknown["shown"] is None
    assert [each["deployment"] for each in unknown["deployments"]] == ["a b~*<i>", "shop"]


def test_the_past_has_bounds(port: int) -> None:
    """Of the spans that there are, and of what is followed; without Prometheus of the memory."""
    assert json.loads(ask(port, "/api/v1/past?deployment=shop&span=9999d")[1]) is None
    assert json.loads(ask(port, "/api/v1/past?deployment=other")[1]) is None

    def known() -> Any:
        found = json.loads(ask(port, "/api/v1/past?deployment=shop")[1])
        return not found["pending"] and found

    assert eventually(known)["source"] == "controller"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(host=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40))
def test_any_other_host_name_is_refused(port: int, host: str) -> None:
    """Whatever a web page has lead here; a name of this machine is no part of another."""
    name = re.sub(r":\d+$", "", host.strip(" \t"))
    mine = name in ("127.0.0.1", "localhost", "[::1]")
    assert raw(port, "/", host) in ((200,) if mine else (421, 400))
    for around in (f"{host}127.0.0.1", f"localhost{host}"):
        named = re.sub(r":\d+$", "", around.strip(" \t"))
        mine = named in ("127.0.0.1", "localhost", "[::1]")
        assert raw(port, "/", around) in ((200,) if mine else (421, 400))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=60))
def test_any_other_path_is_none(port: int, path: str) -> None:
    """It is 404, or one of ours, and never a file of the machine or an error of ours."""
    assert raw(port, f"/{path}", "localhost") in (200, 404, 400)


@pytest.mark.parametrize(
    "path", ["/../page.js", "/..%2fpage.js", "/%2e%2e/__init__.py", "/files/page.js"]
)
def test_no_path_leads_elsewhere(port: int, path: str) -> None:
    """There are the files by their names, and no folder."""
    assert raw(port, path, "localhost") == 404


def raw(port: int, path: str, host: str) -> int:
    """The status that a request gets, sent as it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sent:
        sent.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        answer = sent.makefile("rb").readline()
    return int(answer.split()[1])


class TestRefreshed:
    """What is read in the background."""

    def test_nobody_waits(self) -> None:
        """The last value is given while it is read anew; one that is far too old is not."""
        time, values = [0.0], iter(range(10))
        kept = Refreshed[int](10.0, lambda: time[0])
        assert kept.get("a", lambda: next(values)) is None
        assert eventually(lambda: kept.get("a", lambda: next(values)) == 0)
        time[0] = 11.0
        assert kept.get("a", lambda: next(values)) == 0
        assert eventually(lambda: kept.get("a", lambda: next(values)) == 1)
        time[0] = 99.0
        assert kept.get("a", lambda: next(values)) is None

    def test_an_error_is_tried_again(self) -> None:
        """And is nobody's end."""
        kept = Refreshed[int](60.0)
        assert kept.get("a", lambda: 1 // 0) is None
        assert eventually(lambda: kept.get("a", lambda: 7) == 7)
