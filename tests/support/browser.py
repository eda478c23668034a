"""Pages as a browser shows them: headless Chromium, for tests and for the picture of the README.

``python -m tests.support.browser URL FILE.png`` makes a picture of a page.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from rollout.base.settings import ROOT

__all__ = ["PICTURES", "Shown", "chromium", "shown"]

PICTURES = ROOT / "var" / "pictures"
"""Where tests leave what they have seen, for people to look at."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
_BUDGET = 3500
"""Milliseconds of the page's own time, which runs as fast as the answers come."""


def chromium() -> str | None:
    """The browser, where there is one."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path), None)


class Shown:
    """A page as it stood after a while."""

    def __init__(self, html: str) -> None:
        self.html = html
        reader = _Reader()
        reader.feed(html)
        self.state = reader.state
        """The page's own word for whether it follows its controller."""
        self.tags = frozenset(reader.tags)
        """The names of all its elements."""
        self._sections = reader.sections

    def section(self, name: str) -> str:
        """The text of the section of this id, with single spaces; empty where there is none."""
        return " ".join("".join(self._sections.get(name, [])).split())


def shown(
    url: str,
    file: Path | None = None,
    *,
    budget: int = _BUDGET,
    dark: bool = False,
    size: tuple[int, int] = (1280, 1000),
) -> Shown:
    """The page at ``url`` once its scripts have run for ``budget`` milliseconds.

    With ``file`` a picture of it, too, as PNG of ``size`` pixels.
    """
    flags = [f"--virtual-time-budget={budget}", f"--window-size={size[0]},{size[1]}"]
    flags.append(f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        flags.append(f"--screenshot={file}")
    return Shown(_run(url, *flags, "--dump-dom"))


def _run(url: str, *flags: str) -> str:
    browser = chromium()
    assert browser, "there is no Chromium"
    with tempfile.TemporaryDirectory(prefix="chr-", ignore_cleanup_errors=True) as folder:
        done = subprocess.run(
            [browser, *_FLAGS, f"--user-data-dir={folder}", *flags, url],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


class _Reader(HTMLParser):
    """The text below each element that has an id."""

    _VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})
    _APART = frozenset(
        {"h2", "p", "li", "td", "th", "div", "summary", "dt", "dd", "small", "span", "time", "b"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.state: str | None = None
        self.sections: dict[str, list[str]] = {}
        self.tags: set[str] = set()
        self._open: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named: dict[str, Any] = dict(attrs)
        if tag == "body":
            self.state = named.get("data-state")
        self.tags.add(tag)
        if tag not in self._VOID:
            self._open.append(named.get("id"))
        if tag in self._APART:
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._APART:
            self.handle_data(" ")
        if tag not in self._VOID and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in filter(None, self._open):
            self.sections.setdefault(name, []).append(data)


if __name__ == "__main__":
    shown(sys.argv[1], Path(sys.argv[2]))
