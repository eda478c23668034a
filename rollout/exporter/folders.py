"""How much room there is where the stack keeps its data, as metrics."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["FolderMetrics"]


class FolderMetrics(Collector):
    """The file system behind each folder of data, by asking it at each scrape."""

    def __init__(self, state: Path) -> None:
        """``state`` is the folder that the others are in, or will be."""
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """Both series of each folder; none of one that cannot be read."""
        free = GaugeMetricFamily(
            "rollout_folder_free_bytes",
            "Bytes that can still be written to the file system that the data folder is on.",
            labels=("folder",),
        )
        size = GaugeMetricFamily(
            "rollout_folder_size_bytes",
            "Size of the file system that the data folder is on.",
            labels=("folder",),
        )
        for folder in self._folders():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                continue
            free.add_metric((folder.name,), usage.free)
            size.add_metric((folder.name,), usage.total)
        return free, size

    def _folders(self) -> list[Path]:
        try:
            return sorted(each for each in self._state.iterdir() if each.is_dir())
        except OSError:
            return []
