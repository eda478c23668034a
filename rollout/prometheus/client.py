"""The one client of Prometheus's HTTP API: an instant query's numbers, or a sentence why not."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

__all__ = ["Curves", "Prometheus", "Series", "prometheus_at"]

TIMEOUT = 3.0
"""Seconds that an answer may take, the connection included."""

_NO_ADDRESS = "its address is none, set PROMETHEUS_URL to one as http://HOST:PORT"

Series = list[tuple[dict[str, str], float]]
"""The labels and the value of each series; those whose value is NaN are left out."""

Curves = list[tuple[dict[str, str], list[tuple[float, float]]]]
"""The labels of each series, and its values, each after its time in seconds since 1970; without
NaN."""

_Read = TypeVar("_Read")


@asynccontextmanager
async def prometheus_at(url: str, *, timeout: float = TIMEOUT) -> AsyncIterator[Prometheus]:
    """The Prometheus at ``url``, which may hold a path, and a user and password.

    No proxy is asked, and nobody is told the password. A ``url`` that is none is told by
    each answer.
    """
    try:
        http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1/",
            timeout=timeout,
            trust_env=False,
            verify=_certificates(),
        )
    except httpx.InvalidURL:
        yield Prometheus(None, timeout)
        return
    async with http:
        yield Prometheus(http, timeout)


class Prometheus:
    """What answers queries; `prometheus_at` makes one."""

    def __init__(self, http: httpx.AsyncClient | None, timeout: float) -> None:
        self._http = http
        self._timeout = timeout

    async def ask(self, query: str) -> Series | str:
        """The series of an instant query, or why there are none; nothing is raised."""
        return await self._ask("query", {"query": query}, _numbers)

    async def ask_range(self, query: str, start: float, end: float, step: float) -> Curves | str:
        """The series from ``start`` to ``end``, seconds since 1970, a value each ``step`` seconds.

        Or why there are none; nothing is raised.
        """
        data = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        return await self._ask("query_range", data, _curves)

    async def _ask(
        self, path: str, data: dict[str, str], read: Callable[[Mapping[str, Any]], _Read | str]
    ) -> _Read | str:
        if self._http is None:
            return _NO_ADDRESS
        where = _without_secrets(self._http.base_url)
        data = {**data, "timeout": f"{self._timeout:g}s"}
        try:
            reply = await asyncio.wait_for(self._http.post(path, data=data), self._timeout)
            return _read(json.loads(reply.content), read)
        except (asyncio.TimeoutError, TimeoutError, httpx.TimeoutException):
            return f"no answer within {self._timeout:g} s at {where}"
        except httpx.UnsupportedProtocol:
            return _NO_ADDRESS
        except httpx.HTTPError:
            return f"no answer at {where}"
        except (ValueError, KeyError, TypeError, IndexError):
            return f"what answers at {where} is no Prometheus"


def _read(
    answer: Mapping[str, Any], read: Callable[[Mapping[str, Any]], _Read | str]
) -> _Read | str:
    if answer["status"] != "success":
        return " ".join(str(answer["error"]).split())  # its own words name the place
    return read(answer["data"])


def _numbers(data: Mapping[str, Any]) -> Series | str:
    if data["resultType"] == "scalar":
        results: Sequence[Mapping[str, Any]] = [{"metric": {}, "value": data["result"]}]
    elif data["resultType"] == "vector":
        results = data["result"]
    else:
        return f"its query gives a {data['resultType']}, not a number"
    values = [(dict(each["metric"]), float(each["value"][1])) for each in results]
    return [(labels, value) for labels, value in values if not math.isnan(value)]


def _curves(data: Mapping[str, Any]) -> Curves | str:
    if data["resultType"] != "matrix":
        return f"its query gives a {data['resultType']}, not curves"
    curves: Curves = []
    for each in data["result"]:
        values = [(float(at), float(text)) for at, text in each["values"]]
        curves.append((dict(each["metric"]), [v for v in values if not math.isnan(v[1])]))
    return curves


def _without_secrets(url: httpx.URL) -> str:
    return f"{url.host}:{url.port}" if url.port else url.host


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Made once: reading the authorities takes longer than all the questions."""
    return httpx.create_ssl_context()
