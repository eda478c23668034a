"""What a controller tells, for those who ask again and again: a command would cost a process."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rollout.base.settings import VAR

__all__ = ["told"]


def told(deployment: str, state: Path = VAR) -> dict[str, Any]:
    """The document of ``rollout status --json`` as the controller of that home serves it.

    It is of the last look, which may be older than what was just done. Raises `OSError` while no
    controller is there, and `LookupError` while it has not seen ``deployment``.
    """
    place = json.loads((state / "run" / f"rollout-{deployment}.api.json").read_text("utf-8"))
    connection = HTTPConnection(urlsplit(place["url"]).netloc, timeout=10)
    with closing(connection):
        connection.request("GET", "/api/v1/status")
        served = json.load(connection.getresponse())["deployments"]
    for document in served:
        if document["deployment"] == deployment:
            return dict(document)
    raise LookupError(f"{deployment} was not seen yet")
