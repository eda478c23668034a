"""What one controller tells of all of its deployments, on one port."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from rollout.controller.publishing import Publisher
from rollout.page.document import Told

__all__ = ["Published"]

_STATUS, _SNAPSHOT = "/api/v1/status", "/api/v1/snapshot"


class Published(Mapping[str, Callable[[], object]]):
    """What each path answers with, of the deployments that are followed just now."""

    def __init__(self) -> None:
        self._each: Mapping[str, Publisher] = {}

    def add(self, deployment: str, publisher: Publisher) -> Callable[[], None]:
        """Serve what ``publisher`` tells, too; how to take that back."""
        # Each time another mapping: threads that answer read it meanwhile.
        self._each = {**self._each, deployment: publisher}

        def remove() -> None:
            self._each = {k: v for k, v in self._each.items() if v is not publisher}

        return remove

    def told(self) -> list[Told]:
        """What the page shows of each, by their names."""
        return [publisher.told(name) for name, publisher in sorted(self._each.items())]

    def __getitem__(self, path: str) -> Callable[[], object]:
        return self._paths()[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths())

    def __len__(self) -> int:
        return len(self._paths())

    def _paths(self) -> Mapping[str, Callable[[], object]]:
        paths: dict[str, Callable[[], object]] = {_STATUS: self._status}
        for deployment, publisher in sorted(self._each.items()):
            snapshot = publisher.served()[_SNAPSHOT]
            paths.setdefault(_SNAPSHOT, snapshot)
            paths[f"{_SNAPSHOT}?{urlencode({'deployment': deployment})}"] = snapshot
        return paths

    def _status(self) -> dict[str, Any]:
        each = [publisher.status() for _, publisher in sorted(self._each.items())]
        return {"deployments": [document for document in each if document is not None]}
