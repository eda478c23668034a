"""Prometheus's own pages for people, which are elsewhere in each of its editions."""

from __future__ import annotations

from contextlib import suppress

import httpx

__all__ = ["alerts_page"]

_PATIENCE = 2.0


def alerts_page(url: str) -> str:
    """Where the Prometheus at ``url`` shows its alerts: Debian's has the classic pages alone.

    Where it does not answer, the path that its own releases have.
    """
    base = url.rstrip("/")
    with suppress(httpx.HTTPError, httpx.InvalidURL):
        found = httpx.get(f"{base}/classic/alerts", timeout=_PATIENCE, trust_env=False)
        if found.status_code == 200:
            return f"{base}/classic/alerts"
    return f"{base}/alerts"
