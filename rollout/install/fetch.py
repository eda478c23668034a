"""Official release archives: downloaded, checked against their published checksum, unpacked."""

from __future__ import annotations

import hashlib
import os
import queue
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from rich.console import Console
from rich.progress import Progress

from rollout.base.exit import Failure

__all__ = ["Release", "Unavailable", "unpack"]

_PATIENCE = 4.0  # seconds until a host that does not answer counts as out of reach
_TIMEOUT = httpx.Timeout(20.0, connect=_PATIENCE)


class Unavailable(Failure):
    """The release cannot be had from here now. Another source may do."""


@dataclass(frozen=True)
class Release:
    """One archive of a release, and the file that publishes its SHA-256."""

    title: str
    archive: str
    checksums: str


def unpack(release: Release, into: Path, console: Console) -> None:
    """Make ``into`` the folder that is at the top of the release's archive.

    It is downloaded and unpacked beside ``into``, and renamed when complete: clearing
    the folder around ``into`` is the caller's. Raises `Unavailable` where the
    network does not give the archive, and `Failure` where what it gives is not what
    was published, or would write outside of its folder.
    """
    archive = into.with_name(into.name + ".tar.gz")
    expected = _published_checksum(release)
    if _download(release, archive, console) != expected:
        raise Failure(
            f"{release.archive} does not have its published SHA-256 checksum: it was not installed"
        )
    try:
        _extract(archive, into, release)
    except tarfile.TarError as error:
        raise Failure(f"{release.archive} cannot be unpacked: {error}") from error


def _published_checksum(release: Release) -> str:
    """The checksum, from lines ``DIGEST  NAME`` or a file that holds just the digest."""
    name = release.archive.rpartition("/")[2]
    for line in _text(release.checksums).splitlines():
        digest, _, named = line.strip().partition(" ")
        if not named or Path(named.strip().lstrip("*")).name == name:
            return digest.lower()
    raise Unavailable(f"{release.checksums} does not list {name}")


def _text(url: str) -> str:
    """What ``url`` says, or `Unavailable` within seconds.

    The request runs in a thread that may be left behind: without a network, the
    look-up of a host name hangs for longer than any timeout of an HTTP client.
    """
    answers: queue.Queue[str | Exception] = queue.Queue()

    def ask() -> None:
        try:
            response = httpx.get(url, timeout=_TIMEOUT, follow_redirects=True)
            answers.put(response.raise_for_status().text)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=2 * _PATIENCE)
    except queue.Empty:
        raise Unavailable(f"{_host(url)} did not answer") from None
    if isinstance(answer, Exception):
        raise Unavailable(_reason(url, answer)) from answer
    return answer


def _download(release: Release, archive: Path, console: Console) -> str:
    """Write the archive and return its SHA-256."""
    digest = hashlib.sha256()
    console.print(f"downloading {release.title}", highlight=False)
    try:
        with (
            httpx.stream("GET", release.archive, timeout=_TIMEOUT, follow_redirects=True) as answer,
            archive.open("wb") as file,
            Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
        ):
            answer.raise_for_status()
            size = answer.headers.get("content-length")
            task = bar.add_task(release.title, total=int(size) if size else None)
            for chunk in answer.iter_raw():
                file.write(chunk)
                digest.update(chunk)
                bar.advance(task, len(chunk))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(_reason(release.archive, error)) from error
    return digest.hexdigest()


def _extract(archive: Path, into: Path, release: Release) -> None:
    """Unpack the archive's one top folder as ``into``."""
    scratch = into.with_name(into.name + ".unpacked")
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            if _escapes(member):
                raise Failure(f"{release.archive} is unsafe: {member.name} leads out of its folder")
        # Where this Python has the standard library's own checks, they are on as well.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(scratch, members)  # noqa: S202
    tops = list(scratch.iterdir())
    if len(tops) != 1:
        raise Failure(f"{release.archive} has {len(tops)} folders at its top, not one")
    tops[0].rename(into)
    scratch.rmdir()


def _escapes(member: tarfile.TarInfo) -> bool:
    """Whether unpacking ``member`` could touch anything outside of the target folder."""
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return True  # a device or a pipe
    paths = [member.name]
    if member.issym():
        paths.append(os.path.join(os.path.dirname(member.name), member.linkname))  # noqa: PTH118, PTH120
    if member.islnk():
        paths.append(member.linkname)
    return any(os.path.isabs(p) or os.path.normpath(p).startswith("..") for p in paths)  # noqa: PTH117


def _reason(url: str, error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"{url} answered {error.response.status_code}"
    if isinstance(error, httpx.RemoteProtocolError):
        return f"{url} broke off"
    return f"{_host(url)} is out of reach"


def _host(url: str) -> str:
    return urlsplit(url).netloc or url
